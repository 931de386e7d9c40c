//! The contracts: what the services promise each other and their clients, as the code has it and as `contracts/`
//! has it, and the gate that lets neither drift.

pub mod documents;
pub mod examples;
pub mod gate;
pub mod openapi;
pub mod pages;
pub mod promise;
pub mod release;
pub mod services;
pub mod statuses;
pub mod wiring;
pub mod yaml;

use anyhow::{Context, Result};
use events::catalogue::{self, Entry, Subscription};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A service and what it consumes.
#[derive(Clone)]
pub struct Consumer {
    /// `payments`
    pub service: &'static str,
    /// Its views of the events.
    pub subscriptions: Vec<Subscription>,
}

/// Everything that is compared.
#[derive(Clone)]
pub struct Contracts {
    /// The catalogue, as the code has it.
    pub entries: Vec<Entry>,
    /// What each service consumes, as the code has it.
    pub consumers: Vec<Consumer>,
    /// The events that the services published in the stories of the tests; none when no story was played.
    pub published: Option<BTreeSet<String>>,
    /// The folder `contracts`.
    pub folder: PathBuf,
    /// The folder `infra`.
    pub infra: PathBuf,
    /// The folder `services`.
    pub services: PathBuf,
}

impl Contracts {
    /// The contracts of the code as it was built, and of the folders below `root`.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        let consumers = registry::CONSUMES.iter();
        let consumers = consumers.map(|(service, all)| Consumer { service, subscriptions: all.to_vec() });
        Self {
            entries: catalogue::entries(),
            consumers: consumers.collect(),
            published: None,
            folder: root.join("contracts"),
            infra: root.join("infra"),
            services: root.join("services"),
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

    /// Writes the generated files, and a first example of each event that has none.
    ///
    /// # Errors
    /// When one cannot be made or written.
    pub fn bless(&self) -> Result<()> {
        self.entries.iter().try_for_each(|entry| examples::begin(&self.folder, entry))?;
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
        let text = fs::read_to_string(&path)
            .with_context(|| format!("{}: no examples; `just bless` writes a first one", path.display()))?;
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

/// A consumer's contract: of each event that it consumes, the part that it reads.
fn needs(consumer: &Consumer) -> Value {
    let views = consumer.subscriptions.iter();
    let views = views.map(|s| (s.kind.to_owned(), json!({"version": s.version, "reads": (s.schema)()})));
    json!({"consumer": consumer.service, "takes": views.collect::<serde_json::Map<_, _>>()})
}

/// `order.created v1`
pub(crate) fn named(entry: &Entry) -> String {
    format!("{} v{}", entry.kind, entry.version)
}
