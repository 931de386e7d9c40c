//! The audit: nothing differs at rest, each row that is changed, deleted or invented is named, and what a pipe lost is found and
//! published again.

use crate::bench::Bench;
use crate::platform::{Platform, run};
use crate::replaying::{is, piped, pipes, stop};
use crate::replays::{output, unread, with_orders};
use crate::seeded::Dice;
use crate::stores::without_inbox;
use crate::stories::market::open;
use crate::world::World;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_pipes::types::PipeState;
use chassis::digest::{DIGEST, sealed};
use chassis::inbox::{Delivered, deliveries, failure_key};
use chassis::ports::Clock;
use chassis::store::{Attr, Condition, EVENTS, INBOX, Item, Key, MemoryStore, Store, Write};
use chrono::{DateTime, TimeDelta, Utc};
use events::EventId;
use futures_util::FutureExt;
use localstack::faults::Fault;
use operator::audit::{Audit, Book, Counts, Difference, Money, Scope};
use registry::SERVICES;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tests::client::order_of;
use uuid::Uuid;

const TIMEOUT: Duration = Duration::from_secs(60);

type Tables = BTreeMap<&'static str, Vec<Item>>;

/// A market that has come to rest, and the clock of its world.
async fn at_rest(seed: u64) -> (Tables, Arc<dyn Clock>) {
    let mut world = World::new();
    open(&mut world).await;
    world.play(&mut Dice::new(seed)).await;
    (world.tables().into_iter().collect(), world.clock())
}

fn audit(tables: &Tables, clock: &Arc<dyn Clock>) -> Audit<MemoryStore> {
    let open = |service: &str| MemoryStore::of(tables[service].clone());
    Audit::new(open, TimeDelta::zero()).with_clock(Arc::clone(clock))
}

async fn differences(tables: &Tables, clock: &Arc<dyn Clock>) -> BTreeSet<Difference> {
    audit(tables, clock).run(Scope::All(None), |_| ()).await.unwrap().differences
}

/// The lines of differences in a service's row.
fn named<'a>(found: &'a BTreeSet<Difference>, service: &str, key: &Key) -> Vec<&'a str> {
    let of = |difference: &&Difference| difference.table == service && difference.key == key.to_string();
    found.iter().filter(of).map(|difference| difference.what.as_str()).collect()
}

/// Whether the audit says something of a row.
fn is_audited(row: &Item) -> bool {
    let sk = row.key.sk.as_str();
    let counts_repeats = row.text("verdict") == Some("duplicate");
    sk == "state" || sk == "view" || sk.starts_with(EVENTS) || sk.starts_with(INBOX) && !counts_repeats
}

/// Guards: no false alarm. In whichever order events came, and however often, nothing differs at rest.
#[test]
fn nothing_differs_at_rest() {
    for seed in 0..40 {
        let (tables, clock) = run(at_rest(seed));
        assert_eq!(run(differences(&tables, &clock)), BTreeSet::new(), "seed {seed}");
    }
}

/// Guards: gapless numbers, the state beside its events, inbox rows, views. Each row of each table is deleted once, and named.
#[test]
fn each_deleted_row_is_named() {
    run(async {
        let (tables, clock) = at_rest(1).await;
        for (service, rows) in &tables {
            for n in (0..rows.len()).filter(|n| is_audited(&rows[*n])) {
                let mut tables = tables.clone();
                let Key { pk, sk } = tables.get_mut(service).unwrap().remove(n).key;
                // Where a delivery would be remembered first.
                let key = &if sk.starts_with(INBOX) { Key::state(pk) } else { Key::new(pk, sk) };
                let found = differences(&tables, &clock).await;
                // The last trace of a private state: nothing says that there was one, but who published what it reacted to.
                assert!(!named(&found, service, key).is_empty(), "{service} {key}: {found:#?}");
            }
        }
    });
}

/// The row with one attribute changed, by a person who knows nothing of digests.
fn tampered(row: &Item, dice: &mut Dice) -> Item {
    let names: Vec<&String> = row.attrs.keys().collect();
    let name = names[dice.below(names.len())];
    let value = match &row.attrs[name] {
        Attr::S(text) => Attr::S(format!("{text}0")),
        Attr::N(number) => Attr::N(number + 1),
    };
    row.clone().with(&name.clone(), value)
}

/// Guards: digests, and the sums of the counters, which no digest covers. One attribute of each state, event and view row is
/// changed, and the row is named.
#[test]
fn each_tampered_row_is_named() {
    run(async {
        let (tables, clock) = at_rest(2).await;
        let mut dice = Dice::new(7);
        for (service, rows) in &tables {
            let kept = |row: &Item| is_audited(row) && !row.key.sk.starts_with(INBOX);
            for n in (0..rows.len()).filter(|n| kept(&rows[*n])) {
                let (mut tables, changed) = (tables.clone(), tampered(&rows[n], &mut dice));
                tables.get_mut(service).unwrap()[n] = changed.clone();
                let found = differences(&tables, &clock).await;
                assert!(!named(&found, service, &changed.key).is_empty(), "{changed:?}: {found:#?}");
            }
        }
    });
}

/// Guards: the fold. What the events determine is compared without digests too, and both sides are named.
#[test]
fn a_state_that_its_events_do_not_make_is_named() {
    run(async {
        let (tables, clock) = at_rest(3).await;
        for (service, from, to, said) in [
            (
                "payments",
                r#""stage":"charged""#,
                r#""stage":"declined""#,
                "stored: declined, its events say: charged",
            ),
            ("rewards", r#""points":5"#, r#""points":99"#, "stored: 99 points granted, its events say: 5"),
            ("inventory", r#""stage":"failed""#, r#""stage":"released""#, "its events say: not reserved"),
            (
                "fulfillment",
                r#""stage":"shipped""#,
                r#""stage":"failed""#,
                "stored: failed, its events say: shipped",
            ),
            ("orders", r#""quantity":2"#, r#""quantity":3"#, "its events say: FULFILLED"),
        ] {
            let mut tables = tables.clone();
            let rows = tables.get_mut(service).unwrap().iter_mut();
            let mut states = rows.filter(|row| row.key.sk == "state");
            let row = states.find(|row| row.text("data").is_some_and(|data| data.contains(from)));
            let row = row.unwrap_or_else(|| panic!("{service} has no state with {from}"));
            let data = row.text("data").unwrap().replace(from, to);
            // Written before rows had digests, or by an attacker who can compute them.
            *row = row.clone().with("data", data);
            row.attrs.remove(DIGEST);
            let key = row.key.clone();
            let found = differences(&tables, &clock).await;
            let lines = named(&found, service, &key).join("\n");
            assert!(lines.contains(said), "{lines}\n{found:#?}");
        }
    });
}

/// The row under another partition, with the digest that it then has.
fn moved(row: &Item, from: &str, to: &str) -> Item {
    let key = Key::new(row.key.pk.replace(from, to), row.key.sk.clone());
    let mut item = Item { key, ..row.clone() };
    for value in item.attrs.values_mut() {
        if let Attr::S(text) = value {
            *text = text.replace(from, to);
        }
    }
    if item.attrs.contains_key(DIGEST) { sealed(item, &[]) } else { item }
}

/// The inbox row of a delivery.
fn beside(delivered: &Delivered, pk: &str) -> Item {
    match delivered.row(pk) {
        Write::Put { item, .. } => item,
        write => panic!("{write:?}"),
    }
}

/// Guards: subjects that their owner does not have, states without anything that made them, verdicts on events of nobody,
/// and events that the state does not know. In each service one of each is invented, with right digests, and is named.
#[test]
fn each_invented_row_is_named() {
    run(async {
        let (tables, clock) = at_rest(4).await;
        for service in SERVICES {
            let rows = &tables[service];
            let states = rows.iter().filter(|row| row.key.sk == "state" && row.text("data").is_some());
            let state = states
                .clone()
                .find(|row| row.key.pk.starts_with("order#"))
                .or(states.clone().next())
                .unwrap();
            let pk = state.key.pk.as_str();
            let id = pk.split_once('#').unwrap().1;
            let new = Uuid::from_u128(0xfeed).to_string();
            let of_state = rows.iter().filter(|row| row.key.pk == pk);
            let (known, verdict) = deliveries(of_state).unwrap().pop_first().unwrap();
            let verdict = Delivered { event_id: EventId(new.parse().unwrap()), ..verdict };
            // Of a message nothing is wrong but that no service published its event.
            let mut inventions = vec![vec![moved(state, id, &new)]];
            // In the place of another verdict, and beside it.
            if known.to_string() != id {
                let inbox = state.text("inbox").unwrap().replace(&known.to_string(), &new);
                inventions.push(vec![sealed(state.clone().with("inbox", inbox), &[])]);
                inventions.push(vec![beside(&verdict, pk)]);
            }
            let events: Vec<&Item> =
                rows.iter().filter(|row| row.key.pk == pk && row.key.sk.starts_with(EVENTS)).collect();
            if let Some(last) = events.last() {
                let seq = last.number("seq").unwrap() + 1;
                let next = Item { key: Key::event(pk, seq.unsigned_abs()), ..(*last).clone() };
                inventions.push(vec![sealed(next.with("seq", seq), &[])]);
                // An order of which everything is right but that it was never placed.
                inventions
                    .push([&[state], &events[..]].concat().iter().map(|row| moved(row, id, &new)).collect());
            }
            for invented in inventions {
                let mut tables = tables.clone();
                tables.get_mut(service).unwrap().extend(invented.clone());
                let found = differences(&tables, &clock).await;
                let is_orphan = !named(&found, "orders", &Key::state(format!("order#{new}"))).is_empty();
                let is_named = invented.iter().any(|row| !named(&found, service, &row.key).is_empty());
                assert!(is_named || is_orphan, "{service}: {invented:#?}\n{found:#?}");
            }
        }
    });
}

/// The rows of a service, of one subject's only the state.
fn only_state(tables: &Tables, service: &'static str, pk: &str) -> Tables {
    let mut tables = tables.clone();
    let rows = tables.get_mut(service).unwrap();
    rows.retain(|row| row.key.pk != pk || row.key.sk == "state");
    tables
}

/// Guards: no false alarm about a state that no row explains, because its call has not been answered yet, or its inbox rows are
/// gone and it was written again: by a rebuild.
#[test]
fn a_state_that_left_no_row_is_not_invented() {
    run(async {
        let (tables, clock) = at_rest(4).await;
        for service in ["fulfillment", "sales", "rewards"] {
            let state =
                tables[service].iter().find(|row| row.key.sk == "state" && row.text("data").is_some());
            let pk = &state.unwrap().key.pk;
            let found = differences(&only_state(&tables, service, pk), &clock).await;
            let said = named(&found, service, &Key::state(pk));
            assert!(said.iter().all(|what| !what.contains("invented")), "{service}: {said:?}");
        }
    });
}

/// Guards: I2 against the provider's book, and I8 beside the events.
#[test]
fn money_and_points_are_compared_with_the_order() {
    run(async {
        let (tables, clock) = at_rest(5).await;
        let order = fulfilled(&tables);
        let total = 2 * tests::client::CENTS;
        let (before, after) = (DateTime::UNIX_EPOCH, DateTime::<Utc>::MAX_UTC);
        for (money, read_at, differs) in [
            (Money { captures: 1, captured: total, refunded: 0 }, after, 0),
            (Money { captures: 2, captured: total, refunded: 0 }, after, 1),
            (Money { captures: 1, captured: total, refunded: total }, after, 1),
            // A book that is older than the order's last event says nothing of it.
            (Money::default(), before, 0),
        ] {
            let book = Book { orders: [(order.clone(), money)].into(), read_at };
            let audit = audit(&tables, &clock).with_book(book);
            let found = audit.run(Scope::All(None), |_| ()).await.unwrap().differences;
            assert_eq!(found.len(), differs, "{found:#?}");
        }
        // Points that were granted for nothing, with everything in rewards as if it were right.
        let mut tables = tables;
        for row in tables.get_mut("rewards").unwrap().iter_mut().filter(|row| row.key.pk.ends_with(&order)) {
            if let Some(data) = row.text("data").map(|data| data.replace("\"points\":5", "\"points\":6")) {
                *row = sealed(row.clone().with("data", data), &[]);
            }
        }
        let found = differences(&tables, &clock).await;
        let lines: Vec<&str> = found.iter().map(|difference| difference.what.as_str()).collect();
        assert_eq!(lines, ["the order is FULFILLED, and 6 points were granted and 0 revoked, not 5 kept"]);
    });
}

/// Changes a state or event row as a transaction would, with the digest that it then has.
fn rewritten(tables: &mut Tables, service: &str, (pk, sk): (&str, &str), from: &str, to: &str) {
    let mut rows = tables.get_mut(service).unwrap().iter_mut();
    let of = |row: &&mut Item| {
        row.key.pk.ends_with(pk)
            && row.key.sk.starts_with(sk)
            && row.text("data").is_some_and(|data| data.contains(from))
    };
    let row = rows.find(of).unwrap_or_else(|| panic!("{service} has no {sk} with {from}"));
    let data = row.text("data").unwrap().replace(from, to);
    *row = sealed(row.clone().with("data", data), &[]);
}

fn fulfilled(tables: &Tables) -> String {
    let mut rows = tables["orders"].iter();
    let row = rows.find(|row| row.text("status") == Some("FULFILLED")).unwrap();
    row.key.pk.replace("order#", "")
}

/// Guards: I1, I2 and the copies that orders keeps, where each table agrees with itself.
#[test]
fn tables_that_disagree_with_each_other_are_named() {
    run(async {
        let (tables, clock) = at_rest(6).await;
        let order = fulfilled(&tables);
        for (service, sk, from, to, said) in [
            (
                "payments",
                EVENTS,
                r#""amount":500"#,
                r#""amount":501"#,
                &["records payment.charged with other", "501 were"][..],
            ),
            (
                "inventory",
                "state",
                r#""stage":"shipped""#,
                r#""stage":"released""#,
                &["its goods are released", "2 shipped"],
            ),
        ] {
            let mut tables = tables.clone();
            rewritten(&mut tables, service, (&order, sk), from, to);
            let found = format!("{:#?}", differences(&tables, &clock).await);
            for said in said {
                assert!(found.contains(said), "{said}: {found}");
            }
        }
    });
}

/// The tables where rewards has forgotten the one event that it got about an order; the row that remembers it too.
fn undelivered(tables: &Tables) -> (Tables, Item) {
    let (mut tables, order) = (tables.clone(), fulfilled(tables));
    let rows = tables.get_mut("rewards").unwrap();
    rows.retain(|row| !row.key.pk.ends_with(&order) || !row.key.sk.starts_with(INBOX));
    let row = rows.iter_mut().find(|row| row.key.pk.ends_with(&order) && row.key.sk == "state").unwrap();
    let remembering = row.clone();
    *row = without_inbox(row).unwrap();
    (tables, remembering)
}

/// Guards: the grace period, the notes of failed deliveries, `--since`. What may be underway is no difference.
#[test]
fn what_is_underway_is_no_difference() {
    run(async {
        let (tables, clock) = at_rest(8).await;
        let (mut tables, row) = undelivered(&tables);
        let found = async |tables: &Tables, grace, scope| {
            let open = |service: &str| MemoryStore::of(tables[service].clone());
            let audit = Audit::new(open, TimeDelta::seconds(grace)).with_clock(Arc::clone(&clock));
            let found = audit.run(scope, |_| ()).await.unwrap();
            (found.differences.len(), found.counts.being_tried)
        };
        assert_eq!(found(&tables, 0, Scope::All(None)).await, (1, 0));
        assert_eq!(found(&tables, 1_000_000, Scope::All(None)).await, (0, 0));
        let now = clock.now();
        assert_eq!(found(&tables, 0, Scope::All(Some(now - TimeDelta::days(9)))).await, (1, 0));
        assert_eq!(found(&tables, 0, Scope::All(Some(now + TimeDelta::days(1)))).await, (0, 0));
        let (event, _) = deliveries([&row]).unwrap().pop_first().unwrap();
        let noted = failure_key(event);
        let failed = |at: i64| Item::new(noted.clone()).with("failed_at", at).with("reason", "throttled");
        tables.get_mut("rewards").unwrap().push(failed(now.timestamp_millis() + 10_000));
        assert_eq!(found(&tables, 0, Scope::All(None)).await, (0, 1));
        tables.get_mut("rewards").unwrap().pop();
        tables.get_mut("rewards").unwrap().push(failed(0));
        assert_eq!(found(&tables, 0, Scope::All(None)).await, (1, 0));
    });
}

/// Guards: the second look. What arrives while the audit is underway is no difference.
#[test]
fn what_arrives_meanwhile_is_no_difference() {
    run(async {
        let (tables, clock) = at_rest(9).await;
        let (tables, row) = undelivered(&tables);
        let stores: BTreeMap<&str, MemoryStore> =
            tables.iter().map(|(service, rows)| (*service, MemoryStore::of(rows.clone()))).collect();
        let audit = Audit::new(|service: &str| stores[service].clone(), TimeDelta::zero());
        let audit = audit.with_clock(Arc::clone(&clock));
        let before = audit.run(Scope::All(None), |_| ()).await.unwrap();
        assert_eq!(before.differences.len(), 1);
        let arrives = |counts: &Counts| {
            // When it was missed already.
            if counts.events == before.counts.events {
                let write = Write::Put { item: row.clone(), when: Condition::Matches(vec![]) };
                let _ = stores["rewards"].commit(vec![write]).now_or_never();
            }
        };
        assert_eq!(audit.run(Scope::All(None), arrives).await.unwrap().differences, BTreeSet::new());
    });
}

/// What the command prints for programs: the differences, and the summary after them.
async fn audited(platform: &Platform, arguments: &[&str], code: i32) -> (Vec<Value>, Value) {
    let all = [&["audit", "--grace", "0", "--json"], arguments].concat();
    let output = output(platform, &all).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}{error}");
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap();
    (lines, summary)
}

/// Guards: the audit of a real platform, by its command: at rest nothing differs; what is changed, deleted and invented in each
/// service's table by hand is named.
#[test]
fn the_command_names_what_was_done_by_hand() {
    run(async {
        let (platform, orders) = with_orders("audited").await;
        let book = format!("{}/book", platform.stack.provider_url);
        let (found, summary) = audited(&platform, &["--provider-book", &book], 0).await;
        assert_eq!(found, Vec::<Value>::new());
        assert!(summary["audited"]["subjects"].as_u64().unwrap() >= 6, "{summary}");
        assert_eq!(summary["audited"]["without_digest"], 0);
        let (_, one) = audited(&platform, &["--order", &orders[0]], 0).await;
        assert_eq!(one["audited"]["subjects"], 1);
        audited_wrongly(&platform).await;

        let client = aws_sdk_dynamodb::Client::new(&platform.sdk().await);
        for service in SERVICES {
            let table = format!("test-quadrille-{service}");
            let rows = client.scan().table_name(&table).send().await.unwrap().items.unwrap();
            let sk = |row: &Row| row["sk"].as_s().unwrap().clone();
            let states = rows.iter().filter(|row| sk(row) == "state" && row.contains_key("data"));
            let [one, two, ..] = states.collect::<Vec<_>>()[..] else { panic!("{service} has too few rows") };
            let mut changed = one.clone();
            changed.insert("updated_at".into(), AttributeValue::S("2026-01-01T00:00:00.000Z".into()));
            let mut invented = one.clone();
            let kind = one["pk"].as_s().unwrap().split('#').next().unwrap();
            invented.insert("pk".into(), AttributeValue::S(format!("{kind}#{}", Uuid::now_v7())));
            for row in [&changed, &invented] {
                client.put_item().table_name(&table).set_item(Some(row.clone())).send().await.unwrap();
            }
            let key = ["pk", "sk"].map(|name| (name.to_owned(), two[name].clone()));
            client.delete_item().table_name(&table).set_key(Some(key.into())).send().await.unwrap();
            let (found, _) = audited(&platform, &[], 1).await;
            for row in [&changed, &invented, two] {
                let key = format!("{}/{}", row["pk"].as_s().unwrap(), sk(row));
                let is_named = found.iter().any(|one| one["table"] == *service && one["key"] == *key);
                assert!(is_named, "{service} {key}: {found:#?}");
            }
        }
    });
}

type Row = HashMap<String, AttributeValue>;

async fn audited_wrongly(platform: &Platform) {
    let unknown = Uuid::now_v7().to_string();
    for wrong in
        [&["--order", &unknown][..], &["--since", "2100-01-01T00:00:00Z"], &["--provider-book", "nowhere"]]
    {
        let output = output(platform, &[&["audit"], wrong].concat()).await;
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Guards: what no saga waits for; and a command whose reader is gone does its work, and ends as it would. The pipe of fulfillment stops, and the stream forgets what it has not carried: the order is
/// pending nowhere, and the audit names who never got what. Published again as it was, each one reacts, and nothing differs.
#[test]
fn what_a_pipe_lost_is_found_and_published_again() {
    run(async {
        let platform = Platform::start(&piped("lost")).await.unwrap();
        let product = platform.product(5).await;
        let orders = "test-quadrille-orders";
        let first = platform.api.place(&order_of(&product, 1)).await.unwrap();
        (&platform).ended(&first).await;
        (&platform).settle().await;
        let client = pipes(&platform).await;
        stop(&client, "test-quadrille-fulfillment").await;
        let lost = platform.api.place(&order_of(&product, 1)).await.unwrap();
        (&platform).settle().await;
        platform
            .stack
            .faults
            .set(Fault::ForgetStream { table: "test-quadrille-fulfillment".into() })
            .unwrap();
        client.start_pipe().name("test-quadrille-fulfillment").send().await.unwrap();
        is(&client, "test-quadrille-fulfillment", PipeState::Running).await;
        // Orders learns of the shipment from the sweeper's reminder, and inventory never does: its command mends that.
        let (found, _) = audited(&platform, &["--order", &lost], 1).await;
        let of = |service: &str| -> String {
            let one = found.iter().find(|one| one["table"] == service);
            one.unwrap_or_else(|| panic!("{found:#?}"))["mend"].as_str().unwrap().to_owned()
        };
        let mend = of("inventory");
        assert_eq!(of("orders"), mend);
        let wanted = format!("quadrille republish --subject order#{lost} --service fulfillment --seq 1");
        assert_eq!(mend, wanted);
        let arguments: Vec<&str> = mend.split(' ').skip(1).collect();
        let counted = output(&platform, &[&arguments[..], &["--dry-run"]].concat()).await;
        assert!(String::from_utf8_lossy(&counted.stdout).contains("1  fulfillment.shipped"), "{counted:?}");
        let (still, _) = audited(&platform, &["--order", &lost], 1).await;
        assert_eq!(still, found, "a dry run published");
        assert_eq!(
            unread(&platform, &["audit", "--grace", "0", "--order", &lost]).await,
            Some(1),
            "the reader is gone, and so are the differences"
        );
        assert_eq!(unread(&platform, &arguments).await, Some(0));
        assert_eq!(platform.api.ended(&lost, TIMEOUT).await.unwrap()["status"], "FULFILLED");
        (&platform).settle().await;
        audited(&platform, &[], 0).await;

        // A whole pipe: more than one subject has to be confirmed.
        stop(&client, orders).await;
        let since = Utc::now().to_rfc3339();
        let both = [
            platform.api.place(&order_of(&product, 1)).await.unwrap(),
            platform.api.place(&order_of(&product, 1)).await.unwrap(),
        ];
        platform.stack.faults.set(Fault::ForgetStream { table: orders.into() }).unwrap();
        client.start_pipe().name(orders).send().await.unwrap();
        is(&client, orders, PipeState::Running).await;
        let all = ["retell", "--pipe", "orders", "--since", &since];
        assert_eq!(output(&platform, &all).await.status.code(), Some(2), "without --yes");
        audited(&platform, &[], 1).await;
        assert!(output(&platform, &[&all[..], &["--yes"]].concat()).await.status.success());
        for order in &both {
            assert_eq!(platform.api.ended(order, TIMEOUT).await.unwrap()["status"], "FULFILLED");
        }
        (&platform).settle().await;
        audited(&platform, &[], 0).await;
        assert_eq!(platform.dead_letters(), []);
    });
}

/// Guards: a request that cannot be is refused with exit code 2, and publishes nothing.
#[test]
fn what_cannot_be_republished_is_said() {
    run(async {
        let (platform, orders) = with_orders("republished").await;
        let order = orders[0].as_str();
        for wrong in [
            &["--subject", "nothing"][..],
            &["--subject", "product#none"],
            &["--subject", order, "--seq", "1"],
            &["--subject", order, "--seq", "77"],
            &["--subject", order, "--service", "nobody"],
            &["--pipe", "nobody", "--since", "2020-01-01T00:00:00Z"],
            &["--pipe", "orders"],
            &["--pipe", "orders", "--since", "2100-01-01T00:00:00Z"],
        ] {
            let output = output(&platform, &[&["republish"], wrong].concat()).await;
            assert_eq!(
                output.status.code(),
                Some(2),
                "{wrong:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        audited(&platform, &[], 0).await;
    });
}
