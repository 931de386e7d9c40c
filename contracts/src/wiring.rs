//! The wiring in `infra/`: each service's [`rules`] let in exactly what its crate consumes, and its pipe, or the relay in its
//! place, publishes the envelopes of its event rows. A breach names the template to edit.

use crate::rules::{self, BUS, template_of};
use crate::{Contracts, named};
use anyhow::{Context, Result};
use aws::outbox::enriched;
use chassis::outbox::{Cause, Context as Commit, EntryKind, OutboxEntry, envelope_of, event_rows};
use chassis::store::{AggregateId, Attr, Item};
use chrono::DateTime;
use events::EventId;
use events::catalogue::Entry;
use localstack::aws::dynamodb::StreamRecord;
use localstack::aws::eventbridge::element::Shape;
use localstack::aws::streams::{Filter, Record};
use localstack::template::names::{self, Names};
use localstack::template::{self, resources};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The subject of every example: the order that its data names.
pub const SUBJECT: &str = "018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f";

/// The parameter with which relays publish, and no pipes.
pub const RELAYED: [(&str, &str); 1] = [("FanOut", "relay")];

/// The templates, as a stage named dev has them.
///
/// # Errors
/// When one is refused.
pub fn model(contracts: &Contracts) -> Result<resources::Model> {
    model_with(contracts, &[])
}

/// The same, with these parameters.
///
/// # Errors
/// When a template is refused.
pub fn model_with(contracts: &Contracts, parameters: &[(&str, &str)]) -> Result<resources::Model> {
    let names = Names { endpoint: "http://127.0.0.1:1".into(), api: "http://127.0.0.1:2".into() };
    let secret = names::secret_arn("dev-quadrille-example");
    let given = [
        ("ProviderSecretArn", secret.as_str()),
        ("CarrierSecretArn", &secret),
        ("CarrierUrl", "https://carrier.example"),
    ];
    let given = given.iter().chain(parameters);
    let given = given.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    template::load(&contracts.infra, &names, &given)
}

/// Everything that is wrong with the rules, the queues, the pipes and the relays.
///
/// # Errors
/// When a template is refused.
pub fn breaches(contracts: &Contracts) -> Result<Vec<String>> {
    let (model, relayed) = (model(contracts)?, model_with(contracts, &RELAYED)?);
    let mut found = Vec::new();
    for consumer in &contracts.consumers {
        found.extend(rules::breaches(contracts, consumer, &model));
    }
    for producer in contracts.entries.iter().map(|entry| entry.producer).collect::<BTreeSet<_>>() {
        match model.pipes.iter().find(|pipe| pipe.name == format!("dev-quadrille-{producer}")) {
            Some(pipe) => {
                found.extend(pipe_difference(contracts, producer, pipe));
                found.extend(way_out(producer, pipe));
                found.extend(way_round(producer, pipe, &relayed));
            }
            None => {
                found.push(format!("{}: there is no pipe dev-quadrille-{producer}", template_of(producer)));
            }
        }
    }
    Ok(found)
}

/// A service's pipe leads from its own table's stream, through its own function, to the one bus.
fn way_out(producer: &str, pipe: &resources::Pipe) -> Vec<String> {
    let (mut found, file) = (Vec::new(), template_of(producer));
    if names::table_of_stream(&pipe.source) != Some(&format!("dev-quadrille-{producer}")) {
        found.push(format!("{file}: the pipe starts at {}", pipe.source));
    }
    if names::last_part(&pipe.enrichment) != format!("dev-quadrille-{producer}-outbox") {
        found.push(format!("{file}: the pipe's enrichment is {}", pipe.enrichment));
    }
    if names::last_part(&pipe.target) != BUS {
        found.push(format!("{file}: the pipe ends at {}", pipe.target));
    }
    found
}

/// Where there is no pipe, a service's relay publishes the same records of the same stream on the same bus.
fn way_round(producer: &str, pipe: &resources::Pipe, model: &resources::Model) -> Vec<String> {
    let (mut found, file) = (Vec::new(), template_of(producer));
    let name = format!("dev-quadrille-{producer}-relay");
    let function = model.functions.iter().find(|function| function.function_name == name);
    let is_its = |m: &&resources::StreamMapping| names::last_part(&m.function_name) == name;
    let (Some(function), Some(mapping)) = (function, model.stream_mappings.iter().find(is_its)) else {
        return vec![format!("{file}: with FanOut=relay there is no {name} with a mapping")];
    };
    let patterns = |criteria: Option<&resources::FilterCriteria>| -> Vec<String> {
        criteria.iter().flat_map(|criteria| &criteria.filters).map(|filter| filter.pattern.clone()).collect()
    };
    let of_pipe = patterns(pipe.source_parameters.filter_criteria.as_ref());
    if mapping.event_source_arn != pipe.source || patterns(mapping.filter_criteria.as_ref()) != of_pipe {
        found.push(format!("{file}: the relay does not get the records that the pipe carries"));
    }
    let bus = function.environment.as_ref().and_then(|environment| environment.variables.get("BUS"));
    if function.handler != "relay" || bus.map(String::as_str) != Some(BUS) {
        found.push(format!("{file}: the relay does not publish on {BUS}"));
    }
    found
}

/// The event row of an example, as a service writes it.
fn row(entry: &Entry, data: &Value) -> Result<Item> {
    let published = OutboxEntry {
        kind: EntryKind::Published,
        event: entry.kind.into(),
        version: entry.version,
        data: data.clone(),
        producer: entry.producer.into(),
        learned_from: None,
    };
    // Every id another one: a template that confuses two of them is found.
    let cause = Cause::Event {
        id: EventId(Uuid::from_u128(1)),
        causation_id: Uuid::from_u128(3),
        correlation_id: Uuid::from_u128(2),
        traceparent: "00-00000000000000000000000000000002-0000000000000001-01".to_owned(),
    };
    let subject = data["product_id"].as_str().filter(|_| data.get("order_id").is_none()).unwrap_or(SUBJECT);
    let commit = Commit { cause: &cause, now: DateTime::UNIX_EPOCH };
    let mut rows = event_rows(entry.producer, &[published], &AggregateId::new("order", subject), 1, &commit)?;
    rows.pop().context("one entry is one row")
}

/// A row as the table's stream shows it.
fn record(row: &Item) -> Record {
    let text = |text: &str| json!({ "S": text });
    let keys = json!({"pk": text(&row.key.pk), "sk": text(&row.key.sk)});
    let mut image = keys.as_object().cloned().unwrap_or_default();
    image.extend(row.attrs.iter().map(|(name, attr)| match attr {
        Attr::S(value) => (name.clone(), text(value)),
        Attr::N(number) => (name.clone(), json!({"N": number.to_string()})),
    }));
    let record = StreamRecord {
        sequence: 1,
        event_name: "INSERT",
        keys: keys.to_string(),
        new_image: Some(Value::Object(image).to_string()),
        created_at: 0,
    };
    Record::new("dev", &record)
}

fn pipe_difference(contracts: &Contracts, producer: &str, pipe: &resources::Pipe) -> Vec<String> {
    let mut found = Vec::new();
    for entry in contracts.entries.iter().filter(|entry| entry.producer == producer) {
        for example in contracts.examples(entry).unwrap_or_default() {
            let carried = carry(entry, &example, pipe);
            let (name, file) = (named(entry), template_of(producer));
            found.extend(carried.err().map(|reason| format!("{file}: the pipe: {name}: {reason:#}")));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Sends an example's row through the pipe and its function; what comes out has to be its envelope.
fn carry(entry: &Entry, data: &Value, pipe: &resources::Pipe) -> Result<()> {
    let filter = Filter::new(pipe.source_parameters.filter_criteria.as_ref())?;
    let (row, shape) = (row(entry, data)?, Shape::new(&pipe.target_parameters)?);
    let published = record(&row);
    anyhow::ensure!(filter.passes(&published)?, "its filter lets no event row through");
    let shown: Value = serde_json::from_str(&published.json)?;
    let element = enriched(std::slice::from_ref(&shown))?.pop().context("one record is one element")?;
    let put = shape.make(&element)?;
    let (detail, written): (Value, _) = (serde_json::from_str(&put.detail)?, envelope_of(&row)?);
    anyhow::ensure!(detail == json!(written), "it does not yield the envelope of the row");
    anyhow::ensure!(put.source == written.metadata.source, "its source is {:?}", put.source);
    anyhow::ensure!(put.detail_type == entry.kind, "its detail-type is {:?}", put.detail_type);
    anyhow::ensure!(put.time == written.metadata.time, "its time is {:?}", put.time);
    anyhow::ensure!(put.resources == [written.metadata.subject], "its resources are {:?}", put.resources);
    for path in shape.paths() {
        let same = shown.pointer(path) == element.pointer(path);
        anyhow::ensure!(same, "{path} is not the same in the record and in what its function returns");
    }
    let recorded = filter.passes(&record(&row.with("kind", "recorded")))?;
    anyhow::ensure!(!recorded, "it lets out what was only recorded");
    Ok(())
}

/// The metadata of an event as its producer writes it; null when its row cannot be made.
pub(crate) fn metadata(entry: &Entry) -> Value {
    let row = row(entry, &json!({}));
    row.and_then(|row| Ok(json!(envelope_of(&row)?.metadata))).unwrap_or_default()
}
