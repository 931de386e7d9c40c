//! Configuration from the environment. Every error names the variable and what it should hold.

use std::{env, str::FromStr};

/// Why the configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The variable is not set.
    #[error("environment variable {name} is not set")]
    Missing {
        /// Its name.
        name: String,
    },
    /// It is set to something unusable.
    #[error("environment variable {name} is {value:?}: {reason}")]
    Invalid {
        /// Its name.
        name: String,
        /// What it holds.
        value: String,
        /// The rule it breaks.
        reason: String,
    },
}

/// The text of a variable that must be set.
///
/// # Errors
/// [`ConfigError::Missing`].
pub fn required(name: &str) -> Result<String, ConfigError> {
    optional(name).ok_or_else(|| ConfigError::Missing { name: name.to_owned() })
}

/// The text of a variable, if it is set and not empty.
#[must_use]
pub fn optional(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// A variable that must be set, parsed.
///
/// # Errors
/// [`ConfigError`].
pub fn parsed<T: FromStr<Err: ToString>>(name: &str) -> Result<T, ConfigError> {
    let value = required(name)?;
    value.parse().map_err(|e: T::Err| ConfigError::Invalid {
        name: name.to_owned(),
        value,
        reason: e.to_string(),
    })
}

/// The handler this function is to run: the template's `Handler`, which Lambda hands over as `_HANDLER`.
///
/// # Errors
/// [`ConfigError::Missing`].
pub fn handler() -> Result<String, ConfigError> {
    required("_HANDLER")
}

/// The error for a handler name that the binary does not have.
#[must_use]
pub fn unknown_handler(value: &str, known: &str) -> ConfigError {
    ConfigError::Invalid {
        name: "_HANDLER".into(),
        value: value.to_owned(),
        reason: format!("this binary has {known}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_variable() {
        let missing = required("QUADRILLE_NO_SUCH_VARIABLE").unwrap_err();
        assert_eq!(missing.to_string(), "environment variable QUADRILLE_NO_SUCH_VARIABLE is not set");
        let invalid = parsed::<u16>("PATH").unwrap_err();
        assert!(invalid.to_string().starts_with("environment variable PATH is "));
    }
}
