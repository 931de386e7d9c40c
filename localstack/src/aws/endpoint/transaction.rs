//! What writes: a transaction or a single row, with the fault that the dial holds ready for it.

use crate::aws::dynamodb::{Database, api, conflicts};
use crate::aws::lambda::Function;
use crate::aws::protocol::{ApiError, Call, Outcome};
use crate::faults::{Faults, TransactionFault, When};
use std::time::Duration;

/// How long it may take until a process that was killed is gone.
const DYING: Duration = Duration::from_secs(2);

/// Carries out what a function writes, in one of its environments, or of another caller.
pub async fn commit(
    faults: &Faults,
    caller: Option<(&Function, u64)>,
    database: &Database,
    call: &Call<'_>,
) -> Outcome {
    let tables = api::allowed(call)?;
    let write = async || match call.operation {
        "TransactWriteItems" => api::transact(database, call, faults.held(&tables)).await,
        _ => api::write_one(database, call).await,
    };
    let lost = || ApiError { status: 500, ..ApiError::new("InternalServerError", "the answer was lost") };
    match faults.transaction(caller.map(|(function, _)| &*function.name), &tables) {
        None => Ok(write().await),
        Some(TransactionFault::Throttle) => Err(ApiError::new("ThrottlingException", "Rate exceeded")),
        Some(TransactionFault::Conflict) => Ok(conflicts::conflict(call.operation, call.body)),
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
