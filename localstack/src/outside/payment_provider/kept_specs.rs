//! The simulator over what the journal keeps: it answers as an account that has everything in memory, and forgets what Stripe forgets.

use super::account::{Account, Call, Fate, KEPT_SECONDS};
use super::kept::Kept;
use super::provider::Shared;
use crate::support::journal::Journal;
use crate::support::storage::Storage;
use fastrand::Rng;
use std::time::Duration;

fn journal() -> Journal {
    Journal::open(&Storage::memory()).unwrap().0
}

/// A random call: method, path with its query, and form. `made` are ids that answers named, of all kinds.
fn call(rng: &mut Rng, made: &[String]) -> (&'static str, String, String) {
    let mut id = |prefix: &str| {
        let ids: Vec<&String> = made.iter().filter(|id| id.starts_with(prefix)).collect();
        rng.choice(ids).cloned().unwrap_or_else(|| format!("{prefix}_none"))
    };
    let (intent, charge, refund) = (id("pi"), id("ch"), id("re"));
    let (customer, method) = (id("cus"), id("pm"));
    let tokens = ["pm_card_visa", "pm_sim_declines_once", "pm_card_pendingRefund", "pm_card_refundFail"];
    let method = if rng.bool() { tokens[rng.usize(..tokens.len())].to_owned() } else { method };
    let of = if rng.bool() { format!("&customer={customer}") } else { String::new() };
    let order = rng.u8(0..4);
    let post = |path: String, form: String| ("POST", path, form);
    let get = |path: String| ("GET", path, String::new());
    match rng.u8(0..14) {
        0..3 => {
            let confirm = if rng.bool() { "&confirm=true" } else { "" };
            let form = format!(
                "amount=1999&currency=usd&payment_method_types[]=card&payment_method={method}{of}{confirm}\
                 &metadata[order_id]=order {order}"
            );
            post("/v1/payment_intents".into(), form)
        }
        3 => post(format!("/v1/payment_intents/{intent}/confirm"), String::new()),
        4 => post(format!("/v1/payment_intents/{intent}/confirm"), format!("payment_method={method}")),
        5 => post(format!("/v1/payment_intents/{intent}/cancel"), String::new()),
        6 => post("/v1/refunds".into(), format!("payment_intent={intent}&amount=700")),
        7 => post("/v1/refunds".into(), format!("charge={charge}&amount=400")),
        8 => get(format!("/v1/payment_intents/{intent}?expand[]=latest_charge")),
        9 => get(format!("/v1/refunds/{refund}")),
        10 => match rng.u8(0..3) {
            0 => get("/v1/refunds?limit=3".into()),
            1 => get(format!("/v1/refunds?payment_intent={intent}")),
            _ => get(format!("/v1/refunds?charge={charge}")),
        },
        11 => post("/v1/customers".into(), "name=Ada".into()),
        12 => post(format!("/v1/payment_methods/{method}/attach"), format!("customer={customer}")),
        _ if rng.bool() => get(format!("/v1/payment_methods/{method}")),
        _ => get(format!("/v1/customers/{customer}")),
    }
}

/// The ids that stand in a text.
fn ids(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned);
    words.filter(|word| word.len() > 24 && word.contains('_'))
}

/// Guards: what a call finds of the journal is all that it is about: under random calls, repeated keys, a clock that is moved and
/// restarts, every answer is that of an account which has everything in memory.
#[test]
fn it_answers_as_if_everything_were_in_memory() {
    let (mut succeeded, mut replayed) = (0, 0);
    for seed in 0..40 {
        let (mut rng, journal) = (Rng::with_seed(seed), journal());
        let mut kept = Shared::new(Kept::new(&journal));
        let (mut account, mut made, mut now) = (Account::default(), Vec::<String>::new(), 1000);
        let mut last = None;
        for n in 0..120 {
            now += if rng.u8(0..30) == 0 { rng.i64(0..2 * KEPT_SECONDS) } else { rng.i64(0..10) };
            if rng.u8(0..20) == 0 {
                kept.kept.forget(now);
                account.forget(now);
                kept = Shared::new(Kept::new(&journal));
            }
            // Sometimes the same call under the same key.
            let again = last.take().filter(|_| rng.u8(0..4) == 0);
            let (key, (method, path, form)) =
                again.unwrap_or_else(|| (format!("key {n}"), call(&mut rng, &made)));
            let (plain, query) = path.split_once('?').unwrap_or((&path, ""));
            let asked = Call { method, path: plain, query, idempotency_key: Some(&key), form: &form };
            let expected = account.answer(&asked, now, Fate::Answered);
            let reply = kept.answer_at(&asked, now, Duration::ZERO);
            assert_eq!(reply, expected, "seed {seed}, call {n}: {method} {path} {form}");
            succeeded += u32::from(reply.status == 200);
            replayed += u32::from(reply.is_replayed);
            made.extend(ids(&reply.body.to_string()));
            last = Some((key.clone(), (method, path.clone(), form.clone())));
        }
    }
    assert!(succeeded > 1500 && replayed > 100, "{succeeded} {replayed}");
}

/// Guards: an answer is deleted when it is no longer kept, and nothing else is; the book is read page by page.
#[test]
fn answers_are_deleted_and_the_book_has_pages() {
    let journal = journal();
    let kept = Kept::new(&journal);
    let mut shared = Shared::new(kept.clone());
    let form = "amount=500&currency=usd&payment_method_types[]=card&payment_method=pm_card_visa&confirm=true";
    for n in 0..5 {
        let (key, path) = (format!("key {n}"), "/v1/payment_intents");
        let call = Call { method: "POST", path, query: "", idempotency_key: Some(&key), form };
        assert_eq!(shared.answer_at(&call, n * 3600, Duration::ZERO).status, 200);
    }
    let records = || journal.records::<serde_json::Value>("provider/").len();
    let before = records();
    kept.forget(KEPT_SECONDS + 2 * 3600);
    // Three answers, each with its time.
    assert_eq!(before - records(), 6);
    let first = kept.book(None, 2, 0);
    let second = kept.book(first.keys().next_back().map(String::as_str), 10, 0);
    assert_eq!((first.len(), second.len()), (2, 3));
    assert!(first.keys().all(|id| !second.contains_key(id)));
    assert!(first.values().chain(second.values()).all(|payment| payment.captured == 500));
}

/// Guards: the answer of a key that is used again, a day later, is kept for a day as well: without it the third call would charge again.
#[test]
fn a_key_that_is_used_again_keeps_its_newer_answer() {
    let journal = journal();
    let kept = Kept::new(&journal);
    let mut shared = Shared::new(kept.clone());
    let form = "amount=500&currency=usd&payment_method_types[]=card&payment_method=pm_card_visa&confirm=true";
    let path = "/v1/payment_intents";
    let call = Call { method: "POST", path, query: "", idempotency_key: Some("key"), form };
    let mut is_replayed = |now: i64| shared.answer_at(&call, now, Duration::ZERO).is_replayed;
    assert!(!is_replayed(0) && !is_replayed(KEPT_SECONDS));
    kept.forget(KEPT_SECONDS + 1);
    assert!(is_replayed(KEPT_SECONDS + 2));
}
