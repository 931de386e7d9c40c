//! What SNS's calls have in common: the topics, and how a call names one.

use super::topics::Topics;
use crate::aws::protocol::{ApiError, Call, parse};
use crate::template::names;
use crate::template::resources::Model;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The topics as callers see them.
pub struct Service {
    pub topics: Topics,
    pub model: Arc<Model>,
}

/// A request; SNS has a code of its own for what it does not know.
///
/// # Errors
/// `InvalidParameter`.
pub fn read<T: DeserializeOwned>(call: &Call<'_>) -> Result<T, ApiError> {
    parse(call.body).map_err(|error| {
        invalid(format!("{} (what is unknown is not implemented by the local stack)", error.message))
    })
}

pub fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameter", message)
}

pub fn not_found(what: &str) -> ApiError {
    ApiError { status: 404, ..ApiError::new("NotFound", format!("{what} does not exist")) }
}

/// The name of the topic in an ARN of this region and account, if there is one and the caller may do there what it asks for.
///
/// # Errors
/// `InvalidParameter`, `AccessDeniedException`, `NotFound`.
pub fn topic<'a>(
    sns: &Service,
    call: &Call<'_>,
    action: &str,
    arn: Option<&'a str>,
) -> Result<&'a str, ApiError> {
    let arn = arn.ok_or_else(|| invalid("TopicArn is required"))?;
    call.require(&format!("sns:{action}"), arn)?;
    let here =
        arn.strip_prefix("arn:aws:sns:").and_then(|rest| rest.strip_prefix(names::REGION)?.strip_prefix(':'));
    let here =
        here.ok_or_else(|| invalid(format!("TopicArn: {arn} is no topic of the region {}", names::REGION)))?;
    let name = here.strip_prefix(names::ACCOUNT).and_then(|rest| rest.strip_prefix(':'));
    name.filter(|name| sns.topics.has(name)).ok_or_else(|| not_found("Topic"))
}
