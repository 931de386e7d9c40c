//! How a call names a function.

use crate::aws::protocol::ApiError;
use crate::template::names::{self, ACCOUNT};

/// The only version that there is.
pub const LATEST: &str = "$LATEST";

/// The name of a function that a caller names by its name, its ARN, or the end of its ARN, each with or without a version.
///
/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_RequestParameters>
///
/// # Errors
/// `ResourceNotFoundException` for a function of another place, and for another version or alias than `$LATEST`.
pub fn function_name<'a>(named: &'a str, qualifier: Option<&str>) -> Result<&'a str, ApiError> {
    let partial = format!("{ACCOUNT}:function:");
    let rest = named.strip_prefix(&names::function_arn("")).or_else(|| named.strip_prefix(&partial));
    let (name, version) = match rest.unwrap_or(named).split_once(':') {
        Some((name, version)) => (name, Some(version)),
        None => (rest.unwrap_or(named), None),
    };
    let wanted = version.into_iter().chain(qualifier);
    match wanted.into_iter().find(|wanted| *wanted != LATEST) {
        Some(other) => Err(not_found(&format!("{name}:{other}"))),
        None => Ok(name),
    }
}

pub fn not_found(function: &str) -> ApiError {
    let message = format!("Function not found: {}", names::function_arn(function));
    ApiError { status: 404, ..ApiError::new("ResourceNotFoundException", message) }
}

pub fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterValueException", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: every name that Lambda accepts for a function is found, and no version that there is not.
    #[test]
    fn a_function_has_many_names() {
        let arn = names::function_arn("f");
        for named in ["f", &arn, "000000000000:function:f", "f:$LATEST", &format!("{arn}:$LATEST")] {
            assert_eq!(function_name(named, None), Ok("f"), "{named}");
        }
        assert_eq!(function_name("f", Some(LATEST)), Ok("f"));
        for (named, qualifier) in [("f:7", None), ("f", Some("live")), (&format!("{arn}:live"), Some(LATEST))]
        {
            assert_eq!(function_name(named, qualifier).unwrap_err().code, "ResourceNotFoundException");
        }
    }
}
