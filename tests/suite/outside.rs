//! What stands outside the services, in memory: a payment provider, a carrier, a topic and the bus. They behave as the
//! simulators of the local stack do, by the same payment methods and products.

use crate::bench::{Account, Parcel};
use chassis::ports::{Bus, Topic};
use chassis::{Attempt, Failure};
use events::{Envelope, OrderId};
use fulfillment::carrier::Carrier;
use fulfillment::shipment::{self, Message};
use payments::payment::Bill;
use payments::provider::{ChargeOutcome, ChargeStatus, PaymentProvider, RefundAttempt};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the provider in memory knows of one order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Charge {
    account: Account,
    void: bool,
    /// How many refunds it refuses before it makes one.
    refusals: u32,
    /// Whether it makes refunds and does not answer.
    silent: bool,
}

fn no_answer() -> Failure {
    Failure::Transient("no answer".into())
}

/// A provider in memory: idempotent by order. It knows the payment methods of the simulator, and three more:
/// `refunds_silently`, `voids_silently` (never charges, and voids without an answer), and `slow`.
#[derive(Clone, Debug, Default)]
pub struct MemoryProvider(pub Arc<Mutex<BTreeMap<OrderId, Charge>>>);

impl MemoryProvider {
    pub fn account(&self, order: &str) -> Account {
        let charges = self.0.lock().unwrap();
        charges.get(&order.parse().unwrap()).copied().unwrap_or_default().account
    }

    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }
}

impl PaymentProvider for MemoryProvider {
    async fn charge(&self, bill: &Bill, _attempt: Attempt) -> Result<ChargeOutcome, Failure> {
        let method = bill.payment_method.as_deref().unwrap_or_default();
        if method == "slow" {
            // Another worker does something meanwhile.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut charges = self.0.lock().unwrap();
        let charge = charges.entry(bill.order_id).or_default();
        charge.account.calls += 1;
        let first = charge.account.calls == 1;
        match method {
            "pm_sim_error" | "voids_silently" => {
                return Err(Failure::Transient("the provider is down".into()));
            }
            "pm_card_visa_chargeDeclined" => return Ok(declined()),
            "pm_sim_declines_once" if first => return Ok(declined()),
            _ if charge.void => return Ok(declined()),
            "pm_sim_refund_refused" if first => charge.refusals = 4,
            "pm_sim_refund_refused_3_times" if first => charge.refusals = 3,
            "refunds_silently" => charge.silent = true,
            _ => {}
        }
        charge.account.captured = bill.amount.amount;
        charge.account.captures = 1;
        if method == "pm_sim_lost_answer" && first {
            return Err(no_answer());
        }
        Ok(ChargeOutcome::Captured { charge_id: format!("ch_{}", bill.order_id) })
    }

    async fn look_up(&self, order_id: OrderId, _charge_id: Option<&str>) -> Result<ChargeStatus, Failure> {
        let charge = self.0.lock().unwrap().get(&order_id).copied().unwrap_or_default();
        Ok(match charge.account {
            Account { refunded: 1.., .. } => ChargeStatus::Refunded,
            Account { captured: 1.., .. } => ChargeStatus::Captured { charge_id: format!("ch_{order_id}") },
            Account { .. } if charge.void => ChargeStatus::Cancelled,
            Account { .. } => ChargeStatus::Nothing,
        })
    }

    async fn void(&self, bill: &Bill, _intent: Option<&str>) -> Result<bool, Failure> {
        let mut charges = self.0.lock().unwrap();
        let charge = charges.entry(bill.order_id).or_default();
        charge.void = charge.account.captured == 0;
        if bill.payment_method.as_deref() == Some("voids_silently") {
            return Err(no_answer());
        }
        Ok(charge.void)
    }

    async fn refund(
        &self,
        order_id: OrderId,
        _charge_id: &str,
        _attempt: RefundAttempt,
    ) -> Result<Result<(), String>, Failure> {
        let mut charges = self.0.lock().unwrap();
        let charge = charges.entry(order_id).or_default();
        if charge.refusals > 0 {
            charge.refusals -= 1;
            return Ok(Err("refund_not_allowed".into()));
        }
        charge.account.refunded = charge.account.captured;
        if charge.silent {
            return Err(no_answer());
        }
        Ok(Ok(()))
    }
}

fn declined() -> ChargeOutcome {
    ChargeOutcome::Declined { code: "generic_decline".into() }
}

/// What the carrier in memory knows of one order: how often it was called, and its answer.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    calls: u32,
    answer: Option<Message>,
}

/// A carrier in memory: it knows parcels by their order. It knows the products of the simulator, and two more: it takes
/// `carrier-silent…` and never answers, and `carrier-denies…` without an answer, and refuses every later call for it.
#[derive(Clone, Debug, Default)]
pub struct MemoryCarrier(pub Arc<Mutex<BTreeMap<OrderId, Asked>>>);

impl MemoryCarrier {
    pub fn parcel(&self, order: &str) -> Parcel {
        let asked = self.0.lock().unwrap().get(&order.parse().unwrap()).cloned().unwrap_or_default();
        Parcel {
            calls: asked.calls,
            taken: matches!(asked.answer, Some(Message::Taken { .. })),
            withdrawn: matches!(asked.answer, Some(Message::Withdrawn)),
        }
    }

    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }
}

impl Carrier for MemoryCarrier {
    async fn ship(&self, parcel: &shipment::Parcel) -> Result<Message, Failure> {
        let is = |kind: &str| parcel.lines.iter().any(|line| line.product_id.as_str().starts_with(kind));
        let mut parcels = self.0.lock().unwrap();
        let asked = parcels.entry(parcel.order_id).or_default();
        asked.calls += 1;
        if is("carrier-down") || (is("carrier-flaky") && asked.calls <= 2) {
            return Err(Failure::Transient("the carrier is away".into()));
        }
        let answer = if is("unshippable") {
            Message::Refused { code: "prohibited_goods".into() }
        } else {
            let tracking_number = format!("M{}", parcel.order_id);
            Message::Taken { carrier: "Memory Parcels".into(), tracking_number }
        };
        let answer = match asked.answer.get_or_insert(answer).clone() {
            Message::Taken { .. } if is("carrier-denies") && asked.calls > 1 => {
                return Ok(Message::Refused { code: "unknown_address".into() });
            }
            answer => answer,
        };
        if is("carrier-silent") || ((is("carrier-lost-answer") || is("carrier-denies")) && asked.calls == 1) {
            return Err(no_answer());
        }
        Ok(answer)
    }

    async fn withdraw(&self, order_id: OrderId) -> Result<Message, Failure> {
        let mut parcels = self.0.lock().unwrap();
        let asked = parcels.entry(order_id).or_default();
        let taken = asked.answer.take().filter(|answer| matches!(answer, Message::Taken { .. }));
        Ok(asked.answer.insert(taken.unwrap_or(Message::Withdrawn)).clone())
    }
}

/// A topic in memory: it publishes a message once for its id. Ids and bodies, oldest first.
#[derive(Clone, Debug, Default)]
pub struct MemoryTopic(pub Arc<Mutex<Vec<(String, String)>>>);

impl MemoryTopic {
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }
}

impl Topic for MemoryTopic {
    async fn publish(&self, _group: &str, id: &str, body: String) -> Result<(), Failure> {
        let mut published = self.0.lock().unwrap();
        if published.iter().all(|(known, _)| known != id) {
            published.push((id.to_owned(), body));
        }
        Ok(())
    }
}

/// The bus, for events that are published again.
#[derive(Clone, Default)]
pub struct MemoryBus(pub Arc<Mutex<Vec<Envelope>>>);

impl Bus for MemoryBus {
    async fn publish(&self, events: &[Envelope]) -> Result<(), Failure> {
        self.0.lock().unwrap().extend_from_slice(events);
        Ok(())
    }
}
