//! Policies of resources: a role's trust policy lets a service work under it, a queue's policy lets a service send to it.
//! Both are checked at the start: on AWS the events would vanish.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_identity-vs-resource.html>

use super::iam;
use crate::template::names::{self, ACCOUNT};
use crate::template::resources::Model;
use anyhow::{Context, Result, ensure};
use iam_rs::{
    Arn, Context as Conditions, ContextValue, Decision, EvaluationOptions, IAMPolicy, IAMRequest,
    PolicyEvaluator, Principal, PrincipalId,
};
use serde_json::Value;

const ASSUME: &str = "sts:AssumeRole";
const EVENTS: &str = "events.amazonaws.com";
const SNS: &str = "sns.amazonaws.com";

/// A resource for which a service works under a role.
struct Work<'a> {
    /// `pipe test-quadrille-orders`
    of: String,
    role: &'a str,
    /// `pipes.amazonaws.com`
    service: &'static str,
    /// What the service says it works for, as `aws:SourceArn`. Lambda is not documented to say so.
    source: Option<String>,
}

/// Checks that each service may assume the roles under which it works.
///
/// # Errors
/// Names the resource and the role whose trust policy does not let the service in.
pub fn check_trust(model: &Model) -> Result<()> {
    for work in works(model) {
        let role = model.roles.get(work.role);
        let role = role.with_context(|| format!("{}: there is no role {}", work.of, work.role))?;
        let caller = Caller { service: work.service, source: work.source.as_deref() };
        let policy = iam::read(&role.assume_role_policy_document).with_context(|| work.role.to_owned())?;
        ensure!(
            caller.may(ASSUME, work.role, vec![policy])?,
            "{}: the trust policy of {} does not let in {}{}",
            work.of,
            work.role,
            work.service,
            work.source.map(|source| format!(" for {source}")).unwrap_or_default()
        );
    }
    Ok(())
}

fn works(model: &Model) -> impl Iterator<Item = Work<'_>> {
    let functions = model.functions.iter().map(|function| Work {
        of: format!("function {}", function.function_name),
        role: &function.role,
        service: "lambda.amazonaws.com",
        source: None,
    });
    // <https://docs.aws.amazon.com/eventbridge/latest/userguide/cross-service-confused-deputy-prevention.html>
    let pipes = model.pipes.iter().map(|pipe| Work {
        of: format!("pipe {}", pipe.name),
        role: &pipe.role_arn,
        service: "pipes.amazonaws.com",
        source: Some(names::arn("pipes", &format!("pipe/{}", pipe.name))),
    });
    // <https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html>
    let schedules = model.schedules.iter().map(|schedule| Work {
        of: format!("schedule {}", schedule.name),
        role: &schedule.target.role_arn,
        service: "scheduler.amazonaws.com",
        source: Some(names::arn("scheduler", "schedule-group/default")),
    });
    // <https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html>
    let machines = model.machines.iter().map(|machine| Work {
        of: format!("state machine {}", machine.state_machine_name),
        role: &machine.role_arn,
        service: "states.amazonaws.com",
        source: Some(names::state_machine_arn(&machine.state_machine_name)),
    });
    let targets = model.rules.iter().flat_map(|rule| {
        rule.targets.iter().filter_map(|target| {
            Some(Work {
                of: format!("rule {}", rule.name),
                role: target.role_arn.as_deref()?,
                service: EVENTS,
                source: Some(names::rule_arn(&rule.event_bus_name, &rule.name)),
            })
        })
    });
    functions.chain(pipes).chain(schedules).chain(machines).chain(targets)
}

/// A service that does something for a resource.
struct Caller<'a> {
    /// `pipes.amazonaws.com`
    service: &'static str,
    /// What it says it works for.
    source: Option<&'a str>,
}

impl Caller<'_> {
    /// Whether a policy of `resource` lets it do `action`.
    fn may(&self, action: &str, resource: &str, policies: Vec<IAMPolicy>) -> Result<bool> {
        let mut conditions = Conditions::new();
        if let Some(source) = self.source {
            conditions.insert("aws:SourceArn".into(), ContextValue::String(source.to_owned()));
            conditions.insert("aws:SourceAccount".into(), ContextValue::String(ACCOUNT.to_owned()));
        }
        let principal = Principal::Service(PrincipalId::String(self.service.to_owned()));
        let arn = Arn::parse(resource).map_err(|e| anyhow::anyhow!("{resource}: {e:?}"))?;
        let request = IAMRequest::new_with_context(principal, action, arn, conditions);
        // A trust policy has no Resource: it is about the role that it belongs to.
        let ignore_resource_constraints = action == ASSUME;
        let options = EvaluationOptions { ignore_resource_constraints, ..EvaluationOptions::default() };
        let result = PolicyEvaluator::with_policies(policies).with_options(options).evaluate(&request);
        Ok(result.context("a policy cannot be evaluated")?.decision == Decision::Allow)
    }
}

/// Whether a document is a policy.
#[must_use]
pub fn is_policy(document: &Value) -> bool {
    iam::read(document).is_ok()
}

/// Whether a queue's policy lets EventBridge send to it for a rule.
///
/// # Errors
/// When the policy cannot be evaluated.
pub fn lets_rule_send(policy: &Value, rule: &str, queue: &str) -> Result<bool> {
    Caller { service: EVENTS, source: Some(rule) }.may("sqs:SendMessage", queue, vec![iam::read(policy)?])
}

/// Checks that the policy of every queue to which a rule or a topic delivers, and of the dead-letter queue of each delivery,
/// lets EventBridge or SNS send to it.
///
/// # Errors
/// Names rule or topic, and queue.
pub fn check_queues(model: &Model) -> Result<()> {
    check_rules(model)?;
    // <https://docs.aws.amazon.com/sns/latest/dg/subscribe-sqs-queue-to-sns-topic.html>
    for subscription in &model.subscriptions {
        let topic = &subscription.topic_arn;
        let dead = subscription.redrive_policy.as_ref().map(|policy| &policy.dead_letter_target_arn);
        for queue in std::iter::once(&subscription.endpoint).chain(dead) {
            let allowed = admits(model, queue, &Caller { service: SNS, source: Some(topic) })?;
            ensure!(allowed, "topic {topic} may not send to {queue}: no queue policy allows it");
        }
    }
    Ok(())
}

fn check_rules(model: &Model) -> Result<()> {
    for rule in &model.rules {
        let source = names::rule_arn(&rule.event_bus_name, &rule.name);
        for target in &rule.targets {
            let dead = target.dead_letter_config.as_ref().map(|config| &config.arn);
            // A state machine is started under a role; a queue has a policy of its own.
            let queue = Some(&target.arn).filter(|arn| !names::is_state_machine(arn));
            for queue in queue.into_iter().chain(dead) {
                let allowed = admits(model, queue, &Caller { service: EVENTS, source: Some(&source) })?;
                ensure!(allowed, "rule {} may not send to {queue}: no queue policy allows it", rule.name);
            }
        }
    }
    Ok(())
}

fn admits(model: &Model, queue: &str, sender: &Caller<'_>) -> Result<bool> {
    // A policy counts for the queues that it is attached to, whatever its statements say of others.
    let is_attached = |url: &String| names::last_part(url) == names::last_part(queue);
    let attached = model.queue_policies.iter().filter(|policy| policy.queues.iter().any(is_attached));
    let policies = attached.map(|policy| iam::read(&policy.policy_document));
    sender.may("sqs:SendMessage", queue, policies.collect::<Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn model(attached_to: &str) -> Model {
        let statement = json!({"Effect": "Allow", "Principal": {"Service": EVENTS}, "Action": "sqs:SendMessage",
            "Resource": names::queue_arn("q")});
        let policy = json!({"Queues": [format!("http://local/000000000000/{attached_to}")],
            "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}});
        let targets = json!([{"Id": "t", "Arn": names::queue_arn("q")}]);
        let rule = json!({"Name": "r", "EventBusName": "b", "EventPattern": {}, "Targets": targets});
        Model {
            queue_policies: vec![serde_json::from_value(policy).unwrap()],
            rules: vec![serde_json::from_value(rule).unwrap()],
            ..Model::default()
        }
    }

    /// Guards: a policy counts for the queues that it is attached to, and for no other that its statements name.
    #[test]
    fn a_policy_counts_where_it_is_attached() {
        assert!(check_queues(&model("q")).is_ok());
        assert!(check_queues(&model("other")).unwrap_err().to_string().contains("rule r may not send"));
    }
}
