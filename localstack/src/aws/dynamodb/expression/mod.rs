//! The expressions of requests: conditions, filters, updates, projections and key conditions. What DynamoDB allows and is not
//! read here is refused.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html>

pub mod condition;
pub mod key_condition;
mod parser;
mod path;
pub mod projection;
mod reserved;
pub mod update;

use super::value::{Item, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// The most bytes of one expression.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const MAX_BYTES: usize = 4096;

/// Why an expression is refused; the caller adds which one it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Refused {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// The names and values that a request gives its expressions, and which of them were used.
#[derive(Default)]
pub struct Scope<'a> {
    names: Option<&'a BTreeMap<String, String>>,
    values: Option<&'a Item>,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Scope<'a> {
    #[must_use]
    pub fn new(names: Option<&'a BTreeMap<String, String>>, values: Option<&'a Item>) -> Self {
        Self { names, values, used: RefCell::default() }
    }

    /// The attribute behind `#name`.
    fn name(&self, placeholder: &str) -> Result<&'a str, Refused> {
        let found = self.names.and_then(|names| names.get_key_value(placeholder));
        let (key, name) = found.ok_or_else(|| {
            Refused(format!(
                "An expression attribute name used in the document path is not defined; attribute name: {placeholder}"
            ))
        })?;
        self.used.borrow_mut().insert(key.clone());
        Ok(name)
    }

    /// The value behind `:value`.
    fn value(&self, placeholder: &str) -> Result<&'a Value, Refused> {
        let found = self.values.and_then(|values| values.get_key_value(placeholder));
        let (key, value) = found.ok_or_else(|| {
            Refused(format!(
                "An expression attribute value used in expression is not defined; attribute value: {placeholder}"
            ))
        })?;
        self.used.borrow_mut().insert(key.clone());
        Ok(value)
    }

    /// # Errors
    /// For names and values that no expression uses.
    pub fn check_used(&self) -> Result<(), Refused> {
        let used = self.used.borrow();
        let unused = |keys: Vec<&String>| -> Vec<String> {
            keys.into_iter().filter(|key| !used.contains(*key)).cloned().collect()
        };
        let names = unused(self.names.into_iter().flat_map(BTreeMap::keys).collect());
        let values = unused(self.values.into_iter().flat_map(BTreeMap::keys).collect());
        for (kind, unused) in [("Names", names), ("Values", values)] {
            if !unused.is_empty() {
                let keys = unused.join(", ");
                return Err(Refused(format!(
                    "Value provided in ExpressionAttribute{kind} unused in expressions: keys: {{{keys}}}"
                )));
            }
        }
        Ok(())
    }
}

/// Refuses a text that is too long or empty.
fn check_text(text: &str) -> Result<(), Refused> {
    match text.len() {
        0 => Err(Refused::new("The expression can not be empty;")),
        length if length > MAX_BYTES => Err(Refused(format!(
            "Expression size has exceeded the maximum allowed size; expression size: {length}"
        ))),
        _ => Ok(()),
    }
}
