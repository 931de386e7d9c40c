//! The circuit breaker: the pure core. It counts the provider's failures, never its declines.
//!
//! CLOSED lets every call through. After five failures in a row it is OPEN, and no call passes for a while. Then, HALF_OPEN,
//! one probe at a time passes, under a lease that ends by itself should the prober die. Two successes close the circuit,
//! one failure opens it again.

use chassis::{Decider, Refusal};
use chrono::{DateTime, TimeDelta, Utc};
use events::envelope::millis;
use serde::{Deserialize, Serialize};

/// Failures in a row that open it.
pub const THRESHOLD: u32 = 5;
/// Successes that close it again.
const CLOSES_AFTER: u32 = 2;
/// How long a probe is the only call: longer than any call takes.
const LEASE: TimeDelta = TimeDelta::seconds(10);

/// How the breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Breaker {
    /// Every call passes.
    Closed {
        /// Failures in a row.
        failures: u32,
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

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// What the breaker decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A worker wants to call the provider.
    Ask,
    /// The provider answered, yes or no.
    Succeeded,
    /// It did not answer, or failed. If that opens the circuit, it stays open for so long.
    Failed(TimeDelta),
}

/// What the breaker decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// So many failures in a row.
    Counted(u32),
    /// No call passes until then.
    Opened(DateTime<Utc>),
    /// The first probe may take until then.
    HalfOpened(DateTime<Utc>),
    /// The next probe may take until then.
    Leased(DateTime<Utc>),
    /// A probe succeeded; the next may start.
    Probed,
    /// Every call passes again.
    Closed,
}

impl Decider for Breaker {
    type Message = Message;
    type Fact = Fact;

    fn decide(&self, message: &Message, now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
        match (self, *message) {
            (Self::Closed { .. }, Message::Ask) | (Self::Closed { failures: 0 }, Message::Succeeded) => {
                Ok(Vec::new())
            }
            (Self::Open { until }, Message::Ask) if now < *until => Err(Refusal::Illegal("open")),
            (Self::Open { .. }, Message::Ask) => Ok(vec![Fact::HalfOpened(now + LEASE)]),
            (Self::HalfOpen { leased_until, .. }, Message::Ask) if now < *leased_until => {
                Err(Refusal::Illegal("another worker is probing"))
            }
            (Self::HalfOpen { .. }, Message::Ask) => Ok(vec![Fact::Leased(now + LEASE)]),
            (Self::Closed { .. }, Message::Succeeded) => Ok(vec![Fact::Counted(0)]),
            (Self::Closed { failures }, Message::Failed(_)) if failures + 1 < THRESHOLD => {
                Ok(vec![Fact::Counted(failures + 1)])
            }
            (Self::HalfOpen { successes, .. }, Message::Succeeded) if successes + 1 >= CLOSES_AFTER => {
                Ok(vec![Fact::Closed])
            }
            (Self::HalfOpen { .. }, Message::Succeeded) => Ok(vec![Fact::Probed]),
            (Self::Closed { .. } | Self::HalfOpen { .. }, Message::Failed(open_for)) => {
                Ok(vec![Fact::Opened(now + open_for)])
            }
            (Self::Open { .. }, Message::Succeeded | Message::Failed(_)) => {
                Err(Refusal::Stale("already open"))
            }
        }
    }

    fn evolve(self, fact: &Fact) -> Self {
        let probes = if let Self::HalfOpen { successes, .. } = self { successes } else { 0 };
        match *fact {
            Fact::Counted(failures) => Self::Closed { failures },
            Fact::Opened(until) => Self::Open { until },
            Fact::HalfOpened(leased_until) => Self::HalfOpen { leased_until, successes: 0 },
            Fact::Leased(leased_until) => Self::HalfOpen { leased_until, successes: probes },
            Fact::Probed => {
                Self::HalfOpen { leased_until: DateTime::UNIX_EPOCH, successes: probes.saturating_add(1) }
            }
            Fact::Closed => Self::default(),
        }
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
    const FAILED: (Message, i64) = (Message::Failed(MINUTE), 0);

    fn after_opening(more: &[(Message, i64)]) -> (Breaker, bool) {
        run(&[&[FAILED; 5], more].concat())
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_success_resets_the_count() {
        assert_eq!(run(&[FAILED; 4]).0, Breaker::Closed { failures: 4 });
        assert_eq!(run(&[FAILED; 5]).0, Breaker::Open { until: at(60) });
        let reset = [&[FAILED; 4][..], &[(Message::Succeeded, 0)], &[FAILED; 4]].concat();
        assert_eq!(run(&reset).0, Breaker::Closed { failures: 4 });
    }

    /// Guards: while the circuit is open no call passes, and then one.
    #[test]
    fn one_probe_at_a_time() {
        assert!(!after_opening(&[(Message::Ask, 59)]).1);
        let probe = (Message::Ask, 60);
        assert_eq!(after_opening(&[probe]), (Breaker::HalfOpen { leased_until: at(70), successes: 0 }, true));
        assert!(!after_opening(&[probe, (Message::Ask, 69)]).1);
        assert!(after_opening(&[probe, (Message::Ask, 70)]).1, "a lease ends by itself");
        assert!(after_opening(&[probe, (Message::Succeeded, 61), (Message::Ask, 61)]).1);
    }

    #[test]
    fn two_successes_close_it_and_one_failure_opens_it_again() {
        let first = [(Message::Ask, 60), (Message::Succeeded, 61), (Message::Ask, 62)];
        assert_eq!(after_opening(&[&first[..], &[(Message::Succeeded, 63)]].concat()).0, Breaker::default());
        let failed = after_opening(&[&first[..], &[(Message::Failed(MINUTE), 63)]].concat()).0;
        assert_eq!(failed, Breaker::Open { until: at(123) });
    }

    #[test]
    fn it_says_when_to_come_again() {
        assert_eq!(retry_after(&Breaker::Open { until: at(60) }, at(10)), 51);
        assert_eq!(retry_after(&Breaker::default(), at(10)), 1);
    }
}
