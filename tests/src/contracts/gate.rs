//! The gate: every way in which the contracts can drift, looked for in both directions. A breach is one line that
//! names the event and what is wrong.

use super::{Consumer, Contracts, pretty, promise, release};
use anyhow::{Context, Result};
use chassis::rows::{Attr, Item};
use chassis::telling::{self, Cause, envelope_of, event_rows};
use chrono::DateTime;
use events::catalogue::Entry;
use events::{Envelope, source_of};
use localstack::aws::dynamodb::StreamRecord;
use localstack::aws::eventbridge::input_transformer::{PipeData, Shape};
use localstack::template::names::{self, Names};
use localstack::template::{self, resources};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fs;
use uuid::Uuid;

/// The subject of every example: the order that its data names.
const SUBJECT: &str = "018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f";

/// Everything that is wrong.
///
/// # Errors
/// When the folders cannot be read at all.
pub fn breaches(contracts: &Contracts) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in &contracts.entries {
        found.extend(examples(contracts, entry));
        found.extend(interest(contracts, entry));
    }
    for consumer in &contracts.consumers {
        found.extend(needs(contracts, consumer));
    }
    found.extend(promises(contracts)?);
    found.extend(wiring(contracts)?);
    found.extend(files(contracts)?);
    Ok(found)
}

fn named(entry: &Entry) -> String {
    format!("{} v{}", entry.kind, entry.version)
}

fn invalid(schema: &Value, data: &Value) -> Option<String> {
    match jsonschema::options().should_validate_formats(true).build(schema) {
        Err(error) => Some(format!("the schema is not one: {error}")),
        Ok(validator) => validator.iter_errors(data).next().map(|e| format!("{}: {e}", e.instance_path())),
    }
}

/// Examples satisfy the schema and come back from the Rust type as the bytes that they were.
fn examples(contracts: &Contracts, entry: &Entry) -> Vec<String> {
    let name = named(entry);
    let examples = match contracts.examples(entry) {
        Ok(examples) if examples.is_empty() => return vec![format!("{name}: has no example")],
        Ok(examples) => examples,
        Err(error) => return vec![format!("{name}: {error:#}")],
    };
    let mut found = Vec::new();
    let mut again = Vec::new();
    for (n, example) in examples.iter().enumerate() {
        if let Some(reason) = invalid(&(entry.schema)(), example) {
            found.push(format!("{name}: example {n} is not valid: {reason}"));
        }
        match (entry.reread)(example) {
            Ok(value) => again.push(value),
            Err(reason) => found.push(format!("{name}: example {n} is not read: {reason}")),
        }
    }
    let written = pretty(&Value::Array(again));
    let kept = fs::read_to_string(contracts.folder.join(super::examples_path(entry))).unwrap_or_default();
    if found.is_empty() && kept != written {
        found
            .push(format!("{name}: its examples do not come back from the type as the bytes that they were"));
    }
    found
}

/// Every event is told by somebody and taken by somebody, and by exactly those that the catalogue names.
fn interest(contracts: &Contracts, entry: &Entry) -> Vec<String> {
    let name = named(entry);
    let reads = |c: &&Consumer| c.reads.iter().any(|r| r.kind == entry.kind && r.version == entry.version);
    let takers: BTreeSet<&str> = contracts.consumers.iter().filter(reads).map(|c| c.service).collect();
    let mut found = Vec::new();
    if takers != entry.takers.iter().copied().collect() {
        found.push(format!(
            "{name}: the catalogue names the takers {:?}, the code has {takers:?}",
            entry.takers
        ));
    }
    if takers.is_empty() && entry.audience.is_none() {
        found.push(format!("{name}: is taken by nobody"));
    }
    if contracts.told.as_ref().is_some_and(|told| !told.contains(entry.kind)) {
        found.push(format!("{name}: is told by nobody"));
    }
    found
}

/// What a consumer reads is promised, and it reads every example and no other service's personal data.
fn needs(contracts: &Contracts, consumer: &Consumer) -> Vec<String> {
    let mut found = Vec::new();
    for reading in &consumer.reads {
        let name = format!("{} reads {} v{}", consumer.service, reading.kind, reading.version);
        let entry = contracts.entries.iter().find(|e| (e.kind, e.version) == (reading.kind, reading.version));
        let Some(entry) = entry else {
            found.push(format!("{name}: is told by nobody"));
            continue;
        };
        let (written, view) = ((entry.schema)(), (reading.schema)());
        let unmet = promise::unmet(&written, &view, promise::Reader::Strict);
        found.extend(unmet.into_iter().map(|reason| format!("{name}: {reason}")));
        for example in contracts.examples(entry).unwrap_or_default() {
            found.extend((reading.read)(&example).err().map(|reason| format!("{name}: {reason}")));
        }
        for (field, reader) in personal(&written) {
            if view["properties"].get(&field).is_some() && reader != consumer.service {
                found.push(format!("{name}: {field} is personal data, and for {reader} alone"));
            }
        }
    }
    found
}

/// The fields of personal data, and who reads them.
fn personal(schema: &Value) -> Vec<(String, String)> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let tagged =
        properties.filter_map(|(name, field)| Some((name.clone(), field["x-pii"].as_str()?.to_owned())));
    tagged.collect()
}

/// What was released still holds: old events are read by today's code, today's events by the readers of then.
fn promises(contracts: &Contracts) -> Result<Vec<String>> {
    let mut found = release::tampered(&contracts.folder)?;
    found.extend(release::http(&contracts.folder, &super::openapi::read(&contracts.folder)?)?);
    for old in release::promised(&contracts.folder)? {
        let name = format!("{} v{}: release {}", old.kind, old.version, old.release);
        let today = contracts.entries.iter().find(|e| e.kind == old.kind && e.version == old.version);
        let Some(today) = today else {
            found.push(format!("{name} promised it, and nobody tells it any more"));
            continue;
        };
        if let release::Change::Breaking(reasons) = release::change(&old.schema, &(today.schema)()) {
            found.extend(reasons.into_iter().map(|reason| format!("{name} is broken: {reason}")));
        }
        for example in &old.examples {
            found.extend(reads_again(contracts, today, example).map(|reason| format!("{name}: {reason}")));
        }
        for example in contracts.examples(today).unwrap_or_default() {
            let refused = invalid(&old.schema, &example);
            found.extend(refused.map(|reason| format!("{name}: its reader refuses today's event: {reason}")));
        }
    }
    Ok(found)
}

/// Whether an old event, as the bus would bring it, is still read by everybody who takes it.
fn reads_again(contracts: &Contracts, entry: &Entry, data: &Value) -> Option<String> {
    let text = Value::String(data.to_string());
    for placed in [data, &text] {
        let detail = json!({"metadata": metadata(entry), "data": placed});
        let envelope = match Envelope::read(detail) {
            Ok(envelope) => envelope,
            Err(error) => return Some(format!("its event is not read: {error}")),
        };
        let readings = contracts.consumers.iter().flat_map(|c| &c.reads);
        let mut readings = readings.filter(|r| (r.kind, r.version) == (entry.kind, entry.version));
        if let Some(reason) = readings.find_map(|reading| (reading.read)(&envelope.data).err()) {
            return Some(format!("its event is not read: {reason}"));
        }
    }
    (entry.reread)(data).err().map(|reason| format!("its event is not read: {reason}"))
}

fn metadata(entry: &Entry) -> Value {
    let row = row(entry, &json!({}));
    row.and_then(|row| Ok(json!(envelope_of(&row)?.metadata))).unwrap_or_default()
}

/// The templates, as a stage named dev has them.
///
/// # Errors
/// When one is refused.
pub fn model(contracts: &Contracts) -> Result<resources::Model> {
    let names = Names { endpoint: "http://127.0.0.1:1".into(), api: "http://127.0.0.1:2".into() };
    let given =
        [("ProviderKey", "sk_test"), ("CarrierKey", "ck_test"), ("CarrierUrl", "https://carrier.example")];
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    template::load(&contracts.infra, &names, &given)
}

/// Rules let in exactly what the crates read, and pipes make envelopes of event rows.
fn wiring(contracts: &Contracts) -> Result<Vec<String>> {
    let model = model(contracts)?;
    let mut found = Vec::new();
    for consumer in &contracts.consumers {
        let name = format!("dev-{}-inbox", consumer.service);
        match model.rules.iter().find(|rule| rule.name == name) {
            Some(rule) => {
                found.extend(rule_difference(contracts, consumer, &rule.event_pattern));
                found.extend(way_in(consumer.service, rule, &model));
            }
            None => found.push(format!("{}: no rule {name}", consumer.service)),
        }
    }
    for teller in contracts.entries.iter().map(|entry| entry.teller).collect::<BTreeSet<_>>() {
        match model.pipes.iter().find(|pipe| pipe.name == format!("dev-{teller}")) {
            Some(pipe) => {
                found.extend(pipe_difference(contracts, teller, pipe));
                found.extend(way_out(teller, pipe));
            }
            None => found.push(format!("{teller}: no pipe carries its events")),
        }
    }
    Ok(found)
}

/// A service's rule leads from the one bus to its own queue, which no other rule fills, and on to its reactor.
fn way_in(service: &str, rule: &resources::Rule, model: &resources::Model) -> Vec<String> {
    let inbox = format!("dev-{service}-inbox");
    let leads = |rule: &resources::Rule| rule.targets.iter().any(|t| names::last_part(&t.arn) == inbox);
    let mut found = Vec::new();
    if rule.event_bus_name != BUS {
        found.push(format!("{service}: its rule listens to the bus {}", rule.event_bus_name));
    }
    if !leads(rule) || rule.targets.len() != 1 {
        found.push(format!("{service}: its rule has to lead to {inbox} and nowhere else"));
    }
    let others = model.rules.iter().filter(|other| other.name != rule.name && leads(other));
    found.extend(others.map(|other| format!("{service}: the rule {} fills its queue too", other.name)));
    let reactor = format!("dev-{service}-reactor");
    let fed = |m: &&resources::EventSourceMapping| names::last_part(&m.event_source_arn) == inbox;
    if model.mappings.iter().find(fed).is_none_or(|m| names::last_part(&m.function_name) != reactor) {
        found.push(format!("{service}: its queue does not feed {reactor}"));
    }
    found
}

/// A service's pipe leads from its own table's stream to the one bus.
fn way_out(teller: &str, pipe: &resources::Pipe) -> Vec<String> {
    let mut found = Vec::new();
    if names::table_of_stream(&pipe.source) != Some(&format!("dev-{teller}")) {
        found.push(format!("{teller}: its pipe starts at {}", pipe.source));
    }
    if names::last_part(&pipe.target) != BUS {
        found.push(format!("{teller}: its pipe ends at {}", pipe.target));
    }
    found
}

/// The bus of the stage that the gate looks at.
const BUS: &str = "dev-quadrille";

fn rule_difference(contracts: &Contracts, consumer: &Consumer, pattern: &Value) -> Vec<String> {
    let kinds: BTreeSet<String> = consumer.reads.iter().map(|reading| reading.kind.to_owned()).collect();
    let told = |entry: &&Entry| kinds.contains(entry.kind);
    let sources = contracts.entries.iter().filter(told).map(|entry| source_of(entry.teller)).collect();
    let of_replays = json!([{"exists": false}]);
    let mut found = Vec::new();
    for (field, wanted) in [("detail-type", kinds), ("source", sources)] {
        let has: BTreeSet<String> = pattern[field]
            .as_array()
            .into_iter()
            .flatten()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        for one in wanted.difference(&has) {
            found.push(format!("{}: its rule does not let in the {field} {one}", consumer.service));
        }
        for one in has.difference(&wanted) {
            found.push(format!(
                "{}: its rule lets in the {field} {one}, which it does not read",
                consumer.service
            ));
        }
    }
    if pattern["replay-name"] != of_replays || pattern.as_object().map(Map::len) != Some(3) {
        found.push(format!("{}: its rule has to match source, detail-type and no replay", consumer.service));
    }
    found
}

/// The event row of an example, as a service writes it.
fn row(entry: &Entry, data: &Value) -> Result<Item> {
    let told = telling::Entry {
        kind: telling::Kind::Told,
        event: entry.kind.into(),
        version: entry.version,
        data: data.clone(),
        teller: entry.teller.into(),
        learned_from: None,
    };
    // Every id another one: a template that confuses two of them is found.
    let request = Cause::request(Uuid::from_u128(1), Uuid::from_u128(2), None);
    let cause = Cause { is_request: false, origin: Uuid::from_u128(3), ..request };
    let subject = data["product_id"].as_str().filter(|_| data.get("order_id").is_none()).unwrap_or(SUBJECT);
    let about = (&*format!("order#{subject}"), subject);
    let mut rows = event_rows(&[told], about, 1, (entry.teller, &cause, DateTime::UNIX_EPOCH))?;
    rows.pop().context("one entry is one row")
}

/// A row as the table's stream shows it.
fn record(row: &Item) -> StreamRecord {
    let text = |text: &str| json!({ "S": text });
    let keys = json!({"pk": text(&row.key.pk), "sk": text(&row.key.sk)});
    let mut image = keys.as_object().cloned().unwrap_or_default();
    image.extend(row.attrs.iter().map(|(name, attr)| match attr {
        Attr::S(value) => (name.clone(), text(value)),
        Attr::N(number) => (name.clone(), json!({"N": number.to_string()})),
    }));
    StreamRecord {
        sequence: 1,
        event_name: "INSERT".into(),
        keys: keys.to_string(),
        new_image: Some(Value::Object(image).to_string()),
        created_at: 0,
    }
}

fn pipe_difference(contracts: &Contracts, teller: &str, pipe: &resources::Pipe) -> Vec<String> {
    let mut found = Vec::new();
    for entry in contracts.entries.iter().filter(|entry| entry.teller == teller) {
        for mode in [PipeData::Object, PipeData::String] {
            for example in contracts.examples(entry).unwrap_or_default() {
                let carried = carry(entry, &example, pipe, mode);
                let name = named(entry);
                found.extend(carried.err().map(|reason| format!("{name}: the pipe of {teller}: {reason:#}")));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Sends an example's row through the pipe; what comes out has to be its envelope.
fn carry(entry: &Entry, data: &Value, pipe: &resources::Pipe, mode: PipeData) -> Result<()> {
    let row = row(entry, data)?;
    let put = Shape::new(pipe, mode)?.make(&record(&row))?.context("its filter lets no event row through")?;
    let envelope = Envelope::read(serde_json::from_str(&put.detail)?)?;
    let told = envelope_of(&row)?;
    anyhow::ensure!(envelope == told, "it does not yield the envelope of the row");
    anyhow::ensure!(put.source == told.metadata.source, "its source is {:?}", put.source);
    anyhow::ensure!(put.detail_type == entry.kind, "its detail-type is {:?}", put.detail_type);
    anyhow::ensure!(put.time == told.metadata.time, "its time is {:?}", put.time);
    anyhow::ensure!(put.resources == [told.metadata.subject], "its resources are {:?}", put.resources);
    let recorded = Shape::new(pipe, mode)?.make(&record(&row.with("kind", "recorded")))?;
    anyhow::ensure!(recorded.is_none(), "it lets out what was only recorded");
    Ok(())
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
    let by_hand = contracts.entries.iter().map(super::examples_path);
    let by_hand =
        by_hand.chain(["openapi.yaml", "schemathesis.toml", "schemathesis_hooks.py"].map(str::to_owned));
    let known: BTreeSet<String> = by_hand.chain(generated.into_keys()).collect();
    for file in release::files_below(&contracts.folder)? {
        let path = file.strip_prefix(&contracts.folder).unwrap_or(&file).display().to_string();
        let cached = path.contains("__pycache__");
        if !path.starts_with("released/") && !known.contains(&path) && !cached {
            found.push(format!("contracts/{path}: belongs to no event and no service"));
        }
    }
    Ok(found)
}
