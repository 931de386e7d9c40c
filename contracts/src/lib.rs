//! The contracts: what the services promise each other and their clients, as the code has it and as `contracts/`
//! has it, and the gate that lets neither drift.

pub mod documents;
pub mod examples;
mod fields;
pub mod gate;
mod generated;
mod mailer;
pub mod notice;
pub mod openapi;
pub mod pages;
pub mod promise;
pub mod release;
pub mod rules;
pub mod services;
pub mod statuses;
pub mod wiring;
pub mod yaml;

use anyhow::{Context, Result};
use events::catalogue::{self, Entry, Subscription};
use serde_json::Value;
use std::collections::BTreeSet;
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
    /// The message to a customer, as the code has it: no event, and promised as one.
    pub message: Entry,
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
            message: notice::entry(),
            consumers: consumers.collect(),
            published: None,
            folder: root.join("contracts"),
            infra: root.join("infra"),
            services: root.join("services"),
        }
    }

    /// Everything that has a schema, examples and releases: the events, and the message to a customer.
    pub fn promises(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().chain(std::iter::once(&self.message))
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

/// `order.created v1`
pub(crate) fn named(entry: &Entry) -> String {
    format!("{} v{}", entry.kind, entry.version)
}
