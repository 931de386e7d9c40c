//! The operator's command line against a running platform: what its commands print, do and refuse.

use crate::platform::{BINARIES, Platform, on_platform, options, run, scratch};
use crate::stories::paid_with;
use chassis::outbox::envelope_of;
use chassis::store::{EVENTS, Store};
use hyper::Method;
use localstack::faults::Fault;
use registry::SERVICES;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tests::client::order_of;

const TIMEOUT: Duration = Duration::from_secs(30);
const NO_ORDER: &str = "018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f";

/// The command line with nothing of this process's environment that names a stage or credentials.
fn quadrille(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARIES.join("quadrille"));
    for name in ["AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID"] {
        command.env_remove(name);
    }
    command.env("AWS_CONFIG_FILE", "/nowhere").env("AWS_SHARED_CREDENTIALS_FILE", "/nowhere");
    command.env("AWS_EC2_METADATA_DISABLED", "true").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn here(platform: &Platform, arguments: &[&str]) -> Command {
    let mut command = quadrille(&[&["--stage", "test"], arguments].concat());
    command.env("AWS_ENDPOINT_URL", &platform.stack.endpoint).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
    command
}

async fn output(platform: &Platform, arguments: &[&str]) -> Output {
    let mut command = here(platform, arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// What a command prints for people.
async fn printed(platform: &Platform, arguments: &[&str]) -> String {
    let output = output(platform, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What it prints for programs: an object to a line.
async fn rows(platform: &Platform, arguments: &[&str]) -> Vec<Value> {
    let printed = printed(platform, &[arguments, &["--json"]].concat()).await;
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The exit code and the one line of an error; nothing was printed besides.
async fn refused(platform: &Platform, arguments: &[&str]) -> (i32, String) {
    one_line(&output(platform, arguments).await)
}

fn one_line(output: &Output) -> (i32, String) {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((errors.lines().count(), output.stdout.len()), (1, 0), "{output:?}");
    (output.status.code().unwrap(), errors)
}

async fn fulfilled(platform: &Platform) -> String {
    let product = platform.product(10).await;
    let id = platform.api.place(&order_of(&product, 2)).await.unwrap();
    assert_eq!(platform.api.ended(&id, TIMEOUT).await.unwrap()["status"], "FULFILLED");
    platform.stack.settle(TIMEOUT).await.unwrap();
    id
}

/// Guards: the story of an order has every service's events and verdicts in the order of time, from six tables.
#[test]
fn an_order_is_shown_with_its_story() {
    on_platform(async |platform| {
        let id = fulfilled(platform).await;
        let shown = rows(platform, &["order", "show", &id]).await.remove(0);
        assert_eq!((&shown["status"], &shown["items"][0]["quantity"]), (&json!("FULFILLED"), &json!(2)));
        assert!(shown["captured_cents"] == shown["total_cents"] && shown["refunded_cents"] == 0, "{shown}");
        let timeline = rows(platform, &["order", "timeline", &id]).await;
        let at: Vec<&str> = timeline.iter().map(|row| row["at"].as_str().unwrap()).collect();
        assert!(at.is_sorted() && timeline[0]["type"] == "order.created", "{timeline:#?}");
        let services: BTreeSet<&str> = timeline.iter().map(|row| row["service"].as_str().unwrap()).collect();
        assert_eq!(services, SERVICES.iter().copied().collect());
        let shipped = |row: &&Value| row["service"] == "fulfillment" && row["type"] == "order.confirmed";
        let delivered = timeline.iter().find(shipped).unwrap();
        assert!(delivered["what"] == "applied" && delivered["hop_ms"].as_i64() >= Some(0), "{delivered}");
        let table = printed(platform, &["order", "timeline", &id]).await;
        assert!(table.starts_with("TIME") && table.lines().count() == timeline.len() + 1, "{table}");
        let events = rows(platform, &["order", "events", &id]).await;
        let mut stored = 0;
        for service in SERVICES {
            let table = platform.table(&format!("test-quadrille-{service}")).await;
            stored += table.page(&format!("order#{id}"), EVENTS, None, 100).await.unwrap().len();
        }
        assert_eq!(events.len(), stored);
    });
}

/// Guards: an address is nowhere in what an operator sees of an order.
#[test]
fn an_operator_sees_no_address() {
    on_platform(async |platform| {
        let product = platform.product(10).await;
        let mut order = order_of(&product, 1);
        order["shipping_address"] = json!({"name": "Ada Byron", "line1": "12 Secret Street", "city": "Hiddentown",
            "postal_code": "00000", "country": "GB"});
        let id = platform.api.place(&order).await.unwrap();
        platform.api.ended(&id, TIMEOUT).await.unwrap();
        let events = printed(platform, &["order", "events", &id, "--json"]).await;
        assert!(events.contains("(personal data)"), "{events}");
        for secret in ["Byron", "Secret Street", "Hiddentown"] {
            assert!(!events.contains(secret), "{secret}: {events}");
        }
    });
}

/// Guards: one correlation id finds every hop: the logs of every service that handled the order. A request that changed nothing is
/// found by the order that it names.
#[test]
fn one_correlation_id_finds_every_hop() {
    on_platform(async |platform| {
        let id = fulfilled(platform).await;
        let lines = rows(platform, &["order", "trace", &id]).await;
        let ids: BTreeSet<&str> = lines.iter().map(|line| line["correlation_id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 1, "{lines:#?}");
        let services: BTreeSet<&str> = lines.iter().map(|line| line["service"].as_str().unwrap()).collect();
        assert_eq!(services, SERVICES.iter().copied().collect());
        let times: Vec<&str> = lines.iter().map(|line| line["timestamp"].as_str().unwrap()).collect();
        assert!(times.is_sorted() && lines.iter().all(|line| line["function"].is_string()), "{lines:#?}");
        let late =
            platform.api.send_with(Method::POST, &format!("/orders/{id}/cancel"), &[], String::new()).await;
        assert_eq!(late.unwrap().status, 409);
        let after = rows(platform, &["order", "trace", &id]).await;
        let requests = after.iter().filter(|line| line["order_id"] == *id && line["status"] == 409);
        assert_eq!((after.len(), requests.count()), (lines.len() + 1, 1), "{after:#?}");
    });
}

/// Guards: orders decides on a cancellation, as for its customer; and nothing happens without a yes.
#[test]
fn an_order_is_cancelled_while_it_is_pending() {
    run(async {
        let platform = &Platform::start(&options("operated-cancel")).await.unwrap();
        let ended = fulfilled(platform).await;
        let product = platform.product(10).await;
        platform.stack.faults.set(Fault::Stop { pipe: platform.reader("inventory") }).unwrap();
        let id = platform.api.place(&order_of(&product, 1)).await.unwrap();
        let (code, why) = refused(platform, &["order", "cancel", &id]).await;
        assert!(code == 2 && why.contains("--yes"), "{why}");
        assert_eq!(rows(platform, &["order", "show", &id]).await[0]["status"], "PENDING");
        let pending: Vec<Value> = rows(platform, &["orders", "--status", "pending"]).await;
        assert!(pending.iter().any(|order| order["order_id"] == *id), "{pending:?}");
        for _ in 0..2 {
            let cancelled = rows(platform, &["order", "cancel", &id, "--yes"]).await;
            assert_eq!(cancelled[0]["status"], "CANCELLING");
        }
        platform.stack.faults.clear();
        let order = platform.api.ended(&id, TIMEOUT).await.unwrap();
        assert_eq!(order["failure"]["error"], "CUSTOMER_REQUEST");
        let (code, why) = refused(platform, &["order", "cancel", &ended, "--yes"]).await;
        assert!(code == 1 && why.contains("is FULFILLED and can no longer be cancelled"), "{why}");
        let listed =
            rows(platform, &["orders", "--since", "2020-01-01T00:00:00Z", "--status", "fulfilled"]).await;
        assert_eq!(listed.len(), 1, "{listed:?}");
        let customers = rows(platform, &["orders", "--customer", "ada", "--limit", "1"]).await;
        assert_eq!((customers.len(), &customers[0]["order_id"]), (1, &json!(id)));
    });
}

/// The body by which an order's event came, as a queue has it.
async fn body(platform: &Platform, id: &str, kind: &str) -> String {
    let orders = platform.table("test-quadrille-orders").await;
    let rows = orders.page(&format!("order#{id}"), EVENTS, None, 100).await.unwrap();
    let row = rows.iter().find(|row| row.text("type") == Some(kind)).unwrap();
    json!({"detail-type": kind, "detail": envelope_of(row).unwrap()}).to_string()
}

fn send(platform: &Platform, queue: &str, body: &str) {
    platform.stack.queues.get(&format!("test-quadrille-{queue}")).unwrap().send(body);
}

fn depth(platform: &Platform, queue: &str) -> (usize, usize) {
    platform.stack.queues.get(&format!("test-quadrille-{queue}")).unwrap().depth()
}

const DEAD: &str = "payments-events-dlq";

/// Guards: what redrives every queue sends cancellations before all else, whichever queue they lie in, and names the fate of
/// each; what it cannot send stays, visible.
#[test]
fn every_queue_is_redriven_cancellations_first() {
    run(async {
        let platform = &Platform::start(&options("operated-redrive")).await.unwrap();
        let ended = fulfilled(platform).await;
        let product = platform.product(10).await;
        let declined = paid_with("pm_card_visa_chargeDeclined", order_of(&product, 1));
        let declined = platform.api.place(&declined).await.unwrap();
        platform.api.ended(&declined, TIMEOUT).await.unwrap();
        platform.stack.settle(TIMEOUT).await.unwrap();
        send(platform, "fulfillment-events-dlq", &body(platform, &ended, "order.confirmed").await);
        send(platform, "inventory-events-dlq", &body(platform, &ended, "order.created").await);
        send(platform, DEAD, "no event at all");
        send(platform, "rewards-events-dlq", &body(platform, &declined, "order.cancelled").await);
        let shown = printed(platform, &["dlq", "show", "fulfillment-events-dlq"]).await;
        assert!(shown.contains("\"order.confirmed\"") && shown.contains(&ended), "{shown}");

        let output = output(platform, &["dlq", "redrive", "--all", "--json"]).await;
        assert_eq!(output.status.code(), Some(1), "one stays");
        let printed = String::from_utf8(output.stdout).unwrap();
        let fates: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds: Vec<&str> = fates.iter().map(|fate| fate["what"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["order.cancelled", "order.confirmed", "order.created", "message"]);
        let well: Vec<bool> = fates.iter().map(|fate| fate["well"].as_bool().unwrap()).collect();
        assert_eq!(well, [true, true, true, false], "{fates:#?}");
        assert_eq!(platform.dead_letters(), [(format!("test-quadrille-{DEAD}"), 1)]);
    });
}

/// Guards: a message is deleted only after a yes, and when its copy is in a new file; every refusal leaves it visible.
#[test]
fn a_dead_letter_is_dropped_with_a_copy() {
    run(async {
        let platform = &Platform::start(&options("operated-drop")).await.unwrap();
        send(platform, DEAD, "no event at all");
        let listed = rows(platform, &["dlq", "list"]).await;
        let id = listed[0]["message_id"].as_str().unwrap();
        let shown = printed(platform, &["dlq", "show", DEAD, "--message", id]).await;
        assert!(shown.contains("15 bytes that are no JSON"), "{shown}");
        assert!(printed(platform, &["dlq", "show", DEAD, "--raw"]).await.contains("no event at all"));
        let file = scratch("operated-copy").join("copy.json");
        let copy = file.to_str().unwrap();
        let drop = ["dlq", "drop", DEAD, "--copy", copy, "--message", id];
        let (code, why) = refused(platform, &drop).await;
        assert!(code == 2 && why.contains("--yes") && !file.exists(), "{why}");
        let other = ["dlq", "drop", DEAD, "--copy", copy, "--yes", "--message", NO_ORDER];
        assert_eq!(refused(platform, &other).await.0, 2);
        assert_eq!(depth(platform, DEAD), (1, 0));
        let dropped = printed(platform, &[&drop[..], &["--yes"]].concat()).await;
        assert_eq!(dropped.trim(), format!("deleted, a copy is in {copy}"));
        let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!((&kept["body"], &kept["message_id"]), (&json!("no event at all"), &json!(id)));
        assert_eq!(depth(platform, DEAD), (0, 0));

        send(platform, DEAD, "another one");
        let id = rows(platform, &["dlq", "list"]).await[0]["message_id"].as_str().unwrap().to_owned();
        let again = ["dlq", "drop", DEAD, "--copy", copy, "--yes", "--message", &id];
        let (code, why) = refused(platform, &again).await;
        assert!(code == 2 && why.contains("--copy"), "{why}");
        assert_eq!(depth(platform, DEAD), (1, 0));
        stop_in_the_middle(platform).await;
        drop_a_queue(platform).await;
    });
}

/// Every message of a queue is deleted, each with a copy, and not without a yes.
async fn drop_a_queue(platform: &Platform) {
    send(platform, DEAD, "a third one");
    let all = ["dlq", "drop", DEAD, "--all"];
    assert_eq!(refused(platform, &all).await.0, 2);
    let folder = scratch("operated-copies");
    let mut command = here(platform, &[&all[..], &["--yes"]].concat());
    command.current_dir(&folder);
    let dropped = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(dropped.status.success(), "{}", String::from_utf8_lossy(&dropped.stderr));
    assert_eq!((depth(platform, DEAD), std::fs::read_dir(&folder).unwrap().count()), ((0, 0), 2));
}

/// Ctrl-C leaves nothing hidden.
async fn stop_in_the_middle(platform: &Platform) {
    let child = here(platform, &["dlq", "list"]).spawn().unwrap();
    let deadline = Instant::now() + TIMEOUT;
    while depth(platform, DEAD) != (0, 1) {
        assert!(Instant::now() < deadline, "nothing was received");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), errors.as_str()), (Some(1), "error: stopped\n"));
    assert_eq!(depth(platform, DEAD), (1, 0));
}

/// Guards: inventory decides on a count, of the shelf that was seen and of no other; and nothing is counted without a yes.
#[test]
fn stock_is_shown_and_counted() {
    on_platform(async |platform| {
        let product = platform.product(5).await;
        let shelf = rows(platform, &["stock", "show", &product]).await.remove(0);
        assert_eq!((&shelf["available"], &shelf["shelf"]), (&json!(5), &json!("1-0")));
        let count = ["stock", "count", &product, "9", "--seen", "1-0"];
        let (code, why) = refused(platform, &count).await;
        assert!(code == 2 && why.contains("--yes"), "{why}");
        let counted = rows(platform, &[&count[..], &["--yes"]].concat()).await.remove(0);
        assert_eq!((&counted["available"], &counted["shelf"]), (&json!(9), &json!("2-0")));
        let (code, why) = refused(platform, &[&count[..], &["--yes"]].concat()).await;
        assert!(code == 1 && why.contains("something shipped or was counted since"), "{why}");
        let (code, why) = refused(platform, &["stock", "show", "nowhere"]).await;
        assert!(code == 2 && why.contains("has no product nowhere"), "{why}");
        let all = rows(platform, &["stock", "show"]).await;
        assert!(all.iter().any(|row| row["product_id"] == *product && row["available"] == 9), "{all:?}");
    });
}

/// Guards: an operator's reset closes the circuit by payments' own decision, which publishes it: orders are accepted and charged
/// again at once.
#[test]
fn an_operator_closes_the_circuit() {
    run(async {
        let mut options = options("operated-breaker");
        options.parameters.insert("CircuitOpenSeconds".into(), "3600".into());
        let platform = &Platform::start(&options).await.unwrap();
        let product = platform.product(50).await;
        platform.stack.faults.set(Fault::Provider { times: 100 }).unwrap();
        let state = async || rows(platform, &["breaker", "show"]).await.remove(0)["state"].clone();
        assert_eq!(state().await, "CLOSED");
        let deadline = Instant::now() + TIMEOUT;
        while state().await != "OPEN" {
            assert!(Instant::now() < deadline, "the circuit never opened");
            for _ in 0..5 {
                // Refused, once the circuit is open.
                let _ = platform.api.place(&order_of(&product, 1)).await;
            }
        }
        platform.stack.faults.clear();
        assert_eq!(rows(platform, &["breaker", "reset"]).await[0]["state"], "CLOSED");
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Ok(id) = platform.api.place(&order_of(&product, 1)).await
                && platform.api.ended(&id, TIMEOUT).await.unwrap()["status"] == "FULFILLED"
            {
                return;
            }
            assert!(Instant::now() < deadline, "no order is accepted and charged");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

/// Guards: what is used wrongly is one line and exit code 2, and an answer of no is exit code 1.
#[test]
fn what_is_used_wrongly_is_refused_in_a_line() {
    on_platform(async |platform| {
        for wrong in [
            &["order", "show", "x"][..],
            &["order", "show", NO_ORDER],
            &["order", "timeline", NO_ORDER],
            &["order", "events", NO_ORDER],
            &["order", "trace", NO_ORDER],
            &["order", "cancel", NO_ORDER, "--yes"],
            &["order", "retry-compensation", NO_ORDER],
            &["orders"],
            &["orders", "--status", "LOST"],
            &["orders", "--since", "yesterday"],
            &["dlq", "show", "nowhere-dlq"],
            &["dlq", "redrive"],
            &["dlq", "redrive", "--all", "payments-events-dlq"],
            &["dlq", "redrive", "prod-quadrille-payments-events-dlq"],
            &["dlq", "redrive", "nowhere-dlq"],
            &["dlq", "drop", "payments-events-dlq", "--yes", "--message", "../x"],
            &["bus", "tail", "--type", "order.lost"],
            &["dlq", "drop", "payments-events-dlq"],
            &["pipes", "stop", "sales"],
            &["republish", "--pipe", "sales", "--since", "2026-01-01T00:00:00Z"],
            &["stock", "count", "beans", "-1", "--seen", "1-0"],
            &["completions", "tcsh"],
            &["nonsense"],
        ] {
            assert_eq!(refused(platform, wrong).await.0, 2, "{wrong:?}");
        }
    });
}

/// Guards: a stage that is not there is one line, which names what is missing and what helps.
#[test]
fn a_stage_that_is_not_there_says_what_helps() {
    let mut nothing = quadrille(&["waiting"]);
    let (code, why) = one_line(&nothing.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").output().unwrap());
    assert!(code == 1 && why.contains("127.0.0.1:1") && why.contains("cargo dev"), "{why}");
    for nowhere in ["127.0.0.1:4566", "nonsense", "http://", "ftp://127.0.0.1:4566"] {
        let mut ignored = quadrille(&["waiting"]);
        let (code, why) = one_line(&ignored.env("AWS_ENDPOINT_URL", nowhere).output().unwrap());
        assert!(code == 2 && why.contains(nowhere), "{why}");
    }
    for stage in ["", "../x", "Prod", "a-b", "local-quadrille-payments", "\u{1b}[31mred"] {
        let (code, why) = one_line(&quadrille(&["waiting", "--stage", stage]).output().unwrap());
        assert!(code == 2 && why.contains("--stage") && !why.contains('\u{1b}'), "{stage}: {why}");
    }
    let (_, why) = one_line(&quadrille(&["\u{1b}[31mred"]).output().unwrap());
    assert!(!why.contains('\u{1b}'), "{why:?}");
    let endpoint = "http://127.0.0.1:1";
    let mut no_region = quadrille(&["waiting", "--stage", "prod"]);
    let (code, why) = one_line(&no_region.env("AWS_ENDPOINT_URL", endpoint).output().unwrap());
    assert!(code == 1 && why.contains("AWS_REGION") && why.contains("aws configure"), "{why}");
    let mut no_key = quadrille(&["waiting", "--stage", "prod"]);
    no_key.env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", "eu-central-1");
    let (code, why) = one_line(&no_key.output().unwrap());
    assert!(code == 1 && why.contains("no credentials") && why.contains("aws sso login"), "{why}");
    on_platform(async |platform| {
        let local =
            quadrille(&["waiting", "--json"]).env("AWS_ENDPOINT_URL", &platform.stack.endpoint).output();
        let errors = String::from_utf8(local.unwrap().stderr).unwrap();
        // Its tables have another stage's name; credentials were never missing.
        assert!(!errors.contains("credentials"), "{errors}");
    });
}

/// Guards: completions and the manual page know every command, without a stage.
#[test]
fn shells_and_man_know_every_command() {
    for (arguments, wanted) in [
        (&["completions", "bash"][..], "retry-compensation"),
        (&["completions", "zsh"], "retry-compensation"),
        (&["completions", "fish"], "retry-compensation"),
        (&["man"], "QUADRILLE DLQ REDRIVE"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["--help"], "Exit codes: 0"),
    ] {
        let output = quadrille(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(wanted), "{arguments:?}: {text}");
    }
}

/// Guards: events are printed as they come, those that were asked for; and rule and queue are gone afterwards, be it ended by Ctrl-C,
/// by SIGTERM or by a terminal that closes; as is what was left over long ago.
#[test]
fn the_bus_is_tailed_until_ctrl_c() {
    run(async {
        let platform = &Platform::start(&options("operated-tail")).await.unwrap();
        let product = platform.product(10).await;
        let sdk = platform.sdk().await;
        let (sqs, rules) = (aws_sdk_sqs::Client::new(&sdk), aws_sdk_eventbridge::Client::new(&sdk));
        // Made in 2023.
        let old = "test-quadrille-tail-018c0000-0000-7000-8000-000000000000";
        sqs.create_queue().queue_name(old).send().await.unwrap();
        let pattern = r#"{"source": ["x"]}"#;
        rules
            .put_rule()
            .event_bus_name("test-quadrille")
            .name(old)
            .event_pattern(pattern)
            .send()
            .await
            .unwrap();
        let left = async || {
            let queues = sqs.list_queues().queue_name_prefix("test-quadrille-tail-").send().await.unwrap();
            let listed =
                rules.list_rules().event_bus_name("test-quadrille").name_prefix("test-quadrille-tail-");
            let listed = listed.send().await.unwrap();
            [queues.queue_urls().join(" "), listed.rules().iter().filter_map(|rule| rule.name()).collect()]
        };
        let mut command = here(
            platform,
            &["bus", "tail", "--json", "--type", "order.created", "--type", "order.fulfilled"],
        );
        let mut child = command.spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let began = tokio::task::spawn_blocking(move || errors.next().unwrap().unwrap()).await.unwrap();
        assert!(began.contains("Ctrl-C"), "{began}");
        let [queues, listed] = left().await;
        assert!(!queues.contains(old) && queues.contains(&listed) && !listed.is_empty(), "{queues} {listed}");
        let id = platform.api.place(&order_of(&product, 1)).await.unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = tokio::task::spawn_blocking(move || -> Vec<Value> {
            lines.by_ref().take(2).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
        });
        let mut seen = seen.await.unwrap();
        seen.sort_by_key(|event| event["metadata"]["seq"].as_u64());
        let kinds: Vec<&str> = seen.iter().map(|event| event["metadata"]["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["order.created", "order.fulfilled"]);
        assert!(seen.iter().all(|event| event["metadata"]["subject"] == *id), "{seen:?}");
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        assert!(status.success(), "{status}");
        assert_eq!(left().await, [String::new(), String::new()]);
        for signal in ["-TERM", "-HUP"] {
            let mut child = here(platform, &["bus", "tail"]).spawn().unwrap();
            let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
            tokio::task::spawn_blocking(move || errors.next().unwrap().unwrap()).await.unwrap();
            assert!(left().await.iter().all(|made| !made.is_empty()));
            assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
            let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
            assert!(status.success(), "{signal}: {status}");
            assert_eq!(left().await, [String::new(), String::new()], "{signal}");
        }
    });
}
