//! The templates and the code are one system: every route has code, every queue a dead-letter queue and enough time.

use crate::outside::MemoryProvider;
use crate::platform::root;
use chassis::Verdict;
use chassis::http::Api;
use chassis::metrics::{DELIVERIES, Metric};
use chassis::store::MemoryStore;
use contracts::{Contracts, wiring};
use inventory::api::ProductsApi;
use localstack::template;
use localstack::template::resources::{Function, Model};
use localstack::template::yaml::{self, Kind, Node};
use operator::dead_letters::source;
use orders::http::OrdersApi;
use orders::saga::step::Step;
use orders::sweeper::MAX_SECONDS;
use payments::api::CustomersApi;
use payments::provider::circuit_breaker::{CALLS, CIRCUIT, OPENED, REFUSED};
use payments::provider::https::{CAPTURE_TIMEOUT, TIMEOUT};
use payments::reactor::{CAPTURES, DIFFERENT};
use registry::sales::api::ReportsApi;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

fn model() -> Model {
    wiring::model(&Contracts::of(&root())).unwrap()
}

/// Every route that some service's code answers.
pub fn routes() -> BTreeSet<String> {
    let code = OrdersApi::<MemoryStore>::ROUTES.iter();
    let code = code.chain(ProductsApi::<MemoryStore>::ROUTES);
    let code = code.chain(CustomersApi::<MemoryProvider, MemoryStore>::ROUTES);
    let code = code.chain(ReportsApi::<MemoryStore>::ROUTES);
    code.map(|route| (*route).to_owned()).collect()
}

#[test]
fn routes_and_code_are_the_same_set() {
    let declared: BTreeSet<String> = model().routes.into_iter().map(|route| route.route_key).collect();
    assert_eq!(declared, routes());
}

/// Guards: no service works under a role for another account or another resource. Lambda is left out: AWS does not document
/// that it says for which function it asks, and only a caller with `iam:PassRole` can give a role to a function.
#[test]
fn a_role_is_for_one_resource_of_this_account() {
    for (arn, role) in model().roles {
        let statement = &role.assume_role_policy_document["Statement"][0];
        if statement["Principal"]["Service"] == "lambda.amazonaws.com" {
            continue;
        }
        let condition = &statement["Condition"];
        assert!(condition["StringEquals"]["aws:SourceAccount"].is_string(), "{arn}: {statement}");
        assert!(condition["ArnLike"]["aws:SourceArn"].is_string(), "{arn}: {statement}");
    }
}

/// Guards: CloudFormation creates a route before the stage that has settings for it. Their keys are no references that would
/// order them, and API Gateway refuses settings for a route that is not there yet.
#[test]
fn every_route_with_settings_is_there_before_its_stage() {
    let text = fs::read_to_string(root().join("infra/api.yaml")).unwrap();
    let template = yaml::read("api.yaml", &text).unwrap();
    let resource = |name: &str| template.get("Resources").unwrap().get(name).unwrap();
    let Kind::Seq(before) = &resource("ApiStage").get("DependsOn").unwrap().kind else { panic!() };
    let key = |node: &Node| {
        let properties = resource(node.text().unwrap()).get("Properties").unwrap();
        properties.get("RouteKey").unwrap().text().unwrap().to_owned()
    };
    let before: BTreeSet<String> = before.iter().map(key).collect();
    let set: BTreeSet<String> = model().api_stages[0].route_settings.clone().unwrap().into_keys().collect();
    assert_eq!(before, set);
    // A route that any caller reaches has settings of its own.
    let model = model();
    let open = model.routes.iter().filter(|route| route.authorization_type.as_deref() != Some("JWT"));
    assert_eq!(open.map(|route| route.route_key.clone()).collect::<BTreeSet<_>>(), set);
}

#[test]
fn every_queue_has_a_dead_letter_queue_of_fourteen_days_or_is_one() {
    for queue in model().queues {
        if source(&queue.queue_name).is_some() {
            assert_eq!(queue.message_retention_period, Some(14 * 24 * 3600), "{}", queue.queue_name);
        } else {
            assert!(queue.redrive_policy.is_some(), "{}", queue.queue_name);
        }
    }
}

/// Guards: an alarm sounds when a message lies in a dead-letter queue.
#[test]
fn every_dead_letter_queue_has_an_alarm() {
    let model = model();
    let watched = |queue: &str| {
        model.alarms.iter().any(|alarm| {
            let of_queue = alarm.dimensions.iter().any(|d| d.name == "QueueName" && d.value == queue);
            let depth = alarm.metric_name.as_deref() == Some("ApproximateNumberOfMessagesVisible");
            of_queue && depth && alarm.threshold == 0
        })
    };
    let dead = model.queues.iter().filter(|queue| source(&queue.queue_name).is_some());
    let unwatched: Vec<&str> = dead.map(|q| q.queue_name.as_str()).filter(|name| !watched(name)).collect();
    assert_eq!(unwatched, Vec::<&str>::new(), "queues without an alarm in their template");
}

/// Guards: an alarm sounds while a table's event rows cannot be published, and not only after the last of 23 hours of tries. A
/// pipe fails when its function does and when the bus refuses; a relay fails for both.
#[test]
fn what_keeps_failing_to_publish_has_an_alarm() {
    let relayed = wiring::model_with(&Contracts::of(&root()), &wiring::RELAYED).unwrap();
    let watched = |model: &Model, metric: (&str, &str), name: (&str, &str)| {
        model.alarms.iter().any(|alarm| {
            let minutes = alarm.period.unwrap_or(0) * alarm.evaluation_periods / 60;
            alarm.namespace.as_deref().zip(alarm.metric_name.as_deref()) == Some(metric)
                && alarm.dimensions.iter().any(|d| (d.name.as_str(), d.value.as_str()) == name)
                && alarm.threshold == 0
                && minutes <= 60
        })
    };
    let model = model();
    for (pipe, mapping) in model.pipes.iter().zip(&relayed.stream_mappings) {
        let relay = template::names::last_part(&mapping.function_name);
        let failed = ("AWS/EventBridge/Pipes", "ExecutionFailed");
        assert!(watched(&model, failed, ("PipeName", &pipe.name)), "no alarm for the pipe {}", pipe.name);
        let errors = ("AWS/Lambda", "Errors");
        assert!(watched(&relayed, errors, ("FunctionName", relay)), "no alarm for {relay}");
    }
}

/// An alarm watches a metric of a service.
fn assert_watched(metric: &Metric, service: &str, value: &str) {
    let (model, (dimension, _)) = (model(), metric.dimension.unwrap());
    let watched = model.alarms.iter().any(|alarm| {
        let is = |name, value| alarm.dimensions.iter().any(|d| d.name == name && d.value == value);
        alarm.metric_name.as_deref() == Some(metric.name) && is("service", service) && is(dimension, value)
    });
    assert!(watched, "no alarm watches {} {value} of {service}", metric.name);
}

/// Guards: an alarm sounds when an event contradicts an order. The verdict's name is the one that the code counts.
#[test]
fn a_contradiction_has_an_alarm() {
    assert_watched(&DELIVERIES, "orders", Verdict::Contradicted.as_str());
}

/// Guards: an alarm sounds when the provider refuses payments' key or request, when it captures another amount than the
/// bill's, and when the circuit opens. The names are those that the code counts.
#[test]
fn what_the_provider_gets_wrong_has_an_alarm() {
    assert_watched(&CALLS, "payments", REFUSED);
    assert_watched(&CAPTURES, "payments", DIFFERENT);
    assert_watched(&CIRCUIT, "payments", OPENED);
}

/// Guards: payments gives up on its provider before Lambda gives up on payments. The reactor creates an intent and has it
/// capture; the compensator makes three calls. Only then does a message that failed come back.
#[test]
fn payments_waits_for_its_provider_within_its_functions_time() {
    let model = model();
    let timeout = |handler: &str| {
        let is_meant = |name: &str| name.ends_with(&format!("payments-{handler}"));
        let function = model.functions.iter().find(|function| is_meant(&function.function_name)).unwrap();
        Duration::from_secs(function.timeout.unwrap().into())
    };
    assert!(CAPTURE_TIMEOUT >= Duration::from_secs(20), "card networks are slow at times");
    // A later try looks at the intent first, and cancels one that asks for its customer.
    assert!(2 * TIMEOUT + CAPTURE_TIMEOUT < timeout("reactor"));
    assert!(3 * TIMEOUT < timeout("compensator"));
    let queue = model.queues.iter().find(|queue| queue.queue_name.ends_with("-payments-events")).unwrap();
    assert_eq!(queue.visibility_timeout, Some(180));
}

/// Guards: what a rule, pipe, relay, schedule or asynchronous call cannot deliver is kept in a dead-letter queue.
#[test]
fn every_delivery_has_a_dead_letter_queue() {
    let model = model();
    let mut without: Vec<&str> = Vec::new();
    for rule in &model.rules {
        let all = rule.targets.iter().all(|target| target.dead_letter_config.is_some());
        without.extend((!all).then_some(rule.name.as_str()));
    }
    for pipe in &model.pipes {
        let dead = &pipe.source_parameters.stream.dead_letter_config;
        without.extend(dead.is_none().then_some(pipe.name.as_str()));
    }
    let relayed = wiring::model_with(&Contracts::of(&root()), &wiring::RELAYED).unwrap();
    assert_eq!(relayed.stream_mappings.len(), model.pipes.len());
    for mapping in &relayed.stream_mappings {
        let dead = &mapping.destination_config;
        without.extend(dead.is_none().then_some(mapping.function_name.as_str()));
    }
    for schedule in &model.schedules {
        let name = template::names::last_part(&schedule.target.arn);
        let function = model.functions.iter().find(|f| f.function_name == name).unwrap();
        let dead = schedule.target.dead_letter_config.is_some() && function.dead_letter_config.is_some();
        without.extend((!dead).then_some(name));
    }
    for subscription in &model.subscriptions {
        let dead = &subscription.redrive_policy;
        without.extend(dead.is_none().then_some(subscription.endpoint.as_str()));
    }
    assert_eq!(without, Vec::<&str>::new());
}

/// Guards: a table whose service publishes nothing has no stream, no pipe and no relay: each is paid for, and may read the rows.
#[test]
fn only_who_publishes_has_a_way_out() {
    let names = |end: &str| -> BTreeSet<String> {
        let producers = events::catalogue::entries().into_iter().map(|entry| entry.producer);
        producers.map(|producer| format!("dev-quadrille-{producer}{end}")).collect()
    };
    let (model, relayed) = (model(), wiring::model_with(&Contracts::of(&root()), &wiring::RELAYED).unwrap());
    assert!(names("").len() < registry::SERVICES.len(), "there is a service that publishes nothing");
    for tables in [model.tables, relayed.tables] {
        let streamed = tables.into_iter().filter(|table| table.stream_specification.is_some());
        assert_eq!(streamed.map(|table| table.table_name).collect::<BTreeSet<_>>(), names(""));
    }
    assert_eq!(model.pipes.into_iter().map(|pipe| pipe.name).collect::<BTreeSet<_>>(), names(""));
    let relays = relayed.stream_mappings.iter().map(|it| template::names::last_part(&it.function_name));
    assert_eq!(relays.map(str::to_owned).collect::<BTreeSet<_>>(), names("-relay"));
}

/// Guards: the pipe and the relay that may stand in its place give up alike; each isolates a record that fails.
#[test]
fn pipes_and_relays_try_alike() {
    let (model, relayed) = (model(), wiring::model_with(&Contracts::of(&root()), &wiring::RELAYED).unwrap());
    for (pipe, mapping) in model.pipes.iter().zip(&relayed.stream_mappings) {
        let stream = &pipe.source_parameters.stream;
        assert_eq!(stream.maximum_retry_attempts, mapping.maximum_retry_attempts, "{}", pipe.name);
        assert_eq!(stream.maximum_record_age_in_seconds, mapping.maximum_record_age_in_seconds);
        assert_eq!(stream.on_partial_batch_item_failure.as_deref(), Some("AUTOMATIC_BISECT"));
        assert_eq!(mapping.bisect_batch_on_function_error, Some(true), "{}", mapping.function_name);
        assert!(mapping.function_response_types.is_some(), "{}", mapping.function_name);
    }
    assert!(model.stream_mappings.is_empty() && relayed.pipes.is_empty());
}

/// Guards: X-Ray's parameter reaches every function and the state machine, and with it the permissions, on their roles alone;
/// without it there are neither. X-Ray has no resource that a permission could name.
#[test]
fn what_x_ray_traces_follows_its_parameter() {
    for (value, mode, is_on) in [("no", "PassThrough", false), ("yes", "Active", true)] {
        for fan_out in ["pipe", "relay"] {
            let given = [("FanOut", fan_out), ("XRay", value)];
            let model = wiring::model_with(&Contracts::of(&root()), &given).unwrap();
            let traced = |function: &&Function| function.tracing_config.as_ref().unwrap().mode == mode;
            assert_eq!(model.functions.iter().filter(traced).count(), model.functions.len(), "{given:?}");
            let machines = model.machines.iter();
            let mut machines =
                machines.map(|machine| machine.tracing_configuration.as_ref().unwrap().enabled);
            assert!(machines.all(|enabled| enabled == is_on), "{given:?}");
            let roles =
                model.roles.iter().filter(|(_, role)| json!(role.policies).to_string().contains("xray:"));
            let roles: BTreeSet<&str> = roles.map(|(arn, _)| arn.as_str()).collect();
            let of_functions = model.functions.iter().map(|function| function.role.as_str());
            let of_both = of_functions.chain(model.machines.iter().map(|machine| machine.role_arn.as_str()));
            let wanted: BTreeSet<&str> = if is_on { of_both.collect() } else { BTreeSet::new() };
            assert_eq!(roles, wanted, "{given:?}");
        }
    }
}

/// Guards: a function that makes envelopes has no permission but its log.
#[test]
fn the_pipes_functions_may_write_their_logs_and_nothing_else() {
    let model = model();
    let outboxes: Vec<_> = model.functions.iter().filter(|function| function.handler == "outbox").collect();
    assert_eq!(outboxes.len(), model.pipes.len());
    for function in outboxes {
        assert!(function.environment.is_none(), "{}", function.function_name);
        let policies = model.roles[&function.role].policies.iter().flatten();
        let statements = policies.flat_map(|policy| policy.policy_document["Statement"].as_array().unwrap());
        let actions = statements.flat_map(|statement| statement["Action"].as_array().unwrap());
        let logs = |action: &serde_json::Value| action.as_str().unwrap().starts_with("logs:");
        assert!(actions.clone().count() > 0 && actions.clone().all(logs), "{}", function.function_name);
    }
}

/// Guards: what is published lies in a queue, and an alarm sounds when no reader comes for it. A topic without a subscription
/// accepts messages and drops them.
#[test]
fn every_topic_leads_to_a_queue_and_an_alarm_watches_its_reader() {
    let model = model();
    assert!(!model.topics.is_empty());
    for topic in &model.topics {
        let arn = template::names::arn("sns", &topic.topic_name);
        let mut queues = model.subscriptions.iter().filter(|subscription| subscription.topic_arn == arn);
        let queue = queues.next().unwrap_or_else(|| panic!("{arn} has no subscription"));
        let queue = template::names::last_part(&queue.endpoint);
        let watched = model.alarms.iter().any(|alarm| {
            let of_queue = alarm.dimensions.iter().any(|d| d.name == "QueueName" && d.value == queue);
            of_queue && alarm.metric_name.as_deref() == Some("ApproximateAgeOfOldestMessage")
        });
        assert!(watched, "no alarm watches the age of what lies in {queue}");
        assert!(topic.kms_master_key_id.is_some(), "{arn} is not encrypted");
    }
}

/// Guards: a step is reminded when its service's own queue has given up, and not before: the patience of a step is longer
/// than that queue tries, up to the dead-letter queue.
#[test]
fn patience_is_longer_than_the_queues_own_tries() {
    let model = model();
    let tries = |name: &str| -> i64 {
        let (mut name, mut seconds) = (name.to_owned(), 0);
        while !name.ends_with("-dlq") {
            let queue = model.queues.iter().find(|queue| queue.queue_name == name).unwrap();
            let redrive = queue.redrive_policy.as_ref().unwrap();
            seconds += i64::from(redrive.max_receive_count * queue.visibility_timeout.unwrap());
            name = template::names::last_part(&redrive.dead_letter_target_arn).to_owned();
        }
        seconds
    };
    let stage = model.queues[0].queue_name.split('-').next().unwrap();
    for step in Step::ALL {
        let (patience, tries) =
            (step.patience().num_seconds(), tries(&format!("{stage}-quadrille-{}-events", step.service())));
        assert!(patience > tries, "{step:?} is reminded after {patience} s, its queue tries {tries} s");
    }
}

/// Guards: one queue cannot use up what the account may run at a time.
#[test]
fn every_mapping_of_a_queue_is_bounded() {
    let model = model();
    let queues = model.mappings.iter().filter(|mapping| mapping.event_source_arn.contains(":sqs:"));
    let unbounded: Vec<&str> =
        queues.filter(|it| it.scaling_config.is_none()).map(|it| it.event_source_arn.as_str()).collect();
    assert_eq!(unbounded, Vec::<&str>::new(), "mappings without a MaximumConcurrency");
}

/// Guards: nothing becomes a dead letter because of ten minutes of throttling: on AWS a receive counts whose function was
/// throttled, once in each visibility timeout.
#[test]
fn ten_minutes_of_throttling_make_no_dead_letter() {
    let model = model();
    for mapping in &model.mappings {
        let name = template::names::last_part(&mapping.event_source_arn);
        let Some(queue) = model.queues.iter().find(|queue| queue.queue_name == name) else { continue };
        let receives = queue.redrive_policy.as_ref().unwrap().max_receive_count;
        assert!(receives * queue.visibility_timeout.unwrap() >= 600, "{name}");
    }
}

/// Guards: no two sweeps run beside each other, and after an hour of throttling no sixty sweeps follow.
#[test]
fn a_sweep_runs_alone_and_is_not_repeated() {
    let model = model();
    let sweeper = model.functions.iter().find(|function| function.handler == "sweeper").unwrap();
    assert_eq!(sweeper.reserved_concurrent_executions, Some(1));
    let config = model.invoke_configs.iter().find(|it| it.function_name == sweeper.function_name).unwrap();
    assert_eq!((config.maximum_retry_attempts, config.maximum_event_age_in_seconds), (Some(0), Some(60)));
}

/// Guards: a throttle is no failure of a task: the flow waits for it, apart from what it waits for other errors.
#[test]
fn a_throttled_task_is_tried_for_hours() {
    let flow = fs::read_to_string(root().join("infra/statemachines/payment-compensation.asl.json")).unwrap();
    let flow: serde_json::Value = serde_json::from_str(&flow).unwrap();
    let tasks = flow["States"].as_object().unwrap().iter().filter(|(_, state)| state["Type"] == "Task");
    for (name, task) in tasks {
        let retriers = task["Retry"].as_array().unwrap();
        let of = |error: &str| retriers.iter().position(|it| it["ErrorEquals"][0] == error);
        let throttled = of("Lambda.TooManyRequestsException").unwrap_or_else(|| panic!("{name}"));
        assert!(Some(throttled) < of("States.ALL"), "{name}: the first retrier that matches counts");
        assert!(retriers[throttled]["MaxAttempts"].as_u64().unwrap() >= 300, "{name}");
    }
}

/// Guards: a sweep ends by itself, and leaves its last round enough time, so that no two sweeps run beside each other.
#[test]
fn a_sweep_ends_before_its_function_does() {
    let model = model();
    let sweeper = model.functions.iter().find(|function| function.handler == "sweeper").unwrap();
    assert!(i64::from(sweeper.timeout.unwrap()) >= MAX_SECONDS + 10);
}

/// AWS advises six times the function's timeout for a queue that feeds it.
#[test]
fn a_visibility_timeout_is_six_times_the_functions_timeout() {
    let model = model();
    for mapping in &model.mappings {
        let name = template::names::last_part(&mapping.event_source_arn);
        let queue = model.queues.iter().find(|queue| queue.queue_name == name).unwrap();
        let function = model.functions.iter().find(|f| f.function_name == mapping.function_name).unwrap();
        assert_eq!(queue.visibility_timeout, function.timeout.map(|timeout| timeout * 6), "{name}");
    }
}
