//! IAM: each role's policies decide each call, as in AWS: nothing is allowed unless a statement allows it.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

use crate::template::names;
use crate::template::resources::{Model, QueuePolicy, Role};
use anyhow::{Context, Result, bail, ensure};
use iam_rs::{
    Arn, Context as Conditions, ContextValue, Decision, IAMPolicy, IAMRequest, PolicyEvaluator, Principal,
    PrincipalId,
};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The person at the machine, who may do everything.
    Administrator,
    /// A function, by its role's ARN.
    Role(String),
}

/// Why a call is refused, in the words of AWS's AccessDenied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "User: {role} is not authorized to perform: {action} on resource: {resource} because no identity-based policy \
     allows the {action} action"
)]
pub struct AccessDenied {
    role: String,
    action: String,
    resource: String,
}

/// Role, action and resource.
type Question = (String, String, String);

/// The roles of the templates and their access keys. Clones share it.
#[derive(Clone, Default)]
pub struct Iam {
    /// By role.
    evaluators: Arc<HashMap<String, PolicyEvaluator>>,
    /// Roles by access key.
    keys: Arc<Mutex<HashMap<String, String>>>,
    answers: Arc<Mutex<HashMap<Question, bool>>>,
}

/// The access key of the person at the machine.
pub const ADMINISTRATOR_KEY: &str = "local";

impl Iam {
    /// Reads the roles' policies.
    ///
    /// # Errors
    /// When a policy cannot be read, or holds a condition or a managed policy (not implemented).
    pub fn new(roles: &BTreeMap<String, Role>) -> Result<Self> {
        let mut evaluators = HashMap::new();
        for (arn, role) in roles {
            let mut policies = Vec::new();
            for policy in role.policies.iter().flatten() {
                let place = || format!("role {arn}, policy {}", policy.policy_name);
                ensure!(
                    !policy.policy_document.to_string().contains("\"Condition\""),
                    "{}: conditions are not implemented by the local stack",
                    place()
                );
                policies.push(read(&policy.policy_document).with_context(place)?);
            }
            evaluators.insert(arn.clone(), PolicyEvaluator::with_policies(policies));
        }
        Ok(Self { evaluators: Arc::new(evaluators), ..Self::default() })
    }

    /// Makes an access key for a role.
    #[must_use]
    pub fn issue_key(&self, role: &str) -> String {
        let key = format!("ASIA{}", uuid::Uuid::new_v4().simple().to_string().to_uppercase());
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), role.to_owned());
        key
    }

    #[must_use]
    pub fn caller(&self, key: &str) -> Option<Caller> {
        if key == ADMINISTRATOR_KEY {
            return Some(Caller::Administrator);
        }
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(key).cloned().map(Caller::Role)
    }

    /// Checks that `caller` may do `action` on `resource`.
    ///
    /// # Errors
    /// [`AccessDenied`].
    pub fn check(&self, caller: &Caller, action: &str, resource: &str) -> Result<(), AccessDenied> {
        let Caller::Role(role) = caller else { return Ok(()) };
        let question = (role.clone(), action.to_owned(), resource.to_owned());
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if *answers.entry(question).or_insert_with(|| self.allows(role, action, resource)) {
            return Ok(());
        }
        Err(AccessDenied { role: role.clone(), action: action.to_owned(), resource: resource.to_owned() })
    }

    fn allows(&self, role: &str, action: &str, resource: &str) -> bool {
        let Ok(resource) = Arn::parse(resource) else { return false };
        let principal = Principal::Aws(PrincipalId::String(role.to_owned()));
        let request = IAMRequest::new(principal, action, resource);
        let evaluated = self.evaluators.get(role).map(|evaluator| evaluator.evaluate(&request));
        matches!(evaluated, Some(Ok(result)) if result.decision == Decision::Allow)
    }

    /// Checks that a role may do every one of `actions` on `resource`, before anything runs.
    ///
    /// # Errors
    /// [`AccessDenied`] for the first action that no policy allows.
    pub fn require(&self, role: &str, actions: &[&str], resource: &str) -> Result<()> {
        for action in actions {
            self.check(&Caller::Role(role.to_owned()), action, resource)?;
        }
        Ok(())
    }
}

fn read(document: &Value) -> Result<IAMPolicy> {
    IAMPolicy::from_json(&document.to_string()).context("not a policy")
}

/// Checks that the policy of every rule's target queue lets EventBridge send to it: on AWS the events would vanish.
///
/// # Errors
/// Names rule and queue.
pub fn require_delivery(model: &Model) -> Result<()> {
    for rule in &model.rules {
        let source = names::rule_arn(&rule.event_bus_name, &rule.name);
        for target in &rule.targets {
            let dead = target.dead_letter_config.as_ref().map(|config| &config.arn);
            // A state machine is started under a role; a queue has a policy of its own.
            let queue = Some(&target.arn).filter(|arn| !names::is_state_machine(arn));
            for arn in queue.into_iter().chain(dead) {
                if !admits(&model.queue_policies, arn, &source)? {
                    bail!("rule {} may not send to {arn}: no queue policy allows it", rule.name);
                }
            }
        }
    }
    Ok(())
}

fn admits(policies: &[QueuePolicy], queue: &str, source: &str) -> Result<bool> {
    let evaluators: Result<Vec<IAMPolicy>> = policies.iter().map(|p| read(&p.policy_document)).collect();
    let principal = Principal::Service(PrincipalId::String("events.amazonaws.com".into()));
    let mut conditions = Conditions::new();
    conditions.insert("aws:SourceArn".into(), ContextValue::String(source.to_owned()));
    let resource = Arn::parse(queue).map_err(|e| anyhow::anyhow!("{queue}: {e:?}"))?;
    let request = IAMRequest::new_with_context(principal, "sqs:SendMessage", resource, conditions);
    let result = PolicyEvaluator::with_policies(evaluators?).evaluate(&request);
    let result = result.context("queue policy")?;
    Ok(result.decision == Decision::Allow)
}
