//! How many attempts the SDK made of a call. It repeats one whose answer was lost, and says so nowhere in the outcome.

use aws_sdk_dynamodb::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use std::cell::Cell;
use std::future::Future;

tokio::task_local! {
    static MADE: Cell<u32>;
}

/// Makes a call of a client that has [`Counter`]; how many attempts it took.
pub async fn counted<F: Future>(call: F) -> (F::Output, u32) {
    let made = async {
        let outcome = call.await;
        (outcome, MADE.with(Cell::get))
    };
    MADE.scope(Cell::new(1), made).await
}

/// Notes the attempts of each call, for the one who made it.
#[derive(Debug)]
pub struct Counter;

#[dyn_dispatch_hint]
impl Intercept for Counter {
    fn name(&self) -> &'static str {
        "Counter"
    }

    fn read_after_execution(
        &self,
        _context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(attempts) = config.load::<RequestAttempts>() {
            // Nobody asks about most calls.
            let _ = MADE.try_with(|made| made.set(attempts.attempts()));
        }
        Ok(())
    }
}
