//! The fault dial: what goes wrong on purpose. Every fault is counted, never left to chance, so that a run with it can
//! be made again. Set by `--fault` or at `/faults` of the AWS endpoint.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Before or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Nothing of the transaction is written.
    Before,
    /// All of it is, and nobody hears of it.
    After,
}

/// Something that goes wrong. Where a name is left out, it goes wrong everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Every event arrives in the queue so many times more.
    Duplicate {
        /// The queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<String>,
        /// How many times more.
        times: u32,
    },
    /// Every event arrives in the queue so much later.
    Delay {
        /// The queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<String>,
        /// How much later.
        millis: u64,
    },
    /// The events that arrive in the queue within so much time are delivered after it, the last one first.
    Reverse {
        /// The queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<String>,
        /// For how long they are gathered.
        millis: u64,
    },
    /// The next events never arrive in the queue.
    Drop {
        /// The queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<String>,
        /// Only events of this type.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event: Option<String>,
        /// How many.
        times: u32,
    },
    /// The function's process is killed at one of its next transactions.
    Kill {
        /// The function.
        function: String,
        /// Before or after the transaction.
        when: When,
        /// At which, from 1.
        nth: u32,
    },
    /// The function's next transactions are made, and their answers lost.
    LoseAnswer {
        /// The function.
        function: String,
        /// How many.
        times: u32,
    },
    /// The next transactions are refused: too many at once.
    Throttle {
        /// The function.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        function: Option<String>,
        /// How many.
        times: u32,
    },
    /// The pipe stands still until the fault is taken back.
    Stop {
        /// The pipe.
        pipe: String,
    },
    /// The payment provider fails the next calls, whatever their token.
    Provider {
        /// How many.
        times: u32,
    },
    /// The carrier fails the next calls, whatever is in the parcel.
    Carrier {
        /// How many.
        times: u32,
    },
}

/// What becomes of one event on its way into a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// How often it arrives.
    pub copies: u32,
    /// When.
    pub later: Duration,
}

/// What becomes of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Its caller dies.
    Kill(When),
    /// It is made, and the answer lost.
    LoseAnswer,
    /// It is refused.
    Throttle,
}

/// What there is to go wrong.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Queues by name.
    pub queues: BTreeSet<String>,
    /// Functions by name.
    pub functions: BTreeSet<String>,
    /// Pipes by name.
    pub pipes: BTreeSet<String>,
    /// Types of the events that some rule lets in.
    pub events: BTreeSet<String>,
}

#[derive(Default)]
struct State {
    faults: Vec<Fault>,
    /// By queue: when what is gathered is delivered, and how much that is.
    gathered: HashMap<String, (Instant, u32)>,
}

/// The dial. Clones share it.
#[derive(Clone, Default)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    known: Arc<Known>,
    changed: Arc<Notify>,
}

fn applies(to: Option<&String>, name: &str) -> bool {
    to.is_none_or(|to| to == name)
}

impl Fault {
    fn concerns_event(&self, to: &str, kind: &str) -> bool {
        match self {
            Self::Duplicate { queue, .. } | Self::Delay { queue, .. } | Self::Reverse { queue, .. } => {
                applies(queue.as_ref(), to)
            }
            Self::Drop { queue, event, .. } => applies(queue.as_ref(), to) && applies(event.as_ref(), kind),
            _ => false,
        }
    }

    fn concerns_function(&self, name: &str) -> bool {
        match self {
            Self::Kill { function, .. } | Self::LoseAnswer { function, .. } => function == name,
            Self::Throttle { function, .. } => applies(function.as_ref(), name),
            _ => false,
        }
    }
}

impl Faults {
    /// A dial for these.
    #[must_use]
    pub fn new(known: Known) -> Self {
        Self { known: Arc::new(known), ..Self::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a fault beside those that are set.
    ///
    /// # Errors
    /// When it names what nobody declared: it would never happen.
    pub fn set(&self, fault: Fault) -> Result<()> {
        let (what, name, known) = match &fault {
            Fault::Duplicate { queue, .. }
            | Fault::Delay { queue, .. }
            | Fault::Reverse { queue, .. }
            | Fault::Drop { queue, .. } => ("queue", queue.as_ref(), &self.known.queues),
            Fault::Kill { function, .. } | Fault::LoseAnswer { function, .. } => {
                ("function", Some(function), &self.known.functions)
            }
            Fault::Throttle { function, .. } => ("function", function.as_ref(), &self.known.functions),
            Fault::Stop { pipe } => ("pipe", Some(pipe), &self.known.pipes),
            Fault::Provider { .. } | Fault::Carrier { .. } => ("", None, &self.known.queues),
        };
        if let Some(name) = name.filter(|name| !known.contains(*name)) {
            bail!("there is no {what} {name}");
        }
        if let Fault::Drop { event: Some(event), .. } = &fault
            && !self.known.events.contains(event)
        {
            bail!("no rule lets in an event {event}");
        }
        self.state().faults.push(fault);
        self.changed.notify_waiters();
        Ok(())
    }

    /// The faults that are set, with what is left of them.
    #[must_use]
    pub fn all(&self) -> Vec<Fault> {
        self.state().faults.clone()
    }

    /// Takes every fault back.
    pub fn clear(&self) {
        *self.state() = State::default();
        self.changed.notify_waiters();
    }

    /// What becomes of an event on its way into a queue.
    #[must_use]
    pub fn delivery(&self, queue: &str, event: &str) -> Delivery {
        let mut state = self.state();
        let mut delivery = Delivery { copies: 1, later: Duration::ZERO };
        let State { faults, gathered } = &mut *state;
        for fault in faults.iter_mut().filter(|fault| fault.concerns_event(queue, event)) {
            match fault {
                Fault::Duplicate { times, .. } => delivery.copies = delivery.copies.saturating_add(*times),
                Fault::Delay { millis, .. } => delivery.later += Duration::from_millis(*millis),
                Fault::Reverse { millis, .. } => {
                    delivery.later += gather(gathered, queue, Duration::from_millis(*millis));
                }
                Fault::Drop { times, .. } if *times > 0 => {
                    *times -= 1;
                    return Delivery { copies: 0, ..delivery };
                }
                _ => {}
            }
        }
        delivery
    }

    /// What becomes of the next transaction of a function; nothing special, most of the time.
    #[must_use]
    pub fn commit(&self, function: &str) -> Option<Commit> {
        for fault in self.state().faults.iter_mut().filter(|fault| fault.concerns_function(function)) {
            match fault {
                Fault::Kill { when, nth, .. } if *nth > 0 => {
                    *nth -= 1;
                    if *nth == 0 {
                        return Some(Commit::Kill(*when));
                    }
                }
                Fault::LoseAnswer { times, .. } if *times > 0 => {
                    *times -= 1;
                    return Some(Commit::LoseAnswer);
                }
                Fault::Throttle { times, .. } if *times > 0 => {
                    *times -= 1;
                    return Some(Commit::Throttle);
                }
                _ => {}
            }
        }
        None
    }

    /// Whether the payment provider fails this call.
    #[must_use]
    pub fn provider_fails(&self) -> bool {
        self.outage(|fault| if let Fault::Provider { times } = fault { Some(times) } else { None })
    }

    /// Whether the carrier fails this call.
    #[must_use]
    pub fn carrier_fails(&self) -> bool {
        self.outage(|fault| if let Fault::Carrier { times } = fault { Some(times) } else { None })
    }

    fn outage(&self, times: impl Fn(&mut Fault) -> Option<&mut u32>) -> bool {
        let mut state = self.state();
        let left = state.faults.iter_mut().filter_map(times).find(|times| **times > 0);
        left.is_some_and(|times| {
            *times -= 1;
            true
        })
    }

    /// Waits for as long as a pipe is to stand still.
    pub async fn let_pass(&self, pipe: &str) {
        loop {
            let changed = self.changed.notified();
            let stops = |fault: &Fault| matches!(fault, Fault::Stop { pipe: of } if of == pipe);
            if !self.state().faults.iter().any(stops) {
                return;
            }
            changed.await;
        }
    }
}

/// How far apart the events of a window are delivered: more than the clock is read inexactly.
const STEP: Duration = Duration::from_micros(200);
/// How many of them can be turned round.
const MOST: u32 = 1000;

/// How much later the next event of a window is delivered: after its end, and before all that came earlier.
fn gather(gathered: &mut HashMap<String, (Instant, u32)>, queue: &str, window: Duration) -> Duration {
    let now = Instant::now();
    let (ends, number) = gathered.entry(queue.to_owned()).or_insert((now, 0));
    if *ends <= now {
        (*ends, *number) = (now + window, 0);
    }
    *number = number.saturating_add(1);
    *ends - now + STEP * MOST.saturating_sub(*number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(set: &[Fault]) -> Faults {
        let names = || ["a".to_owned(), "b".to_owned()].into();
        let dial = Faults::new(Known {
            queues: names(),
            functions: names(),
            pipes: names(),
            events: ["x".into()].into(),
        });
        set.iter().for_each(|fault| dial.set(fault.clone()).unwrap());
        dial
    }

    #[test]
    fn a_fault_happens_as_often_as_it_says_and_where_it_says() {
        let drop = Fault::Drop { queue: Some("a".into()), event: Some("x".into()), times: 2 };
        let dial = faults(&[drop, Fault::Duplicate { queue: None, times: 1 }]);
        let copies = |queue, event| dial.delivery(queue, event).copies;
        let seen = [copies("b", "x"), copies("a", "y"), copies("a", "x"), copies("a", "x"), copies("a", "x")];
        assert_eq!(seen, [2, 2, 0, 0, 2]);
        let kill = Fault::Kill { function: "a".into(), when: When::After, nth: 2 };
        let dial = faults(&[kill]);
        let killed = Some(Commit::Kill(When::After));
        assert_eq!(
            [dial.commit("a"), dial.commit("b"), dial.commit("a"), dial.commit("a")],
            [None, None, killed, None]
        );
    }

    #[test]
    fn what_is_gathered_is_turned_round() {
        let dial = faults(&[Fault::Reverse { queue: None, millis: 200 }]);
        let [first, second, third] =
            ["x", "y", "z"].map(|event| Instant::now() + dial.delivery("a", event).later);
        assert!(first > second && second > third);
    }

    #[test]
    fn a_fault_of_nothing_is_refused() {
        let dial = faults(&[]);
        let error = dial.set(Fault::Stop { pipe: "c".into() }).unwrap_err();
        assert_eq!(error.to_string(), "there is no pipe c");
    }
}
