//! What the simulator keeps.

use super::objects::{Charge, Customer, Intent, PaymentMethod, Refund};
use super::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// How long an answer is kept under its idempotency key, in seconds. Stripe promises to keep it for at least so long.
pub const KEPT_SECONDS: i64 = 24 * 3600;

/// An answer kept under an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Kept {
    pub(super) path: String,
    pub(super) form: String,
    /// HTTP status.
    pub(super) status: u16,
    pub(super) body: String,
    /// Epoch seconds.
    pub(super) at: i64,
}

/// Everything that the simulator keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Account {
    pub keys: BTreeMap<String, Kept>,
    pub intents: BTreeMap<String, Intent>,
    pub refunds: BTreeMap<String, Refund>,
    pub customers: BTreeMap<String, Customer>,
    pub methods: BTreeMap<String, PaymentMethod>,
    /// How many objects there are: the next one's id.
    made: u64,
    /// What has changed since it was last asked for that: ids of objects.
    #[serde(skip)]
    changed: BTreeSet<String>,
}

/// An object or a kept answer, for the journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    Key(String, Kept),
    Intent(Intent),
    Refund(Refund),
    Customer(Customer),
    Method(PaymentMethod),
}

fn keep<T>(objects: &mut BTreeMap<String, T>, id: String, object: T) -> String {
    objects.insert(id.clone(), object);
    id
}

/// What a call came to.
pub type Outcome = Result<Value, Refusal>;

impl Account {
    /// The id of a new object.
    pub(super) fn new_id(&mut self, prefix: &str) -> String {
        self.made = self.made.saturating_add(1);
        let id = format!("{prefix}_{:024}", self.made);
        self.changed(&id);
        id
    }

    /// Notes that an object has changed.
    pub(super) fn changed(&mut self, id: &str) {
        self.changed.insert(id.to_owned());
    }

    /// What has changed since the last time, by id.
    pub fn take_changes(&mut self) -> Vec<(String, Record)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().filter_map(|id| Some((id.clone(), self.record(&id)?))).collect()
    }

    fn record(&self, id: &str) -> Option<Record> {
        let key = || Some(Record::Key(id.to_owned(), self.keys.get(id)?.clone()));
        let intent = || self.intents.get(id).cloned().map(Record::Intent);
        let refund = || self.refunds.get(id).cloned().map(Record::Refund);
        let customer = || self.customers.get(id).cloned().map(Record::Customer);
        let method = || self.methods.get(id).cloned().map(Record::Method);
        intent().or_else(key).or_else(method).or_else(refund).or_else(customer)
    }

    /// How many objects there are: the next one's id.
    #[must_use]
    pub const fn made(&self) -> u64 {
        self.made
    }

    /// The account of these records.
    pub fn of(records: impl IntoIterator<Item = Record>) -> Self {
        let mut account = Self::default();
        for record in records {
            account.restore(record);
        }
        account
    }

    fn restore(&mut self, record: Record) {
        let id = match record {
            Record::Key(key, kept) => {
                self.keys.insert(key, kept);
                return;
            }
            Record::Intent(intent) => {
                let last = intent.charges.last().map_or(&intent.id, |charge| &charge.id).clone();
                self.intents.insert(intent.id.clone(), intent);
                last
            }
            Record::Refund(refund) => keep(&mut self.refunds, refund.id.clone(), refund),
            Record::Customer(customer) => keep(&mut self.customers, customer.id.clone(), customer),
            Record::Method(method) => keep(&mut self.methods, method.id.clone(), method),
        };
        let number = id.rsplit('_').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        self.made = self.made.max(number);
    }

    /// Forgets the answers that are no longer kept.
    pub fn forget(&mut self, now: i64) {
        self.keys.retain(|_, kept| now - kept.at < KEPT_SECONDS);
    }

    /// The same account where there are so many objects, of which it has a few.
    #[must_use]
    pub const fn with_made(mut self, made: u64) -> Self {
        self.made = made;
        self
    }

    pub(super) fn intent(&mut self, id: &str) -> Result<&mut Intent, Refusal> {
        self.changed(id);
        self.intents.get_mut(id).ok_or_else(|| Refusal::missing("payment_intent", id, "intent"))
    }

    /// An intent as Stripe shows it.
    pub(super) fn shown(&self, id: &str, expand: bool) -> Outcome {
        let intent = self.intents.get(id).ok_or_else(|| Refusal::missing("payment_intent", id, "intent"))?;
        let latest = match intent.charges.last() {
            Some(charge) if expand => self.charge_json(intent, charge),
            Some(charge) => charge.id.as_str().into(),
            None => Value::Null,
        };
        Ok(intent.json(&latest))
    }

    /// The method that an intent is about to be charged to.
    pub(super) fn method_of(&mut self, id: &str) -> Option<&mut PaymentMethod> {
        let named = self.intents.get(id)?.payment_method.clone()?;
        self.changed(&named);
        self.methods.get_mut(&named)
    }

    pub(super) fn charge_json(&self, intent: &Intent, charge: &Charge) -> Value {
        let (captured, refunded) =
            if charge.succeeded { (charge.amount, self.refunded(intent)) } else { (0, 0) };
        json!({
            "id": charge.id,
            "object": "charge",
            "amount": charge.amount,
            "amount_captured": captured,
            "amount_refunded": refunded,
            "captured": charge.succeeded,
            "currency": intent.currency,
            "customer": intent.customer,
            "disputed": false,
            "livemode": false,
            "metadata": intent.metadata,
            "paid": charge.succeeded,
            "payment_intent": intent.id,
            "refunded": captured > 0 && refunded == captured,
            "status": if charge.succeeded { "succeeded" } else { "failed" },
        })
    }

    /// What an intent's refunds gave back or are about to, in minor units.
    #[must_use]
    pub fn refunded(&self, intent: &Intent) -> u64 {
        let of_intent = self.refunds.values().filter(|refund| refund.intent == intent.id);
        of_intent.filter(|refund| !refund.has_failed()).map(|refund| refund.amount).sum()
    }
}
