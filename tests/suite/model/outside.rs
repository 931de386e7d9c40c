//! What stands outside the services in the model: the provider behind a line that loses and refuses, and a carrier. The
//! provider is the local stack's simulator, called by the real client.

use chassis::http::client::{Answer, StatusCode};
use chassis::ports::{Bus, Clock, Ids};
use chassis::store::{Grouped, Limits, MemoryStore};
use chassis::{Failure, ports::Ports};
use chrono::{DateTime, TimeDelta, Utc};
use events::orders::Address;
use events::{Envelope, OrderId};
use fulfillment::carrier::Carrier;
use fulfillment::shipment::{Message, Parcel};
use localstack::outside::payment_provider::account::{Account, Call, Fate};
use payments::provider::CallError;
use payments::provider::stripe::{self, Transport};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// What becomes of a call to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallFate {
    Answered,
    /// It is done, and the answer is lost.
    Lost,
    /// It never arrives.
    Unreached,
    /// The provider fails before it does anything, and repeats that answer for the key.
    Fails,
    /// The provider fails after it has done everything, and repeats that answer for the key.
    FailsAfterwards,
    /// Something else than the provider answers 404: a proxy, another account.
    Foreign,
}

pub const TROUBLES: [CallFate; 5] =
    [CallFate::Lost, CallFate::Unreached, CallFate::Fails, CallFate::FailsAfterwards, CallFate::Foreign];

/// Which call has which fate; all others are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Plan {
    pub call: u8,
    pub fate: CallFate,
}

pub const ANSWERED: Plan = Plan { call: 0, fate: CallFate::Answered };

/// The line to the provider.
#[derive(Clone)]
pub struct Line(Arc<Mutex<Wire>>);

struct Wire {
    account: Account,
    now: i64,
    plan: Plan,
    /// Whether nothing gets through.
    is_down: bool,
    calls: Vec<String>,
}

impl Line {
    pub fn new(account: &Account, now: i64, plan: Plan, is_down: bool) -> Self {
        let account = account.clone();
        Self(Arc::new(Mutex::new(Wire { account, now, plan, is_down, calls: Vec::new() })))
    }

    pub fn account(&self) -> Account {
        self.0.lock().unwrap().account.clone()
    }

    /// What was called.
    pub fn calls(&self) -> Vec<String> {
        self.0.lock().unwrap().calls.clone()
    }
}

impl Transport for Line {
    async fn send(&self, call: stripe::Call) -> Result<Answer, CallError> {
        let mut wire = self.0.lock().unwrap();
        let number = u8::try_from(wire.calls.len()).unwrap();
        let fate = if wire.plan.call == number { wire.plan.fate } else { CallFate::Answered };
        let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
        let named = format!("{} {path} {}", call.method, call.idempotency_key.as_deref().unwrap_or(""));
        wire.calls.push(named);
        let lost = || CallError::Down("no answer".into());
        if wire.is_down || fate == CallFate::Unreached {
            return Err(lost());
        }
        let sent = Call {
            method: call.method.as_str(),
            path,
            query,
            idempotency_key: call.idempotency_key.as_deref(),
            form: &call.form,
        };
        let answered = match fate {
            CallFate::Fails => Fate::Fails,
            CallFate::FailsAfterwards => Fate::FailsAfterwards,
            CallFate::Foreign => return Ok(Answer::new(StatusCode::NOT_FOUND, json!("no such page"))),
            _ => Fate::Answered,
        };
        let now = wire.now;
        let reply = wire.account.answer(&sent, now, answered);
        wire.account.take_changes();
        if reply.is_lost || fate == CallFate::Lost {
            return Err(lost());
        }
        let answer = Answer::new(StatusCode::from_u16(reply.status).unwrap(), reply.body);
        Ok(if reply.is_replayed { answer.replayed() } else { answer })
    }
}

/// A carrier that takes every parcel, or refuses it.
#[derive(Clone, Copy)]
pub struct Vans {
    pub refuses: bool,
}

impl Carrier for Vans {
    async fn ship(&self, parcel: &Parcel, _address: Option<&Address>) -> Result<Message, Failure> {
        if self.refuses {
            return Ok(Message::Refused { code: "prohibited_goods".into() });
        }
        let tracking_number = format!("V{}", parcel.order_id);
        Ok(Message::Taken { carrier: "Vans".into(), tracking_number })
    }

    async fn withdraw(&self, _order_id: OrderId) -> Result<Message, Failure> {
        Ok(Message::Refused { code: "carrier_unavailable".into() })
    }
}

/// Events that are published once more.
#[derive(Clone, Default)]
pub struct Again(pub Arc<Mutex<Vec<Envelope>>>);

impl Bus for Again {
    async fn publish(&self, events: &[Envelope]) -> Result<(), Failure> {
        self.0.lock().unwrap().extend_from_slice(events);
        Ok(())
    }
}

/// A clock that stands, and ids that follow from it.
struct Still {
    now: DateTime<Utc>,
    seed: u128,
    made: Mutex<u128>,
}

impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        self.now
    }
}

impl Ids for Still {
    fn fresh(&self) -> Uuid {
        let mut made = self.made.lock().unwrap();
        *made += 1;
        // Version 7 and the variant of RFC 9562.
        Uuid::from_u128((self.seed << 32) | *made | (7 << 76) | (2 << 62))
    }

    fn jitter(&self, _most: Duration) -> Duration {
        Duration::ZERO
    }

    fn secret(&self) -> [u8; 32] {
        let id = self.fresh().into_bytes();
        std::array::from_fn(|n| id[n % id.len()])
    }
}

/// The hour of the model, counted from the order's placing.
pub fn at(hour: u32) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::hours(hour.into())
}

/// A table as the functions see it.
pub type Table = Grouped<MemoryStore>;

pub fn table(rows: MemoryStore) -> Table {
    Table::new(rows, Limits::default())
}

/// Ports around a table, at an hour. `seed` makes its ids different from those of other steps.
pub fn ports(store: MemoryStore, hour: u32, seed: u128) -> Ports<Table> {
    let still = Arc::new(Still { now: at(hour), seed, made: Mutex::new(0) });
    Ports { store: table(store), clock: Arc::clone(&still) as Arc<dyn Clock>, ids: still }
}
