//! The dial: the faults that are set, counted down as they happen.

use super::fault::{Fault, When};
use anyhow::{Result, bail, ensure};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How one event arrives in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// How often; 0 for an event that is dropped.
    pub copies: u32,
    pub delay: Duration,
}

/// The fault of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionFault {
    /// The process that makes the transaction is killed.
    Kill(When),
    /// The transaction is made, and its answer lost.
    LoseAnswer,
    /// The transaction is refused.
    Throttle,
    /// The transaction is cancelled, because others hold its rows.
    Conflict,
}

/// The names that a fault may give; a fault with another name would never happen.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    pub queues: BTreeSet<String>,
    pub functions: BTreeSet<String>,
    pub tables: BTreeSet<String>,
    /// Pipes, and functions that read a stream.
    pub streams: BTreeSet<String>,
    /// Types of the events that at least one rule lets in.
    pub events: BTreeSet<String>,
}

/// An event arrives at most so often at once: it is copied in one go.
const MOST_COPIES: u32 = 1000;
/// Events and transactions wait for an hour at most.
const LONGEST_MILLIS: u64 = 3_600_000;
/// Reads are at most so far behind: what rows were is kept so long.
const LONGEST_LAG_MILLIS: u64 = 60_000;

#[derive(Default)]
struct State {
    faults: Vec<Fault>,
    /// By queue: when its window ends, and how many events were gathered in it.
    gathered: HashMap<String, (Instant, u32)>,
}

/// What the dial itself does to the tables.
pub trait Database: Send + Sync {
    /// Makes a table's stream forget its records.
    fn forget(&self, table: &str);

    /// Lets the eventually consistent reads of a table be so far behind from now on.
    fn lag(&self, table: &str, by: Duration);
}

/// Clones share one dial.
#[derive(Clone, Default)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    targets: Arc<Targets>,
    changed: Arc<Notify>,
    database: Option<Arc<dyn Database>>,
}

impl Faults {
    #[must_use]
    pub fn new(targets: Targets) -> Self {
        Self { targets: Arc::new(targets), ..Self::default() }
    }

    /// The dial of a database.
    #[must_use]
    pub fn of(self, database: impl Database + 'static) -> Self {
        Self { database: Some(Arc::new(database)), ..self }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a fault beside those that are set, or does at once what is done only once.
    ///
    /// # Errors
    /// When it names something that no template declares.
    pub fn set(&self, fault: Fault) -> Result<()> {
        let (what, name, targets) = match &fault {
            Fault::Duplicate { queue, .. }
            | Fault::Delay { queue, .. }
            | Fault::Reverse { queue, .. }
            | Fault::Drop { queue, .. } => ("queue", queue.as_ref(), &self.targets.queues),
            Fault::Kill { function, .. }
            | Fault::LoseAnswer { function, .. }
            | Fault::Hang { function, .. } => ("function", Some(function), &self.targets.functions),
            Fault::Throttle { function, .. } | Fault::ThrottleFunction { function, .. } => {
                ("function", function.as_ref(), &self.targets.functions)
            }
            Fault::Conflict { function, .. } => ("function", function.as_ref(), &self.targets.functions),
            Fault::Hold { table, .. } | Fault::Unprocessed { table, .. } | Fault::Lag { table, .. } => {
                ("table", table.as_ref(), &self.targets.tables)
            }
            Fault::ForgetStream { table } => ("table", Some(table), &self.targets.tables),
            Fault::Stop { pipe } => ("pipe", Some(pipe), &self.targets.streams),
            Fault::Provider { .. } | Fault::Carrier { .. } | Fault::Refuse { .. } => {
                ("", None, &self.targets.queues)
            }
        };
        if let Fault::Duplicate { times, .. } = &fault {
            ensure!(*times <= MOST_COPIES, "times is at most {MOST_COPIES}");
        }
        ensure!(!fault.does_nothing(), "a fault of 0 does nothing");
        if let Fault::Lag { millis, .. } = &fault {
            let most = LONGEST_LAG_MILLIS;
            ensure!(*millis <= most, "millis is at most {most}");
        }
        if let Fault::Delay { millis, .. } | Fault::Reverse { millis, .. } | Fault::Hold { millis, .. } =
            &fault
        {
            ensure!(*millis <= LONGEST_MILLIS, "millis is at most {LONGEST_MILLIS}");
        }
        if let Some(name) = name.filter(|name| !targets.contains(*name)) {
            bail!("there is no {what} {name}");
        }
        if let Fault::Conflict { table: Some(table), .. } = &fault
            && !self.targets.tables.contains(table)
        {
            bail!("there is no table {table}");
        }
        if let Fault::Drop { event: Some(event), .. } | Fault::Refuse { event: Some(event), .. } = &fault
            && !self.targets.events.contains(event)
        {
            bail!("no rule lets in an event {event}");
        }
        if let Fault::ForgetStream { table } = &fault {
            self.database.iter().for_each(|database| database.forget(table));
            return Ok(());
        }
        let mut state = self.state();
        state.faults.push(fault);
        self.lag(&state);
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// The faults that are set; their counters show how often each will still happen.
    #[must_use]
    pub fn all(&self) -> Vec<Fault> {
        self.state().faults.clone()
    }

    pub fn clear(&self) {
        let mut state = self.state();
        *state = State::default();
        self.lag(&state);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Has each table lag as the faults want it.
    fn lag(&self, state: &State) {
        for table in &self.targets.tables {
            let millis = state.faults.iter().filter_map(|fault| match fault {
                Fault::Lag { table: of, millis } if of.as_ref().is_none_or(|of| of == table) => Some(*millis),
                _ => None,
            });
            let by = Duration::from_millis(millis.max().unwrap_or(0));
            self.database.iter().for_each(|database| database.lag(table, by));
        }
    }

    /// How an event arrives in a queue; counts down the faults that concern it.
    #[must_use]
    pub fn delivery(&self, queue: &str, event: &str) -> Delivery {
        let mut state = self.state();
        let mut delivery = Delivery { copies: 1, delay: Duration::ZERO };
        let State { faults, gathered } = &mut *state;
        for fault in faults.iter_mut().filter(|fault| fault.concerns_event(queue, event)) {
            match fault {
                Fault::Duplicate { times, .. } => {
                    delivery.copies = delivery.copies.saturating_add(*times).min(MOST_COPIES);
                }
                Fault::Delay { millis, .. } => delivery.delay += Duration::from_millis(*millis),
                Fault::Reverse { millis, .. } => {
                    delivery.delay += gather(gathered, queue, Duration::from_millis(*millis));
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

    /// The fault of the next transaction of a function, or of another caller, on `tables`, if it has one.
    #[must_use]
    pub fn transaction(&self, function: Option<&str>, tables: &[String]) -> Option<TransactionFault> {
        let mut state = self.state();
        for fault in state.faults.iter_mut().filter(|fault| fault.concerns_call(function, tables)) {
            match fault {
                Fault::Kill { when, nth, .. } if *nth > 0 => {
                    *nth -= 1;
                    if *nth == 0 {
                        return Some(TransactionFault::Kill(*when));
                    }
                }
                Fault::LoseAnswer { times, .. } if *times > 0 => {
                    *times -= 1;
                    return Some(TransactionFault::LoseAnswer);
                }
                Fault::Throttle { times, .. } if *times > 0 => {
                    *times -= 1;
                    return Some(TransactionFault::Throttle);
                }
                Fault::Conflict { times, .. } if *times > 0 => {
                    *times -= 1;
                    return Some(TransactionFault::Conflict);
                }
                _ => {}
            }
        }
        None
    }

    /// How long a transaction on `tables` lasts beyond its own work.
    #[must_use]
    pub fn held(&self, tables: &[String]) -> Duration {
        let state = self.state();
        let concerns = state.faults.iter().filter(|fault| fault.concerns_call(None, tables));
        let millis = concerns.map(|fault| if let Fault::Hold { millis, .. } = fault { *millis } else { 0 });
        Duration::from_millis(millis.max().unwrap_or(0))
    }

    /// Whether the next read of several rows leaves keys unprocessed.
    #[must_use]
    pub fn leaves_unprocessed(&self, tables: &[String]) -> bool {
        self.counted(|fault| {
            let concerns = fault.concerns_call(None, tables);
            if let Fault::Unprocessed { times, .. } = fault { Some(times).filter(|_| concerns) } else { None }
        })
    }

    /// Whether the bus refuses this event.
    #[must_use]
    pub fn bus_refuses(&self, event: &str) -> bool {
        self.counted(|fault| match fault {
            Fault::Refuse { event: of, times } if of.as_deref().is_none_or(|of| of == event) => Some(times),
            _ => None,
        })
    }

    /// Whether the payment provider fails this call.
    #[must_use]
    pub fn provider_fails(&self) -> bool {
        self.counted(|fault| if let Fault::Provider { times } = fault { Some(times) } else { None })
    }

    /// Whether the carrier fails this call.
    #[must_use]
    pub fn carrier_fails(&self) -> bool {
        self.counted(|fault| if let Fault::Carrier { times } = fault { Some(times) } else { None })
    }

    /// Whether Lambda throttles this invocation.
    #[must_use]
    pub fn throttles(&self, function: &str) -> bool {
        self.counted(|fault| match fault {
            Fault::ThrottleFunction { function: of, times }
                if of.as_ref().is_none_or(|of| of == function) =>
            {
                Some(times)
            }
            _ => None,
        })
    }

    /// Whether DynamoDB leaves this call of a function without an answer.
    #[must_use]
    pub fn hangs(&self, function: &str) -> bool {
        self.counted(|fault| match fault {
            Fault::Hang { function: of, times } if of == function => Some(times),
            _ => None,
        })
    }

    /// Counts down the first fault of a kind that is not yet used up.
    fn counted(&self, times: impl Fn(&mut Fault) -> Option<&mut u32>) -> bool {
        let mut state = self.state();
        let left = state.faults.iter_mut().filter_map(times).find(|times| **times > 0);
        left.is_some_and(|times| {
            *times -= 1;
            true
        })
    }

    /// Returns once no fault stops the pipe or mapping.
    pub async fn wait_while_stopped(&self, pipe: &str) {
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

/// How far apart the events of a window are delivered: each is handled before the next one comes.
const SPACING: Duration = Duration::from_millis(50);
/// The most events of one window whose order can be reversed.
const MAX_REVERSED: u32 = 40;

/// The delay of the next event of a window: it is delivered after the window's end, and before all events that came
/// earlier.
fn gather(gathered: &mut HashMap<String, (Instant, u32)>, queue: &str, window: Duration) -> Duration {
    let now = Instant::now();
    let (ends, number) = gathered.entry(queue.to_owned()).or_insert((now, 0));
    if *ends <= now {
        (*ends, *number) = (now + window, 0);
    }
    *number = number.saturating_add(1);
    *ends - now + SPACING * MAX_REVERSED.saturating_sub(*number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(set: &[Fault]) -> Faults {
        let names = || ["a".to_owned(), "b".to_owned()].into();
        let dial = Faults::new(Targets {
            queues: names(),
            functions: names(),
            tables: names(),
            streams: names(),
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
        let killed = Some(TransactionFault::Kill(When::After));
        assert_eq!(
            ["a", "b", "a", "a"].map(|function| dial.transaction(Some(function), &[])),
            [None, None, killed, None]
        );
    }

    #[test]
    fn what_is_gathered_is_turned_round() {
        let dial = faults(&[Fault::Reverse { queue: None, millis: 200 }]);
        let [first, second, third] =
            ["x", "y", "z"].map(|event| Instant::now() + dial.delivery("a", event).delay);
        assert!(first > second && second > third);
    }

    #[test]
    fn a_fault_of_nothing_is_refused() {
        let dial = faults(&[]);
        let error = dial.set(Fault::Stop { pipe: "c".into() }).unwrap_err();
        assert_eq!(error.to_string(), "there is no pipe c");
        for (millis, expected) in [(0, "a fault of 0 does nothing"), (60_001, "millis is at most 60000")] {
            let error = dial.set(Fault::Lag { table: None, millis }).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
