//! Every race of the services: any order of arrival, every delivery repeated, every commit crashed.

use crate::bench::Bench;
use crate::envelopes::envelope;
use crate::platform::run;
use crate::seeded::Dice;
use crate::stores::Crash;
use crate::stories::check_history;
use crate::stories::market::{check, open};
use crate::world::{FLOW, World};
use chassis::Verdict;
use events::{EventId, catalogue};
use orders::saga::Status;
use registry::SERVICES;
use serde_json::{Value, json};
use uuid::Uuid;

pub fn order(lines: &[(&str, u64)], method: &str) -> Value {
    let items: Vec<Value> = lines.iter().map(|(p, q)| json!({"product_id": p, "quantity": q})).collect();
    json!({"customer_id": "ada", "payment_method": method, "items": items})
}

/// Guards: tombstones, the commutative tracker, the inbox. However often and in whichever order the bus delivers, the same
/// orders end the same way with the same stock and money.
#[test]
fn any_order_of_arrival_and_any_number_of_deliveries() {
    for seed in 0..400 {
        run(async {
            let mut world = World::new();
            let market = open(&mut world).await;
            world.play(&mut Dice::new(seed)).await;
            check(&world, &market, &format!("seed {seed}")).await;
        });
    }
}

/// Guards: I6. Each commit of each service crashes once, before and after it is written; the delivery comes
/// again, and the end is the same.
#[test]
fn every_commit_crashes_before_and_after() {
    for service in SERVICES {
        for how in [Crash::Before, Crash::After] {
            let mut n = 0;
            while run(crash_at(service, n, how.clone())) {
                n += 1;
            }
            assert!(n >= 3 || !meets_every_order(service), "{service} made only {n} commits");
        }
    }
}

/// Whether a service has something to do for most orders, and so for at least three of the market.
fn meets_every_order(service: &str) -> bool {
    let consumed = catalogue::consumed_by(service);
    service == "orders" || consumed.iter().any(|e| ["order.created", "order.cancelled"].contains(&e.kind))
}

/// Runs the market with one crash; false when the run had no such commit.
async fn crash_at(service: &str, n: u64, how: Crash) -> bool {
    let mut world = World::new();
    let market = open(&mut world).await;
    let before = world.commits(service);
    world.crash(service, n, how.clone());
    world.play(&mut Dice::new(n)).await;
    check(&world, &market, &format!("{service} commit {n} crashed {how:?}")).await;
    before + n < world.commits(service)
}

/// Guards: I9. The same seed is the same run to the byte: every row of every service with its keys and attributes, the ids
/// of events among them, and everything outside. Another seed is another run.
#[test]
fn the_same_seed_is_the_same_run() {
    let dump = |seed| {
        run(async {
            let mut world = World::new();
            open(&mut world).await;
            world.play(&mut Dice::new(seed)).await;
            world.dump()
        })
    };
    let (first, again, other) = (dump(42), dump(42), dump(43));
    let differs = first.lines().zip(again.lines()).find(|(line, other)| line != other);
    assert!(first == again, "the first difference: {differs:?}");
    assert_ne!(ids(&first), ids(&other), "another seed has the same events");
    assert!(first.len() > 10_000 && ids(&first).len() > 20, "the dump shows too little: {first}");
}

/// The ids of all events of a dump, in the order in which they stand there.
fn ids(dump: &str) -> Vec<&str> {
    let mut lines = dump.lines().map(str::trim);
    let mut ids = Vec::new();
    while let Some(line) = lines.next() {
        ids.extend((line == "\"id\": S(").then(|| lines.next()).flatten());
    }
    ids
}

/// Guards: the inbox row. A second delivery of the very same event is a duplicate and nothing else.
#[test]
fn a_second_delivery_is_a_duplicate() {
    run(async {
        let mut world = World::new();
        open(&mut world).await;
        let mut verdicts = Vec::new();
        while let Some((service, envelope)) = world.pending.pop() {
            world.deliver(service, &envelope).await.unwrap();
            let again = world.deliver(service, &envelope).await.unwrap();
            // The flow has no inbox: its tasks are idempotent, one by one.
            verdicts.extend((service != FLOW).then_some(again));
        }
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Duplicate), "{:#?}", world.log);
    });
}

/// Guards: monotonic decisions. With every inbox row expired, a very old duplicate is refused by state.
#[test]
fn an_old_duplicate_without_its_inbox_row_is_refused_by_state() {
    run(async {
        let mut world = World::new();
        let market = open(&mut world).await;
        let mut seen = Vec::new();
        while let Some((service, envelope)) = world.pending.pop() {
            world.deliver(service, &envelope).await.unwrap();
            seen.push((service, envelope));
        }
        world.expire_inboxes();
        for (service, envelope) in seen {
            let verdict = world.deliver(service, &envelope).await.unwrap();
            assert!(matches!(verdict, Verdict::Stale | Verdict::Applied), "{verdict:?}");
        }
        assert!(world.pending.is_empty(), "an old duplicate published something: {:#?}", world.log);
        check(&world, &market, "after the old duplicates").await;
    });
}

/// Guards: I2, I3 and I7. A cancel at every moment of an order's way, with everything else in any order and twice:
/// nothing is kept, neither money nor stock, and the order ends.
#[test]
fn a_cancel_at_every_moment_is_undone_to_the_end() {
    for seed in 0..200 {
        run(async move {
            let mut world = World::new();
            let mut dice = Dice::new(seed);
            world.list("beans", 10).await;
            let id = world.place(&order(&[("beans", 2)], "pm_card_visa")).await;
            for _ in 0..dice.below(8) {
                if !world.pending.is_empty() {
                    let (service, envelope) = world.pending.swap_remove(dice.below(world.pending.len()));
                    world.deliver(service, &envelope).await.unwrap();
                }
            }
            let cancelled = world.cancel(&id).await;
            world.play(&mut dice).await;
            let (status, kept, stock) =
                (world.status(&id).await, world.kept(&id), world.stock("beans").await);
            if cancelled {
                let is_over = matches!(status, Status::Cancelled | Status::Compensated);
                assert!(is_over, "seed {seed}: {status:?} {kept} {stock:?}");
                assert_eq!((kept, stock), (0, (10, 0, 0)), "seed {seed}: {:#?}", world.log);
            } else {
                assert_eq!((status, kept, stock), (Status::Fulfilled, 200, (8, 0, 2)), "seed {seed}");
            }
            check_history(&world, &id).await;
        });
    }
}

/// Guards: the timeline. A delivery that comes again is counted on it, with the verdict of the first.
#[test]
fn the_timeline_counts_repeats() {
    run(async {
        let mut world = World::new();
        world.list("beans", 5).await;
        let order = json!({"customer_id": "ada", "items": [{"product_id": "beans", "quantity": 1}]});
        let id = world.place(&order).await;
        while let Some((service, envelope)) = world.pending.pop() {
            for _ in 0..3 {
                world.deliver(service, &envelope).await.unwrap();
            }
        }
        let saga = world.saga(&id).await;
        let timeline = saga["timeline"].as_array().unwrap();
        let types: Vec<&str> = timeline.iter().map(|entry| entry["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["inventory.reserved", "payment.charged", "fulfillment.shipped"]);
        assert!(timeline.iter().all(|e| e["verdict"] == "applied" && e["duplicates"] == 2), "{timeline:?}");
    });
}

/// Guards: versions and inbox. Two workers get each event at the same time; one is applied, the other is not.
#[test]
fn two_workers_with_one_event() {
    run(async {
        let mut world = World::new();
        let market = open(&mut world).await;
        while let Some((service, envelope)) = world.pending.pop() {
            let [a, b] = world.deliver_at_once(service, [&envelope, &envelope]).await;
            assert!(
                service == FLOW || [a, b].contains(&Verdict::Duplicate),
                "{service} {}: {a:?} {b:?}",
                envelope.metadata.kind
            );
        }
        check(&world, &market, "two workers").await;
    });
}

/// Guards: an ended order stays ended. What a bug, a wrong redrive or a hand puts on the bus about an order that has shipped
/// gets a verdict of its own; no service learns anything from orders, and goods, money and points stay as they are.
#[test]
fn an_event_that_contradicts_an_ended_order_changes_nothing() {
    run(async {
        let mut world = World::new();
        let market = open(&mut world).await;
        world.play(&mut Dice::new(1)).await;
        let id = &market.orders[0].order;
        let history = world.history("orders", id).await;
        let money = json!({"amount": 1, "currency": "USD"});
        for (n, (kind, producer, mut data)) in [
            ("fulfillment.failed", "fulfillment", json!({"code": "prohibited_goods"})),
            ("payment.declined", "payments", json!({"payment_id": id, "code": "card_declined"})),
            ("payment.refunded", "payments", json!({"payment_id": id, "amount": money})),
            ("inventory.released", "inventory", json!({"lines": []})),
        ]
        .into_iter()
        .enumerate()
        {
            data["order_id"] = id.as_str().into();
            let mut forged = envelope(kind, 1, producer, data);
            forged.metadata.id = EventId(Uuid::from_u128(1000 + n as u128));
            forged.metadata.subject.clone_from(id);
            let verdict = world.deliver("orders", &forged).await.unwrap();
            assert_eq!(verdict, Verdict::Contradicted, "{kind}");
            let (_, saga) = world.get("GET /orders/{id}/saga", id).await;
            let shown = saga["timeline"].as_array().unwrap().iter().find(|shown| shown["type"] == kind);
            assert_eq!(
                (&shown.unwrap()["verdict"], &shown.unwrap()["detail"]),
                (&json!("refused"), &json!("contradicted"))
            );
        }
        assert!(world.pending.is_empty(), "{:?}", world.pending);
        assert_eq!(world.history("orders", id).await, history);
        check(&world, &market, "contradicted").await;
    });
}

/// Guards: a newer version beside the one that a consumer knows. Every consumer of every event lets it pass with a verdict of
/// its own, learns nothing from it, and goes on with the older one. Where no older one comes, it fails with that reason.
#[test]
fn a_newer_version_passes_beside_the_older_one() {
    run(async {
        let mut world = World::new();
        let market = open(&mut world).await;
        let mut passed = 0;
        while let Some((service, envelope)) = world.pending.pop() {
            if service != FLOW {
                let mut newer = envelope.clone();
                newer.metadata.version += 1;
                newer.metadata.id = EventId(Uuid::from_u128(envelope.metadata.id.0.as_u128() + (1 << 90)));
                newer.data = json!({"order": "of another shape"});
                assert_eq!(world.deliver(service, &newer).await, Ok(Verdict::NewerVersion), "{service}");
                passed += 1;
            }
            world.deliver(service, &envelope).await.unwrap();
        }
        assert!(passed > 30, "{passed}");
        check(&world, &market, "newer versions").await;
        let alone = envelope("order.created", 2, "orders", json!({}));
        let failure = world.deliver("fulfillment", &alone).await.unwrap_err();
        let reason = "poison: order.created v2 is newer than fulfillment knows, and no version that it knows is \
                      published beside it";
        assert_eq!(failure.to_string(), reason);
    });
}

/// Guards: the price list only moves forward. An older listing that arrives late does not bring its price back.
#[test]
fn an_older_price_that_arrives_late_is_stale() {
    run(async {
        let mut world = World::new();
        world.put("beans", 10, 100).await;
        world.put("beans", 10, 200).await;
        let to_orders = world.pending.drain(..).filter(|(service, _)| *service == "orders");
        let mut listings: Vec<_> = to_orders.collect();
        listings.sort_by_key(|(_, envelope)| envelope.metadata.seq);
        let (service, newest) = listings.pop().unwrap();
        assert_eq!(world.deliver(service, &newest).await, Ok(Verdict::Applied));
        let (service, oldest) = listings.remove(0);
        assert_eq!(world.deliver(service, &oldest).await, Ok(Verdict::Stale));
        let id = world.place(&order(&[("beans", 1)], "pm_card_visa")).await;
        world.play(&mut Dice::new(1)).await;
        assert_eq!(world.kept(&id), 200);
    });
}

/// Guards: the state's version. A permission to charge and a cancellation reach two workers at the same time;
/// whichever commits first, a charge that was made is asked back. Without the version both would commit, and
/// the order would be voided with its money captured.
#[test]
fn a_charge_and_a_cancellation_at_the_same_moment() {
    run(async {
        let mut world = World::new();
        world.list("beans", 10).await;
        let id = world.place(&order(&[("beans", 2)], "pm_card_visa")).await;
        let created: Vec<_> = world.pending.drain(..).collect();
        for (service, envelope) in &created {
            world.deliver(service, envelope).await.unwrap();
        }
        let reserved = world.pending.iter().find(|(service, _)| *service == "payments").unwrap().1.clone();
        let reason = json!({"code": "PAYMENT_DECLINED", "decline_code": "x"});
        let data = json!({"order_id": id, "customer_id": "ada", "reason": reason});
        let mut cancelled = envelope("order.cancelled", 1, "orders", data);
        cancelled.metadata.subject.clone_from(&id);
        for events in [[&reserved, &cancelled], [&cancelled, &reserved]] {
            let mut world = world.fork();
            world.deliver_at_once("payments", events).await;
            let published = world.history("payments", &id).await;
            let captured = world.kept(&id) > 0;
            let asked_back = published.contains(&"payment.compensation.requested".to_owned());
            let voided = published.contains(&"payment.voided".to_owned());
            assert_eq!((asked_back, voided), (captured, !captured), "captured {captured}: {published:?}");
        }
    });
}

/// Guards: commutative decisions, as a whole. Everything is delivered twice in a row, or the last one first: the same
/// statuses, stock, money, points and messages as in order.
#[test]
fn twice_or_backwards_is_the_same() {
    for (copies, backwards) in [(1, false), (2, false), (1, true), (2, true)] {
        run(async move {
            let mut world = World::new();
            let market = open(&mut world).await;
            while !world.pending.is_empty() {
                let next = if backwards { world.pending.len() - 1 } else { 0 };
                let (service, envelope) = world.pending.remove(next);
                for _ in 0..copies {
                    world.deliver(service, &envelope).await.unwrap();
                }
            }
            check(&world, &market, &format!("{copies} times, backwards: {backwards}")).await;
        });
    }
}

/// A delivery that always fails fails the test, by name, and hangs nothing.
#[test]
#[should_panic(
    expected = "orders failed 30 times on inventory.reserved 00000000-0000-0000-0000-00000000000b, at last: poison: "
)]
fn a_delivery_that_always_fails_is_named() {
    run(async {
        let mut world = World::new();
        world.pending.push(("orders", envelope("inventory.reserved", 1, "inventory", json!({}))));
        world.play(&mut Dice::new(1)).await;
    });
}
