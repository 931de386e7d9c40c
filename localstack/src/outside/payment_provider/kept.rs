//! Where the simulator's objects and answers are kept: in the journal, by their ids. A call gets an account of those that it is about.

use super::account::{Account, Call, KEPT_SECONDS, Record};
use super::objects::{Intent, Payment, Refund};
use super::state::Kept as KeptAnswer;
use crate::support::journal::{Entry, Journal, PAGE};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::{BTreeMap, BTreeSet};

/// The prefix of its objects in the journal, by their ids.
const OBJECTS: &str = "provider/object/";
/// The prefix of kept answers, by their idempotency keys.
const KEYS: &str = "provider/key/";
/// The prefix of the keys of kept answers, by the time of the answers.
const TIMES: &str = "provider/time/";
/// The prefix of the ids of intents, by the ids of their charges.
const CHARGES: &str = "provider/charge/";
/// The prefix of the ids of intents, by the orders in their metadata.
const ORDERS: &str = "provider/order/";
/// The prefix of the ids of refunds, by the ids of their intents.
const REFUNDS: &str = "provider/refund/";
/// What the ids of objects begin with.
const KINDS: [&str; 4] = ["pi_", "re_", "cus_", "pm_"];
/// The most refunds of one list, and one more.
const LISTED: usize = 101;

/// What the simulator keeps.
#[derive(Clone)]
pub struct Kept(Journal);

fn name(id: &str) -> String {
    format!("{OBJECTS}{id}")
}

impl Kept {
    #[must_use]
    pub fn new(journal: &Journal) -> Self {
        Self(journal.clone())
    }

    /// The number of the last object, which is in its id.
    #[must_use]
    pub fn made(&self) -> u64 {
        let number = |id: &str| id.rsplit('_').next().and_then(|number| number.parse().ok());
        let last = |prefix: String| {
            let last = self.0.last::<IgnoredAny>(&prefix, 1);
            last.first().and_then(|(id, _)| number(id))
        };
        let prefixes = KINDS.map(name).into_iter().chain([CHARGES.to_owned()]);
        prefixes.filter_map(last).max().unwrap_or(0)
    }

    fn object<T: DeserializeOwned>(&self, id: &str) -> Option<T> {
        self.0.record(&name(id))
    }

    /// The account that a call sees: the objects that it names, and those that belong to them.
    #[must_use]
    pub fn account(&self, call: &Call<'_>) -> Account {
        let key = call.idempotency_key.and_then(|key| {
            let kept = self.0.record(&format!("{KEYS}{key}"))?;
            Some(Record::Key(key.to_owned(), kept))
        });
        let pairs = [call.query, call.form].map(|text| form_urlencoded::parse(text.as_bytes()));
        let pairs: Vec<_> = pairs.into_iter().flatten().collect();
        let mut ids: BTreeSet<String> = call.path.split('/').map(str::to_owned).collect();
        ids.extend(pairs.iter().map(|(_, value)| value.to_string()));
        let order = pairs.iter().find(|(name, _)| name == "metadata[order_id]");
        ids.extend(order.into_iter().flat_map(|(_, order)| self.of_order(order)));
        if call.path == "/v1/refunds" && call.method == "GET" {
            let last = self.0.last::<IgnoredAny>(&name("re_"), LISTED);
            ids.extend(last.into_iter().map(|(number, _)| format!("re_{number}")));
        }
        let objects = self.with_others(ids);
        Account::of(objects.into_values().chain(key))
    }

    /// The intents of an order.
    fn of_order(&self, order: &str) -> impl Iterator<Item = String> {
        let intents = self.0.records::<bool>(&format!("{ORDERS}{order}/"));
        intents.into_keys()
    }

    /// The objects of these ids, and those that they name: an intent its method and its customer, its refunds and the other intents
    /// of its order; a charge its intent.
    fn with_others(&self, ids: BTreeSet<String>) -> BTreeMap<String, Record> {
        let (mut found, mut wanted) = (BTreeMap::new(), Vec::from_iter(ids));
        while let Some(id) = wanted.pop() {
            if id.starts_with("ch_") {
                wanted.extend(self.0.record::<String>(&format!("{CHARGES}{id}")));
            }
            let is_new = KINDS.iter().any(|kind| id.starts_with(kind)) && !found.contains_key(&id);
            let Some(record) = is_new.then(|| self.object::<Record>(&id)).flatten() else { continue };
            match &record {
                Record::Intent(intent) => wanted.extend(self.of_intent(intent)),
                Record::Refund(refund) => wanted.push(refund.intent.clone()),
                _ => {}
            }
            found.insert(id, record);
        }
        found
    }

    fn of_intent(&self, intent: &Intent) -> Vec<String> {
        let order = intent.metadata.get("order_id");
        let others = order.into_iter().flat_map(|order| self.of_order(order));
        let refunds = self.0.records::<bool>(&format!("{REFUNDS}{}/", intent.id)).into_keys();
        let named = [&intent.payment_method, &intent.customer].into_iter().flatten().cloned();
        named.chain(refunds).chain(others).collect()
    }

    /// Keeps what a call changed.
    pub fn keep(&self, changes: Vec<(String, Record)>) {
        let entries = changes.into_iter().flat_map(|(id, record)| entries(&id, &record));
        self.0.write(entries.map(|(key, value)| Entry::Record { key, value }).collect());
    }

    /// Returns once everything that was kept so far is safe.
    pub async fn flush(&self) {
        self.0.flush().await;
    }

    /// Deletes the answers that are no longer kept, at most a page. Whether there may be more.
    pub fn forget(&self, now: i64) -> bool {
        let times = self.0.page::<bool>(TIMES, None, PAGE).into_iter();
        let old = times.filter_map(|(place, _)| {
            let (at, key) = place.split_once('/')?;
            let at: i64 = at.parse().ok()?;
            (now - at >= KEPT_SECONDS).then(|| (format!("{TIMES}{place}"), format!("{KEYS}{key}"), at))
        });
        let old: Vec<_> = old.collect();
        let is_full = old.len() >= PAGE;
        let forgotten = old.into_iter().flat_map(|(place, key, at)| {
            // A key that was used again since has a newer answer.
            let is_its = self.0.record::<KeptAnswer>(&key).is_some_and(|kept| kept.at == at);
            [Some(place), is_its.then_some(key)].into_iter().flatten()
        });
        let old = forgotten.map(|key| Entry::Forgotten { key }).collect();
        self.0.write(old);
        is_full
    }

    /// The intents behind an id as the book shows them at `now`, by their ids.
    #[must_use]
    pub fn book(&self, after: Option<&str>, limit: usize, now: i64) -> BTreeMap<String, Payment> {
        let after = after.map(|id| id.strip_prefix("pi_").unwrap_or(id));
        let intents = self.0.page::<Record>(&name("pi_"), after, limit).into_iter();
        let shown = |(_, record)| {
            let Record::Intent(intent) = record else { return None };
            let refunds = self.0.records::<bool>(&format!("{REFUNDS}{}/", intent.id)).into_keys();
            let refunds = refunds.filter_map(|id| match self.object(&id)? {
                Record::Refund(refund) => Some(refund),
                _ => None,
            });
            let refunds: Vec<Refund> = refunds.collect();
            Some((intent.id.clone(), Payment::of(&intent, &refunds, now)))
        };
        intents.filter_map(shown).collect()
    }
}

fn json(record: &impl Serialize) -> String {
    serde_json::to_string(record).unwrap_or_default()
}

/// The keys and values of a record: its own, and those by which it is found.
fn entries(id: &str, record: &Record) -> Vec<(String, String)> {
    let listed = |key: String| (key, "true".to_owned());
    match record {
        Record::Key(key, kept) => {
            vec![(format!("{KEYS}{key}"), json(kept)), listed(format!("{TIMES}{:020}/{key}", kept.at))]
        }
        Record::Intent(intent) => {
            let charges = intent.charges.iter();
            let charges = charges.map(|charge| (format!("{CHARGES}{}", charge.id), json(&intent.id)));
            let order = intent.metadata.get("order_id");
            let order = order.map(|order| listed(format!("{ORDERS}{order}/{id}")));
            charges.chain(order).chain([(name(id), json(record))]).collect()
        }
        Record::Refund(refund) => {
            vec![(name(id), json(record)), listed(format!("{REFUNDS}{}/{id}", refund.intent))]
        }
        Record::Customer(_) | Record::Method(_) => vec![(name(id), json(record))],
    }
}
