//! IAM: each role's policies decide each call, as in AWS: nothing is allowed unless a statement allows it.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

mod usage;

pub use usage::Usage;

use crate::support::rarely::Rarely;
use crate::template::names::{self, ACCOUNT, REGION};
use crate::template::resources::Role;
use anyhow::{Context, Result, ensure};
use iam_rs::{
    Arn, Context as Conditions, ContextValue, Decision, IAMPolicy, IAMRequest, PolicyEvaluator, Principal,
    PrincipalId,
};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use usage::Grant;

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
    grants: Arc<Vec<Grant>>,
    /// Roles by access key.
    keys: Arc<Mutex<HashMap<String, String>>>,
    answers: Arc<Mutex<HashMap<Question, bool>>>,
    denied: Arc<Rarely<Question>>,
}

/// The access key of the person at the machine.
pub const ADMINISTRATOR_KEY: &str = "local";

impl Iam {
    /// Reads the roles' policies.
    ///
    /// # Errors
    /// When a policy cannot be read, or holds a condition on a key that the local stack does not have.
    pub fn new(roles: &BTreeMap<String, Role>) -> Result<Self> {
        let mut evaluators = HashMap::new();
        for (arn, role) in roles {
            let mut policies = Vec::new();
            for policy in role.policies.iter().flatten() {
                let place = || format!("role {arn}, policy {}", policy.policy_name);
                let read = read(&policy.policy_document).and_then(known_conditions);
                policies.push(read.with_context(place)?);
            }
            evaluators.insert(arn.clone(), PolicyEvaluator::with_policies(policies));
        }
        let grants = Arc::new(usage::grants(roles));
        Ok(Self { evaluators: Arc::new(evaluators), grants, ..Self::default() })
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

    /// As [`Iam::check`], of a running stack: what is missing is said at once, and not again within a minute.
    ///
    /// # Errors
    /// [`AccessDenied`].
    pub fn check_call(&self, caller: &Caller, action: &str, resource: &str) -> Result<(), AccessDenied> {
        let checked = self.check(caller, action, resource);
        if let Err(AccessDenied { role, action, resource }) = &checked
            && self.denied.is_due((role.clone(), action.clone(), resource.clone()), Instant::now())
        {
            let role = names::last_part(role);
            tracing::warn!("role {role} may not {action} on {resource}: none of its policies allows it");
        }
        checked
    }

    /// What the roles allow, and what of it was needed since the start.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = answers.iter().filter(|(_, allowed)| **allowed).map(|(question, _)| question);
        usage::usage(&self.grants, &allowed)
    }

    fn allows(&self, role: &str, action: &str, resource: &str) -> bool {
        let Ok(resource) = Arn::parse(resource) else { return false };
        let principal = Principal::Aws(PrincipalId::String(role.to_owned()));
        let request = IAMRequest::new_with_context(principal, action, resource, conditions(role));
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

/// The condition keys that a call of a role has here.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>
fn conditions(role: &str) -> Conditions {
    let values = [
        ("aws:PrincipalAccount", ACCOUNT),
        ("aws:PrincipalArn", role),
        ("aws:RequestedRegion", REGION),
        ("aws:ResourceAccount", ACCOUNT),
    ];
    let mut conditions = Conditions::new();
    for (key, value) in values {
        conditions.insert(key.into(), ContextValue::String(value.to_owned()));
    }
    conditions
}

/// A condition on a key without a value here would never hold, or always.
fn known_conditions(policy: IAMPolicy) -> Result<IAMPolicy> {
    let known = conditions("");
    let blocks = policy.statement.iter().filter_map(|statement| statement.condition.as_ref());
    for key in blocks.flat_map(|block| block.conditions.values()).flat_map(HashMap::keys) {
        ensure!(known.get(key).is_some(), "a condition on {key} is not implemented by the local stack");
    }
    Ok(policy)
}

/// # Errors
/// For a document that is no policy.
pub(super) fn read(document: &Value) -> Result<IAMPolicy> {
    IAMPolicy::from_json(&document.to_string()).context("not a policy")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ROLE: &str = "arn:aws:iam::000000000000:role/r";
    const TABLE: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/t";

    fn iam(condition: &Value) -> Result<Iam> {
        let statement = json!({"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": TABLE, "Condition": condition});
        let role = json!({"AssumeRolePolicyDocument": {}, "Policies": [{"PolicyName": "p",
            "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}}]});
        Iam::new(&BTreeMap::from([(ROLE.to_owned(), serde_json::from_value(role)?)]))
    }

    /// Guards: conditions are evaluated, and one that could not be is refused at the start.
    #[test]
    fn a_condition_decides() {
        let caller = Caller::Role(ROLE.to_owned());
        let allows = |condition: &Value| {
            iam(condition).map(|iam| iam.check(&caller, "dynamodb:GetItem", TABLE).is_ok())
        };
        assert!(allows(&json!({"StringEquals": {"aws:ResourceAccount": ACCOUNT}})).unwrap());
        assert!(!allows(&json!({"StringEquals": {"aws:ResourceAccount": "111111111111"}})).unwrap());
        assert!(!allows(&json!({"StringNotEquals": {"aws:RequestedRegion": REGION}})).unwrap());
        let refused = allows(&json!({"Bool": {"aws:SecureTransport": true}})).unwrap_err();
        assert!(format!("{refused:#}").contains("a condition on aws:SecureTransport is not implemented"));
    }
}
