//! SNS's calls that show topics and their subscriptions.
//!
//! <https://docs.aws.amazon.com/sns/latest/api/API_GetTopicAttributes.html>
//! <https://docs.aws.amazon.com/sns/latest/api/API_ListSubscriptions.html>

use super::service::{Service, not_found, read, topic};
use crate::aws::protocol::pages::page;
use crate::aws::protocol::{Call, Outcome, form, ok, without_nulls};
use crate::template::names;
use crate::template::resources::{Subscription, Topic};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// How many entries one answer has.
const LISTED: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct List {
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct OfTopic {
    topic_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListOfTopic {
    topic_arn: Option<String>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct OfSubscription {
    subscription_arn: String,
}

pub fn list(sns: &Service, call: &Call<'_>) -> Outcome {
    let request: List = read(call)?;
    call.require("sns:ListTopics", "*")?;
    let topics = sns.model.topics.iter().map(|topic| names::arn("sns", &topic.topic_name)).collect();
    let (topics, next) = page(topics, String::clone, request.next_token.as_deref(), LISTED);
    let topics: Vec<Value> = topics.iter().map(|arn| json!({"TopicArn": arn})).collect();
    ok(&without_nulls(json!({"Topics": topics, "NextToken": next})))
}

pub fn attributes(sns: &Service, call: &Call<'_>) -> Outcome {
    let request: OfTopic = read(call)?;
    let name = topic(sns, call, "GetTopicAttributes", request.topic_arn.as_deref())?;
    let declared = sns.model.topics.iter().find(|topic| topic.topic_name == name);
    let attributes = declared.map(|topic| of_topic(sns, topic)).ok_or_else(|| not_found("Topic"))?;
    ok(&json!({"Attributes": form::map(attributes)}))
}

fn of_topic(sns: &Service, topic: &Topic) -> Vec<(&'static str, String)> {
    let arn = names::arn("sns", &topic.topic_name);
    let subscriptions = sns.model.subscriptions.iter().filter(|it| it.topic_arn == arn).count();
    let is = |it: Option<bool>| it.unwrap_or(false).to_string();
    let mut attributes = vec![
        ("TopicArn", arn),
        ("Owner", names::ACCOUNT.to_owned()),
        ("DisplayName", String::new()),
        ("SubscriptionsConfirmed", subscriptions.to_string()),
        ("SubscriptionsPending", "0".to_owned()),
        ("SubscriptionsDeleted", "0".to_owned()),
        ("FifoTopic", is(topic.fifo_topic)),
        ("ContentBasedDeduplication", is(topic.content_based_deduplication)),
    ];
    attributes.extend(topic.kms_master_key_id.clone().map(|key| ("KmsMasterKeyId", key)));
    attributes
}

/// AWS's id of a subscription is random; this one is the same after a restart.
fn arn(subscription: &Subscription) -> String {
    let Subscription { topic_arn, endpoint, .. } = subscription;
    format!(
        "{topic_arn}:{}",
        Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{topic_arn} {endpoint}").as_bytes())
    )
}

fn shown(subscription: &Subscription) -> Value {
    json!({
        "SubscriptionArn": arn(subscription),
        "Owner": names::ACCOUNT,
        "Protocol": subscription.protocol,
        "Endpoint": subscription.endpoint,
        "TopicArn": subscription.topic_arn,
    })
}

fn listed(subscriptions: Vec<&Subscription>, after: Option<&str>) -> Outcome {
    let (subscriptions, next) = page(subscriptions, |it| arn(it), after, LISTED);
    let subscriptions: Vec<Value> = subscriptions.into_iter().map(shown).collect();
    ok(&without_nulls(json!({"Subscriptions": subscriptions, "NextToken": next})))
}

pub fn list_subscriptions(sns: &Service, call: &Call<'_>) -> Outcome {
    let request: List = read(call)?;
    call.require("sns:ListSubscriptions", "*")?;
    listed(sns.model.subscriptions.iter().collect(), request.next_token.as_deref())
}

pub fn list_subscriptions_by_topic(sns: &Service, call: &Call<'_>) -> Outcome {
    let request: ListOfTopic = read(call)?;
    let name = topic(sns, call, "ListSubscriptionsByTopic", request.topic_arn.as_deref())?;
    let of = names::arn("sns", name);
    let subscriptions = sns.model.subscriptions.iter().filter(|subscription| subscription.topic_arn == of);
    listed(subscriptions.collect(), request.next_token.as_deref())
}

/// <https://docs.aws.amazon.com/sns/latest/api/API_GetSubscriptionAttributes.html>
pub fn subscription_attributes(sns: &Service, call: &Call<'_>) -> Outcome {
    let OfSubscription { subscription_arn } = read(call)?;
    call.require("sns:GetSubscriptionAttributes", &subscription_arn)?;
    let found = sns.model.subscriptions.iter().find(|it| arn(it) == subscription_arn);
    let subscription = found.ok_or_else(|| not_found("Subscription"))?;
    let mut attributes = vec![
        ("SubscriptionArn", subscription_arn.clone()),
        ("TopicArn", subscription.topic_arn.clone()),
        ("Owner", names::ACCOUNT.to_owned()),
        ("Protocol", subscription.protocol.clone()),
        ("Endpoint", subscription.endpoint.clone()),
        ("RawMessageDelivery", subscription.raw_message_delivery.unwrap_or(false).to_string()),
        ("PendingConfirmation", "false".to_owned()),
    ];
    attributes.extend(
        subscription.redrive_policy.as_ref().map(|policy| ("RedrivePolicy", json!(policy).to_string())),
    );
    ok(&json!({"Attributes": form::map(attributes)}))
}
