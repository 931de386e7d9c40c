//! The errors of DynamoDB's calls, as its JSON writes them.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>

use super::expression::Refused;
use super::value::{Item, VALIDATION};
use crate::aws::protocol::Answer;
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

/// Why a part of a transaction was not carried out, or that nothing spoke against it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Reason {
    pub code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The row that was there, if the part wants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
}

impl Reason {
    #[must_use]
    pub const fn none() -> Self {
        Self { code: "None", message: None, item: None }
    }
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Validation(String),
    /// An empty text as a key: in a transaction it is no part's reason, but the whole call's.
    #[error("{0}")]
    EmptyKey(String),
    /// A body that is no request.
    #[error("{0}")]
    Serialization(String),
    #[error("Requested resource not found")]
    NoTable,
    #[error("Requested resource not found: Table: {0} not found")]
    NoNamedTable(String),
    /// As a call about backups says it.
    #[error("Table not found: {0}")]
    TableNotFound(String),
    /// The row that was there, if the call wants it.
    #[error("The conditional request failed")]
    ConditionFailed(Option<Item>),
    #[error("Transaction cancelled, please refer cancellation reasons for specific reasons [{}]", codes(.0))]
    Cancelled(Vec<Reason>),
    #[error("{0}")]
    TokenMisused(super::tokens::TokenMisused),
    #[error("{0} is not implemented by the local stack")]
    UnknownOperation(String),
}

const ENVELOPE: &str = "1 validation error detected: ";

fn codes(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.code).collect::<Vec<_>>().join(", ")
}

impl Error {
    pub fn validation(why: impl Into<String>) -> Self {
        Self::Validation(why.into())
    }

    /// A ValidationException whose text begins as those of most values do.
    #[must_use]
    pub fn invalid(why: &str) -> Self {
        Self::Validation(format!("One or more parameter values were invalid: {why}"))
    }

    /// A parameter that breaks a constraint.
    #[must_use]
    pub fn constraint(why: &str) -> Self {
        Self::Validation(format!("{ENVELOPE}{why}"))
    }

    /// As a call says it that writes one row: of its parameters it counts how many are wrong, which a transaction does not.
    #[must_use]
    pub fn enveloped(self) -> Self {
        match self {
            Self::Validation(why) if !why.starts_with(ENVELOPE) => Self::constraint(&why),
            other => other,
        }
    }

    /// An expression that is refused, by what it is for.
    pub fn expression(which: &str) -> impl Fn(Refused) -> Self + use<'_> {
        move |why| Self::Validation(format!("Invalid {which}Expression: {why}"))
    }

    /// Names or values that no expression uses.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "it is given to map_err")]
    pub fn unused(why: Refused) -> Self {
        Self::Validation(why.to_string())
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Validation(_) | Self::EmptyKey(_) => "com.amazon.coral.validate#ValidationException",
            Self::Serialization(_) => "com.amazon.coral.service#SerializationException",
            Self::NoTable | Self::NoNamedTable(_) => {
                "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"
            }
            Self::TableNotFound(_) => "com.amazonaws.dynamodb.v20120810#TableNotFoundException",
            Self::ConditionFailed(_) => "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
            Self::Cancelled(_) => "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            Self::TokenMisused(_) => "com.amazonaws.dynamodb.v20120810#IdempotentParameterMismatchException",
            Self::UnknownOperation(_) => "com.amazon.coral.service#UnknownOperationException",
        }
    }

    /// The HTTP status and the body.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let mut body = json!({"__type": self.kind(), "message": self.to_string()});
        match self {
            Self::ConditionFailed(Some(item)) => body["Item"] = json!(item),
            Self::Cancelled(reasons) => body["CancellationReasons"] = json!(reasons),
            _ => {}
        }
        (400, body.to_string().into())
    }
}

/// An error that the engine does not raise itself.
#[must_use]
pub fn body(code: &str, message: &str) -> Bytes {
    json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message})
        .to_string()
        .into()
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        match text.split_once(VALIDATION) {
            // serde_json adds where it was.
            Some((_, why)) => Self::validation(why.rsplit_once(" at line ").map_or(why, |(why, _)| why)),
            None => Self::Serialization(text),
        }
    }
}
