//! Replay: what was published is published once more, by the operator's command line, and nothing happens twice.

use crate::bench::Bench;
use crate::platform::{BINARIES, Platform, options, run, scratch};
use crate::stories::paid_with;
use chassis::inbox::deliveries;
use chassis::store::{Attr, INBOX, Item, Key, Scan};
use registry::SERVICES;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tests::client::order_of;

const EVERYTHING: [&str; 4] = ["--from", "2020-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z"];

/// A platform with an order for each way to end, at rest.
pub async fn with_orders(name: &str) -> (Platform, Vec<String>) {
    let platform = Platform::start(&options(name)).await.unwrap();
    let (beans, anvil) = (platform.product(100).await, platform.product_called("unshippable", 100).await);
    let mut orders = Vec::new();
    for order in [
        order_of(&beans, 2),
        paid_with("pm_card_visa_chargeDeclined", order_of(&beans, 1)),
        order_of(&anvil, 1),
        order_of(&beans, 500),
    ] {
        orders.push(platform.api.place(&order).await.unwrap());
    }
    for order in &orders {
        (&platform).ended(order).await;
    }
    (&platform).settle().await;
    (platform, orders)
}

/// The operator's command line against a platform.
fn quadrille(platform: &Platform, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARIES.join("quadrille"));
    command.args(["--stage", "test"]).args(arguments).env("AWS_ENDPOINT_URL", &platform.stack.endpoint);
    command.env("AWS_REGION", "us-east-1").env("AWS_ACCESS_KEY_ID", "local");
    command.env("AWS_SECRET_ACCESS_KEY", "local").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What it prints as JSON.
pub async fn printed(platform: &Platform, arguments: &[&str]) -> Value {
    let output = output(platform, arguments).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub async fn output(platform: &Platform, arguments: &[&str]) -> Output {
    let mut command = quadrille(platform, arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// How it ends when the reader of its output is gone.
pub async fn unread(platform: &Platform, arguments: &[&str]) -> Option<i32> {
    let mut command = quadrille(platform, arguments);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    tokio::task::spawn_blocking(move || command.output().unwrap().status.code()).await.unwrap()
}

/// Every row of a service's table.
async fn rows(platform: &Platform, service: &str) -> Vec<Item> {
    let table = platform.table(&format!("test-quadrille-{service}")).await;
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let scanned = table.scan("", after.as_ref(), 1000).await.unwrap();
        rows.extend(scanned.rows);
        after = scanned.last;
        if after.is_none() {
            rows.sort_by(|a: &Item, b| a.key.cmp(&b.key));
            return rows;
        }
    }
}

/// Everything that the services and the world outside know, but how often they were asked and the replay's own row.
async fn everything(platform: &Platform, orders: &[String]) -> Vec<Value> {
    let mut all = Vec::new();
    for service in SERVICES {
        for mut row in rows(platform, service).await {
            // A row that only counts repeats.
            let counts = row.text("verdict") == Some("duplicate");
            if row.key.sk.starts_with(INBOX) {
                row.attrs.remove("duplicates");
            }
            if !counts && !row.key.pk.starts_with("replay#") {
                all.push(json!(format!("{service} {row:?}")));
            }
        }
    }
    all.push(json!(platform.provider.get("/book").await.unwrap().body));
    all.push(json!(platform.provider.get("/carrier/book").await.unwrap().body));
    all.extend(orders.iter().map(|order| json!(platform.notices(order))));
    all
}

/// How often the deliveries that each service remembers came again.
async fn repeats(platform: &Platform) -> BTreeMap<&'static str, Vec<u64>> {
    let mut repeats = BTreeMap::new();
    for service in SERVICES {
        let rows = rows(platform, service).await;
        let partitions = rows.chunk_by(|a, b| a.key.pk == b.key.pk);
        let delivered = partitions.flat_map(|rows| deliveries(rows).unwrap().into_values());
        repeats.insert(*service, delivered.map(|one| one.duplicates).collect());
    }
    repeats
}

/// Guards: a replay reaches every consumer, each of which knows the event: no state, stock, money, parcel or message changes.
/// With `--consumer` it reaches that one alone: the rules' condition on `metadata.replay.consumer`.
#[test]
fn a_replay_reaches_every_consumer_or_one_and_changes_nothing() {
    run(async {
        let (platform, orders) = with_orders("replay").await;
        let before = everything(&platform, &orders).await;
        let counted =
            printed(&platform, &[&["replay", "--json", "--dry-run"][..], &EVERYTHING].concat()).await;
        assert_eq!(counted["counted"]["order.created"], 4);
        let replayed = printed(&platform, &[&["replay", "--json"][..], &EVERYTHING].concat()).await;
        assert_eq!(replayed["published"], counted["counted"]);
        (&platform).settle().await;
        for (service, repeats) in repeats(&platform).await {
            assert!(
                !repeats.is_empty() && repeats.iter().all(|repeats| *repeats == 1),
                "{service}: {repeats:?}"
            );
        }
        assert_eq!(everything(&platform, &orders).await, before);

        let to_rewards = [&["replay", "--json", "--consumer", "rewards"][..], &EVERYTHING].concat();
        let replayed = printed(&platform, &to_rewards).await;
        assert_eq!(replayed["published"], json!({"order.cancelled": 3, "order.confirmed": 2}));
        (&platform).settle().await;
        for (service, repeats) in repeats(&platform).await {
            let times = if service == "rewards" { 2 } else { 1 };
            assert!(repeats.iter().all(|repeats| *repeats == times), "{service}: {repeats:?}");
        }
        assert_eq!(everything(&platform, &orders).await, before);
        assert_eq!(platform.dead_letters(), []);
    });
}

/// Guards: the archive's replay through the command line. It reaches the consumer whose rule it names, marked as replayed.
#[test]
fn the_archive_is_replayed_by_the_command_line() {
    run(async {
        let (platform, orders) = with_orders("archive-replay").await;
        let before = everything(&platform, &orders).await;
        let to_rewards =
            [&["replay", "--json", "--archive", "--consumer", "rewards"][..], &EVERYTHING].concat();
        assert_eq!(printed(&platform, &to_rewards).await["state"], "COMPLETED");
        (&platform).settle().await;
        for (service, repeats) in repeats(&platform).await {
            let times = u64::from(service == "rewards");
            assert!(repeats.iter().all(|repeats| *repeats == times), "{service}: {repeats:?}");
        }
        assert_eq!(everything(&platform, &orders).await, before);
        let stray = output(&platform, &["replay", "--archive", "--order", &orders[0]]).await;
        assert_eq!(stray.status.code(), Some(2));
    });
}

/// Guards: an operator's pipes. They are listed with their states; an unknown one is said to be unknown.
#[test]
fn pipes_are_listed_stopped_and_started_by_the_command_line() {
    run(async {
        let mut options = options("pipes-by-hand");
        options.parameters.insert("FanOut".into(), "pipe".into());
        let platform = Platform::start(&options).await.unwrap();
        let said = async |arguments: &[&str]| {
            let output = output(&platform, arguments).await;
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
        };
        assert_eq!(said(&["pipes", "stop", "orders"]).await, "test-quadrille-orders stops\n");
        let (mut listed, deadline) = (String::new(), std::time::Instant::now() + Duration::from_secs(20));
        while !listed.contains("test-quadrille-orders       STOPPED  20") {
            assert!(std::time::Instant::now() < deadline, "{listed}");
            listed = said(&["pipes", "list"]).await;
        }
        assert_eq!(listed.matches("RUNNING").count(), 4, "{listed}");
        assert_eq!(said(&["pipes", "start", "orders"]).await, "test-quadrille-orders starts\n");
        assert!(said(&["pipes", "stop", "nowhere"]).await.contains("quadrille pipes list"));
    });
}

/// The state of each of a service's subjects. Which of two events came first is left open: the bus does not keep an order.
fn states(rows: &[Item]) -> BTreeMap<String, String> {
    let states = rows.iter().filter(|row| row.key.sk == "state");
    states.map(|row| (row.key.pk.clone(), row.text("data").unwrap().to_owned())).collect()
}

/// Guards: a service that is added later catches up alone, by a replay that is addressed to it, while orders keep coming: its
/// state is that of a service that was there from the start.
#[test]
fn a_service_that_is_added_later_catches_up_alone() {
    run(async {
        let (platform, _) = with_orders("late").await;
        let there_from_the_start = states(&rows(&platform, "rewards").await);
        for row in rows(&platform, "rewards").await {
            let key = json!({"pk": {"S": row.key.pk}, "sk": {"S": row.key.sk}});
            let body = json!({"TableName": "test-quadrille-rewards", "Key": key}).to_string();
            assert_eq!(platform.stack.dynamodb.call("DeleteItem", body.as_bytes()).0, 200);
        }
        let order = order_of(&platform.product(10).await, 1);
        let replay = [&["replay", "--json", "--consumer", "rewards"][..], &EVERYTHING].concat();
        let (_, live) = tokio::join!(printed(&platform, &replay), platform.api.place(&order));
        let live = live.unwrap();
        assert_eq!((&platform).ended(&live).await["status"], "FULFILLED");
        (&platform).settle().await;
        let mut caught_up = states(&rows(&platform, "rewards").await);
        assert!(caught_up.remove(&format!("order#{live}")).unwrap().contains("granted"));
        assert_eq!(caught_up, there_from_the_start);
    });
}

/// Guards: a replay that is stopped says how to go on, and goes on from its last page: together the two runs publish all.
#[test]
fn a_replay_that_is_stopped_is_resumed() {
    run(async {
        let (platform, _) = with_orders("resume").await;
        let arguments = [&["replay", "--rate", "4"][..], &EVERYTHING].concat();
        let child = quadrille(&platform, &arguments).spawn().unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let stopped = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&stopped.stderr).into_owned();
        assert_eq!(stopped.status.code(), Some(1), "{said}");
        let id = said.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(said.contains(&format!("go on with: quadrille replay --stage test --resume {id}")), "{said}");
        // At four events a second, some seconds are some events; the page that was cut off is not saved yet.
        let sent = said.split(' ').find_map(|part| part.parse::<u64>().ok()).unwrap();
        assert!(sent > 0 && said.contains(&format!("the last {sent} of which")), "{said}");
        let counted =
            printed(&platform, &[&["replay", "--json", "--dry-run"][..], &EVERYTHING].concat()).await;
        let resumed = printed(&platform, &["replay", "--json", "--resume", &id]).await;
        assert_eq!(resumed["published"], counted["counted"]);
        let ended = printed(&platform, &["replay", "--json", "--resume", &id]).await;
        assert_eq!(ended["published"], serde_json::json!({}));
        (&platform).settle().await;
        for (service, repeats) in repeats(&platform).await {
            assert!(repeats.iter().all(|repeats| (1..=2).contains(repeats)), "{service}: {repeats:?}");
        }
        let row = platform.table("test-quadrille-orders").await;
        let row = chassis::Store::load(&row, &Key::new(format!("replay#{id}"), "checkpoint"))
            .await
            .unwrap()
            .unwrap();
        assert!(matches!(row.attrs["state"], Attr::S(ref state) if state.contains("\"position\":null")));
    });
}

/// Guards: bad input is one line that names the flag, exit code 2, and nothing is published or written.
#[test]
fn what_cannot_be_replayed_is_refused() {
    run(async {
        let (platform, orders) = with_orders("refused-replay").await;
        let before = everything(&platform, &orders).await;
        let file = scratch("replay-log").join("events.jsonl");
        let file = file.to_str().unwrap();
        let (none, order) = ("018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f", orders[0].as_str());
        for (arguments, rule) in [
            (vec!["--order", order, "--type", "order.gifted"], "--type: no service publishes order.gifted"),
            (vec!["--order", order, "--consumer", "fraud"], "--consumer: fraud is none of"),
            (
                vec!["--order", order, "--consumer", "rewards", "--type", "order.created"],
                "--type: rewards consumes none",
            ),
            (vec!["--order", none], "has no such event about order"),
            (vec!["--resume", none], "there is no replay"),
            (vec!["--resume", none, "--dry-run"], "cannot be used with"),
            (
                vec!["--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"],
                "--from: has to be before --to",
            ),
            (vec!["--from", "2026-01-02T00:00:00Z"], "--to"),
            (vec!["--order", order, "--rate", "0"], "--rate"),
        ] {
            let output = output(&platform, &[&["replay"][..], &arguments].concat()).await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
            assert!(said.contains(rule), "{arguments:?}: {said}");
        }
        // The log of an order in a file, which is not written over.
        let log = ["replay", "--json", "--order", order, "--log", file];
        assert_eq!(printed(&platform, &log).await["published"]["order.created"], 1);
        let text = std::fs::read_to_string(file).unwrap();
        let envelopes: Vec<_> =
            text.lines().map(|line| events::Envelope::read(serde_json::from_str(line).unwrap())).collect();
        assert!(envelopes.len() > 5 && envelopes.iter().all(Result::is_ok), "{envelopes:?}");
        assert_eq!(output(&platform, &log).await.status.code(), Some(2));
        (&platform).settle().await;
        assert_eq!(everything(&platform, &orders).await, before);
    });
}
