//! Rules that are made while the stack runs: an operator's own. They are in memory, and gone after a restart; those of the
//! templates stay as they are declared.

use crate::aws::sqs::{Queue, Queues};
use crate::template::names;
use anyhow::{Result, anyhow};
use quamina::Quamina;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The rules that were made, by bus and name. Clones share them.
#[derive(Clone)]
pub struct MadeRules {
    queues: Queues,
    rules: Arc<RwLock<Rules>>,
}

type Rules = BTreeMap<(String, String), MadeRule>;

/// A rule.
pub struct MadeRule {
    pub pattern: Value,
    matcher: Quamina<()>,
    /// By id: the names of queues that were made too.
    pub targets: BTreeMap<String, String>,
}

impl MadeRules {
    /// None yet.
    pub fn new(queues: &Queues) -> Self {
        Self { queues: queues.clone(), rules: Arc::default() }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, Rules> {
        self.rules.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a queue was made, and not declared.
    pub fn has_queue(&self, queue: &str) -> bool {
        self.queues.get(queue).is_some() && !self.queues.is_declared(queue)
    }

    /// Makes a rule, or gives one another pattern and leaves its targets.
    ///
    /// # Errors
    /// When the matcher does not implement the pattern.
    pub fn put(&self, bus: &str, rule: &str, pattern: Value) -> Result<()> {
        let mut matcher = Quamina::new();
        matcher.add_pattern((), &pattern.to_string()).map_err(|e| anyhow!("{e:?}"))?;
        let mut rules = self.write();
        let key = (bus.to_owned(), rule.to_owned());
        let targets = rules.remove(&key).map(|rule| rule.targets).unwrap_or_default();
        rules.insert(key, MadeRule { pattern, matcher, targets });
        Ok(())
    }

    /// The queues to which an event goes: of the rules that match it, all or those among `named`. A queue that is gone, or whose
    /// policy does not let the rule in, gets nothing.
    ///
    /// # Errors
    /// When the event cannot be read.
    pub fn matching(&self, bus: &str, named: &[String], event: &str) -> Result<Vec<Arc<Queue>>> {
        let mut found = Vec::new();
        for ((of, name), rule) in self.read().iter() {
            if of != bus || !(named.is_empty() || named.contains(name)) {
                continue;
            }
            if rule.matcher.matches_for_event(event.as_bytes()).map_err(|e| anyhow!("{e:?}"))?.is_empty() {
                continue;
            }
            let source = names::rule_arn(bus, name);
            let queues = rule.targets.values().filter_map(|queue| self.queues.made_for(queue, &source));
            found.extend(queues.filter(|(_, admits)| *admits).map(|(queue, _)| queue));
        }
        Ok(found)
    }
}
