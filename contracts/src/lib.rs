//! The contracts: what the services promise each other and their clients, as the code has it and as `contracts/`
//! has it, and the gate that lets neither drift.

pub mod gate;
pub mod openapi;
pub mod pages;
pub mod promise;
pub mod release;
pub mod yaml;

use anyhow::{Context, Result};
use events::catalogue::{self, Entry, Subscription};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A service and what it reads.
#[derive(Clone)]
pub struct Consumer {
    /// `payments`
    pub service: &'static str,
    /// Its views.
    pub reads: Vec<Subscription>,
}

/// Everything that is compared.
#[derive(Clone)]
pub struct Contracts {
    /// The catalogue, as the code has it.
    pub entries: Vec<Entry>,
    /// What each service reads, as the code has it.
    pub consumers: Vec<Consumer>,
    /// The events that the services were seen to tell; none when nobody looked.
    pub told: Option<BTreeSet<String>>,
    /// The folder `contracts`.
    pub folder: PathBuf,
    /// The folder `infra`.
    pub infra: PathBuf,
}

impl Contracts {
    /// The contracts of the code as it was built, and of the folders below `root`.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        let consumer = |service, reads: &[Subscription]| Consumer { service, reads: reads.to_vec() };
        Self {
            entries: catalogue::entries(),
            consumers: vec![
                consumer("fulfillment", fulfillment::subscriptions::CONSUMES),
                consumer("inventory", inventory::subscriptions::CONSUMES),
                consumer("notifications", notifications::subscriptions::CONSUMES),
                consumer("orders", orders::subscriptions::CONSUMES),
                consumer("payments", payments::subscriptions::CONSUMES),
                consumer("rewards", rewards::subscriptions::CONSUMES),
            ],
            told: None,
            folder: root.join("contracts"),
            infra: root.join("infra"),
        }
    }

    /// The files that are generated from the code, by their path below the folder.
    ///
    /// # Errors
    /// When an example or the OpenAPI description, on which some of them rest, cannot be read.
    pub fn generated(&self) -> Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        for entry in &self.entries {
            files.insert(schema_path(entry), pretty(&(entry.schema)()));
        }
        for consumer in &self.consumers {
            files.insert(format!("consumers/{}.v1.json", consumer.service), pretty(&needs(consumer)));
        }
        files.insert("metadata/v1.schema.json".into(), pretty(&catalogue::metadata_schema()));
        files.insert("asyncapi.yaml".into(), pages::asyncapi(self));
        files.insert("openapi.json".into(), pretty(&openapi::read(&self.folder)?));
        files.insert("README.md".into(), pages::catalogue(self)?);
        Ok(files)
    }

    /// Writes the generated files.
    ///
    /// # Errors
    /// When one cannot be made or written.
    pub fn bless(&self) -> Result<()> {
        for (path, text) in self.generated()? {
            let path = self.folder.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
            fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// The examples of an event's data.
    ///
    /// # Errors
    /// When there is no file of examples, or it is not a list.
    pub fn examples(&self, entry: &Entry) -> Result<Vec<Value>> {
        let path = self.folder.join(examples_path(entry));
        let text = fs::read_to_string(&path).with_context(|| format!("{}: no examples", path.display()))?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }
}

/// `order.created/v1.schema.json`
#[must_use]
pub fn schema_path(entry: &Entry) -> String {
    format!("{}/v{}.schema.json", entry.kind, entry.version)
}

/// `order.created/v1.examples.json`
#[must_use]
pub fn examples_path(entry: &Entry) -> String {
    format!("{}/v{}.examples.json", entry.kind, entry.version)
}

/// JSON as it is committed: indented, fields in the order of the alphabet, a line at the end.
#[must_use]
pub fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A consumer's contract: of each event that it takes, the part that it reads.
fn needs(consumer: &Consumer) -> Value {
    let reads = consumer.reads.iter();
    let reads = reads.map(|r| (r.kind.to_owned(), json!({"version": r.version, "reads": (r.schema)()})));
    json!({"consumer": consumer.service, "takes": reads.collect::<serde_json::Map<_, _>>()})
}
