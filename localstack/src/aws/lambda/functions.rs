//! The functions that the templates declare.

use super::function::Function;
use crate::template::names;
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// Every function, by name. Clones share them.
#[derive(Clone, Default)]
pub struct Functions(Arc<HashMap<String, Arc<Function>>>);

impl FromIterator<Function> for Functions {
    fn from_iter<I: IntoIterator<Item = Function>>(functions: I) -> Self {
        let by_name = |function: Function| (function.name.clone(), Arc::new(function));
        Self(Arc::new(functions.into_iter().map(by_name).collect()))
    }
}

impl Functions {
    /// # Errors
    /// When no template declares the function.
    pub fn get(&self, name_or_arn: &str) -> Result<Arc<Function>> {
        let function = self.0.get(names::last_part(name_or_arn)).cloned();
        function.with_context(|| format!("no template declares the function {name_or_arn}"))
    }

    /// The function of a role: each has one of its own.
    #[must_use]
    pub fn of_role(&self, role: &str) -> Option<Arc<Function>> {
        self.0.values().find(|function| function.role == role).cloned()
    }

    /// The bytes of a function's binary.
    #[must_use]
    pub fn code_size(&self, function: &str) -> u64 {
        self.0.get(function).map_or(0, |function| function.process.code_size())
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.0.values()
    }
}
