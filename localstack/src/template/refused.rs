//! The error of this module: why a template is refused, and where.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub file: String,
    /// From 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// Resource and property, such as `Inbox.VisibilityTimout`; empty where there is none.
    pub at: String,
    pub reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.at.is_empty() { String::new() } else { format!("{}: ", self.at) };
        write!(f, "{}:{}: {at}{}", self.file, self.line, self.reason)
    }
}

impl std::error::Error for Refused {}
