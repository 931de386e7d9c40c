//! The way out of a table: the event rows that its stream shows become envelopes, by the code that republishing uses too.
//! A pipe calls [`enriched`] between the stream and the bus; where there are no pipes, [`relay`] publishes by itself.

use crate::eventbridge::EventBus;
use chassis::Failure;
use chassis::outbox::envelope_of;
use chassis::store::{Attr, Item, Key};
use events::Envelope;
use serde_json::{Value, json};

/// What the pipe is to send for each record of a batch, in order.
///
/// # Errors
/// [`Failure::Poison`] for the first record that is no event row; nothing of the batch is sent then, because a pipe knows
/// no partial failure of its enrichment. It halves the batch until that record is alone.
pub fn enriched(records: &[Value]) -> Result<Vec<Value>, Failure> {
    records.iter().map(|record| Ok(element(record, &envelope(record)?))).collect()
}

/// One element of the answer: the envelope; the id by which a pipe knows which record an element stands for, when the bus
/// refuses some of them; and the texts that the pipe's paths name, at the place where the record has them. AWS does not say
/// whether a path reads the record or this element: so both give the same.
///
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html#pipes-partial-batch-failure>
fn element(record: &Value, Envelope { metadata, data }: &Envelope) -> Value {
    let image = record.pointer("/dynamodb/NewImage");
    let named =
        ["type", "source", "time", "subject"].map(|name| (name.to_owned(), image.map(|i| i[name].clone())));
    let named: serde_json::Map<_, _> = named.into_iter().map(|(name, text)| (name, json!(text))).collect();
    json!({"eventID": record["eventID"], "dynamodb": {"NewImage": named}, "metadata": metadata, "data": data})
}

/// The envelope of the event row that a record of the stream shows.
///
/// # Errors
/// [`Failure::Poison`] when the record shows none.
pub fn envelope(record: &Value) -> Result<Envelope, Failure> {
    let place = || format!("record {}", record.pointer("/dynamodb/SequenceNumber").unwrap_or(&Value::Null));
    let image = record.pointer("/dynamodb/NewImage").and_then(Value::as_object);
    let image = image.ok_or_else(|| Failure::Poison(format!("{}: no NewImage", place())))?;
    let mut item = Item::new(Key::new("", ""));
    for (name, value) in image {
        let attr = attr(value);
        let attr = attr.ok_or_else(|| Failure::Poison(format!("{}: no usable {name:?}", place())))?;
        match (name.as_str(), attr) {
            ("pk", Attr::S(pk)) => item.key.pk = pk,
            ("sk", Attr::S(sk)) => item.key.sk = sk,
            (_, attr) => drop(item.attrs.insert(name.clone(), attr)),
        }
    }
    envelope_of(&item)
}

/// An attribute in DynamoDB's JSON: `{"S": "text"}` or `{"N": "7"}`.
fn attr(value: &Value) -> Option<Attr> {
    let text = |kind: &str| value.get(kind).and_then(Value::as_str);
    match (text("S"), text("N")) {
        (Some(text), None) => Some(text.into()),
        (None, Some(digits)) => digits.parse().ok().map(Attr::N),
        _ => None,
    }
}

/// Publishes the events of a batch in their order, up to the first that cannot be: the answer names its record, and Lambda
/// hands over that record and all after it again.
///
/// # Errors
/// When the first record itself fails: there is no progress to report, and an error has Lambda halve the batch.
pub async fn relay(bus: &EventBus, records: &[Value]) -> Result<Value, Failure> {
    let read: Vec<Result<Envelope, Failure>> = records.iter().map(envelope).collect();
    let (events, unreadable) = readable(read);
    let refused = bus.put(&events).await.err();
    report(records, refused.map(|refused| (refused.first, refused.failure)).or(unreadable))
}

/// The envelopes before the first record that cannot be read, and that record's place and failure.
fn readable(read: Vec<Result<Envelope, Failure>>) -> (Vec<Envelope>, Option<(usize, Failure)>) {
    let mut events = Vec::with_capacity(read.len());
    for envelope in read {
        match envelope {
            Ok(envelope) => events.push(envelope),
            Err(failure) => {
                let place = events.len();
                return (events, Some((place, failure)));
            }
        }
    }
    (events, None)
}

/// The answer of a relay whose first failed record is at this place.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>
fn report(records: &[Value], failed: Option<(usize, Failure)>) -> Result<Value, Failure> {
    let Some((place, failure)) = failed else { return Ok(json!({"batchItemFailures": []})) };
    let sequence = records.get(place).and_then(|record| record.pointer("/dynamodb/SequenceNumber"));
    match sequence {
        Some(sequence) if place > 0 => {
            tracing::warn!(class = failure.class(), reason = failure.to_string(), "a record stays");
            Ok(json!({"batchItemFailures": [{"itemIdentifier": sequence}]}))
        }
        _ => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u64) -> Value {
        let uuid = |last: u64| json!({"S": format!("018f0000-0000-7000-8000-00000000000{last}")});
        let text = |text: &str| json!({ "S": text });
        json!({"eventID": format!("e{n}"), "eventName": "INSERT", "dynamodb": {
            "SequenceNumber": n.to_string(),
            "Keys": {"pk": text("product#beans"), "sk": text("event#00000001")},
            "NewImage": {
                "pk": text("product#beans"), "sk": text("event#00000001"), "kind": text("published"),
                "id": uuid(n), "source": text("quadrille.inventory"), "type": text("product.counted"),
                "version": {"N": "1"}, "subject": text("beans"), "seq": {"N": n.to_string()},
                "time": text("2026-11-20T09:30:00.120Z"), "correlation_id": uuid(2), "causation_id": uuid(3),
                "traceparent": text("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                "data": text("{\"product_id\":\"beans\",\"note\":\"say \\\"hi\\\"\"}"),
            },
        }})
    }

    fn without(mut record: Value, name: &str) -> Value {
        record["dynamodb"]["NewImage"].as_object_mut().unwrap().remove(name);
        record
    }

    /// Guards: data is an object and numbers are integers, whatever stands in the text; the element names its record.
    #[test]
    fn an_element_is_the_envelope_with_the_records_id() {
        let element = enriched(&[record(7)]).unwrap().remove(0);
        assert_eq!(element["data"], json!({"product_id": "beans", "note": "say \"hi\""}));
        assert_eq!((&element["metadata"]["version"], &element["metadata"]["seq"]), (&json!(1), &json!(7)));
        assert_eq!(element["eventID"], "e7");
    }

    /// Guards: the pipe's paths give the same in the record and in the element.
    #[test]
    fn what_the_paths_name_stands_in_both() {
        let (record, element) = (record(7), enriched(&[record(7)]).unwrap().remove(0));
        for path in ["type", "source", "time", "subject"].map(|name| format!("/dynamodb/NewImage/{name}/S")) {
            assert!(record.pointer(&path).is_some());
            assert_eq!(record.pointer(&path), element.pointer(&path), "{path}");
        }
    }

    /// Guards: a record that cannot be read is named, and is never left out in silence.
    #[test]
    fn one_unreadable_record_fails_the_batch() {
        let error = enriched(&[record(1), without(record(2), "data")]).unwrap_err();
        assert_eq!(error.to_string(), "poison: product#beans/event#00000001: no usable \"data\"");
        assert!(enriched(&[json!({"eventName": "REMOVE"})]).is_err());
        let mut set = record(3);
        set["dynamodb"]["NewImage"]["tags"] = json!({"SS": ["a"]});
        assert!(enriched(&[set]).unwrap_err().to_string().contains("tags"));
    }

    /// Guards: nothing that follows a failed record counts as published; an error when there is no progress.
    #[test]
    fn the_lowest_failed_record_is_reported() {
        let records = [record(1), without(record(2), "id"), record(3)];
        let (events, unreadable) = readable(records.iter().map(envelope).collect());
        assert_eq!(events.iter().map(|event| event.metadata.seq).collect::<Vec<_>>(), [1]);
        let answer = report(&records, unreadable).unwrap();
        assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "2"}]}));
        assert!(report(&records, Some((0, Failure::Poison("x".into())))).is_err());
        assert_eq!(report(&records, None).unwrap(), json!({"batchItemFailures": []}));
    }
}
