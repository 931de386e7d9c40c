//! The gate: every way in which the contracts can drift, looked for in both directions. A breach is one line that
//! names the event or the service, what is wrong, and the file to edit.

use crate::{
    Consumer, Contracts, documents, examples_path, mailer, named, notice, openapi, pretty, promise, release,
    services, wiring,
};
use anyhow::Result;
use events::Envelope;
use events::catalogue::{Entry, Subscription};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

/// Everything that is wrong.
///
/// # Errors
/// When the folders cannot be read at all.
pub fn breaches(contracts: &Contracts) -> Result<Vec<String>> {
    let mut found = services::drift(&contracts.services, &contracts.infra)?;
    found.extend(contracts.promises().flat_map(|entry| examples(contracts, entry)));
    found.extend(contracts.entries.iter().flat_map(|entry| interest(contracts, entry)));
    found.extend(mailer::kinds_without_an_example(contracts));
    for consumer in &contracts.consumers {
        found.extend(consumer.subscriptions.iter().flat_map(|s| needs(contracts, consumer, s)));
    }
    found.extend(promises(contracts)?);
    found.extend(wiring::breaches(contracts)?);
    found.extend(files(contracts)?);
    found.extend(documents::drift(contracts)?);
    Ok(found)
}

/// The catalogue's file.
const CATALOGUE: &str = "events/src/catalogue.rs";

/// The file of an event's type, or of the message's.
fn type_file(entry: &Entry) -> String {
    match entry.kind {
        notice::KIND => notice::TYPE_FILE.to_owned(),
        _ => format!("events/src/{}.rs", entry.producer),
    }
}

/// The file of a service's views.
fn views_file(service: &str) -> String {
    format!("services/{service}/src/subscriptions.rs")
}

/// What is wrong with data under a schema; nothing when it is valid.
pub(crate) fn invalid(schema: &Value, data: &Value) -> Option<String> {
    match jsonschema::options().should_validate_formats(true).build(schema) {
        Err(error) => Some(format!("the schema is not one: {error}")),
        Ok(validator) => validator.iter_errors(data).next().map(|e| format!("{}: {e}", e.instance_path())),
    }
}

/// Examples satisfy the schema and come back from the Rust type as the bytes that they were.
fn examples(contracts: &Contracts, entry: &Entry) -> Vec<String> {
    let (name, file) = (named(entry), format!("contracts/{}", examples_path(entry)));
    let examples = match contracts.examples(entry) {
        Ok(examples) if examples.is_empty() => {
            return vec![format!(
                "{name}: {file} holds no example; delete it, and `just bless` writes a first one"
            )];
        }
        Ok(examples) => examples,
        Err(error) => return vec![format!("{name}: {error:#}")],
    };
    let mut found = Vec::new();
    let mut again = Vec::new();
    for (n, example) in examples.iter().enumerate() {
        if let Some(reason) = invalid(&(entry.schema)(), example) {
            found.push(format!("{name}: example {n} in {file} is not valid: {reason}"));
        }
        match (entry.reread)(example) {
            Ok(value) => again.push(value),
            Err(reason) => found.push(format!("{name}: example {n} in {file} is not read: {reason}")),
        }
    }
    let written = pretty(&Value::Array(again));
    let kept = fs::read_to_string(contracts.folder.join(examples_path(entry))).unwrap_or_default();
    if found.is_empty() && kept != written {
        let of = type_file(entry);
        found.push(format!(
            "{name}: the examples in {file} do not come back from the type in {of} as the bytes that they \
             were"
        ));
    }
    found
}

/// Every event has a producer that publishes it, and exactly the consumers that the catalogue names.
fn interest(contracts: &Contracts, entry: &Entry) -> Vec<String> {
    let name = named(entry);
    let of = |s: &Subscription| s.kind == entry.kind && s.version == entry.version;
    let consumers = contracts.consumers.iter().filter(|c| c.subscriptions.iter().any(of));
    let consumers: BTreeSet<&str> = consumers.map(|c| c.service).collect();
    let mut found = Vec::new();
    if consumers != entry.consumers.iter().copied().collect() {
        let named = entry.consumers;
        found.push(format!(
            "{name}: the catalogue ({CATALOGUE}) names the consumers {named:?}, \
             services/*/src/subscriptions.rs have {consumers:?}"
        ));
    }
    if consumers.is_empty() && entry.audience.is_none() {
        found.push(format!(
            "{name}: is consumed by no service: name a consumer or an audience in {CATALOGUE}"
        ));
    }
    if contracts.published.as_ref().is_some_and(|published| !published.contains(&name)) {
        let producer = entry.producer;
        found.push(format!(
            "{name}: no story makes {producer} publish it; add one in tests/suite/contracts.rs, or delete the \
             event in {CATALOGUE}"
        ));
    }
    found
}

/// What a consumer reads is promised; it reads every example, and no personal data that is meant for another
/// service.
fn needs(contracts: &Contracts, consumer: &Consumer, subscription: &Subscription) -> Vec<String> {
    let (service, Subscription { kind, version, .. }) = (consumer.service, subscription);
    let name = format!("{service} consumes {kind} v{version}");
    let file = views_file(service);
    let entry = contracts.entries.iter().find(|e| (e.kind, e.version) == (*kind, *version));
    let Some(entry) = entry else {
        return vec![format!(
            "{name}: no service publishes it: give it a row in {CATALOGUE}, or delete it in {file}"
        )];
    };
    let (written, view) = ((entry.schema)(), (subscription.schema)());
    let mut reasons = promise::unmet(&written, &view, promise::Reader::Strict);
    let examples = contracts.examples(entry).unwrap_or_default();
    reasons.extend(examples.iter().filter_map(|example| (subscription.read)(example).err()));
    for (field, reader) in personal(&written) {
        if view["properties"].get(&field).is_some() && reader != service {
            reasons.push(format!("{field} is personal data, and for {reader} alone"));
        }
    }
    reasons
        .into_iter()
        .map(|reason| format!("{name}: {reason}; edit {file}, or {}", type_file(entry)))
        .collect()
}

/// The fields of personal data, and the service that each is meant for.
fn personal(schema: &Value) -> Vec<(String, String)> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let tagged =
        properties.filter_map(|(name, field)| Some((name.clone(), field["x-pii"].as_str()?.to_owned())));
    tagged.collect()
}

/// What was released still holds: old events are read by today's code, today's events by the readers of then.
fn promises(contracts: &Contracts) -> Result<Vec<String>> {
    let mut found = release::tampered(&contracts.folder)?;
    let http = release::http(&contracts.folder, &openapi::read(&contracts.folder)?)?;
    found.extend(http.into_iter().map(|reason| format!("contracts/openapi.yaml: {reason}")));
    for old in release::promised(&contracts.folder)? {
        let name = format!("{} v{}: release {}", old.kind, old.version, old.release);
        let today = contracts.promises().find(|e| e.kind == old.kind && e.version == old.version);
        match today {
            Some(today) => {
                found.extend(broken(contracts, &old, today).map(|reason| format!("{name} {reason}")));
            }
            None => found.push(format!(
                "{name} promised it, and no service publishes it any more; it has to stay in {CATALOGUE}"
            )),
        }
    }
    Ok(found)
}

/// How a promise is broken, in words that follow the release's name.
fn broken<'a>(
    contracts: &'a Contracts,
    old: &'a release::Promised,
    today: &'a Entry,
) -> impl Iterator<Item = String> + 'a {
    let of = type_file(today);
    let reasons = match release::change(&old.schema, &(today.schema)()) {
        release::Change::Breaking(reasons) => reasons,
        release::Change::None | release::Change::Compatible => Vec::new(),
    };
    let changed = reasons.into_iter().map(move |reason| {
        format!("is broken: {reason}; publish a new version beside the old one, {of} has to keep this one")
    });
    let unread = old.examples.iter().filter_map(|example| {
        let (file, reason) = reads_again(contracts, today, example)?;
        Some(format!("is broken: its event is not read: {reason}; edit {file}"))
    });
    let examples = contracts.examples(today).unwrap_or_default();
    let refused = examples.into_iter().filter_map(|example| invalid(&old.schema, &example));
    let refused = refused.map(|reason| {
        let (file, of) = (examples_path(today), type_file(today));
        format!("is broken: its reader refuses today's event: {reason}; edit contracts/{file}, or {of}")
    });
    changed.chain(unread).chain(refused)
}

/// Whether an old event, as the bus would bring it, is still read by each service that consumes it; if not, the
/// file to edit, and why.
fn reads_again(contracts: &Contracts, entry: &Entry, data: &Value) -> Option<(String, String)> {
    let detail = json!({"metadata": wiring::metadata(entry), "data": data});
    let envelope = match Envelope::read(detail) {
        Ok(envelope) => envelope,
        Err(error) => return Some(("events/src/envelope.rs".into(), error.to_string())),
    };
    for consumer in &contracts.consumers {
        let mut views = consumer.subscriptions.iter();
        let view = views.find(|s| (s.kind, s.version) == (entry.kind, entry.version));
        if let Some(reason) = view.and_then(|view| (view.read)(&envelope.data).err()) {
            return Some((views_file(consumer.service), reason));
        }
    }
    (entry.reread)(data).err().map(|reason| (type_file(entry), reason))
}

/// The generated files are the code's, and there is no other.
fn files(contracts: &Contracts) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let generated = contracts.generated()?;
    for (path, text) in &generated {
        if fs::read_to_string(contracts.folder.join(path)).ok().as_ref() != Some(text) {
            found.push(format!("contracts/{path} differs from the code; run `just bless`"));
        }
    }
    let by_hand = ["API.md", "Cargo.toml", "openapi.yaml", "schemathesis.toml", "schemathesis_hooks.py"]
        .map(str::to_owned);
    let by_hand = contracts.promises().map(examples_path).chain(by_hand);
    let known: BTreeSet<String> = by_hand.chain(generated.into_keys()).collect();
    for file in release::files_below(&contracts.folder)? {
        let path = file.strip_prefix(&contracts.folder).unwrap_or(&file).display().to_string();
        let elsewhere = ["released/", "src/"].iter().any(|folder| path.starts_with(folder));
        let cached = path.contains("__pycache__");
        if !elsewhere && !known.contains(&path) && !cached {
            found.push(format!(
                "contracts/{path}: belongs to no event and no service; delete it, or name its event in \
                 {CATALOGUE}"
            ));
        }
    }
    Ok(found)
}
