//! The contract gate: nothing has drifted, and every way to drift is noticed when it is planted.

use crate::platform::{copy, on_platform, root, run, scratch};
use crate::world::{Dice, World};
use contracts::openapi::{self, Description};
use contracts::{Contracts, gate, pretty, promise, release};
use events::catalogue::{Entry, Subscription, metadata_schema};
use hyper::Method;
use schemars::JsonSchema;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// Stories that no customer sees: goods that nobody carries, and a provider that is down for a while.
async fn late_and_broken(world: &mut World) {
    world.list("unshippable", 50).await;
    let mut heavy = order(1, "accepts");
    heavy["items"][0]["product_id"] = "unshippable".into();
    world.place(&heavy).await;
    world.play(&mut Dice::new(1)).await;
    // An order is on its way while the provider fails until the breaker opens; later two others close it again.
    world.place(&order(1, "accepts")).await;
    let on_its_way = std::mem::take(&mut world.pending);
    for _ in 0..5 {
        world.place(&order(1, "fails")).await;
        world.run_down().await;
    }
    world.pending = on_its_way;
    world.run_down().await;
    world.advance(61);
    for _ in 0..2 {
        world.place(&order(1, "accepts")).await;
        world.run_down().await;
    }
}

fn order(quantity: u32, method: &str) -> Value {
    json!({"customer_id": "ada", "payment_method": method, "items": [{"product_id": "beans", "quantity": quantity}]})
}

/// Plays stories until every service has told everything that it can tell.
async fn told() -> BTreeSet<String> {
    let mut world = World::new();
    world.list("beans", 50).await;
    world.list("beans", 50).await;
    for (quantity, method) in [(1, "accepts"), (1, "declines"), (500, "accepts")] {
        world.place(&order(quantity, method)).await;
        world.play(&mut Dice::new(1)).await;
    }
    let unpaid = world.place(&order(1, "accepts")).await;
    assert!(world.cancel(&unpaid).await);
    world.play(&mut Dice::new(1)).await;
    for method in ["accepts", "keeps_4"] {
        let paid = world.place(&order(1, method)).await;
        while let Some(at) = world.pending.iter().position(|(service, _)| *service != "orders") {
            let (service, envelope) = world.pending.remove(at);
            world.deliver(service, &envelope).await.unwrap();
        }
        assert!(world.cancel(&paid).await);
        world.play(&mut Dice::new(1)).await;
    }
    late_and_broken(&mut world).await;
    world.all_told()
}

fn contracts() -> Contracts {
    Contracts { told: Some(run(told())), ..Contracts::of(&root()) }
}

#[test]
fn nothing_has_drifted() {
    let breaches = gate::breaches(&contracts()).unwrap();
    assert!(breaches.is_empty(), "{breaches:#?}");
}

/// A copy of the contracts and templates to break.
fn planted(name: &str) -> Contracts {
    let folder = scratch(name);
    copy(&root().join("contracts"), &folder.join("contracts"));
    copy(&root().join("infra"), &folder.join("infra"));
    Contracts { folder: folder.join("contracts"), infra: folder.join("infra"), ..contracts() }
}

fn entry<'a>(contracts: &'a mut Contracts, kind: &str) -> &'a mut Entry {
    contracts.entries.iter_mut().find(|entry| entry.kind == kind).unwrap()
}

fn replace(path: PathBuf, from: &str, to: &str) {
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{} no longer holds {from:?}", path.display());
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// The breach is named. Other lines may stand beside it: one break can be seen from several sides.
#[track_caller]
fn names(contracts: &Contracts, breach: &str) {
    let found = gate::breaches(contracts).unwrap();
    assert!(found.iter().any(|line| line.contains(breach)), "{breach:?} is not among {found:#?}");
}

fn charged(change: impl Fn(&mut Value)) -> Value {
    let entries = events::catalogue::entries();
    let mut schema = (entries.iter().find(|e| e.kind == "payment.charged").unwrap().schema)();
    change(&mut schema);
    schema
}

/// Guards: what was released. Each change of a producer's schema that could break somebody is named.
#[test]
fn a_producer_that_breaks_a_released_schema_is_named() {
    fn without_amount() -> Value {
        charged(|schema| {
            schema["properties"].as_object_mut().unwrap().remove("amount");
            schema["required"].as_array_mut().unwrap().retain(|name| name != "amount");
        })
    }
    fn amount_optional() -> Value {
        charged(|schema| schema["required"].as_array_mut().unwrap().retain(|name| name != "amount"))
    }
    fn amount_a_text() -> Value {
        charged(|schema| schema["properties"]["amount"] = json!({"type": "string"}))
    }
    fn one_more_required() -> Value {
        charged(|schema| {
            schema["properties"]["fee"] = json!({"type": "integer"});
            schema["required"].as_array_mut().unwrap().push("fee".into());
        })
    }
    for (schema, breach) in [
        (without_amount as fn() -> Value, "amount: is read, and never written"),
        (amount_optional, "amount: is required, and not always written"),
        (amount_a_text, "amount: is written as string, and read as object"),
        (one_more_required, "fee: is required, and not always written (an event of that release)"),
    ] {
        let mut contracts = planted("producer");
        entry(&mut contracts, "payment.charged").schema = schema;
        names(&contracts, &format!("payment.charged v1: release 0.1.0 is broken: {breach}"));
        let (lines, compatible) = release::report(&contracts).unwrap();
        assert!(!compatible && lines.iter().any(|line| line.contains("BREAKING")), "{lines:?}");
    }
}

#[test]
fn an_optional_field_more_is_compatible_and_an_event_less_is_not() {
    fn one_more() -> Value {
        charged(|schema| schema["properties"]["fee"] = json!({"type": "integer"}))
    }
    let mut contracts = planted("compatible");
    entry(&mut contracts, "payment.charged").schema = one_more;
    let (lines, compatible) = release::report(&contracts).unwrap();
    assert!(
        compatible && lines.contains(&"  payment.charged v1: changed, compatible".to_owned()),
        "{lines:?}"
    );
    contracts.entries.retain(|entry| entry.kind != "payment.charged");
    names(&contracts, "payment.charged v1: release 0.1.0 promised it, and nobody tells it any more");
    assert!(!release::report(&contracts).unwrap().1);
}

/// Guards: a consumer's needs.
#[test]
fn a_consumer_that_needs_what_is_not_promised_is_named() {
    #[derive(serde::Deserialize, JsonSchema)]
    #[allow(dead_code, reason = "only its shape matters")]
    struct Wishful {
        order_id: events::OrderId,
        gift_note: String,
    }
    #[derive(serde::Deserialize, JsonSchema)]
    #[allow(dead_code, reason = "only its shape matters")]
    struct Curious {
        shipping_address: Option<Value>,
    }
    type Created = events::orders::OrderCreated;
    type Confirmed = events::orders::OrderConfirmed;
    for (reading, breach) in [
        (
            events::catalogue::subscription::<Created, Wishful>(),
            "payments reads order.created v1: gift_note: is required, and not always written",
        ),
        (
            events::catalogue::subscription::<Confirmed, Curious>(),
            "payments reads order.confirmed v1: shipping_address is personal data, and for fulfillment alone",
        ),
    ] {
        let mut contracts = planted("consumer");
        let payments = contracts.consumers.iter_mut().find(|c| c.service == "payments").unwrap();
        payments.reads.push(reading);
        names(&contracts, breach);
    }
}

#[test]
fn an_event_told_or_taken_by_nobody_is_named() {
    let mut contracts = planted("nobody");
    contracts.told.as_mut().unwrap().remove("payment.voided");
    names(&contracts, "payment.voided v1: is told by nobody");
    entry(&mut contracts, "product.counted").audience = None;
    names(&contracts, "product.counted v1: is taken by nobody");
    let reading = Subscription { kind: "order.gifted", ..payments::subscriptions::CONSUMES[0] };
    let inventory = contracts.consumers.iter_mut().find(|c| c.service == "inventory").unwrap();
    inventory.reads.push(reading);
    names(&contracts, "inventory reads order.gifted v1: is told by nobody");
    names(&contracts, "inventory: its rule does not let in the detail-type order.gifted");
}

/// A file, what stands in it, what is planted instead, and the breach that this is.
const DRIFTS: &[(&str, &str, &str, &str)] = &[
    (
        "contracts/payment.charged/v1.examples.json",
        "\"order_id\": \"018f",
        "\"order_id\": \"x18f",
        "payment.charged v1: example 0 is not valid",
    ),
    (
        "contracts/payment.charged/v1.examples.json",
        "\"order_id\"",
        "\"colour\": \"red\",\n    \"order_id\"",
        "payment.charged v1: its examples do not come back from the type as the bytes that they were",
    ),
    (
        "contracts/payment.charged/v1.examples.json",
        "  {\n    \"amount\"",
        "  {\n   \"amount\"",
        "do not come back from the type as the bytes",
    ),
    (
        "contracts/released/0.1.0/payment.charged/v1.examples.json",
        "\"amount\"",
        "\"sum\"",
        "payment.charged v1: release 0.1.0: its event is not read: missing field `amount`",
    ),
    (
        "contracts/released/0.1.0/payment.charged/v1.schema.json",
        "\"provider_charge_id\": {",
        "\"provider_charge_id\": {\n      \"maxLength\": 3,",
        "payment.charged v1: release 0.1.0: its reader refuses today's event",
    ),
    (
        "infra/payments.yaml",
        "Arn: !GetAtt EventsQueue.Arn",
        "Arn: !GetAtt EventsDeadLetters.Arn",
        "payments: its rule has to lead to dev-payments-events and nowhere else",
    ),
    (
        "infra/payments.yaml",
        "Source: !GetAtt Table.StreamArn",
        "Source: arn:aws:dynamodb:eu:1:table/dev-orders/stream/x",
        "payments: its pipe starts at",
    ),
    (
        "infra/payments.yaml",
        "EventSourceArn: !GetAtt EventsQueue.Arn",
        "EventSourceArn: !GetAtt EventsDeadLetters.Arn",
        "payments: its queue does not feed dev-payments-reactor",
    ),
    (
        "infra/payments.yaml",
        "EventBusName: !Sub \"${Stage}-quadrille\"",
        "EventBusName: default",
        "payments: its rule listens to the bus default",
    ),
    (
        "contracts/openapi.yaml",
        "  /orders/{id}/cancel:",
        "  /orders/{id}/stop:",
        "POST /orders/{id}/cancel: release 0.1.0 is broken: there is no such call any more",
    ),
    (
        "contracts/openapi.yaml",
        "required: [customer_id, items]",
        "required: [customer_id, items, payment_method]",
        "POST /orders: release 0.1.0 is broken: request: payment_method: is required",
    ),
    (
        "contracts/openapi.yaml",
        "      required: [order_id, status, total_cents,",
        "      required: [order_id, total_cents,",
        "POST /orders: release 0.1.0 is broken: 202: the data: one of the alternatives",
    ),
    ("contracts/order.created/v1.schema.json", "uuid", "guid", "order.created/v1.schema.json differs"),
    ("contracts/consumers/payments.v1.json", "total", "sum", "consumers/payments.v1.json differs"),
    ("contracts/README.md", "The dance", "The march", "contracts/README.md differs"),
    ("contracts/asyncapi.yaml", "send", "receive", "contracts/asyncapi.yaml differs"),
    ("contracts/openapi.yaml", "Place an order", "Buy", "contracts/openapi.json differs"),
    (
        "infra/payments.yaml",
        "          - order.created\n",
        "",
        "payments: its rule does not let in the detail-type order.created",
    ),
    (
        "infra/payments.yaml",
        "          - order.created\n",
        "          - order.created\n          - order.confirmed\n",
        "payments: its rule lets in the detail-type order.confirmed, which it does not read",
    ),
    ("infra/orders.yaml", "- exists: false", "- exists: true", "orders: its rule has to match source"),
    (
        "infra/orders.yaml",
        "<$.dynamodb.NewImage.correlation_id.S>",
        "<$.dynamodb.NewImage.causation_id.S>",
        "the pipe of orders: it does not yield the envelope of the row",
    ),
    (
        "infra/orders.yaml",
        "{\"kind\": {\"S\": [\"told\"]}}",
        "{\"type\": {\"S\": [{\"prefix\": \"o\"}]}}",
        "the pipe of orders: it lets out what was only recorded",
    ),
    (
        "infra/orders.yaml",
        "DetailType: $.dynamodb.NewImage.type.S",
        "DetailType: $.dynamodb.NewImage.id.S",
        "order.created v1: the pipe of orders: its detail-type is",
    ),
];

/// Guards: examples, generated files, rules and pipes, each with a break of its own.
#[test]
fn a_file_that_drifts_is_named() {
    for (file, from, to, breach) in DRIFTS {
        let contracts = planted("drift");
        replace(contracts.folder.parent().unwrap().join(file), from, to);
        names(&contracts, breach);
    }
}

/// Guards: a promise is neither changed nor taken away, and nothing lies about that belongs to nobody.
#[test]
fn a_release_that_shrinks_and_a_stray_file_are_named() {
    let remove: fn(PathBuf) = |path| fs::remove_file(path).unwrap();
    let forget: fn(PathBuf) = |path| fs::remove_dir_all(path).unwrap();
    let make: fn(PathBuf) = |path| fs::write(path, "[]").unwrap();
    for (file, act, breach) in [
        ("released", forget, "there is no release, and there was one"),
        (
            "released/0.1.0/payment.voided",
            forget,
            "0.1.0/payment.voided/v1.schema.json: was released, and is",
        ),
        (
            "released/0.1.0/payment.voided/v1.examples.json",
            make,
            "v1.examples.json: was released, and is changed",
        ),
        ("released/0.1.0/openapi.json.bak", make, "openapi.json.bak: was never released like this"),
        ("payment.charged/v2.schema.json", make, "payment.charged/v2.schema.json: belongs to no event"),
        ("consumers/ghost.v1.json", make, "consumers/ghost.v1.json: belongs to no event"),
        ("order.created/v1.examples.json", remove, "order.created/v1.examples.json: no examples"),
    ] {
        let contracts = planted("shrunk");
        act(contracts.folder.join(file));
        let found = match gate::breaches(&contracts) {
            Ok(found) => found,
            Err(error) => vec![format!("{error:#}")],
        };
        assert!(found.iter().any(|line| line.contains(breach)), "{breach:?} is not among {found:#?}");
    }
}

#[test]
fn the_schemas_refuse_what_the_types_refuse() {
    let contracts = Contracts::of(&root());
    let created = contracts.entries.iter().find(|entry| entry.kind == "order.created").unwrap();
    let validator = jsonschema::validator_for(&(created.schema)()).unwrap();
    let example = contracts.examples(created).unwrap().remove(0);
    for (pointer, bad) in [
        ("/total/amount", json!(-1)),
        ("/total/currency", json!("usd")),
        ("/lines/0/quantity", json!(0)),
        ("/lines/0/product_id", json!("a#b")),
        ("/lines", json!([])),
    ] {
        let mut broken = example.clone();
        *broken.pointer_mut(pointer).unwrap() = bad;
        assert!(!validator.is_valid(&broken), "{pointer} was accepted");
    }
}

#[test]
fn the_metadata_schema_is_that_of_real_metadata() {
    let validator = jsonschema::validator_for(&metadata_schema()).unwrap();
    let envelope = crate::world::envelope("order.created", 1, "orders", json!({}));
    assert!(validator.is_valid(&json!(envelope.metadata)));
    assert!(!validator.is_valid(&json!({"id": "x"})));
}

/// The served description is the committed one, and has exactly the routes that there are.
#[test]
fn the_description_is_served_and_complete() {
    on_platform(async |platform| {
        let document = openapi::read(&root().join("contracts")).unwrap();
        let served = platform.api.get("/openapi.json").await.unwrap();
        assert_eq!(pretty(&served.body), pretty(&document));
        let routes: BTreeSet<String> = Description::new(document).routes().into_iter().collect();
        let code = crate::topology::routes().into_iter().filter(|route| route != "$default");
        assert_eq!(routes, code.collect());
    });
}

/// Bounds of the description and of the reader are the same: what is just inside is taken, what is just outside
/// is refused by name.
#[test]
fn every_bound_of_the_description_is_the_readers() {
    on_platform(async |platform| {
        let document = openapi::read(&root().join("contracts")).unwrap();
        for (path, method, send) in
            [("/orders", "post", Method::POST), ("/products/{id}", "put", Method::PUT)]
        {
            let schema = document.pointer(&format!(
                "/paths/{}/{method}/requestBody/content/application~1json/schema",
                path.replace('/', "~1")
            ));
            let mut probes = Vec::new();
            probe(schema.unwrap(), &document, &mut probes);
            assert!(probes.len() >= 20, "{path}: {}", probes.len());
            let url = path.replace("{id}", "bounds");
            for Probe { field, body, good } in probes {
                let answer = platform.api.send(send.clone(), &url, body.to_string()).await.unwrap();
                let errors = answer.body["errors"].as_array().cloned().unwrap_or_default();
                let named =
                    answer.status == 400 && errors.iter().any(|error| error["field"] == field.as_str());
                assert_ne!(named, good, "{path} {field}: {} {}", answer.status, answer.body);
            }
        }
    });
}

/// A body that differs from a good one in one field.
struct Probe {
    field: String,
    body: Value,
    good: bool,
}

/// A small value that satisfies the schema.
fn sample(schema: &Value, document: &Value) -> Value {
    let schema = Value::Object(promise::resolve(schema, document));
    match schema["type"].as_str() {
        Some("integer") => schema["minimum"].clone(),
        Some("string") if schema["pattern"] == "^[A-Z]{2}$" => json!("NO"),
        Some("string") => json!("x"),
        Some("array") => json!([sample(&schema["items"], document)]),
        _ => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            properties.map(|(name, field)| (name.clone(), sample(field, document))).collect()
        }
    }
}

fn probe(schema: &Value, document: &Value, probes: &mut Vec<Probe>) {
    let whole = sample(schema, document);
    let mut fields = Vec::new();
    variants("", "", schema, document, &mut fields);
    for (field, pointer, value, good) in fields {
        let mut body = whole.clone();
        match value {
            Some(value) => *body.pointer_mut(&pointer).unwrap() = value,
            None => {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
            }
        }
        probes.push(Probe { field, body, good });
    }
}

type Variant = (String, String, Option<Value>, bool);

/// Values at and beyond each bound of a schema; `None` leaves the field out.
fn variants(field: &str, pointer: &str, schema: &Value, document: &Value, out: &mut Vec<Variant>) {
    let schema = Value::Object(promise::resolve(schema, document));
    let mut add = |value: Option<Value>, good: bool| out.push((field.into(), pointer.into(), value, good));
    match schema["type"].as_str() {
        Some("integer") => {
            let (least, most) = (schema["minimum"].as_i64().unwrap(), schema["maximum"].as_i64().unwrap());
            [(least, true), (most, true), (least - 1, false), (most + 1, false)]
                .into_iter()
                .for_each(|(n, good)| add(Some(json!(n)), good));
            [json!("1"), json!(1.5), json!(true), Value::Null]
                .into_iter()
                .for_each(|bad| add(Some(bad), false));
        }
        Some("string") => {
            let most = schema["maxLength"].as_u64().or((schema["pattern"] == "^[A-Z]{2}$").then_some(2));
            let most = usize::try_from(most.unwrap_or(64)).unwrap();
            add(Some("X".repeat(most).into()), true);
            add(Some("X".repeat(most + 1).into()), false);
            [json!(""), json!("\u{7f}"), json!(" "), json!(7)]
                .into_iter()
                .for_each(|bad| add(Some(bad), false));
        }
        Some("array") => {
            let (least, most) = (schema["minItems"].as_u64().unwrap(), schema["maxItems"].as_u64().unwrap());
            let items = |n: u64| {
                Some(Value::Array(vec![sample(&schema["items"], document); usize::try_from(n).unwrap()]))
            };
            [(least, true), (most, true), (least - 1, false), (most + 1, false)]
                .into_iter()
                .for_each(|(n, good)| add(items(n), good));
            variants(&format!("{field}[0]"), &format!("{pointer}/0"), &schema["items"], document, out);
        }
        _ => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            for (name, of) in schema["properties"].as_object().unwrap() {
                let inner = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
                let at = format!("{pointer}/{name}");
                out.push((inner.clone(), at.clone(), None, !required.contains(&json!(name))));
                variants(&inner, &at, of, document, out);
            }
        }
    }
}
