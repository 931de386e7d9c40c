//! The circuit breaker: the pure core. It counts the provider's failures, never its declines.
//!
//! CLOSED lets every call through. After five failures in a row it is OPEN, and no call passes for a while. Then, HALF_OPEN,
//! one probe at a time passes, under a lease that ends by itself should the prober die. Two successes close the circuit,
//! one failure opens it again.
//!
//! Of one subject, which is an order or a customer, a failure counts once a minute, and twice in a row at most: an order that
//! always fails cannot close a shop in which little else happens.

use chassis::{Decider, Refusal};
use chrono::{DateTime, TimeDelta, Utc};
use events::envelope::millis;
use events::{CustomerId, OrderId};
use serde::{Deserialize, Serialize};

/// Failures in a row that open it.
pub const THRESHOLD: usize = 5;
/// How many of them may be of one subject.
const MOST_OF_ONE: usize = 2;
/// How long a subject's failure counts no second time.
const COUNTS_AFTER: TimeDelta = TimeDelta::minutes(1);
/// Successes that close it again.
const CLOSES_AFTER: u32 = 2;
/// How long a probe is the only call: longer than any call takes.
const LEASE: TimeDelta = TimeDelta::seconds(30);

/// How the breaker stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Breaker {
    /// Every call passes.
    Closed {
        /// Failures in a row, oldest first; fewer than the threshold.
        failures: Vec<CountedFailure>,
    },
    /// No call passes.
    Open {
        /// Until then.
        #[serde(with = "millis")]
        until: DateTime<Utc>,
    },
    /// One call at a time passes.
    HalfOpen {
        /// Until when a probe is underway; in the past: none is.
        #[serde(with = "millis")]
        leased_until: DateTime<Utc>,
        /// Probes that succeeded.
        successes: u32,
    },
}

/// What a call is about: the order that is charged, or the customer whose payment method is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(String);

impl From<OrderId> for Subject {
    fn from(id: OrderId) -> Self {
        Self(format!("order#{id}"))
    }
}

impl From<&CustomerId> for Subject {
    fn from(id: &CustomerId) -> Self {
        Self(format!("customer#{id}"))
    }
}

/// A failure that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedFailure {
    /// A row that was written when only orders were counted has the order's id.
    #[serde(alias = "order_id")]
    pub subject: Subject,
    #[serde(with = "millis")]
    pub at: DateTime<Utc>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: Vec::new() }
    }
}

/// What the breaker decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A worker wants to call the provider.
    Ask,
    /// The provider decided about money, yes or no.
    Succeeded,
    /// It answered a call that moves no money.
    Answered,
    /// It did not answer, or failed.
    Failed {
        /// What the call was about.
        subject: Subject,
        /// How long the circuit stays open, should this open it.
        open_for: TimeDelta,
    },
    /// An operator knows that the provider works again.
    Reset,
}

/// What the breaker decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// One more failure in a row.
    Counted(CountedFailure),
    /// The provider answered again.
    Reset,
    /// No call passes until then.
    Opened(DateTime<Utc>),
    /// The first probe may take until then.
    HalfOpened(DateTime<Utc>),
    /// The next probe may take until then.
    Leased(DateTime<Utc>),
    /// A probe succeeded; the next may start.
    Probed,
    /// A probe showed nothing; the next may start.
    Released,
    /// Every call passes again.
    Closed,
}

impl Decider for Breaker {
    type Message = Message;
    type Fact = Fact;

    fn decide(&self, message: &Message, now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
        match (self, message) {
            (Self::Closed { .. }, Message::Ask) => Ok(Vec::new()),
            (Self::Open { until }, Message::Ask) if now < *until => Err(Refusal::Illegal("open")),
            (Self::Open { .. }, Message::Ask) => Ok(vec![Fact::HalfOpened(now + LEASE)]),
            (Self::HalfOpen { leased_until, .. }, Message::Ask) if now < *leased_until => {
                Err(Refusal::Illegal("another worker is probing"))
            }
            (Self::HalfOpen { .. }, Message::Ask) => Ok(vec![Fact::Leased(now + LEASE)]),
            (Self::Closed { failures }, Message::Succeeded | Message::Reset) if failures.is_empty() => {
                Ok(Vec::new())
            }
            (Self::Closed { .. }, Message::Succeeded | Message::Reset) => Ok(vec![Fact::Reset]),
            (Self::Open { .. } | Self::HalfOpen { .. }, Message::Reset) => Ok(vec![Fact::Closed]),
            // That the provider creates intents does not show that it charges them.
            (Self::Closed { .. }, Message::Answered) => Ok(Vec::new()),
            (Self::HalfOpen { successes, .. }, Message::Succeeded) if successes + 1 >= CLOSES_AFTER => {
                Ok(vec![Fact::Closed])
            }
            (Self::HalfOpen { .. }, Message::Succeeded) => Ok(vec![Fact::Probed]),
            (Self::HalfOpen { .. }, Message::Answered) => Ok(vec![Fact::Released]),
            (Self::Closed { failures }, Message::Failed { subject, open_for }) => {
                Ok(counted(failures, CountedFailure { subject: subject.clone(), at: now }, *open_for))
            }
            (Self::HalfOpen { .. }, Message::Failed { open_for, .. }) => {
                Ok(vec![Fact::Opened(now + *open_for)])
            }
            (Self::Open { .. }, Message::Succeeded | Message::Answered | Message::Failed { .. }) => {
                Err(Refusal::Stale("already open"))
            }
        }
    }

    fn evolve(self, fact: &Fact) -> Self {
        let probes = if let Self::HalfOpen { successes, .. } = self { successes } else { 0 };
        match fact {
            Fact::Counted(failure) => {
                let mut failures = if let Self::Closed { failures } = self { failures } else { Vec::new() };
                failures.push(failure.clone());
                Self::Closed { failures }
            }
            Fact::Reset => Self::default(),
            Fact::Opened(until) => Self::Open { until: *until },
            Fact::HalfOpened(until) => Self::HalfOpen { leased_until: *until, successes: 0 },
            Fact::Leased(until) => Self::HalfOpen { leased_until: *until, successes: probes },
            Fact::Probed => {
                Self::HalfOpen { leased_until: DateTime::UNIX_EPOCH, successes: probes.saturating_add(1) }
            }
            Fact::Released => Self::HalfOpen { leased_until: DateTime::UNIX_EPOCH, successes: probes },
            Fact::Closed => Self::default(),
        }
    }
}

/// What one more failure comes to.
fn counted(failures: &[CountedFailure], failure: CountedFailure, open_for: TimeDelta) -> Vec<Fact> {
    let of_subject = || failures.iter().filter(|known| known.subject == failure.subject);
    let is_recent = of_subject().any(|known| failure.at - known.at < COUNTS_AFTER);
    if is_recent || of_subject().count() >= MOST_OF_ONE {
        Vec::new()
    } else if failures.len() + 1 < THRESHOLD {
        vec![Fact::Counted(failure)]
    } else {
        vec![Fact::Opened(failure.at + open_for)]
    }
}

/// Seconds after which a call may pass again, at least one.
#[must_use]
pub fn retry_after(breaker: &Breaker, now: DateTime<Utc>) -> u32 {
    let until = match breaker {
        Breaker::Closed { .. } => now,
        Breaker::Open { until } => *until,
        Breaker::HalfOpen { leased_until, .. } => *leased_until,
    };
    u32::try_from((until - now).num_seconds()).unwrap_or(0).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    /// Runs messages at their seconds; gives where that leads, and whether the last one was let through.
    fn run(messages: &[(Message, i64)]) -> (Breaker, bool) {
        let mut breaker = Breaker::default();
        let mut through = true;
        for (message, seconds) in messages {
            let decided = breaker.decide(message, at(*seconds));
            through = decided.is_ok();
            breaker = decided.unwrap_or_default().iter().fold(breaker, Breaker::evolve);
        }
        (breaker, through)
    }

    const MINUTE: TimeDelta = TimeDelta::minutes(1);

    fn order(number: u128) -> OrderId {
        OrderId(Uuid::from_u128(number))
    }

    /// A failure of an order's call, at a second.
    fn failed(number: u128, second: i64) -> (Message, i64) {
        (Message::Failed { subject: order(number).into(), open_for: MINUTE }, second)
    }

    /// One failure of each of so many orders.
    fn failures(orders: u128) -> Vec<(Message, i64)> {
        (1..=orders).map(|number| failed(number, 0)).collect()
    }

    fn after_opening(more: &[(Message, i64)]) -> (Breaker, bool) {
        run(&[&failures(5), more].concat())
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_success_resets_the_count() {
        assert!(matches!(run(&failures(4)).0, Breaker::Closed { failures } if failures.len() == 4));
        assert_eq!(run(&failures(5)).0, Breaker::Open { until: at(60) });
        let reset = [&failures(4)[..], &[(Message::Succeeded, 0)], &failures(4)].concat();
        assert!(matches!(run(&reset).0, Breaker::Closed { failures } if failures.len() == 4));
        // Guards: a provider that creates intents and charges none of them is down.
        let creates = [&failures(4)[..], &[(Message::Answered, 0), failed(5, 0)]].concat();
        assert_eq!(run(&creates).0, Breaker::Open { until: at(60) });
        let probes =
            [(Message::Ask, 60), (Message::Answered, 61), (Message::Ask, 62), (Message::Answered, 63)];
        assert!(matches!(after_opening(&probes).0, Breaker::HalfOpen { successes: 0, .. }));
    }

    /// Guards: an order counts once a minute and twice in a row, so that one whose call always fails opens nothing.
    #[test]
    fn one_order_alone_never_opens_it() {
        let again: Vec<_> = (0..100).map(|second| failed(1, second)).collect();
        assert!(matches!(run(&again[..60]).0, Breaker::Closed { failures } if failures.len() == 1));
        let for_days: Vec<_> = (0..1000).map(|minute| failed(1, minute * 60)).collect();
        assert!(matches!(run(&for_days).0, Breaker::Closed { failures } if failures.len() == 2));
        let and_others = [for_days, failures(4)].concat();
        assert_eq!(run(&and_others).0, Breaker::Open { until: at(60) });
    }

    /// Guards: while the circuit is open no call passes, and then one.
    #[test]
    fn one_probe_at_a_time() {
        assert!(!after_opening(&[(Message::Ask, 59)]).1);
        let probe = || (Message::Ask, 60);
        assert_eq!(
            after_opening(&[probe()]),
            (Breaker::HalfOpen { leased_until: at(90), successes: 0 }, true)
        );
        assert!(!after_opening(&[probe(), (Message::Ask, 89)]).1);
        assert!(after_opening(&[probe(), (Message::Ask, 90)]).1, "a lease ends by itself");
        assert!(after_opening(&[probe(), (Message::Succeeded, 61), (Message::Ask, 61)]).1);
    }

    #[test]
    fn two_successes_close_it_and_one_failure_opens_it_again() {
        let first = [(Message::Ask, 60), (Message::Succeeded, 61), (Message::Ask, 62)];
        assert_eq!(after_opening(&[&first[..], &[(Message::Succeeded, 63)]].concat()).0, Breaker::default());
        let failed = after_opening(&[&first[..], &[failed(1, 63)]].concat()).0;
        assert_eq!(failed, Breaker::Open { until: at(123) });
    }

    /// Guards: a customer who saves a payment method again and again counts like an order that is charged again and again,
    /// and is no order of the same id.
    #[test]
    fn one_customer_alone_never_opens_it() {
        let failed = |name: &str, second| {
            let customer: CustomerId = name.parse().unwrap();
            (Message::Failed { subject: (&customer).into(), open_for: MINUTE }, second)
        };
        let for_days: Vec<_> = (0..1000).map(|minute| failed("ada", minute * 60)).collect();
        assert!(matches!(run(&for_days).0, Breaker::Closed { failures } if failures.len() == 2));
        let id = order(1).to_string();
        let of_both = [failures(2), vec![failed(&id, 0)]].concat();
        assert!(matches!(run(&of_both).0, Breaker::Closed { failures } if failures.len() == 3));
    }

    /// Guards: an operator closes the circuit, whatever it was, and the failures before do not count any more.
    #[test]
    fn an_operator_closes_it() {
        for before in [failures(4), failures(5), [failures(5), vec![(Message::Ask, 60)]].concat()] {
            let reset = [&before[..], &[(Message::Reset, 61)]].concat();
            assert_eq!(run(&reset), (Breaker::default(), true));
        }
    }

    #[test]
    fn it_says_when_to_come_again() {
        assert_eq!(retry_after(&Breaker::Open { until: at(60) }, at(10)), 51);
        assert_eq!(retry_after(&Breaker::default(), at(10)), 1);
    }
}
