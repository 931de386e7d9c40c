//! The circuit breaker: the pure core. It counts the provider's failures, never its declines.
//!
//! CLOSED lets everybody ask. After five failures in a row it is OPEN, and nobody asks for a while. Then one probe has
//! the line to itself, HALF_OPEN, under a lease that ends by itself should the prober die. Two successes close it, one
//! failure opens it again.

use chassis::Refusal;
use chrono::{DateTime, TimeDelta, Utc};
use events::envelope::millis;
use serde::{Deserialize, Serialize};

/// Failures in a row that open it.
pub const THRESHOLD: u32 = 5;
/// Successes that close it again.
const CLOSES_AFTER: u32 = 2;
/// How long a probe has the line to itself: longer than any call takes.
const LEASE: TimeDelta = TimeDelta::seconds(10);

/// How the breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Breaker {
    /// Everybody may ask.
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    /// Nobody asks.
    Open {
        /// Until then.
        #[serde(with = "millis")]
        until: DateTime<Utc>,
    },
    /// One at a time asks.
    HalfOpen {
        /// Until when somebody is asking; in the past: nobody is.
        #[serde(with = "millis")]
        leased_until: DateTime<Utc>,
        /// Probes that went well.
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
    /// Somebody wants to ask the provider.
    Ask,
    /// The provider answered, whatever it said.
    Succeeded,
    /// It did not answer, or failed. Should that open the circuit, it stays open for so long.
    Failed(TimeDelta),
}

/// What the breaker decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// So many failures in a row.
    Counted(u32),
    /// Nobody asks until then.
    Opened(DateTime<Utc>),
    /// The first probe has the line until then.
    HalfOpened(DateTime<Utc>),
    /// The next probe has it.
    Leased(DateTime<Utc>),
    /// A probe went well, and the line is free.
    Probed,
    /// Everybody may ask again.
    Closed,
}

/// Decides whether somebody may ask, and what an answer means.
///
/// # Errors
/// [`Refusal::Illegal`] for who may not ask, [`Refusal::Stale`] for an answer to a question of long ago.
pub fn decide(breaker: &Breaker, message: &Message, now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
    match (breaker, *message) {
        (Breaker::Closed { .. }, Message::Ask) | (Breaker::Closed { failures: 0 }, Message::Succeeded) => {
            Ok(Vec::new())
        }
        (Breaker::Open { until }, Message::Ask) if now < *until => Err(Refusal::Illegal("open")),
        (Breaker::Open { .. }, Message::Ask) => Ok(vec![Fact::HalfOpened(now + LEASE)]),
        (Breaker::HalfOpen { leased_until, .. }, Message::Ask) if now < *leased_until => {
            Err(Refusal::Illegal("somebody is asking"))
        }
        (Breaker::HalfOpen { .. }, Message::Ask) => Ok(vec![Fact::Leased(now + LEASE)]),
        (Breaker::Closed { .. }, Message::Succeeded) => Ok(vec![Fact::Counted(0)]),
        (Breaker::Closed { failures }, Message::Failed(_)) if failures + 1 < THRESHOLD => {
            Ok(vec![Fact::Counted(failures + 1)])
        }
        (Breaker::HalfOpen { successes, .. }, Message::Succeeded) if successes + 1 >= CLOSES_AFTER => {
            Ok(vec![Fact::Closed])
        }
        (Breaker::HalfOpen { .. }, Message::Succeeded) => Ok(vec![Fact::Probed]),
        (Breaker::Closed { .. } | Breaker::HalfOpen { .. }, Message::Failed(open_for)) => {
            Ok(vec![Fact::Opened(now + open_for)])
        }
        (Breaker::Open { .. }, Message::Succeeded | Message::Failed(_)) => {
            Err(Refusal::Stale("already open"))
        }
    }
}

/// The breaker after a fact.
#[must_use]
pub fn evolve(breaker: Breaker, fact: &Fact) -> Breaker {
    let probes = if let Breaker::HalfOpen { successes, .. } = breaker { successes } else { 0 };
    match *fact {
        Fact::Counted(failures) => Breaker::Closed { failures },
        Fact::Opened(until) => Breaker::Open { until },
        Fact::HalfOpened(leased_until) => Breaker::HalfOpen { leased_until, successes: 0 },
        Fact::Leased(leased_until) => Breaker::HalfOpen { leased_until, successes: probes },
        Fact::Probed => {
            Breaker::HalfOpen { leased_until: DateTime::UNIX_EPOCH, successes: probes.saturating_add(1) }
        }
        Fact::Closed => Breaker::default(),
    }
}

/// Seconds after which asking makes sense again, at least one.
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
            let decided = decide(&breaker, message, at(*seconds));
            through = decided.is_ok();
            breaker = decided.unwrap_or_default().iter().fold(breaker, evolve);
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

    /// Guards: while it is open nobody asks, and then one.
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
