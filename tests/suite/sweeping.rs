//! Events that never arrive: the sweeper reminds silent steps, services that have answered answer again, and a pending order
//! whose step stays silent ends.

use crate::bench::Bench;
use crate::platform::run;
use crate::races::order;
use crate::seeded::Dice;
use crate::stories::check_history;
use crate::stories::market::{check, open};
use crate::world::{FLOW, World};
use chassis::store::{Condition, EVENTS, Item, Key, Store, Write};
use events::catalogue;
use orders::saga::Status;
use orders::saga::deadlines::NUDGES;
use orders::saga::step::Step;
use orders::sweeper::MAX_SAGAS;
use serde_json::json;

/// Longer than any step may take.
const LONG: i64 = 1801;

/// Whether the saga waits for a delivery: for one to a service that answers orders, and for the answers themselves. The
/// others an operator sends again, from the dead-letter queue or the log.
fn is_awaited(service: &str, kind: &str) -> bool {
    let answers = catalogue::consumed_by("orders").iter().any(|entry| entry.producer == service);
    (answers || ["orders", FLOW].contains(&service))
        && (service, kind) != ("inventory", "fulfillment.shipped")
        && kind != "product.listed"
}

/// How many deliveries one reminder of a step is: each of its causes goes to all its consumers.
fn deliveries_of_a_reminder(step: Step) -> usize {
    let entries = catalogue::entries().into_iter();
    entries.filter(|entry| step.causes().contains(&entry.kind)).map(|entry| entry.consumers.len()).sum()
}

/// Delivers everything, but for the `n`-th that the saga waits for: that one is lost. False when there was none.
async fn play_losing(world: &mut World, n: usize, dice: &mut Dice) -> bool {
    let mut awaited = 0;
    while !world.pending.is_empty() {
        let (service, envelope) = world.pending.swap_remove(dice.below(world.pending.len()));
        let is_awaited = is_awaited(service, &envelope.metadata.kind);
        awaited += usize::from(is_awaited);
        if !is_awaited || awaited != n + 1 {
            world.deliver(service, &envelope).await.unwrap();
        }
    }
    awaited > n
}

/// Guards: I3 and I4, the sweeper, and answers published again. Every single delivery that the saga waits for is lost once;
/// reminders bring every order to the same end, with the same stock, money, points and messages.
#[test]
fn any_lost_event_is_made_good() {
    let mut n = 0;
    while run(async {
        let mut world = World::new();
        let market = open(&mut world).await;
        let lost = play_losing(&mut world, n, &mut Dice::new(n as u64)).await;
        for _ in 0..3 {
            world.advance(LONG);
            world.remind().await;
            world.play(&mut Dice::new(7)).await;
        }
        check(&world, &market, &format!("without delivery {n}")).await;
        lost
    }) {
        n += 1;
    }
    assert!(n > 20, "only {n} deliveries");
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
            world.advance(271);
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
        world.advance(271);
        let swept = json!({"overdue": 1, "nudged": 1, "timed_out": 0, "silent": 0, "more": false});
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
            world.advance(271);
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
    world.advance(271);
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
