//! The contract gate: nothing has drifted, and every way to drift is noticed when it is planted.

mod drifts;

use crate::bench::Bench;
use crate::platform::{copy, root, run, scratch};
use crate::seeded::Dice;
use crate::world::World;
use contracts::{Contracts, gate, release, services};
use events::catalogue::{Entry, Subscription, metadata_schema};
use schemars::JsonSchema;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Stories that no customer sees: goods that no carrier accepts, and a provider that is down for a while.
async fn late_and_broken(world: &mut World) {
    world.list("unshippable", 50).await;
    let mut heavy = order(1, "pm_card_visa");
    heavy["items"][0]["product_id"] = "unshippable".into();
    world.place(&heavy).await;
    world.play(&mut Dice::new(1)).await;
    // An order is on its way while the provider fails until the breaker opens; later two others close it again.
    world.place(&order(1, "pm_card_visa")).await;
    let on_its_way = std::mem::take(&mut world.pending);
    for _ in 0..5 {
        world.place(&order(1, "pm_sim_error")).await;
        world.play_once().await;
    }
    world.pending = on_its_way;
    world.play_once().await;
    world.advance(61);
    for _ in 0..2 {
        world.place(&order(1, "pm_card_visa")).await;
        world.play_once().await;
    }
}

fn order(quantity: u32, method: &str) -> Value {
    json!({"customer_id": "ada", "payment_method": method, "items": [{"product_id": "beans", "quantity": quantity}]})
}

/// The carrier refuses what was confirmed: rewards revokes what it has granted.
async fn refused_by_the_carrier(world: &mut World) {
    world.list("unshippable-anvil", 1).await;
    let anvil = json!({"product_id": "unshippable-anvil", "quantity": 1});
    world.place(&json!({"customer_id": "ada", "payment_method": "pm_card_visa", "items": [anvil]})).await;
    world.deliver_all().await;
}

/// Plays stories until every service has published everything that it can publish: a new event gets its story here.
async fn published() -> BTreeSet<String> {
    let mut world = World::new();
    world.list("beans", 50).await;
    world.list("beans", 50).await;
    for (quantity, method) in [(1, "pm_card_visa"), (1, "pm_card_visa_chargeDeclined"), (500, "pm_card_visa")]
    {
        world.place(&order(quantity, method)).await;
        world.play(&mut Dice::new(1)).await;
    }
    let unpaid = world.place(&order(1, "pm_card_visa")).await;
    assert!(world.cancel(&unpaid).await);
    world.play(&mut Dice::new(1)).await;
    for method in ["pm_card_visa", "pm_sim_refund_refused"] {
        let paid = world.place(&order(1, method)).await;
        while let Some(at) = world.pending.iter().position(|(service, _)| *service != "orders") {
            let (service, envelope) = world.pending.remove(at);
            world.deliver(service, &envelope).await.unwrap();
        }
        assert!(world.cancel(&paid).await);
        world.play(&mut Dice::new(1)).await;
    }
    refused_by_the_carrier(&mut world).await;
    late_and_broken(&mut world).await;
    world.all_published()
}

fn contracts() -> Contracts {
    static PUBLISHED: LazyLock<BTreeSet<String>> = LazyLock::new(|| run(published()));
    Contracts { published: Some(PUBLISHED.clone()), ..Contracts::of(&root()) }
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
    is_among(&gate::breaches(contracts).unwrap(), breach);
}

#[track_caller]
fn is_among(found: &[String], breach: &str) {
    assert!(found.iter().any(|line| line.contains(breach)), "{breach:?} is not among {found:#?}");
}

fn charged(change: impl Fn(&mut Value)) -> Value {
    let entries = events::catalogue::entries();
    let mut schema = (entries.iter().find(|e| e.kind == "payment.charged").unwrap().schema)();
    change(&mut schema);
    schema
}

/// Guards: what was released. Each change of a producer's schema that could break a consumer is named.
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
    names(
        &contracts,
        "payment.charged v1: release 0.1.0 promised it, and no service publishes it any more; it has to stay in events/src/catalogue.rs",
    );
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
            "payments consumes order.created v1: gift_note: is required, and not always written",
        ),
        (
            events::catalogue::subscription::<Confirmed, Curious>(),
            "payments consumes order.confirmed v1: shipping_address is personal data, and for fulfillment alone",
        ),
    ] {
        let mut contracts = planted("consumer");
        let payments = contracts.consumers.iter_mut().find(|c| c.service == "payments").unwrap();
        payments.subscriptions.push(reading);
        names(&contracts, breach);
    }
}

/// Guards: what a shop's mailer was promised. From its first release on, a message that breaks a mailer is named, also a new kind;
/// before it, there is nothing to break.
#[test]
fn a_message_that_breaks_a_released_one_is_named() {
    fn changed(change: impl Fn(&mut Value)) -> Value {
        let mut schema = (contracts::notice::entry().schema)();
        change(&mut schema);
        schema
    }
    fn without_text() -> Value {
        changed(|schema| drop(schema["properties"].as_object_mut().unwrap().remove("text")))
    }
    fn one_more_kind() -> Value {
        changed(|schema| {
            let kinds = schema["oneOf"].as_array_mut().unwrap();
            let mut lost = kinds[0].clone();
            lost["properties"]["kind"]["const"] = "ORDER_LOST".into();
            kinds.push(lost);
        })
    }
    fn one_more_field() -> Value {
        changed(|schema| schema["properties"]["language"] = json!({"type": "string"}))
    }
    let mut contracts = planted("messages");
    contracts.message.schema = without_text;
    let of_message = |(lines, compatible): (Vec<String>, bool)| {
        let line = lines.into_iter().find(|line| line.starts_with("  messages v1: "));
        (line.unwrap_or_default(), compatible)
    };
    let report = |contracts: &Contracts| of_message(release::report(contracts).unwrap());
    assert_eq!(report(&contracts), ("  messages v1: new".to_owned(), true));
    contracts.message.schema = contracts::notice::entry().schema;
    release::make(&contracts, "0.2.0").unwrap();
    let breach =
        "messages v1: release 0.2.0 is broken: the data: one of the alternatives written is not read";
    for schema in [without_text as fn() -> Value, one_more_kind] {
        contracts.message.schema = schema;
        names(&contracts, breach);
        let (line, compatible) = report(&contracts);
        assert!(line.contains("BREAKING") && !compatible, "{line}");
    }
    contracts.message.schema = one_more_field;
    assert_eq!(report(&contracts), ("  messages v1: changed, compatible".to_owned(), true));
}

/// Guards: a kind of message without an example.
#[test]
fn a_kind_of_message_without_an_example_is_named() {
    let contracts = planted("kinds");
    let path = contracts.folder.join("messages/v1.examples.json");
    let mut examples: Vec<Value> = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    examples.retain(|example| example["kind"] != "ORDER_FAILED");
    fs::write(path, contracts::pretty(&examples.into())).unwrap();
    names(
        &contracts,
        "messages v1: contracts/messages/v1.examples.json has no example of the kind ORDER_FAILED",
    );
}

#[test]
fn an_event_without_a_producer_or_a_consumer_is_named() {
    let mut contracts = planted("alone");
    contracts.published.as_mut().unwrap().remove("payment.voided v1");
    names(
        &contracts,
        "payment.voided v1: no story makes payments publish it; add one in tests/suite/contracts.rs",
    );
    entry(&mut contracts, "product.counted").audience = None;
    names(
        &contracts,
        "product.counted v1: is consumed by no service: name a consumer or an audience in events/src/catalogue.rs",
    );
    let reading = Subscription { kind: "order.gifted", ..payments::subscriptions::CONSUMES[0] };
    let inventory = contracts.consumers.iter_mut().find(|c| c.service == "inventory").unwrap();
    inventory.subscriptions.push(reading);
    names(
        &contracts,
        "inventory consumes order.gifted v1: no service publishes it: give it a row in events/src/catalogue.rs",
    );
    let payments = contracts.consumers.iter_mut().find(|c| c.service == "payments").unwrap();
    payments.subscriptions.retain(|subscription| subscription.kind != "order.created");
    let named = entry(&mut contracts, "order.created").consumers;
    let breach = format!(
        "order.created v1: the catalogue (events/src/catalogue.rs) names the consumers {named:?}, \
         services/*/src/subscriptions.rs have {{"
    );
    names(&contracts, &breach);
}

/// Guards: examples, generated files, rules and pipes, each with a break of its own.
#[test]
fn a_file_that_drifts_is_named() {
    for group in drifts::DRIFTS {
        let contracts = planted("drift");
        for (file, from, to, _) in *group {
            replace(contracts.folder.parent().unwrap().join(file), from, to);
        }
        let found = gate::breaches(&contracts).unwrap();
        group.iter().for_each(|(.., breach)| is_among(&found, breach));
    }
}

#[test]
fn a_rule_may_match_the_versions_that_its_service_reads() {
    let contracts = planted("versions");
    let rule = contracts.infra.join("rewards.yaml");
    let versions = "          metadata:\n            version:\n              - 1\n            replay:";
    replace(rule, "          metadata:\n            replay:", versions);
    assert_eq!(gate::breaches(&contracts).unwrap(), Vec::<String>::new());
}

/// A file, what is done to it, and the breach that this is.
type Act = (&'static str, fn(PathBuf), &'static str);

/// Guards: a promise is neither changed nor removed, and no file lies about that belongs to no event.
#[test]
fn a_release_that_shrinks_and_a_stray_file_are_named() {
    let remove: fn(PathBuf) = |path| fs::remove_file(path).unwrap();
    let forget: fn(PathBuf) = |path| fs::remove_dir_all(path).unwrap();
    let make: fn(PathBuf) = |path| fs::write(path, "[]").unwrap();
    // Each group is done to one copy: nothing of a group leads to the breach of another one of it.
    let groups: &[&[Act]] = &[
        &[("released", forget, "there is no release, and there was one")],
        &[
            (
                "released/0.1.0/payment.voided",
                forget,
                "0.1.0/payment.voided/v1.schema.json: was released, and is",
            ),
            ("released/0.1.0/openapi.json.bak", make, "openapi.json.bak: was never released like this"),
            ("payment.charged/v2.schema.json", make, "payment.charged/v2.schema.json: belongs to no event"),
            ("consumers/ghost.v1.json", make, "consumers/ghost.v1.json: belongs to no event"),
        ],
        &[(
            "released/0.1.0/payment.voided/v1.examples.json",
            make,
            "v1.examples.json: was released, and is changed",
        )],
        &[(
            "order.created/v1.examples.json",
            remove,
            "order.created/v1.examples.json: no examples; `just bless` writes a first one",
        )],
    ];
    for group in groups {
        let contracts = planted("shrunk");
        group.iter().for_each(|(file, act, _)| act(contracts.folder.join(file)));
        let found = gate::breaches(&contracts).unwrap_or_else(|error| vec![format!("{error:#}")]);
        group.iter().for_each(|(.., breach)| is_among(&found, breach));
    }
}

/// Every event of the catalogue could have had its first example from its schema; the consumers read it.
#[test]
fn a_first_example_is_made_from_the_schema() {
    let contracts = planted("first");
    for entry in &contracts.entries {
        fs::remove_file(contracts.folder.join(contracts::examples_path(entry))).unwrap();
    }
    contracts.bless().unwrap();
    let breaches = gate::breaches(&contracts).unwrap();
    assert!(breaches.is_empty(), "{breaches:#?}");
    let created = contracts.entries.iter().find(|entry| entry.kind == "order.created").unwrap();
    let money = json!({"amount": 1, "currency": "USD"});
    let line = json!({"product_id": "product-1", "quantity": 1, "unit_price": money});
    let example = json!({"order_id": "018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f", "customer_id": "customer-1",
        "total": money, "lines": [line], "payment_method": "payment-method-1"});
    assert_eq!(contracts.examples(created).unwrap(), [example]);
}

/// Guards: a new service that is not registered. The registry is compared with the folders, and the command named.
#[test]
fn a_service_that_is_not_in_the_registry_is_named() {
    let mut contracts = planted("services");
    contracts.services = contracts.folder.with_file_name("services");
    copy(&root().join("services"), &contracts.services);
    assert!(gate::breaches(&contracts).unwrap().is_empty());
    copy(&contracts.services.join("rewards"), &contracts.services.join("newcomer"));
    let infra = contracts.infra.with_file_name("more");
    copy(&contracts.infra, &infra);
    fs::write(infra.join("newcomer.yaml"), "").unwrap();
    let misnamed = services::found(&contracts.services, &infra).unwrap_err().to_string();
    assert!(misnamed.contains("the package has to be called newcomer"), "{misnamed}");
    let manifest = contracts.services.join("newcomer/Cargo.toml");
    replace(manifest, "name = \"rewards\"", "name = \"newcomer\"");
    let drift = services::drift(&contracts.services, &infra).unwrap();
    assert_eq!(drift.len(), 2, "{drift:?}");
    assert!(
        drift.iter().all(|line| line.contains("\"newcomer\"") && line.ends_with("run `just bless`")),
        "{drift:?}"
    );
    assert!(services::bless(&contracts.services, &infra).unwrap());
    assert_eq!(services::drift(&contracts.services, &infra).unwrap(), Vec::<String>::new());
    names(&contracts, "services/registry/src/lib.rs is not that of the services found");
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
    let envelope = crate::envelopes::envelope("order.created", 1, "orders", json!({}));
    assert!(validator.is_valid(&json!(envelope.metadata)));
    assert!(!validator.is_valid(&json!({"id": "x"})));
}
