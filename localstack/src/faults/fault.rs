//! What can go wrong on purpose.

use serde::{Deserialize, Serialize};

/// On which side of a transaction a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Nothing of the transaction is written.
    Before,
    /// All of the transaction is written, and the process never gets the answer.
    After,
}

/// Where a name is left out, the fault concerns every queue or every function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Every event arrives in the queue `times` times more.
    Duplicate {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<String>,
        times: u32,
    },
    /// Every event arrives in the queue later.
    Delay {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<String>,
        millis: u64,
    },
    /// The events that arrive in the queue within a window of time are delivered after it, the last one first.
    Reverse {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<String>,
        millis: u64,
    },
    /// The next events never arrive in the queue.
    Drop {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<String>,
        /// Only events of this type.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event: Option<String>,
        times: u32,
    },
    /// The function's process is killed at one of its next transactions.
    Kill {
        function: String,
        when: When,
        /// At which of the next transactions, from 1.
        nth: u32,
    },
    /// The function's next transactions are made, and their answers lost.
    LoseAnswer { function: String, times: u32 },
    /// DynamoDB refuses the next transactions as too many at once.
    Throttle {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        function: Option<String>,
        times: u32,
    },
    /// DynamoDB cancels the next transactions, because others hold their rows.
    Conflict {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        function: Option<String>,
        /// Only transactions that write to this table.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        table: Option<String>,
        times: u32,
    },
    /// Every transaction lasts longer, and holds its rows while it lasts.
    Hold {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        table: Option<String>,
        millis: u64,
    },
    /// The next reads of several rows get one of them, and the others' keys as unprocessed.
    Unprocessed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        table: Option<String>,
        times: u32,
    },
    /// Reads that are not strongly consistent, and those of indexes, show the rows as they were so long ago.
    Lag {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        table: Option<String>,
        millis: u64,
    },
    /// DynamoDB does not answer the next calls.
    Hang { function: String, times: u32 },
    /// Lambda throttles the next invocations.
    ThrottleFunction {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        function: Option<String>,
        times: u32,
    },
    /// The pipe, or the mapping of the function that relays in its place, stands still until the fault is cleared.
    Stop { pipe: String },
    /// The table's stream forgets all its records, as it does after a day. It is done at once, and not kept.
    ForgetStream { table: String },
    /// The bus refuses the next entries.
    Refuse {
        /// Only events of this type.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event: Option<String>,
        times: u32,
    },
    /// The payment provider fails the next calls, whatever their token.
    Provider { times: u32 },
    /// The carrier fails the next calls, whatever is in the parcel.
    Carrier { times: u32 },
}

fn applies(to: Option<&String>, name: &str) -> bool {
    to.is_none_or(|to| to == name)
}

impl Fault {
    /// Whether it would never happen.
    pub(super) const fn does_nothing(&self) -> bool {
        match self {
            Self::Delay { millis, .. }
            | Self::Reverse { millis, .. }
            | Self::Hold { millis, .. }
            | Self::Lag { millis, .. } => *millis == 0,
            Self::Kill { nth: times, .. }
            | Self::Duplicate { times, .. }
            | Self::Drop { times, .. }
            | Self::LoseAnswer { times, .. }
            | Self::Throttle { times, .. }
            | Self::Conflict { times, .. }
            | Self::Unprocessed { times, .. }
            | Self::Hang { times, .. }
            | Self::ThrottleFunction { times, .. }
            | Self::Refuse { times, .. }
            | Self::Provider { times }
            | Self::Carrier { times } => *times == 0,
            Self::Stop { .. } | Self::ForgetStream { .. } => false,
        }
    }

    pub(super) fn concerns_event(&self, to: &str, kind: &str) -> bool {
        match self {
            Self::Duplicate { queue, .. } | Self::Delay { queue, .. } | Self::Reverse { queue, .. } => {
                applies(queue.as_ref(), to)
            }
            Self::Drop { queue, event, .. } => applies(queue.as_ref(), to) && applies(event.as_ref(), kind),
            _ => false,
        }
    }

    /// Whether it concerns a transaction, or a read of several rows, of `caller` on `tables`. Callers that are no function
    /// have conflicts and wait for others, as functions do; everything else concerns functions only.
    pub(super) fn concerns_call(&self, caller: Option<&str>, tables: &[String]) -> bool {
        let on = |table: &Option<String>| table.as_ref().is_none_or(|table| tables.contains(table));
        match self {
            Self::Kill { function, .. } | Self::LoseAnswer { function, .. } => {
                caller.is_some_and(|name| function == name)
            }
            Self::Throttle { function, .. } => caller.is_some_and(|name| applies(function.as_ref(), name)),
            Self::Conflict { function, table, .. } => {
                on(table) && function.as_ref().is_none_or(|function| caller == Some(function))
            }
            Self::Hold { table, .. } | Self::Unprocessed { table, .. } => on(table),
            _ => false,
        }
    }
}
