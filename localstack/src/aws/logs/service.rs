//! What the calls of CloudWatch Logs have in common: the groups, and how a call names one.

use super::groups::{Group, Groups};
use crate::aws::protocol::{ApiError, Call};
use crate::template::names;
use crate::template::resources::Model;
use std::sync::Arc;

/// The log groups as callers see them.
pub struct Service {
    pub groups: Groups,
    pub model: Arc<Model>,
    /// When the stack started, in epoch milliseconds.
    pub since: i64,
}

/// A log group's name, or its name or ARN as an identifier.
#[derive(Clone, Copy)]
pub struct Named<'a> {
    pub name: Option<&'a str>,
    pub identifier: Option<&'a str>,
}

impl Service {
    /// The group that a call names, if the caller may do there what it asks for.
    pub(super) fn group(&self, call: &Call<'_>, named: Named<'_>) -> Result<&Group, ApiError> {
        let arn = names::arn("logs", "log-group:");
        let name = match (named.name, named.identifier) {
            (Some(name), None) => name,
            (None, Some(identifier)) => identifier.strip_prefix(&arn).unwrap_or(identifier),
            _ => return Err(invalid("either logGroupName or logGroupIdentifier is required")),
        };
        call.require(&format!("logs:{}", call.operation), &names::log_group_arn(name))?;
        let missing =
            || ApiError::new("ResourceNotFoundException", "The specified log group does not exist.");
        self.groups.get(name).ok_or_else(missing)
    }
}

pub fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterException", text)
}

pub fn no_stream() -> ApiError {
    ApiError::new("ResourceNotFoundException", "The specified log stream does not exist.")
}
