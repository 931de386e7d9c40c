//! Events that never arrive: the sweeper reminds silent steps, services that have answered answer again, and a pending order
//! whose step stays silent ends.

use crate::bench::Bench;
use crate::platform::run;
use crate::races::order;
use crate::seeded::Dice;
use crate::stories::check_history;
use crate::stories::market::{Market, check, open};
use crate::world::{FLOW, World};
use chassis::store::{Condition, EVENTS, INBOX, Item, Key, Store, Write};
use events::catalogue::{self, Entry};
use orders::saga::Status;
use orders::saga::deadlines::{NUDGES, RECONCILED_AFTER};
use orders::saga::step::Step;
use orders::sweeper::MAX_SAGAS;
use serde_json::json;
use std::collections::BTreeSet;

/// Longer than any step may take.
const LONG: i64 = 1801;
/// Longer than inventory may take.
const TOO_LONG: i64 = Step::InventoryReservation.patience().num_seconds() + 1;
/// After so long an ended order is reconciled.
const A_RECONCILIATION: i64 = RECONCILED_AFTER.num_seconds() + 1;

/// How many deliveries one reminder of a step is: each of its causes goes to all its consumers.
fn deliveries_of_a_reminder(step: Step) -> usize {
    let entries = catalogue::entries().into_iter();
    entries.filter(|entry| step.causes().contains(&entry.kind)).map(|entry| entry.consumers.len()).sum()
}

/// In how many orders of arrival each delivery and each event is lost.
const SEEDS: u64 = 2;

/// What is lost: one delivery, or an event before the bus has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// The `n`-th of the run.
    Delivery(usize),
    /// The `n`-th of the run.
    Publication(usize),
}

/// The event that was lost, and for whom; for all, where it was never published.
type Lost = (Option<&'static str>, String);

/// Delivers everything but what is lost; gives that, unless the run had fewer.
async fn play_losing(world: &mut World, loss: Loss, dice: &mut Dice) -> Option<Lost> {
    let (mut published, mut deliveries, mut lost) = (Vec::new(), 0, None);
    while !world.pending.is_empty() {
        for (_, envelope) in &world.pending {
            let id = envelope.metadata.id;
            if !published.contains(&id) {
                published.push(id);
            }
        }
        if let (Loss::Publication(n), None) = (loss, &lost)
            && let Some(id) = published.get(n)
        {
            let (_, envelope) = world.pending.iter().find(|(_, e)| e.metadata.id == *id).unwrap();
            lost = Some((None, envelope.metadata.kind.clone()));
            world.pending.retain(|(_, e)| e.metadata.id != *id);
            continue;
        }
        let (service, envelope) = world.pending.swap_remove(dice.below(world.pending.len()));
        deliveries += 1;
        if loss == Loss::Delivery(deliveries - 1) {
            lost = Some((Some(service), envelope.metadata.kind.clone()));
        } else {
            world.deliver(service, &envelope).await.unwrap();
        }
    }
    lost
}

/// Orders that end in every way, and how: the market, one that is cancelled at once, one that is cancelled when everything is
/// charged, and one whose refund is refused until an operator asks for it.
async fn every_end(world: &mut World) -> (Market, [String; 3]) {
    let (beans, anvil) = (world.sell("beans", 10).await, world.sell("unshippable", 10).await);
    let market = open(world).await;
    let at_once = world.place(&order(&[(&beans, 2)], "pm_card_visa")).await;
    let charged = world.place(&order(&[(&beans, 2)], "pm_card_visa")).await;
    let before: Vec<_> = world.pending.extract_if(.., |(_, e)| e.metadata.subject != charged).collect();
    while let Some(at) = world.pending.iter().position(|(service, _)| *service != "orders") {
        let (service, envelope) = world.pending.remove(at);
        world.deliver(service, &envelope).await.unwrap();
    }
    world.pending.extend(before);
    assert!(world.cancel(&charged).await && world.cancel(&at_once).await);
    let refused = world.place(&order(&[(&anvil, 2)], "pm_sim_refund_refused")).await;
    (market, [at_once, charged, refused])
}

/// Lets time pass until every order is reconciled: what waits is reminded, a refused refund is asked for by an operator.
async fn let_time_pass(world: &mut World, refused: &str) {
    for pause in [LONG, LONG, LONG, LONG, A_RECONCILIATION, LONG, LONG, A_RECONCILIATION, A_RECONCILIATION] {
        world.advance(pause);
        world.remind().await;
        world.play_once().await;
        if world.status(refused).await == Status::Failed {
            world.retry(refused).await;
            world.play_once().await;
        }
    }
}

/// The world is as it is without a loss.
async fn check_every_end(world: &World, (market, orders): &(Market, [String; 3]), how: &str) {
    check(world, market, how).await;
    for (order, notices) in orders.iter().zip([
        &["ORDER_CANCELLED", "PAYMENT_REFUNDED"][..],
        &["ORDER_CANCELLED", "PAYMENT_REFUNDED"],
        &["ORDER_CANCELLED", "ORDER_CONFIRMED", "ORDER_FAILED", "PAYMENT_REFUNDED"],
    ]) {
        let status = world.status(order).await;
        assert!(matches!(status, Status::Cancelled | Status::Compensated), "{how}: {order} is {status:?}");
        assert_eq!((world.kept(order), world.points(order).await), (0, 0), "{how}: {order}");
        assert_eq!(world.revenue(order).await, 0, "{how}: {order}");
        let refunded = world.account(order).refunded > 0;
        // A second execution of the flow may make the refund that the first was refused.
        let failed = world.history("orders", order).await.contains(&"order.failed".to_owned());
        let expected = notices.iter().filter(|notice| match **notice {
            "PAYMENT_REFUNDED" => refunded,
            "ORDER_FAILED" => failed,
            _ => true,
        });
        assert_eq!(world.sorted_notices(order), expected.copied().collect::<Vec<_>>(), "{how}: {order}");
        check_history(world, order).await;
    }
    for product in ["beans-1", "unshippable-2"] {
        assert_eq!(world.stock(product).await, (10, 0, 0), "{how}: {product}");
    }
}

/// One run with a loss; gives what was lost, unless the run had fewer deliveries or events.
async fn lose(seed: u64, loss: Loss) -> Option<Lost> {
    let mut world = World::new();
    let ends = every_end(&mut world).await;
    let lost = play_losing(&mut world, loss, &mut Dice::new(seed)).await;
    let_time_pass(&mut world, &ends.1[2]).await;
    check_every_end(&world, &ends, &format!("seed {seed}, {loss:?}: {lost:?}")).await;
    lost
}

/// Loses one after the other of some runs, each in a run of its own; gives what was lost.
fn lose_each(loss: impl Fn(usize) -> Loss) -> BTreeSet<Lost> {
    let of_seed = |seed| (0..).map_while(|n| run(lose(seed, loss(n)))).collect::<Vec<_>>();
    (0..SEEDS).flat_map(of_seed).collect()
}

/// The events of the catalogue that a lost delivery or publication of is made good elsewhere: a product's by the same PUT
/// again, the circuit's by its next event, and a view of it ends by itself. Without an outage there is no `unavailable`; it
/// is an answer as `declined` is one.
fn is_about_an_order(entry: &Entry) -> bool {
    !entry.kind.starts_with("product.")
        && !entry.kind.starts_with("payment.circuit.")
        && entry.kind != "payment.unavailable"
}

/// Guards: I3, I4 and I8; the sweeper, answers published again, and the reconciliation of ended orders. Every delivery of every
/// event to every consumer is lost once, of orders that end in every way. Time brings each to the same end, with the same
/// stock, money, points and messages.
#[test]
fn any_lost_delivery_is_made_good() {
    let lost = lose_each(Loss::Delivery);
    for entry in catalogue::entries().iter().filter(|entry| is_about_an_order(entry)) {
        for consumer in entry.consumers {
            let pair = (Some(*consumer), entry.kind.to_owned());
            assert!(lost.contains(&pair), "no run lost {} at {consumer}", entry.kind);
        }
    }
}

/// Guards: as above, for an event that a pipe lost: no consumer gets it.
#[test]
fn any_lost_publication_is_made_good() {
    let lost = lose_each(Loss::Publication);
    let entries = catalogue::entries();
    let consumed = entries.iter().filter(|entry| is_about_an_order(entry) && !entry.consumers.is_empty());
    for entry in consumed {
        assert!(lost.contains(&(None, entry.kind.to_owned())), "no run lost {}", entry.kind);
    }
}

/// Guards: the cost of a reconciliation. An ended order is published again once, two hours after its end and never again; it
/// changes nothing where nothing was lost.
#[test]
fn an_ended_order_is_reconciled_once() {
    run(async {
        let mut world = World::new();
        let market = open(&mut world).await;
        world.play_once().await;
        world.advance(A_RECONCILIATION - 10);
        assert_eq!(world.remind().await["reconciled"], 0, "not due yet");
        world.advance(10);
        let (before, id) = (world.tables(), &market.orders[0].order);
        let swept = world.remind().await;
        assert_eq!((&swept["overdue"], &swept["reconciled"]), (&json!(0), &json!(market.orders.len())));
        let of_first = world.pending.iter().filter(|(_, e)| e.metadata.subject == **id);
        let kinds: Vec<_> = of_first.map(|(service, e)| (*service, e.metadata.kind.as_str())).collect();
        let entries = catalogue::entries();
        let consumers = |kind: &str| entries.iter().find(|entry| entry.kind == kind).unwrap().consumers;
        let expected = ["order.confirmed", "order.fulfilled"].map(|kind| (kind, consumers(kind)));
        let expected: Vec<_> =
            expected.iter().flat_map(|(kind, all)| all.iter().map(|service| (*service, *kind))).collect();
        assert!(expected.len() >= 5, "{expected:?}");
        assert_eq!(kinds, expected);
        world.play_once().await;
        for (service, rows) in world.tables().into_iter().filter(|(service, _)| *service != "orders") {
            let of = |rows: &[Item]| {
                rows.iter().filter(|row| !row.key.sk.starts_with(INBOX)).cloned().collect::<Vec<_>>()
            };
            let before = before.iter().find(|(name, _)| *name == service).unwrap();
            assert_eq!(of(&rows), of(&before.1), "{service}");
        }
        check(&world, &market, "reconciled").await;
        for _ in 0..3 {
            world.advance(A_RECONCILIATION);
            assert_eq!(world.remind().await["reconciled"], 0);
        }
        assert_eq!(
            world.history("orders", id).await.iter().filter(|kind| *kind == "order.reconciled").count(),
            1
        );
    });
}

/// Guards: the list of what is published again. What services consume of orders is published again by a step or at the end.
#[test]
fn every_event_of_orders_is_published_again_by_something() {
    let again: BTreeSet<&str> =
        Step::ALL.iter().flat_map(|step| step.causes()).chain(&Step::ENDS).copied().collect();
    for entry in catalogue::entries() {
        let is_consumed = entry.producer == "orders" && !entry.consumers.is_empty();
        assert!(!is_consumed || again.contains(entry.kind), "{} is published once", entry.kind);
    }
}

/// Guards: the bound of reminders, and that a clock ends only what is pending. With inventory silent, the order is given
/// up after so many reminders; when inventory is back, it ends.
#[test]
fn an_order_that_no_service_answers_times_out() {
    run(async {
        let mut world = World::new();
        world.list("beans", 10).await;
        let id = world.place(&order(&[("beans", 2)], "pm_card_visa")).await;
        let mut kept = Vec::new();
        for nudge in 0..=NUDGES {
            // Payments and the others receive everything; inventory nothing.
            while let Some((service, envelope)) = world.pending.pop() {
                match service {
                    "inventory" => kept.push((service, envelope)),
                    _ => drop(world.deliver(service, &envelope).await.unwrap()),
                }
            }
            assert_eq!(world.status(&id).await, Status::Pending, "after {nudge} reminders");
            assert_eq!(world.remind().await["overdue"], 0, "not overdue yet");
            world.advance(TOO_LONG);
            world.remind().await;
        }
        assert_eq!(world.status(&id).await, Status::Cancelling);
        world.pending.extend(kept);
        world.play(&mut Dice::new(1)).await;
        // What inventory held in the end before it learned of the cancellation is free again.
        assert!(matches!(world.status(&id).await, Status::Cancelled | Status::Compensated));
        assert_eq!(world.stock("beans").await, (10, 0, 0));
        assert_eq!(world.notices(&id), ["ORDER_CANCELLED"]);
        check_history(&world, &id).await;
    });
}

/// Guards: the pivot. What may have been shipped is never cancelled by a clock, however often it was reminded.
#[test]
fn a_confirmed_order_is_reminded_for_ever_and_never_given_up() {
    /// Longer than fulfillment may take.
    const TIMEOUT: i64 = 961;
    run(async {
        let mut world = World::new();
        world.list("beans", 10).await;
        let id = world.place(&order(&[("beans", 2)], "pm_card_visa")).await;
        let mut reminders = 0;
        for _ in 0..40 {
            while let Some((service, envelope)) = world.pending.pop() {
                if service != "fulfillment" {
                    world.deliver(service, &envelope).await.unwrap();
                }
            }
            world.advance(TIMEOUT);
            reminders += world.remind().await["nudged"].as_u64().unwrap();
        }
        assert_eq!(world.status(&id).await, Status::Confirmed);
        // Three at once, then ever more rarely.
        assert!((6..=9).contains(&reminders), "{reminders}");
        world.advance(TIMEOUT * 32);
        world.remind().await;
        world.play(&mut Dice::new(1)).await;
        assert_eq!(world.status(&id).await, Status::Fulfilled);
    });
}

/// Guards: a reminder is answered once. Every consumer of the event gets it, and what they publish again is no reminder.
#[test]
fn answers_published_again_lead_to_nothing_more() {
    run(async {
        let mut world = World::new();
        let market = open(&mut world).await;
        let mut all = Vec::new();
        while let Some((service, mut envelope)) = world.pending.pop() {
            world.deliver(service, &envelope).await.unwrap();
            envelope.metadata.nudge = Some(1);
            all.push((service, envelope));
        }
        for (service, envelope) in all.iter().filter(|(service, _)| *service != FLOW) {
            world.deliver(service, envelope).await.unwrap();
        }
        assert!(!world.pending.is_empty(), "no service answered");
        assert!(world.pending.iter().all(|(_, envelope)| envelope.metadata.nudge.is_none()));
        world.play(&mut Dice::new(3)).await;
        check(&world, &market, "reminded of everything").await;
    });
}

/// What a step is reminded with is exactly what leads to it, and the row of a reminder says which step it was.
#[test]
fn a_reminder_is_kept_in_the_history() {
    run(async {
        let mut world = World::new();
        world.list("beans", 10).await;
        let id = world.place(&order(&[("beans", 2)], "pm_card_visa")).await;
        world.pending.clear();
        world.advance(TOO_LONG);
        let swept =
            json!({"overdue": 1, "nudged": 1, "timed_out": 0, "silent": 0, "reconciled": 0, "more": false});
        assert_eq!(world.remind().await, swept);
        assert_eq!(world.history("orders", &id).await, ["order.created", "order.nudged"]);
        let kinds: Vec<_> = world.pending.iter().map(|(s, e)| (*s, e.metadata.kind.as_str())).collect();
        assert_eq!(kinds.len(), deliveries_of_a_reminder(Step::InventoryReservation), "{kinds:?}");
        assert!(
            kinds.iter().all(|(_, kind)| Step::InventoryReservation.causes().contains(kind)),
            "{kinds:?}"
        );
        check_history(&world, &id).await;
    });
}

/// Guards: an operator who looks ahead reminds, and ends nothing: an order that was placed a moment ago is not given up
/// however often he does.
#[test]
fn looking_ahead_only_reminds() {
    run(async {
        let mut world = World::new();
        world.list("beans", 10).await;
        let id = world.place(&order(&[("beans", 2)], "pm_card_visa")).await;
        let kept = std::mem::take(&mut world.pending);
        for _ in 0..10 {
            assert_eq!(world.remind_ahead(3600).await["nudged"], 1);
        }
        assert_eq!(world.history("orders", &id).await, ["order.created"]);
        let ten_times = 10 * deliveries_of_a_reminder(Step::InventoryReservation);
        assert_eq!(world.pending.len(), ten_times, "each consumer of order.created, ten times");
        world.pending.extend(kept);
        world.play(&mut Dice::new(1)).await;
        assert_eq!(world.status(&id).await, Status::Fulfilled);
    });
}

/// The first row of an order's history of this type.
async fn row(world: &World, order: &str, kind: &str) -> Item {
    let mut rows = world.rows("orders", order, EVENTS).await.into_iter();
    rows.find(|row| row.text("type") == Some(kind)).unwrap_or_else(|| panic!("no {kind} of {order}"))
}

/// Guards: the correlation id. What a sweep decides belongs to the request that placed the order, in the history and in the
/// logs of everything that follows.
#[test]
fn a_sweep_keeps_the_orders_correlation_id() {
    run(async {
        let mut world = World::new();
        world.list("beans", 10).await;
        let id = world.place(&order(&[("beans", 2)], "pm_card_visa")).await;
        world.pending.clear();
        for _ in 0..=NUDGES {
            world.advance(TOO_LONG);
            world.remind().await;
        }
        let of = async |kind: &str| row(&world, &id, kind).await.text("correlation_id").map(str::to_owned);
        let placed = of("order.created").await;
        assert!(placed.is_some());
        assert_eq!([of("order.nudged").await, of("order.cancelled").await], [placed.clone(), placed]);
    });
}

/// Places more orders than one sweep looks at, and lets them all wait too long.
async fn more_than_a_sweep(world: &mut World) -> Vec<String> {
    world.list("beans", 10).await;
    let mut orders = Vec::new();
    for _ in 0..MAX_SAGAS + 100 {
        orders.push(world.place(&order(&[("beans", 1)], "pm_card_visa")).await);
        world.pending.clear();
        world.advance(1);
    }
    world.advance(TOO_LONG);
    orders
}

async fn reminded(world: &World, orders: &[String]) -> usize {
    let mut reminded = 0;
    for order in orders {
        reminded += usize::from(world.history("orders", order).await.contains(&"order.nudged".to_owned()));
    }
    reminded
}

/// Guards: the order and the bound of a sweep. With more overdue sagas than one sweep looks at, the oldest are reminded
/// first, and the next sweep reminds the rest.
#[test]
fn the_most_overdue_are_reminded_first() {
    run(async {
        let mut world = World::new();
        let orders = more_than_a_sweep(&mut world).await;
        let (first, rest) = orders.split_at(MAX_SAGAS);
        let swept = world.remind().await;
        assert_eq!((&swept["nudged"], &swept["more"]), (&json!(MAX_SAGAS), &json!(true)));
        assert_eq!((reminded(&world, first).await, reminded(&world, rest).await), (MAX_SAGAS, 0));
        let swept = world.remind().await;
        assert_eq!((&swept["nudged"], &swept["more"]), (&json!(rest.len()), &json!(false)));
        assert_eq!(reminded(&world, rest).await, rest.len());
    });
}

/// Guards: the position of a sweep that looks ahead. It goes on behind itself, as long as it is repeated; every other sweep begins
/// with the most overdue, now and later.
#[test]
fn a_sweep_that_looks_ahead_holds_no_other_up() {
    run(async {
        let mut world = World::new();
        world.list("beans", 10).await;
        let mut orders = Vec::new();
        for _ in 0..MAX_SAGAS + 100 {
            orders.push(world.place(&order(&[("beans", 1)], "pm_card_visa")).await);
            world.pending.clear();
        }
        let look_ahead = async |world: &mut World| {
            let ahead = world.remind_ahead(7200).await;
            world.pending.clear();
            (ahead["nudged"].clone(), ahead["more"].clone())
        };
        assert_eq!(look_ahead(&mut world).await, (json!(MAX_SAGAS), json!(true)));
        assert_eq!(world.remind().await["overdue"], json!(0));
        assert_eq!(look_ahead(&mut world).await, (json!(100), json!(false)));
        assert_eq!(look_ahead(&mut world).await, (json!(MAX_SAGAS), json!(true)));
        assert_eq!(world.remind_ahead(60).await["overdue"], json!(0));
        world.advance(TOO_LONG);
        assert_eq!(world.remind().await["nudged"], json!(MAX_SAGAS));
        assert_eq!(reminded(&world, &orders[..MAX_SAGAS]).await, MAX_SAGAS);
        assert_eq!(world.remind().await["nudged"], json!(100));
    });
}

/// Guards: the position of a sweep. Sagas that no sweep can read stay at the head of the list; the next sweep goes on behind
/// them, and the one after it begins at the head again.
#[test]
fn sagas_that_cannot_be_read_keep_no_other_waiting() {
    run(async {
        let mut world = World::new();
        let orders = more_than_a_sweep(&mut world).await;
        let (spoiled, rest) = orders.split_at(MAX_SAGAS);
        let table = world.table("orders").await;
        let mut kept = Vec::new();
        for order in spoiled {
            let mut row = table.load(&Key::state(format!("order#{order}"))).await.unwrap().unwrap();
            kept.push(row.clone());
            row.attrs.remove("data");
            let when = Condition::Matches(vec![("version", row.number("version").unwrap().into())]);
            table.commit(vec![Write::Put { item: row, when }]).await.unwrap();
        }
        assert!(world.sweep_fails().await);
        assert_eq!(reminded(&world, rest).await, 0);
        assert_eq!(world.remind().await["nudged"], rest.len());
        for item in kept {
            let when = Condition::Matches(vec![("version", item.number("version").unwrap().into())]);
            table.commit(vec![Write::Put { item, when }]).await.unwrap();
        }
        assert_eq!(world.remind().await["nudged"], spoiled.len());
    });
}
