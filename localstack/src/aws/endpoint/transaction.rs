//! What writes: a transaction or a single row, with the fault that the dial holds ready for it.

use crate::aws::dynamodb::{Database, Request, api, conflicts};
use crate::aws::lambda::Function;
use crate::aws::protocol::{ApiError, Outcome};
use crate::faults::{Faults, TransactionFault, When};
use std::time::Duration;

/// How long it may take until a process that was killed is gone.
const DYING: Duration = Duration::from_secs(2);

/// Carries out what a function may write to these tables, in one of its environments, or of another caller.
pub async fn commit(
    faults: &Faults,
    caller: Option<(&Function, u64)>,
    database: &Database,
    (request, tables): (&Request, &[String]),
) -> Outcome {
    let write = async || api::write(database, request, faults.held(tables)).await;
    let lost = || ApiError { status: 500, ..ApiError::new("InternalServerError", "the answer was lost") };
    match faults.transaction(caller.map(|(function, _)| &*function.name), tables) {
        None => Ok(write().await),
        Some(TransactionFault::Throttle) => Err(ApiError::new("ThrottlingException", "Rate exceeded")),
        Some(TransactionFault::Conflict) => Ok(conflicts::conflict(request)),
        Some(TransactionFault::LoseAnswer) => {
            write().await;
            Err(lost())
        }
        Some(TransactionFault::Kill(when)) => {
            if when == When::After {
                write().await;
            }
            caller.inspect(|(function, environment)| function.kill(*environment));
            // The caller is being killed: an answer would let it go on for a moment.
            tokio::time::sleep(DYING).await;
            Err(lost())
        }
    }
}
