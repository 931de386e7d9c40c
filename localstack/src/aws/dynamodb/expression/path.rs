//! Document paths: an attribute, and steps into it.

use super::Refused;
use crate::aws::dynamodb::value::{Item, Value};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Member(String),
    Element(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    pub name: String,
    pub steps: Vec<Step>,
}

impl Path {
    #[must_use]
    pub fn of<'a>(&self, item: &'a Item) -> Option<&'a Value> {
        let first = item.get(&self.name)?;
        self.steps.iter().try_fold(first, |value, step| match (value, step) {
            (Value::M(members), Step::Member(name)) => members.get(name),
            (Value::L(elements), Step::Element(index)) => elements.get(*index),
            _ => None,
        })
    }

    /// Whether one of two paths leads through the other.
    fn overlaps(&self, other: &Self) -> bool {
        let both = self.steps.iter().zip(&other.steps);
        self.name == other.name && both.fold(true, |same, (one, two)| same && one == two)
    }
}

/// Refuses paths of which one leads through another, and such as lead into an attribute, which is not implemented.
///
/// # Errors
/// For the first of them.
pub fn check_whole(paths: &[&Path], what: &str) -> Result<(), Refused> {
    for (place, path) in paths.iter().enumerate() {
        if let Some(other) = paths.iter().take(place).find(|other| other.overlaps(path)) {
            return Err(Refused(format!(
                "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: {other}, path two: {path}"
            )));
        }
        if !path.steps.is_empty() {
            return Err(Refused(format!("{what} {path} is not implemented by the local stack")));
        }
    }
    Ok(())
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "[{}", self.name)?;
        for step in &self.steps {
            match step {
                Step::Member(name) => write!(out, ", {name}")?,
                Step::Element(index) => write!(out, ", [{index}]")?,
            }
        }
        out.write_str("]")
    }
}
