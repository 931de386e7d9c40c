//! A service as the endpoint sees it: a table of its operations by name. What is not in the table is not implemented.

use super::{Call, Outcome};
use std::pin::Pin;

/// An answer that is waited for.
pub type Later<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// What carries out an operation of a service `S`.
pub enum Run<S> {
    Now(fn(&S, &Call<'_>) -> Outcome),
    Later(for<'a> fn(&'a S, &'a Call<'a>) -> Later<'a>),
}

/// The operations of a service, by name.
pub type Operations<S> = [(&'static str, Run<S>)];

/// Answers a call.
///
/// # Errors
/// The operation's own, or `UnknownOperationException`.
pub async fn answer<S: Sync>(operations: &Operations<S>, service: &S, call: &Call<'_>) -> Outcome {
    match operations.iter().find(|(name, _)| *name == call.operation) {
        Some((_, Run::Now(run))) => run(service, call),
        Some((_, Run::Later(run))) => run(service, call).await,
        None => Err(call.unknown()),
    }
}
