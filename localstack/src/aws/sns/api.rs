//! Which calls of SNS there are, in AWS's older protocol: a form in, XML out.
//!
//! <https://docs.aws.amazon.com/sns/latest/api/API_Operations.html>

use super::service::Service;
use super::{publish_api as publish, topics_api as topics};
use crate::aws::protocol::operations::{Operations, Run};

pub const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";
/// Of the calls: no other service here has it.
pub const VERSION: &str = "2010-03-31";

pub static OPERATIONS: &Operations<Service> = &[
    ("GetSubscriptionAttributes", Run::Now(topics::subscription_attributes)),
    ("GetTopicAttributes", Run::Now(topics::attributes)),
    ("ListSubscriptions", Run::Now(topics::list_subscriptions)),
    ("ListSubscriptionsByTopic", Run::Now(topics::list_subscriptions_by_topic)),
    ("ListTopics", Run::Now(topics::list)),
    ("Publish", Run::Later(|sns, call| Box::pin(publish::publish(sns, call)))),
    ("PublishBatch", Run::Later(|sns, call| Box::pin(publish::publish_batch(sns, call)))),
];
