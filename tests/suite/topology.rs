//! The templates and the code are one system: every route has code, every queue its dead letters and its time.

use crate::platform::root;
use chassis::http::Api;
use chassis::memory::MemoryStore;
use inventory::api::ProductsApi;
use localstack::template::{self, resources::Model};
use orders::api::OrdersApi;
use std::collections::BTreeSet;
use tests::contracts::{Contracts, gate};

fn model() -> Model {
    gate::model(&Contracts::of(&root())).unwrap()
}

/// Every route that some service's code answers.
pub fn routes() -> BTreeSet<String> {
    let code = OrdersApi::<MemoryStore>::ROUTES.iter();
    let code = code.chain(ProductsApi::<MemoryStore>::ROUTES);
    code.map(|route| (*route).to_owned()).collect()
}

#[test]
fn routes_and_code_are_the_same_set() {
    let declared: BTreeSet<String> = model().routes.into_iter().map(|route| route.route_key).collect();
    assert_eq!(declared, routes());
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
