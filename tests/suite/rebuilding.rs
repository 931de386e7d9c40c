//! The projection of sales: kept by deliveries in any order, built anew from the log, and compared to the byte.

use crate::platform::run;
use crate::seeded::Dice;
use crate::stores::{Crash, Faulty};
use chassis::outbox::{Cause, Context, OutboxEntry, envelope_of, event_rows};
use chassis::projection::numbered;
use chassis::store::{Condition, Item, Key, MemoryStore, Write};
use chassis::{AggregateId, EventHandler, Ports, Store, Verdict};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use events::inventory::ProductListed;
use events::orders::{CancelReason, OrderCancelled, OrderConfirmed, OrderLine};
use events::{Currency, Envelope, Money, OrderId};
use operator::event_log::EventLog;
use operator::rebuild::{NotRebuilt, Rebuild, clean, differences};
use operator::views::{Outcome, PRICES, Viewed};
use registry::orders::projections::prices;
use registry::sales::counters;
use registry::sales::generations::Generations;
use registry::sales::reactor::Bookkeeper;
use registry::sales::report::{Period, Report};
use uuid::Uuid;

/// How many rows of the log one page of a rebuild reads here: few, so that it has many steps.
const PAGE: u32 = 5;

fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
}

/// A shop: the log of its orders, and its sales.
struct Shop {
    orders: MemoryStore,
    sales: Ports<Faulty>,
}

/// The event rows of an order, and so its events: every third is sold, every third refused by the carrier a day later, the
/// others never confirmed.
fn history(n: u32) -> Vec<Item> {
    let order_id = OrderId(Uuid::from_u128(u128::from(n) << 64 | u128::from(n)));
    let price = |product: &str, quantity, cents| OrderLine {
        product_id: product.parse().unwrap(),
        quantity,
        unit_price: Money::new(cents, Currency::USD),
    };
    let lines = vec![price("beans", 1 + n % 3, 1450), price("filters", 1, 350)];
    let total = lines.iter().fold(Money::new(0, Currency::USD), |sum, line| {
        sum.plus(line.unit_price.times(line.quantity).unwrap()).unwrap()
    });
    let customer_id: events::CustomerId = "ada".parse().unwrap();
    let customer = customer_id.clone();
    let confirmed = OrderConfirmed {
        order_id,
        customer_id: customer,
        total,
        lines,
        shipping_address: None,
        sealed_address: None,
    };
    let refused = CancelReason::FulfillmentFailed { carrier_code: "UNDELIVERABLE".into() };
    let reason = if n % 3 == 1 { refused } else { CancelReason::CustomerRequest };
    let cancelled = OrderCancelled { order_id, customer_id, reason };
    let entries = match n % 3 {
        0 => vec![OutboxEntry::published(&confirmed)],
        1 => vec![OutboxEntry::published(&confirmed), OutboxEntry::published(&cancelled)],
        _ => vec![OutboxEntry::published(&cancelled)],
    };
    let start: DateTime<Utc> = day(1 + n % 5).and_hms_opt(23, 30, 0).unwrap().and_utc();
    let id = AggregateId::order(order_id);
    let rows = entries.iter().zip(1_u64..).flat_map(|(entry, seq)| {
        let cause = Cause::request(Uuid::from_u128(u128::from(n) * 10 + u128::from(seq)), Uuid::nil(), None);
        let now = start + TimeDelta::hours(i64::try_from(seq).unwrap());
        event_rows("orders", std::slice::from_ref(entry), &id, seq, &Context { cause: &cause, now }).unwrap()
    });
    rows.collect()
}

fn events_of(orders: impl IntoIterator<Item = u32>) -> Vec<Envelope> {
    orders.into_iter().flat_map(history).map(|row| envelope_of(&row).unwrap()).collect()
}

impl Shop {
    /// A shop whose log has these orders, and whose sales have had none of them.
    fn with(orders: impl IntoIterator<Item = u32>) -> Self {
        let orders = MemoryStore::of(orders.into_iter().flat_map(history));
        Self { orders, sales: Ports::system(Faulty::default()) }
    }

    /// Orders that are placed now.
    async fn place(&self, orders: impl IntoIterator<Item = u32>) {
        for item in orders.into_iter().flat_map(history) {
            self.orders.commit(vec![Write::Put { item, when: Condition::Absent }]).await.unwrap();
        }
    }

    async fn deliver(&self, event: &Envelope) -> Verdict {
        Bookkeeper { ports: self.sales.clone() }.handle(event).await.unwrap()
    }

    async fn deliver_all(&self, events: &[Envelope]) {
        for event in events {
            self.deliver(event).await;
        }
    }

    fn log(&self) -> EventLog<MemoryStore> {
        EventLog::new(vec![self.orders.clone()]).in_pages_of(PAGE)
    }

    /// Sales without the store that crashes: what the operator's command writes to.
    fn table(&self) -> Ports<MemoryStore> {
        let Ports { clock, ids, .. } = self.sales.clone();
        Ports { store: self.sales.store.inner.clone(), clock, ids }
    }

    /// The report's bytes.
    async fn report(&self) -> String {
        let period = Period { from: day(1), to: day(30), currency: Currency::USD };
        Report::read(&self.table(), period).await.unwrap().json().unwrap().to_string()
    }

    /// The generations of which there are counters.
    fn generations(&self) -> Vec<u32> {
        let rows = self.sales.store.inner.rows();
        let mut all: Vec<u32> = rows.iter().filter_map(|row| counters::generation_of(&row.key.pk)).collect();
        all.dedup();
        all
    }

    /// A rebuild from its beginning to its end.
    async fn rebuild(&self) {
        let (table, log) = (self.table(), self.log());
        let mut rebuild = Rebuild::begin(&table, &log, false).await.unwrap().unwrap();
        while rebuild.step().await.unwrap() {}
        clean(&table).await.unwrap();
    }
}

/// The report of a shop that has had each event once, in the order of the log.
async fn plain_report(orders: std::ops::Range<u32>) -> String {
    let shop = Shop::with(orders.clone());
    shop.deliver_all(&events_of(orders)).await;
    shop.report().await
}

/// Guards: what the books refuse by their state. Every event in any order, twice, and once more when no inbox row is left:
/// the report stays the same to the byte.
#[test]
fn any_order_of_arrival_and_any_number_of_deliveries_is_one_report() {
    run(async {
        let expected = plain_report(0..12).await;
        for seed in 0..8 {
            let (shop, mut dice) = (Shop::with(0..12), Dice::new(seed));
            let mut events = [events_of(0..12), events_of(0..12)].concat();
            while !events.is_empty() {
                let event = events.swap_remove(dice.below(events.len()));
                shop.deliver(&event).await;
            }
            assert_eq!(shop.report().await, expected, "seed {seed}");
            shop.sales.store.expire_inbox();
            for event in events_of(0..12) {
                assert_eq!(shop.deliver(&event).await, Verdict::Stale);
            }
            assert_eq!(shop.report().await, expected, "seed {seed}");
        }
    });
}

/// Guards: that the books, the counters and the inbox row are one transaction. A worker that dies before or after any of its
/// commits, and is followed by another, counts each order once.
#[test]
fn a_worker_that_dies_at_a_commit_counts_nothing_twice() {
    run(async {
        let expected = plain_report(0..6).await;
        for how in [Crash::Before, Crash::After] {
            for n in 0..12 {
                let shop = Shop::with(0..6);
                shop.sales.store.crash(n, how.clone());
                for event in events_of(0..6) {
                    let book = Bookkeeper { ports: shop.sales.clone() };
                    while book.handle(&event).await.is_err() {}
                }
                assert_eq!(shop.report().await, expected, "{how:?} {n}");
            }
        }
    });
}

/// Guards: a rebuild makes what deliveries made, to the byte, and mends what was spoiled: a counter, a row that is gone, a
/// row that no event stands behind, and the books of an order.
#[test]
fn rebuilt_from_the_log_it_equals_the_live_one() {
    run(async {
        let shop = Shop::with(0..30);
        shop.deliver_all(&events_of(0..30)).await;
        let (expected, rows) = (shop.report().await, shop.sales.store.inner.rows());
        assert_eq!(differences(&shop.table().store, &shop.log()).await.unwrap(), []);
        let table = &shop.sales.store.inner;
        let is_of =
            |row: &&Item, what: &str| row.key.sk.starts_with(counters::PREFIX) && row.key.sk.contains(what);
        let spoiled = rows.iter().find(|row| is_of(row, "orders")).unwrap().key.clone();
        let gone = rows.iter().find(|row| is_of(row, "product")).unwrap().key.clone();
        let books = rows.iter().find(|row| row.key.sk == "state").unwrap().clone();
        let invented = Key::new("day#1#2026-11-20", "count#0#orders#USD");
        let when = || Condition::Matches(Vec::new());
        table
            .commit(vec![
                Write::Count { key: spoiled.clone(), by: vec![("cents", 1)] },
                Write::Delete { key: gone.clone(), when: when() },
                Write::Count { key: invented.clone(), by: vec![("sold", 1)] },
                Write::Put { item: books.with("data", "{}"), when: when() },
            ])
            .await
            .unwrap();
        assert_ne!(shop.report().await, expected);
        let differences = differences(&shop.table().store, &shop.log()).await.unwrap();
        let named: Vec<_> = differences.into_iter().map(|one| one.key).collect();
        assert_eq!(named.len(), 3, "{named:?}");
        assert!([spoiled, gone, invented].iter().all(|key| named.contains(key)), "{named:?}");
        shop.rebuild().await;
        assert_eq!(shop.report().await, expected);
        assert_eq!(shop.generations(), [2], "the old generation's counters are deleted");
        shop.rebuild().await;
        assert_eq!((shop.report().await, shop.generations()), (expected, vec![3]));
    });
}

/// Guards: the place in the log that a rebuild saves, and that what is booked twice counts once. A rebuild that dies at any
/// of its commits is gone on with, while reports stay what they were.
#[test]
fn a_rebuild_that_dies_at_any_commit_is_gone_on_with() {
    run(async {
        let expected = plain_report(0..12).await;
        let mut died = 0;
        for n in 0_u64.. {
            let shop = Shop::with(0..12);
            shop.deliver_all(&events_of(0..12)).await;
            let (ports, log) =
                (&shop.sales, EventLog::new(vec![Faulty::new(shop.orders.clone(), Crash::Before)]));
            let log = log.in_pages_of(PAGE);
            ports.store.crash(n, Crash::After);
            let dies = async || {
                let mut rebuild = Rebuild::begin(ports, &log, false).await?.unwrap();
                while rebuild.step().await? {}
                Ok::<_, NotRebuilt>(())
            };
            if dies().await.is_ok() {
                break;
            }
            died += 1;
            assert_eq!(shop.report().await, expected, "reports show the live generation, commit {n}");
            let (table, log) = (shop.table(), shop.log());
            // A rebuild whose last commit was made, and not answered, is over.
            if let Some(mut rebuild) = Rebuild::begin(&table, &log, true).await.unwrap() {
                while rebuild.step().await.unwrap() {}
            }
            clean(&table).await.unwrap();
            assert_eq!((shop.report().await, shop.generations()), (expected.clone(), vec![2]), "commit {n}");
        }
        assert!(died > 20, "{died}");
    });
}

/// Guards: what another rebuild is building. One that has ended deletes what is older than the live generation, and nothing that
/// another has begun since it looked.
#[test]
fn cleaning_leaves_what_another_rebuild_builds() {
    run(async {
        let shop = Shop::with(0..3);
        shop.deliver_all(&events_of(0..3)).await;
        let live = Generations::load(&shop.sales.store).await.unwrap();
        let of = |generation: u32| {
            let key = Key::new(format!("day#{generation}#{}", day(1)), "count#0#orders#USD");
            Write::Count { key, by: vec![("cents", 7)] }
        };
        let next = live.next();
        shop.sales.store.commit(vec![of(next)]).await.unwrap();
        assert_eq!(clean(&shop.table()).await.unwrap(), (live.live, 0));
        assert_eq!(shop.generations(), [live.live, next]);
    });
}

/// Guards: that a delivery books in both generations, and that the log is read only once that is so. Orders go on before,
/// during and after the rebuild; one delivery reads the generations before it begins and commits afterwards; another is on
/// its way all the time.
#[test]
fn orders_that_go_on_during_a_rebuild_are_in_it_once() {
    run(async {
        let expected = plain_report(0..40).await;
        let shop = Shop::with(20..40);
        let (late, before) = (events_of([23]), events_of((20..40).filter(|n| ![23, 24].contains(n))));
        shop.deliver_all(&before).await;
        // Between this delivery's reading and its commit, a rebuild begins.
        let generations = Generations::default();
        let begun = generations.building(r#"{"table":0,"after":null}"#.into(), Utc::now());
        shop.sales.store.crash(0, Crash::WriteFirst(begun.following(&generations)));
        shop.deliver_all(&events_of([24])).await;
        let (table, log) = (shop.table(), shop.log());
        let mut rebuild = Rebuild::begin(&table, &log, true).await.unwrap().unwrap();
        // Their ids are smaller: the rebuild has passed their places in the log when they are placed.
        let mut next = 0;
        while rebuild.step().await.unwrap() {
            if next < 18 {
                shop.place([next]).await;
                shop.deliver_all(&events_of([next])).await;
                next += 1;
            }
        }
        shop.place(next..20).await;
        shop.deliver_all(&events_of(next..20)).await;
        clean(&table).await.unwrap();
        shop.deliver_all(&late).await;
        assert!(next > 2, "the rebuild had too few steps: {next}");
        assert_eq!((shop.report().await, shop.generations()), (expected.clone(), vec![2]));
        shop.rebuild().await;
        assert_eq!(shop.report().await, expected);
    });
}

/// Guards: the version in the condition of an order's row. A delivery and a rebuild, which has no inbox row, book the same event
/// at the same time: wherever the one is when the other comes, it counts once.
#[test]
fn a_delivery_beside_the_rebuild_of_its_order_counts_once() {
    run(async {
        let expected = plain_report(1..2).await;
        let [confirmed, cancelled] = &events_of([1])[..] else { panic!("not confirmed and cancelled") };
        for later in 0..12 {
            let shop = Shop::with([1]);
            shop.deliver(confirmed).await;
            let log = EventLog::new(vec![Faulty::new(shop.orders.clone(), Crash::Before)]);
            let mut rebuild = Rebuild::begin(&shop.sales, &log, false).await.unwrap().unwrap();
            let rebuilding = async { while rebuild.step().await.unwrap() {} };
            let delivering = async {
                for _ in 0..later {
                    tokio::task::yield_now().await;
                }
                shop.deliver(cancelled).await;
            };
            tokio::join!(rebuilding, delivering);
            assert_eq!(shop.report().await, expected, "{later}");
        }
    });
}

/// Guards: the condition on the row of generations, and the place in the log that the row holds. A second rebuild is refused
/// while one goes on; one that goes on with it replaces it, reads what that one had not, and the first can do nothing more.
#[test]
fn two_rebuilds_at_a_time_are_refused() {
    run(async {
        let shop = Shop::with(0..12);
        let (table, log) = (shop.table(), shop.log());
        assert!(Rebuild::begin(&table, &log, true).await.unwrap().is_none(), "there is none to go on with");
        let mut first = Rebuild::begin(&table, &log, false).await.unwrap().unwrap();
        assert!(first.step().await.unwrap());
        assert!(matches!(Rebuild::begin(&table, &log, false).await, Err(NotRebuilt::Begun(_))));
        let read = first.rebuilt.read;
        let mut second = Rebuild::begin(&table, &log, true).await.unwrap().unwrap();
        assert!(matches!(first.step().await, Err(NotRebuilt::GoingOn)));
        while second.step().await.unwrap() {}
        assert_eq!(read + second.rebuilt.read, u64::try_from(events_of(0..12).len()).unwrap());
        assert!(matches!(first.step().await, Err(NotRebuilt::GoingOn)));
        assert_eq!(Generations::load(&table.store).await.unwrap().open(), [2]);
        assert_eq!(shop.report().await, plain_report(0..12).await);
    });
}

/// Guards: a report that a swap overtakes. The rows that it reads are deleted after its first page; it begins anew.
#[test]
fn a_report_that_a_swap_overtakes_begins_anew() {
    run(async {
        let (shop, generations) = (Shop::with(0..12), Generations::default());
        let begun = generations.building(String::new(), Utc::now());
        let table = shop.table().store;
        table.commit(vec![begun.following(&generations)]).await.unwrap();
        shop.deliver_all(&events_of(0..12)).await;
        let expected = shop.report().await;
        let rows = table.rows().into_iter().map(|row| row.key);
        let old = rows.filter(|key| counters::generation_of(&key.pk) == Some(1));
        let deleted = old.map(|key| Write::Delete { key, when: Condition::Matches(Vec::new()) });
        shop.sales.store.after_page(deleted.chain([begun.swapped().following(&begun)]).collect());
        let period = Period { from: day(1), to: day(30), currency: Currency::USD };
        let report = Report::read(&shop.sales, period).await.unwrap().json().unwrap();
        assert_eq!(report.to_string(), expected);
    });
}

/// The event row of a product's listing, and the row that it makes of the price list.
fn listing(seq: u64, cents: u64) -> (Item, Item) {
    let product_id: events::ProductId = "beans".parse().unwrap();
    let unit_price = Money::new(cents, Currency::USD);
    let listed = ProductListed { product_id, name: "Beans".into(), unit_price };
    let cause = Cause::request(Uuid::from_u128(seq.into()), Uuid::nil(), None);
    let context = Context { cause: &cause, now: day(1).and_hms_opt(9, 0, 0).unwrap().and_utc() };
    let id = AggregateId::new("product", "beans");
    let row =
        event_rows("inventory", &[OutboxEntry::published(&listed)], &id, seq, &context).unwrap().remove(0);
    let event = envelope_of(&row).unwrap();
    let view = prices::view(&event).unwrap().unwrap();
    (row, numbered(&event, view))
}

/// Guards: the condition on what was read of a view's row, also that there was none. While a row is put right or added, a newer
/// event comes into the log and is projected: the older one does not come back.
#[test]
fn a_view_that_moves_on_meanwhile_is_not_set_back() {
    run(async {
        let [(first, was), (second, newer)] = [listing(1, 1450), listing(2, 1550)];
        for spoiled in [Some(was.with("unit_price", 1)), None] {
            let (log, table) = (Faulty::<MemoryStore>::default(), Faulty::<MemoryStore>::default());
            if let Some(spoiled) = spoiled {
                write(&table.inner, put(spoiled)).await;
            }
            write(&log.inner, put(first.clone())).await;
            log.after_page(vec![put(second.clone())]);
            table.crash(0, Crash::WriteFirst(put(newer.clone())));
            let log = EventLog::new(vec![log]);
            let viewed = Viewed { view: &PRICES, table: &table, log: &log, dry_run: false };
            assert_eq!(viewed.rebuild().await.unwrap(), Outcome { unchanged: 1, ..Outcome::default() });
            assert_eq!(table.inner.load(&newer.key).await.unwrap(), Some(newer.clone()));
        }
    });
}

/// Guards: nothing that cannot be read is passed over. A report, a delivery and a rebuild end with an error that names the row;
/// once it is mended, the rebuild goes on.
#[test]
fn a_row_that_cannot_be_read_stops_what_reads_it() {
    run(async {
        let shop = Shop::with(0..12);
        shop.deliver_all(&events_of(0..12)).await;
        let (expected, table, log) = (shop.report().await, shop.table(), shop.log());
        let period = Period { from: day(1), to: day(30), currency: Currency::USD };
        let key = Key::new("day#1#2026-11-02", "count#0#else#x");
        write(&table.store, Write::Count { key: key.clone(), by: vec![(counters::SOLD, 1)] }).await;
        names(Report::read(&table, period).await.map(drop), &key);
        assert_eq!(differences(&table.store, &log).await.unwrap().len(), 1);
        table.store.expire(&key);

        // The books of an order; the generations; the log.
        let [confirmed, cancelled] = &events_of([1])[..] else { panic!("not confirmed and cancelled") };
        let key = Key::state(AggregateId::order(confirmed.data::<OrderConfirmed>().unwrap().order_id).pk);
        let books = spoiled(&table.store, &key, "data").await;
        shop.sales.store.expire_inbox();
        names(Bookkeeper { ports: shop.sales.clone() }.handle(cancelled).await.map(drop), &key);
        write(&table.store, mended(books)).await;

        let mut rebuild = Rebuild::begin(&table, &log, false).await.unwrap().unwrap();
        let key = Key::event(&key.pk, 2);
        let event = spoiled(&shop.orders, &key, "data").await;
        let stopped = async {
            while rebuild.step().await? {}
            Ok::<_, NotRebuilt>(())
        };
        names(stopped.await, &key);
        names(differences(&table.store, &log).await.map(drop), &key);
        assert_eq!(shop.report().await, expected);
        write(&shop.orders, mended(event)).await;
        let key = Key::new("projection#sales", "generations");
        let generations = spoiled(&table.store, &key, "live").await;
        names(Report::read(&table, period).await.map(drop), &key);
        names(Rebuild::begin(&table, &log, true).await.map(drop), &key);
        write(&table.store, mended(generations)).await;
        let mut rebuild = Rebuild::begin(&table, &log, true).await.unwrap().unwrap();
        while rebuild.step().await.unwrap() {}
        assert_eq!(shop.report().await, expected);

        let (listed, row) = listing(1, 1450);
        let (log, table) = (MemoryStore::of([listed.with("data", "{}")]), MemoryStore::of([row.clone()]));
        let viewed = Viewed { view: &PRICES, table: &table, log: &EventLog::new(vec![log]), dry_run: false };
        assert!(viewed.rebuild().await.is_err());
        assert_eq!(table.load(&row.key).await.unwrap(), Some(row));
    });
}

async fn write(table: &MemoryStore, write: Write) {
    table.commit(vec![write]).await.unwrap();
}

/// Of an event or view row: written unless it is there in a later state.
fn put(item: Item) -> Write {
    Write::Put { item, when: Condition::Newer("seq", i64::MAX) }
}

/// The row as it was, in place of the spoiled one.
const fn mended(item: Item) -> Write {
    Write::Put { item, when: Condition::Matches(Vec::new()) }
}

/// Makes one attribute of a row unreadable; the row as it was.
async fn spoiled(table: &MemoryStore, key: &Key, name: &str) -> Item {
    let row = table.load(key).await.unwrap().unwrap();
    write(table, mended(row.clone().with(name, "["))).await;
    row
}

/// It ended with an error that names the row.
#[track_caller]
fn names<E: std::fmt::Display>(ended: Result<(), E>, key: &Key) {
    let error = ended.map_err(|error| error.to_string()).expect_err("it was passed over");
    assert!(error.contains(&key.to_string()), "{key}: {error}");
}
