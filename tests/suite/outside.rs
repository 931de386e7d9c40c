//! Whoever is outside the services, in memory: a payment provider, a carrier, a topic and the bus.

use chassis::ports::{Bus, Topic};
use chassis::{Attempt, Failure};
use events::{Envelope, OrderId};
use fulfillment::carrier::Carrier;
use fulfillment::shipment::{self, Parcel};
use payments::payment::Bill;
use payments::provider::{ChargeOutcome, ChargeStatus, PaymentProvider, RefundAttempt};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the provider in memory holds of one order.
#[derive(Clone, Copy, Default)]
pub struct Account {
    pub calls: u32,
    pub captured: u64,
    pub refunded: u64,
    void: bool,
    /// How many refunds it refuses before it makes one.
    refusals: u32,
    /// Whether it makes refunds and does not say so.
    silent: bool,
}

/// A provider in memory: idempotent by order. A payment method says how it behaves: `declines`, `declines_once` (and
/// would take the money afterwards), `fails`, `loses_its_answer` (once), `keeps_3` (refuses so many refunds), `refunds_silently`,
/// `voids_silently`, `slow`.
#[derive(Clone, Default)]
pub struct Till(pub Arc<Mutex<BTreeMap<OrderId, Account>>>);

impl PaymentProvider for Till {
    async fn charge(&self, bill: &Bill, _attempt: Attempt) -> Result<ChargeOutcome, Failure> {
        if bill.payment_method.as_deref() == Some("slow") {
            // Another worker does something meanwhile.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut accounts = self.0.lock().unwrap();
        let account = accounts.entry(bill.order_id).or_default();
        account.calls += 1;
        let method = bill.payment_method.as_deref().unwrap_or_default();
        let declines = method == "declines" || (method == "declines_once" && account.calls == 1);
        if matches!(method, "fails" | "voids_silently") {
            return Err(Failure::Transient("the provider is down".into()));
        }
        if account.void || declines {
            return Ok(ChargeOutcome::Declined { code: "card_declined".into() });
        }
        account.captured = bill.amount.amount;
        account.refusals = match method.strip_prefix("keeps_") {
            Some(times) if account.calls == 1 => times.parse().unwrap(),
            _ => account.refusals,
        };
        account.silent = method == "refunds_silently";
        if method == "loses_its_answer" && account.calls == 1 {
            return Err(Failure::Transient("no answer".into()));
        }
        Ok(ChargeOutcome::Captured { charge_id: format!("ch_{}", bill.order_id) })
    }

    async fn look_up(&self, order_id: OrderId, _charge_id: Option<&str>) -> Result<ChargeStatus, Failure> {
        let account = self.0.lock().unwrap().get(&order_id).copied().unwrap_or_default();
        Ok(match account {
            Account { refunded: 1.., .. } => ChargeStatus::Refunded,
            Account { captured: 1.., .. } => ChargeStatus::Captured { charge_id: format!("ch_{order_id}") },
            Account { void: true, .. } => ChargeStatus::Cancelled,
            Account { .. } => ChargeStatus::Nothing,
        })
    }

    async fn void(&self, bill: &Bill, _intent: Option<&str>) -> Result<bool, Failure> {
        let mut accounts = self.0.lock().unwrap();
        let account = accounts.entry(bill.order_id).or_default();
        account.void = account.captured == 0;
        if bill.payment_method.as_deref() == Some("voids_silently") {
            return Err(Failure::Transient("no answer".into()));
        }
        Ok(account.void)
    }

    async fn refund(
        &self,
        order_id: OrderId,
        _charge_id: &str,
        _attempt: RefundAttempt,
    ) -> Result<Result<(), String>, Failure> {
        let mut accounts = self.0.lock().unwrap();
        let account = accounts.entry(order_id).or_default();
        if account.refusals > 0 {
            account.refusals -= 1;
            return Ok(Err("refund_not_allowed".into()));
        }
        account.refunded = account.captured;
        if account.silent {
            return Err(Failure::Transient("no answer".into()));
        }
        Ok(Ok(()))
    }
}

/// A carrier in memory: it knows parcels by their order. What is called `unshippable…` it refuses, for `carrier-down…` it
/// is never there, and of `carrier-lost-answer…` it takes the parcel and says nothing.
#[derive(Clone, Default)]
pub struct Depot(pub Arc<Mutex<BTreeMap<OrderId, shipment::Message>>>);

impl Carrier for Depot {
    async fn ship(&self, parcel: &Parcel) -> Result<shipment::Message, Failure> {
        let is = |kind: &str| parcel.lines.iter().any(|l| l.product_id.as_str().starts_with(kind));
        if is("carrier-down") {
            return Err(Failure::Transient("the carrier is away".into()));
        }
        let answer = if is("unshippable") {
            shipment::Message::Refused { code: "prohibited_goods".into() }
        } else {
            let tracking_number = format!("D{}", parcel.order_id);
            shipment::Message::Taken { carrier: "Depot".into(), tracking_number }
        };
        let answer = self.0.lock().unwrap().entry(parcel.order_id).or_insert(answer).clone();
        if is("carrier-lost-answer") {
            return Err(Failure::Transient("no answer".into()));
        }
        Ok(answer)
    }

    async fn withdraw(&self, order_id: OrderId) -> Result<shipment::Message, Failure> {
        let gone = shipment::Message::Refused { code: "carrier_unavailable".into() };
        Ok(self.0.lock().unwrap().entry(order_id).or_insert(gone).clone())
    }
}

/// A topic in memory: it takes a message once for its id.
#[derive(Clone, Default)]
pub struct Board(pub Arc<Mutex<BTreeMap<String, String>>>);

impl Topic for Board {
    async fn publish(&self, _group: &str, id: &str, body: String) -> Result<(), Failure> {
        self.0.lock().unwrap().entry(id.to_owned()).or_insert(body);
        Ok(())
    }
}

/// The bus, for events that are told again.
#[derive(Clone, Default)]
pub struct Wire(pub Arc<Mutex<Vec<Envelope>>>);

impl Bus for Wire {
    async fn publish(&self, events: &[Envelope]) -> Result<(), Failure> {
        self.0.lock().unwrap().extend_from_slice(events);
        Ok(())
    }
}
