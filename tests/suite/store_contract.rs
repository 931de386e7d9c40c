//! One contract for both stores: what the reaction loop relies on, in memory and on DynamoDB.

use crate::platform::{in_trouble, on_platform, run};
use crate::stores::Faulty;
use aws_sdk_dynamodb::types::AttributeValue;
use chassis::Failure;
use chassis::store::{
    Attr, CommitError, Condition, EVENTS, Grouped, Indexed, Item, Key, Limits, MAX_PAGE, MemoryStore,
    Rejected, Scan, Store, Write, all_until, every_row,
};
use futures_util::future::{join, join_all};
use localstack::faults::Fault;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Keys that no other test uses.
fn key(name: &str) -> Key {
    Key::new(format!("contract#{}#{name}", uuid::Uuid::new_v4()), "row")
}

fn put(key: &Key, version: i64, when: Condition) -> Write {
    Write::Put { item: Item::new(key.clone()).with("version", version).with("note", "x"), when }
}

fn version_is(version: i64) -> Condition {
    Condition::Matches(vec![("version", Attr::N(version))])
}

async fn seed(store: &impl Store, item: Item) {
    settled(store, vec![Write::Put { item, when: Condition::Absent }]).await.unwrap();
}

#[track_caller]
fn rejected(result: Result<(), CommitError>) -> Vec<Option<Rejected>> {
    match result {
        Err(CommitError::Rejected(rejected)) => rejected,
        other => panic!("not rejected but {other:?}"),
    }
}

/// Guards: I6, a transaction writes all of its rows or none, and says which condition failed.
async fn all_or_nothing(store: &impl Store) {
    let (taken, free, other) = (key("taken"), key("free"), key("other"));
    seed(store, Item::new(taken.clone()).with("version", 7)).await;
    let writes = vec![
        put(&free, 1, Condition::Absent),
        put(&taken, 1, Condition::Absent),
        put(&other, 1, Condition::Absent),
    ];
    let rejected = rejected(settled(store, writes).await);
    assert_eq!(rejected.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
    let current = rejected[1].as_ref().unwrap().current.as_ref().unwrap();
    assert_eq!(current.number("version"), Some(7));
    assert_eq!(store.load_many(&[free, other]).await.unwrap(), [None, None]);
}

/// Guards: a key is written in the transaction of its order or not at all, never over another one, and never shown to its writer.
async fn keys_beside_rows(store: &impl Store, keys: &impl Store) {
    let (row, taken, secret) = (key("with-key"), key("taken"), key("secret"));
    let new_key = |version: i64| Write::NewKey(Item::new(secret.clone()).with("version", version));
    seed(store, Item::new(taken.clone())).await;
    rejected(settled(store, vec![new_key(1), put(&taken, 1, Condition::Absent)]).await);
    assert_eq!(keys.load(&secret).await.unwrap(), None);
    settled(store, vec![put(&row, 1, Condition::Absent), new_key(2)]).await.unwrap();
    assert_eq!(keys.load(&secret).await.unwrap().unwrap().number("version"), Some(2));
    assert_eq!(store.load(&secret).await.unwrap(), None);
    let again = rejected(settled(store, vec![put(&row, 2, version_is(1)), new_key(3)]).await);
    assert_eq!(again, [None, Some(Rejected { current: None })]);
    assert_eq!(store.load(&row).await.unwrap().unwrap().number("version"), Some(1));
}

async fn conditions(store: &impl Store) {
    let row = key("conditions");
    rejected(settled(store, vec![put(&row, 2, version_is(1))]).await);
    settled(store, vec![put(&row, 1, Condition::Absent)]).await.unwrap();
    rejected(settled(store, vec![put(&row, 1, Condition::Absent)]).await);
    rejected(settled(store, vec![put(&row, 9, version_is(2))]).await);
    settled(store, vec![put(&row, 2, version_is(1))]).await.unwrap();
    assert_eq!(store.load(&row).await.unwrap().unwrap().number("version"), Some(2));
}

async fn forward_only(store: &impl Store) {
    let row = key("newer");
    let newer = |version| put(&row, version, Condition::Newer("version", version));
    settled(store, vec![newer(3)]).await.unwrap();
    rejected(settled(store, vec![newer(3)]).await);
    rejected(settled(store, vec![newer(2)]).await);
    settled(store, vec![newer(4)]).await.unwrap();
}

/// Guards: expiry is checked and not left to TTL, which deletes only some time afterwards.
async fn expiry(store: &impl Store) {
    let row = key("expiry");
    let until = |at: i64, now: i64| {
        let item = Item::new(row.clone()).with("expires_at", at);
        vec![Write::Put { item, when: Condition::AbsentOrExpired(now) }]
    };
    settled(store, until(100, 0)).await.unwrap();
    rejected(settled(store, until(200, 99)).await);
    settled(store, until(200, 100)).await.unwrap();
}

/// Guards: I1, no counter falls below zero, and a row that is not there is not made up.
async fn adjustments(store: &impl Store) {
    let row = key("stock");
    let take = |n: i64| vec![Write::Adjust { key: row.clone(), by: vec![("available", -n), ("held", n)] }];
    assert_eq!(rejected(settled(store, take(1)).await), [Some(Rejected { current: None })]);
    seed(store, Item::new(row.clone()).with("available", 5).with("held", 0).with("name", "beans")).await;
    settled(store, take(3)).await.unwrap();
    let current = rejected(settled(store, take(3)).await).remove(0).unwrap().current.unwrap();
    assert_eq!((current.count("available"), current.count("held")), (Some(2), Some(3)));
    rejected(settled(store, take(-4)).await);
    settled(store, take(-3)).await.unwrap();
    let row = store.load(&row).await.unwrap().unwrap();
    assert_eq!(
        (row.count("available"), row.count("held"), row.text("name")),
        (Some(5), Some(0), Some("beans"))
    );
}

/// Guards: a count makes the row and the counter that it needs, and loses nothing to another count.
async fn counts(store: &impl Store) {
    let (row, fresh) = (key("counters"), key("fresh"));
    let count = |by: Vec<(&'static str, u64)>| Write::Count { key: row.clone(), by };
    settled(store, vec![count(vec![("orders", 1), ("cents", 250)])]).await.unwrap();
    let beside = Write::Count { key: fresh.clone(), by: vec![("orders", 1)] };
    settled(store, vec![count(vec![("orders", 2), ("back", 1)]), beside]).await.unwrap();
    let counted = store.load(&row).await.unwrap().unwrap();
    let of = |name| counted.count(name);
    assert_eq!((of("orders"), of("cents"), of("back")), (Some(3), Some(250), Some(1)));
    assert_eq!(store.load(&fresh).await.unwrap().unwrap().count("orders"), Some(1));
}

/// Guards: what has changed since it was read is not deleted.
async fn deletions(store: &impl Store) {
    let row = key("deleted");
    let delete = |when: Condition| vec![Write::Delete { key: row.clone(), when }];
    rejected(settled(store, delete(version_is(1))).await);
    rejected(settled(store, delete(Condition::Matches(Vec::new()))).await);
    settled(store, vec![put(&row, 1, Condition::Absent)]).await.unwrap();
    let current = rejected(settled(store, delete(version_is(2))).await).remove(0).unwrap().current;
    assert_eq!(current.unwrap().number("version"), Some(1));
    settled(store, delete(version_is(1))).await.unwrap();
    assert_eq!(store.load(&row).await.unwrap(), None);
    settled(store, vec![put(&row, 1, Condition::Absent)]).await.unwrap();
    settled(store, delete(Condition::Matches(Vec::new()))).await.unwrap();
    assert_eq!(store.load(&row).await.unwrap(), None);
}

async fn reading(store: &impl Store) {
    let pk = key("history").pk;
    for n in [3, 1, 2, 10] {
        seed(store, Item::new(Key::event(&pk, n)).with("seq", i64::try_from(n).unwrap())).await;
    }
    seed(store, Item::new(Key::state(&pk)).with("version", 1)).await;
    let seqs = async |after: Option<&str>, limit| -> Vec<i64> {
        let rows = store.page(&pk, "event#", after, limit).await.unwrap();
        rows.iter().map(|row| row.number("seq").unwrap()).collect()
    };
    assert_eq!(seqs(None, 100).await, [1, 2, 3, 10]);
    assert_eq!(seqs(None, 2).await, [1, 2]);
    assert_eq!(seqs(Some("event#00000002"), 100).await, [3, 10]);
    let keys = [Key::event(&pk, 2), Key::event(&pk, 4), Key::event(&pk, 1)];
    let rows = store.load_many(&keys).await.unwrap();
    let seqs: Vec<_> = rows.iter().map(|row| row.as_ref().and_then(|row| row.number("seq"))).collect();
    assert_eq!(seqs, [Some(2), None, Some(1)]);
}

/// Eventually: an index of DynamoDB is written a moment after the row.
async fn listing(store: &impl Store) {
    let customer = format!("c-{}", uuid::Uuid::new_v4());
    for n in [2, 5, 1, 4, 3] {
        let item = Item::new(key(&n.to_string())).with("customer", customer.as_str()).with("note", "x");
        seed(store, item.with("customer_at", format!("2026-0{n}"))).await;
    }
    let page = async |before: Option<&str>, limit| -> Vec<String> {
        let rows = store.newest("customer", &customer, before, limit).await.unwrap();
        rows.into_iter().map(|row| row.at).collect()
    };
    assert_eq!(page(None, 3).await, ["2026-05", "2026-04", "2026-03"]);
    assert_eq!(page(Some("2026-03"), 3).await, ["2026-02", "2026-01"]);
    assert_eq!(store.newest("customer", "nobody", None, 3).await.unwrap(), []);
}

/// Guards: the position in an index. Rows of one and the same time are listed once each, page by page, and the oldest first.
async fn listing_the_oldest(store: &impl Store) {
    let shard = format!("s-{}", uuid::Uuid::new_v4());
    for (n, at) in ["2026-03", "2026-01", "2026-02", "2026-02", "2026-02", "2026-04"].into_iter().enumerate()
    {
        let item = Item::new(key(&n.to_string())).with("overdue", shard.as_str()).with("note", "x");
        seed(store, item.with("overdue_at", at)).await;
    }
    let mut found: Vec<Indexed> = Vec::new();
    loop {
        let page = store.oldest("overdue", &shard, "2026-03", found.last(), 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2);
        found.extend(page);
    }
    let times: Vec<&str> = found.iter().map(|row| row.at.as_str()).collect();
    assert_eq!(times, ["2026-01", "2026-02", "2026-02", "2026-02", "2026-03"]);
    let keys: BTreeSet<&Key> = found.iter().map(|row| &row.key).collect();
    assert_eq!(keys.len(), found.len(), "{found:?}");
    let all = all_until(store, "overdue", &shard, "2026-12").await.unwrap();
    assert_eq!(all.len(), 6);
    let outside = store.oldest("overdue", &shard, "2026-03", all.last(), 2).await;
    assert!(matches!(outside, Err(Failure::Poison(_))), "{outside:?}");
}

/// Guards: a page that DynamoDB cut at 1 MB. Rows of 20 KB: the page has all that were asked for, and there is an end only
/// where the rows end.
/// Guards: a scan meets each row with the prefix once, those of a partition together and in their order, also where a page
/// ends among them.
async fn scanning(store: &impl Scan) {
    let pk = format!("contract#{}#scanned", uuid::Uuid::new_v4());
    for n in 1..=7 {
        seed(store, Item::new(Key::event(&pk, n))).await;
        seed(store, Item::new(Key::new(&pk, format!("state#{n}")))).await;
    }
    for limit in [3, 1000] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let scanned = store.scan(EVENTS, after.as_ref(), limit).await.unwrap();
            found.extend(scanned.rows.into_iter().map(|row| row.key).filter(|key| key.pk == pk));
            after = scanned.last;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, (1..=7).map(|n| Key::event(&pk, n)).collect::<Vec<_>>());
    }
}

async fn large_rows(store: &impl Store) {
    const ROWS: u64 = 130;
    let (pk, shard) = (key("large").pk, format!("s-{}", uuid::Uuid::new_v4()));
    for n in 1..=ROWS {
        let item = Item::new(Key::event(&pk, n)).with("data", "x".repeat(20_000));
        seed(store, item.with("overdue", shard.as_str()).with("overdue_at", format!("{n:08}"))).await;
    }
    assert_eq!(store.page(&pk, "event#", None, MAX_PAGE).await.unwrap().len(), 101);
    let rows = every_row(store, &pk, "event#").await.unwrap();
    let keys: Vec<Key> = rows.into_iter().map(|row| row.key).collect();
    assert_eq!(keys, (1..=ROWS).map(|n| Key::event(&pk, n)).collect::<Vec<_>>());
    assert_eq!(store.newest("overdue", &shard, None, MAX_PAGE).await.unwrap().len(), 101);
    assert_eq!(all_until(store, "overdue", &shard, "9").await.unwrap().len(), 130);
}

async fn limits(store: &impl Store) {
    let row = key("twice");
    let twice = vec![put(&row, 1, Condition::Absent), put(&row, 2, Condition::Absent)];
    let too_many = (0..101).map(|n| put(&key(&n.to_string()), 1, Condition::Absent)).collect();
    for writes in [twice, too_many, Vec::new()] {
        let result = settled(store, writes).await;
        assert!(matches!(result, Err(CommitError::Failed(Failure::Poison(_)))), "{result:?}");
    }
    assert_eq!(store.load(&row).await.unwrap(), None);
}

/// More than enough attempts for all commits of this test to take turns.
const MAX_ATTEMPTS: usize = 2000;

/// Commits until the store has decided: `Busy` is an answer that only DynamoDB itself gives.
async fn settled(store: &impl Store, writes: Vec<Write>) -> Result<(), CommitError> {
    for _ in 0..MAX_ATTEMPTS {
        match store.commit(writes.clone()).await {
            Err(CommitError::Busy(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
            decided => return decided,
        }
    }
    panic!("still busy after {MAX_ATTEMPTS} attempts");
}

async fn commit(store: &impl Store, writes: Vec<Write>) -> bool {
    match settled(store, writes).await {
        Ok(()) => true,
        Err(CommitError::Rejected(_)) => false,
        Err(other) => panic!("{other}"),
    }
}

async fn succeeded(commits: Vec<JoinHandle<bool>>) -> usize {
    join_all(commits).await.into_iter().filter(|done| *done.as_ref().unwrap()).count()
}

/// Guards: conflicting commits at the same time; exactly as many succeed as the conditions allow.
async fn concurrency(store: &impl Store) {
    let (stock, state) = (key("contended-stock"), key("contended-state"));
    seed(store, Item::new(stock.clone()).with("available", 10)).await;
    seed(store, Item::new(state.clone()).with("version", 1)).await;
    let commits = |writes: Vec<Write>| {
        let store = store.clone();
        tokio::spawn(async move { commit(&store, writes).await })
    };
    let take = Write::Adjust { key: stock.clone(), by: vec![("available", -1)] };
    let takers =
        (0..40).map(|n| commits(vec![take.clone(), put(&key(&n.to_string()), 1, Condition::Absent)]));
    let takers: Vec<_> = takers.collect();
    let movers: Vec<_> = (0..20).map(|_| commits(vec![put(&state, 2, version_is(1))])).collect();
    assert_eq!((succeeded(takers).await, succeeded(movers).await), (10, 1));
    assert_eq!(store.load(&stock).await.unwrap().unwrap().count("available"), Some(0));
}

/// What the services rely on, also while reads that are not consistent are behind.
async fn consistent(store: &impl Scan) {
    all_or_nothing(store).await;
    conditions(store).await;
    forward_only(store).await;
    expiry(store).await;
    adjustments(store).await;
    counts(store).await;
    deletions(store).await;
    reading(store).await;
    scanning(store).await;
    limits(store).await;
    concurrency(store).await;
}

async fn contract(store: &impl Scan) {
    consistent(store).await;
    listing(store).await;
    listing_the_oldest(store).await;
    large_rows(store).await;
}

#[test]
fn the_memory_store_keeps_the_contract() {
    let store = MemoryStore::default();
    run(contract(&store));
    run(keys_beside_rows(&store, &store.keys()));
}

/// The grouped stores whose limits are tried: everything together, little together, and nothing.
fn grouped<S: Store>(inner: &S) -> impl Iterator<Item = Grouped<S>> {
    let limits = [Limits::default(), Limits { writes: 4, pause: 1 }, Limits { writes: 0, pause: 0 }];
    limits.into_iter().map(|limits| Grouped::new(inner.clone(), limits))
}

/// Guards: what is asked for at the same time is one transaction, with one write for a hot row; and the pause after one that was
/// refused, in which each commit goes alone.
#[test]
fn commits_at_the_same_time_are_one_until_one_is_refused() {
    // One thread, as the functions have: there `yield_now` gives way to everything that is ready.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let behind: Faulty = Faulty::default();
        let store = Grouped::new(behind.clone(), Limits { pause: 2, ..Limits::default() });
        let stock = key("stock");
        seed(&store, Item::new(stock.clone()).with("available", 10)).await;
        let take = Write::Adjust { key: stock.clone(), by: vec![("available", -1)] };
        let (free, taken) =
            (|n: u32| vec![put(&key(&n.to_string()), 1, Condition::Absent), take.clone()], key("taken"));
        let calls = async |commits: Vec<Vec<Write>>| {
            let before = behind.commits();
            let outcomes = join_all(commits.into_iter().map(|writes| store.commit(writes))).await;
            (behind.commits() - before, outcomes.iter().filter(|outcome| outcome.is_ok()).count())
        };
        assert_eq!(calls((0..5).map(free).collect()).await, (1, 5));
        assert_eq!(store.load(&stock).await.unwrap().unwrap().count("available"), Some(5));
        seed(&store, Item::new(taken.clone())).await;
        let refused = vec![put(&taken, 1, Condition::Absent)];
        assert_eq!(
            calls(vec![free(5), refused, free(6)]).await,
            (3, 2),
            "the joint one, and each that it does not name"
        );
        assert_eq!(calls(vec![free(7), free(8)]).await, (2, 2), "the pause");
        assert_eq!(calls(vec![free(9), vec![put(&key("last"), 1, Condition::Absent)]]).await, (1, 2));
        assert_eq!(store.load(&stock).await.unwrap().unwrap().count("available"), Some(0));
    });
}

#[test]
fn the_grouped_memory_store_keeps_the_contract() {
    let store = MemoryStore::default();
    for grouped in grouped(&store) {
        run(contract(&grouped));
        run(keys_beside_rows(&grouped, &store.keys()));
    }
}

#[test]
fn the_grouped_dynamodb_store_keeps_the_contract() {
    on_platform(async |platform| {
        let orders = platform.table("test-quadrille-orders").await;
        let keys = platform.table("test-quadrille-keys").await;
        for grouped in grouped(&orders.with_keys("test-quadrille-keys")) {
            contract(&grouped).await;
            keys_beside_rows(&grouped, &keys).await;
        }
    });
}

#[test]
fn the_dynamodb_store_keeps_the_contract() {
    on_platform(async |platform| {
        let orders = platform.table("test-quadrille-orders").await;
        contract(&orders).await;
        let keys = platform.table("test-quadrille-keys").await;
        keys_beside_rows(&orders.with_keys("test-quadrille-keys"), &keys).await;
    });
}

/// Guards: what the store makes of a conflict and of keys that were left unprocessed. The rows of a transaction are held for
/// a moment, thirty more are cancelled out of hand, and the first reads of several rows come in parts.
#[test]
fn the_dynamodb_store_keeps_the_contract_among_conflicts() {
    in_trouble("contract-conflicts", async |platform| {
        let table = Some("test-quadrille-orders".to_owned());
        let conflict = Fault::Conflict { function: None, table: table.clone(), times: 30 };
        let unprocessed = Fault::Unprocessed { table: table.clone(), times: 3 };
        let hold = Fault::Hold { table, millis: 2 };
        for fault in [conflict, unprocessed, hold] {
            platform.stack.faults.set(fault).unwrap();
        }
        let table = platform.table("test-quadrille-orders").await;
        contract(&table).await;
        contract(&Grouped::new(table, Limits::default())).await;
    });
}

/// Guards: the store's consistent reads. It reads what it wrote while replicas and indexes are a minute behind.
#[test]
fn the_dynamodb_store_reads_what_it_wrote() {
    in_trouble("contract-lag", async |platform| {
        let table = platform.table("test-quadrille-orders").await;
        let listed = key("listed");
        let listed = Item::new(listed).with("customer", "c-lag").with("customer_at", "2026-01");
        platform.stack.faults.set(Fault::Lag { table: None, millis: 60_000 }).unwrap();
        consistent(&table).await;
        consistent(&Grouped::new(table.clone(), Limits::default())).await;
        seed(&table, listed).await;
        let newest = async || table.newest("customer", "c-lag", None, 3).await.unwrap().len();
        assert_eq!(newest().await, 0, "the index is behind");
        platform.stack.faults.clear();
        assert_eq!(newest().await, 1);
    });
}

/// Guards: a row that cannot be read is the trouble of the one that asks for it, also when others ask at the same time.
#[test]
fn a_row_that_cannot_be_read_fails_alone() {
    in_trouble("contract-unreadable", async |platform| {
        let table = platform.table("test-quadrille-orders").await;
        let (good, bad) = (key("good"), key("bad"));
        seed(&table, Item::new(good.clone())).await;
        let client = aws_sdk_dynamodb::Client::new(&platform.sdk().await);
        let put =
            client.put_item().table_name("test-quadrille-orders").item("odd", AttributeValue::Bool(true));
        let put = put.item("pk", AttributeValue::S(bad.pk.clone()));
        put.item("sk", AttributeValue::S(bad.sk.clone())).send().await.unwrap();
        let grouped = Grouped::new(table, Limits::default());
        let (good, bad) = join(grouped.load(&good), grouped.load(&bad)).await;
        assert!(good.unwrap().is_some());
        assert!(matches!(bad, Err(Failure::Poison(_))), "{bad:?}");
    });
}

/// Guards: of two groups that write the same row one waits for the other. They would cancel each other.
#[test]
fn groups_that_write_the_same_row_take_turns() {
    in_trouble("contract-hot", async |platform| {
        platform.stack.faults.set(Fault::Hold { table: None, millis: 20 }).unwrap();
        let table = platform.table("test-quadrille-orders").await;
        let (store, hot) = (Grouped::new(table, Limits::default()), key("hot"));
        let commits = (0..5).map(async |n| {
            tokio::time::sleep(Duration::from_millis(5) * n).await;
            let count = Write::Count { key: hot.clone(), by: vec![("orders", 1)] };
            store.commit(vec![count, put(&key("beside"), 1, Condition::Absent)]).await
        });
        let outcomes = join_all(commits).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!(store.load(&hot).await.unwrap().unwrap().count("orders"), Some(5));
    });
}
