//! A function's transaction, with the fault that the dial holds ready for it.

use crate::aws::lambda::Function;
use crate::aws::protocol::{ApiError, Outcome};
use crate::faults::{Faults, TransactionFault, When};
use std::time::Duration;

/// How long it may take until a process that was killed is gone.
const DYING: Duration = Duration::from_secs(2);

/// Writes a transaction; the faults concern functions only, no other caller.
pub async fn commit(
    faults: &Faults,
    caller: Option<(&Function, u64)>,
    write: impl Fn() -> Outcome,
) -> Outcome {
    let Some((function, environment)) = caller else { return write() };
    let lost = || ApiError { status: 500, ..ApiError::new("InternalServerError", "the answer was lost") };
    match faults.transaction(&function.name) {
        None => write(),
        Some(TransactionFault::Throttle) => Err(ApiError::new("ThrottlingException", "Rate exceeded")),
        Some(TransactionFault::LoseAnswer) => write().and(Err(lost())),
        Some(TransactionFault::Kill(when)) => {
            if when == When::After {
                write()?;
            }
            function.kill(environment);
            // The caller is being killed: an answer would let it go on for a moment.
            tokio::time::sleep(DYING).await;
            Err(lost())
        }
    }
}
