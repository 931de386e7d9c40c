//! Every event taken has a teller, every rule lets in exactly what its crate takes, every route has code.

use crate::platform::root;
use chassis::http::Api;
use chassis::memory::MemoryStore;
use events::catalogue;
use inventory::api::ProductsApi;
use localstack::template::{self, names::Names, resources::Model};
use orders::api::OrdersApi;
use std::collections::{BTreeMap, BTreeSet};

fn model() -> Model {
    let names = Names { endpoint: "http://127.0.0.1:1".into(), api: "http://127.0.0.1:2".into() };
    let parameters = BTreeMap::from([("ProviderKey".to_owned(), "sk_test".to_owned())]);
    template::load(&root().join("infra"), &names, &parameters).unwrap()
}

const SERVICES: [&str; 3] = ["inventory", "orders", "payments"];

#[test]
fn every_rule_lets_in_exactly_what_its_service_takes() {
    let model = model();
    for service in SERVICES {
        let rule = model.rules.iter().find(|rule| rule.name == format!("dev-{service}-inbox")).unwrap();
        let texts = |field: &str| -> BTreeSet<String> {
            let values = rule.event_pattern[field].as_array().unwrap().iter();
            values.map(|value| value.as_str().unwrap().to_owned()).collect()
        };
        let taken = catalogue::taken_by(service);
        assert_eq!(texts("detail-type"), taken.iter().map(|e| e.kind.to_owned()).collect(), "{service}");
        let sources = taken.iter().map(|entry| events::source_of(entry.teller)).collect();
        assert_eq!(texts("source"), sources, "{service}");
    }
}

/// What the catalogue says a service takes, its reader reads; what it does not say, the reader refuses.
#[test]
fn every_reader_takes_exactly_what_the_catalogue_says() {
    use chassis::Reactor;
    type Takes = fn(&events::Envelope) -> bool;
    let readers: [(&str, Takes); 3] = [
        ("inventory", |e| inventory::reactor::Inventory::read(e).is_ok()),
        ("payments", |e| <payments::reactor::Payments as Reactor>::read(e).is_ok()),
        ("orders", |e| e.is::<events::inventory::ProductListed>() || orders::reactor::news(e).is_ok()),
    ];
    for entry in catalogue::entries() {
        let path = root().join(format!("contracts/{}/v{}.examples.json", entry.kind, entry.version));
        let examples: Vec<serde_json::Value> =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for (service, takes) in readers {
            let envelope =
                crate::world::envelope(entry.kind, entry.version, entry.teller, examples[0].clone());
            let wanted = entry.takers.contains(&service);
            assert_eq!(takes(&envelope), wanted, "{service} and {}", entry.kind);
        }
    }
}

#[test]
fn routes_and_code_are_the_same_set() {
    let declared: BTreeSet<String> = model().routes.into_iter().map(|route| route.route_key).collect();
    let code = OrdersApi::<MemoryStore>::ROUTES.iter();
    let code = code.chain(ProductsApi::<MemoryStore>::ROUTES);
    assert_eq!(declared, code.map(|route| (*route).to_owned()).collect());
}

#[test]
fn every_queue_has_a_dead_letter_queue_of_fourteen_days_or_is_one() {
    for queue in model().queues {
        if queue.queue_name.ends_with("-dlq") {
            assert_eq!(queue.message_retention_period, Some(14 * 24 * 3600), "{}", queue.queue_name);
        } else {
            assert!(queue.redrive_policy.is_some(), "{}", queue.queue_name);
        }
    }
}

/// AWS advises six times the function's timeout for a queue that feeds it.
#[test]
fn a_queue_hides_a_message_for_six_times_its_functions_timeout() {
    let model = model();
    for mapping in &model.mappings {
        let name = template::names::last_part(&mapping.event_source_arn);
        let queue = model.queues.iter().find(|queue| queue.queue_name == name).unwrap();
        let function = model.functions.iter().find(|f| f.function_name == mapping.function_name).unwrap();
        assert_eq!(queue.visibility_timeout, function.timeout.map(|timeout| timeout * 6), "{name}");
    }
}
