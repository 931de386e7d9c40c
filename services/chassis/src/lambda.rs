//! The shell that Lambda talks to. The same binary runs on Lambda and on the local stack.

use crate::batch::{self, Consumer};
use crate::http::{Api, Request, Response};
use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::time::Duration;

/// Ends the process when whoever started it is gone. On Lambda that cannot happen; a local stack that was
/// killed would leave functions behind, which ask a Runtime API that no longer exists without a pause.
fn end_with_parent() {
    let parent = parent_id();
    tokio::spawn(async move {
        while parent_id() == parent {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        std::process::exit(1);
    });
}

/// Answers HTTP requests until Lambda freezes the process.
///
/// # Errors
/// When the runtime API cannot be reached.
pub async fn serve_api<A: Api>(api: A) -> Result<(), Error> {
    end_with_parent();
    let api = Arc::new(api);
    let answer = move |event: LambdaEvent<ApiGatewayV2httpRequest>| {
        let api = Arc::clone(&api);
        async move { Ok::<ApiGatewayV2httpResponse, Error>(respond(api.as_ref(), event.payload).await.into()) }
    };
    Runtime::new(service_fn(answer)).run_concurrent().await
}

async fn respond<A: Api>(api: &A, event: ApiGatewayV2httpRequest) -> Response {
    let answer = match Request::read(event) {
        Ok(request) => api.answer(request).await,
        Err(problem) => Err(problem),
    };
    answer.unwrap_or_else(Response::from)
}

/// Takes batches of the service's queue until Lambda freezes the process.
///
/// # Errors
/// When the runtime API cannot be reached.
pub async fn serve_queue<C: Consumer>(consumer: C) -> Result<(), Error> {
    end_with_parent();
    let consumer = Arc::new(consumer);
    let answer = move |event: LambdaEvent<SqsEvent>| {
        let consumer = Arc::clone(&consumer);
        async move { Ok::<SqsBatchResponse, Error>(batch::handle(consumer.as_ref(), event.payload).await) }
    };
    Runtime::new(service_fn(answer)).run_concurrent().await
}
