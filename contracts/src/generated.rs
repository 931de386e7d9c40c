//! The files that are generated from the code, and `just bless`, which writes them.

use crate::{Consumer, Contracts, documents, examples, openapi, pages, pretty, schema_path};
use anyhow::{Context, Result};
use events::catalogue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

impl Contracts {
    /// The files that are generated from the code, by their path below the folder.
    ///
    /// # Errors
    /// When an example or the OpenAPI description, on which some of them rest, cannot be read.
    pub fn generated(&self) -> Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        for entry in self.promises() {
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

    /// Writes the generated files and the generated parts of the documents, and a first example of each event that has none.
    ///
    /// # Errors
    /// When one cannot be made or written.
    pub fn bless(&self) -> Result<()> {
        self.promises().try_for_each(|entry| examples::begin(&self.folder, entry))?;
        for (path, text) in self.generated()? {
            let path = self.folder.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
            fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        documents::bless(self)
    }
}

/// A consumer's contract: of each event that it consumes, the part that it reads.
fn needs(consumer: &Consumer) -> Value {
    let views = consumer.subscriptions.iter();
    let views = views.map(|s| (s.kind.to_owned(), json!({"version": s.version, "reads": (s.schema)()})));
    json!({"consumer": consumer.service, "takes": views.collect::<serde_json::Map<_, _>>()})
}
