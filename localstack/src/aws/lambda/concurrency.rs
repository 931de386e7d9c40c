//! How many invocations may run at a time: a function's reserved concurrency, and what the account has left for all
//! others. What comes on top is throttled, and nothing waits for a place.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html>

use crate::template::resources::Function as Declared;
use anyhow::{Result, ensure};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What an account has at least left for functions that reserve nothing.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html>
const LEAST_UNRESERVED: u32 = 100;

/// What an account has left for functions without reserved concurrency.
pub struct Account(Arc<Semaphore>);

/// The places of one function.
pub struct Places {
    free: Arc<Semaphore>,
    is_reserved: bool,
}

/// The place of one invocation; free again when dropped.
pub type Place = OwnedSemaphorePermit;

impl Account {
    /// An account that may run `limit` invocations at a time, after what these functions reserve.
    ///
    /// # Errors
    /// As AWS: when what they reserve leaves fewer than 100 for the others.
    pub fn new(limit: u32, functions: &[Declared]) -> Result<Self> {
        let reserved: u32 =
            functions.iter().filter_map(|function| function.reserved_concurrent_executions).sum();
        let left = limit.saturating_sub(reserved);
        ensure!(
            reserved == 0 || left >= LEAST_UNRESERVED,
            "the functions reserve {reserved} of the account's {limit} concurrent executions, and AWS wants at least \
             {LEAST_UNRESERVED} left; set the parameters ApiConcurrency, ReactorConcurrency and SweeperConcurrency to \
             nothing, or --account-concurrency to more"
        );
        Ok(Self(Arc::new(Semaphore::new(usize::try_from(left)?))))
    }

    /// The places of a function that reserves so many, or none.
    #[must_use]
    pub fn places(&self, reserved: Option<u32>) -> Places {
        let own = |count: u32| Arc::new(Semaphore::new(usize::try_from(count).unwrap_or_default()));
        Places { free: reserved.map_or_else(|| Arc::clone(&self.0), own), is_reserved: reserved.is_some() }
    }
}

impl Places {
    /// A place for one invocation; `None` throttles it.
    #[must_use]
    pub fn take(&self) -> Option<Place> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    /// Why an invocation is throttled, in Lambda's own words.
    /// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        if self.is_reserved {
            "ReservedFunctionConcurrentInvocationLimitExceeded"
        } else {
            "ConcurrentInvocationLimitExceeded"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(reserved: Option<u32>) -> Declared {
        let declared = serde_json::json!({
            "FunctionName": "f", "Runtime": "provided.al2023", "Code": "f", "Handler": "api", "Role": "r",
            "ReservedConcurrentExecutions": reserved,
        });
        serde_json::from_value(declared).unwrap()
    }

    /// Guards: a function never runs more often than it reserves, and no other function gets what it reserves.
    #[test]
    fn what_is_reserved_is_taken_from_the_account() {
        let account = Account::new(101, &[function(Some(1)), function(None)]).unwrap();
        let (own, shared) = (account.places(Some(1)), account.places(None));
        let held = own.take();
        assert!(held.is_some() && own.take().is_none());
        let others: Vec<Place> = std::iter::from_fn(|| shared.take()).collect();
        assert_eq!(others.len(), 100);
        drop(held);
        assert!(own.take().is_some() && account.places(None).take().is_none());
    }

    /// Guards: what AWS refuses to reserve, the local stack refuses.
    #[test]
    fn a_hundred_places_are_left_for_the_others() {
        assert!(Account::new(100, &[function(Some(1))]).is_err());
        assert!(Account::new(1, &[function(None)]).is_ok());
    }
}
