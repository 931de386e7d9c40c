//! Which permissions of the roles have been used: least privilege, measured.

use crate::template::resources::Role;
use iam_rs::Arn;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A statement of a role's policy that allows something.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    role: String,
    policy: String,
    actions: Vec<String>,
    resources: Vec<String>,
}

/// A permission that no call has needed: an action, or a resource, of a policy's statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Permission {
    /// The role's ARN.
    pub role: String,
    /// The policy's name.
    pub policy: String,
    /// `dynamodb:Query`, or the resource's ARN.
    pub allows: String,
}

/// What the roles allow, and what of it was needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// How many actions and resources the statements name.
    pub granted: usize,
    /// Those that no call has needed.
    pub unused: BTreeSet<Permission>,
    /// Those on every resource there is.
    pub on_everything: BTreeSet<Permission>,
}

/// The statements that allow something.
pub(super) fn grants(roles: &BTreeMap<String, Role>) -> Vec<Grant> {
    let mut grants = Vec::new();
    for (arn, role) in roles {
        for policy in role.policies.iter().flatten() {
            let statements = policy.policy_document["Statement"].as_array().into_iter().flatten();
            let allowed = statements.filter(|statement| statement["Effect"] == "Allow");
            grants.extend(allowed.map(|statement| Grant {
                role: arn.clone(),
                policy: policy.policy_name.clone(),
                actions: texts(&statement["Action"]),
                resources: texts(&statement["Resource"]),
            }));
        }
    }
    grants
}

/// One text, or several.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        value => value.as_str().map(str::to_owned).into_iter().collect(),
    }
}

/// What of the grants the calls of these roles have needed: role, action, resource.
pub(super) fn usage<'a>(
    grants: &[Grant],
    calls: &(impl Iterator<Item = &'a (String, String, String)> + Clone),
) -> Usage {
    let mut usage = Usage::default();
    for grant in grants {
        let calls = calls.clone().filter(|(role, ..)| *role == grant.role);
        let needed: Vec<(&str, &str)> = calls
            .filter(|(_, action, resource)| {
                grant.actions.iter().any(|pattern| matches(pattern, action))
                    && grant.resources.iter().any(|pattern| matches(pattern, resource))
            })
            .map(|(_, action, resource)| (action.as_str(), resource.as_str()))
            .collect();
        let permission = |allows: &str| Permission {
            role: grant.role.clone(),
            policy: grant.policy.clone(),
            allows: allows.to_owned(),
        };
        for action in &grant.actions {
            usage.granted += 1;
            if !needed.iter().any(|(used, _)| matches(action, used)) {
                usage.unused.insert(permission(action));
            }
        }
        for resource in &grant.resources {
            usage.granted += 1;
            if !needed.iter().any(|(_, used)| matches(resource, used)) {
                usage.unused.insert(permission(resource));
            }
            if resource == "*" {
                usage.on_everything.extend(grant.actions.iter().map(|action| permission(action)));
            }
        }
    }
    usage
}

/// Whether a pattern of a policy, with `*` and `?`, covers a text: as the evaluator reads it.
fn matches(pattern: &str, text: &str) -> bool {
    Arn::wildcard_match(text, pattern)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ROLE: &str = "arn:aws:iam::000000000000:role/r";

    fn used(calls: &[(&str, &str)]) -> Usage {
        let statement = json!({"Effect": "Allow", "Action": ["dynamodb:GetItem", "dynamodb:Query"],
            "Resource": ["arn:table/t", "arn:table/t/index/*"]});
        let everything = json!({"Effect": "Allow", "Action": "xray:PutTraceSegments", "Resource": "*"});
        let role = json!({"AssumeRolePolicyDocument": {}, "Policies": [{"PolicyName": "p",
            "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement, everything]}}]});
        let roles = BTreeMap::from([(ROLE.to_owned(), serde_json::from_value(role).unwrap())]);
        let calls: Vec<_> = calls
            .iter()
            .map(|(action, resource)| (ROLE.to_owned(), (*action).to_owned(), (*resource).to_owned()))
            .collect();
        usage(&grants(&roles), &calls.iter())
    }

    fn unused(calls: &[(&str, &str)]) -> Vec<String> {
        used(calls).unused.into_iter().map(|permission| permission.allows).collect()
    }

    /// Guards: an action or a resource that no call has needed is named; the others are not.
    #[test]
    fn what_no_call_needs_is_named() {
        let everything = ["*", "arn:table/t", "arn:table/t/index/*", "dynamodb:GetItem", "dynamodb:Query"];
        assert_eq!(unused(&[]), [&everything[..], &["xray:PutTraceSegments"]].concat());
        let read = ("dynamodb:GetItem", "arn:table/t");
        assert_eq!(unused(&[read]), ["*", "arn:table/t/index/*", "dynamodb:Query", "xray:PutTraceSegments"]);
        let index = ("dynamodb:Query", "arn:table/t/index/customer");
        assert!(unused(&[read, index, ("xray:PutTraceSegments", "*")]).is_empty());
        // Allowed by no statement: it uses nothing.
        assert_eq!(unused(&[("dynamodb:GetItem", "arn:table/other")]).len(), 6);
    }

    /// Guards: what is allowed on every resource is named, used or not.
    #[test]
    fn every_resource_is_named() {
        let usage = used(&[("xray:PutTraceSegments", "*")]);
        assert_eq!(usage.granted, 6);
        let everything: Vec<_> =
            usage.on_everything.into_iter().map(|permission| permission.allows).collect();
        assert_eq!(everything, ["xray:PutTraceSegments"]);
    }
}
