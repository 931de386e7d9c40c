//! SNS's calls, in AWS's older protocol: a form in, XML out.
//!
//! <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>

use super::topics::Topics;
use crate::aws::protocol::ApiError;
use crate::aws::sqs::fifo::is_id;
use crate::support::http::{self, Response};
use crate::template::names;
use std::collections::BTreeMap;

const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";
const METADATA: &str = "<ResponseMetadata><RequestId>local</RequestId></ResponseMetadata>";
/// The most bytes of a message.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// The fields of `Publish` that are implemented.
const FIELDS: [&str; 6] =
    ["Action", "Version", "TopicArn", "Message", "MessageGroupId", "MessageDeduplicationId"];

/// Answers a call; `allow` refuses a caller that may not do an action on an ARN.
pub async fn answer(
    topics: &Topics,
    body: &[u8],
    allow: impl Fn(&str, &str) -> Result<(), ApiError>,
) -> Response {
    let form: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    match publish(topics, &form, allow).await {
        Ok(result) => {
            let body = format!(
                "<PublishResponse xmlns=\"{NAMESPACE}\"><PublishResult>{result}</PublishResult>{METADATA}</PublishResponse>"
            );
            http::json(200, "text/xml", body)
        }
        Err(ApiError { status, code, message }) => {
            let message = message.replace('&', "&amp;").replace('<', "&lt;");
            let error = format!("<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>");
            let body = format!(
                "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error>{error}</Error>{METADATA}</ErrorResponse>"
            );
            http::json(status, "text/xml", body)
        }
    }
}

async fn publish(
    topics: &Topics,
    form: &BTreeMap<String, String>,
    allow: impl Fn(&str, &str) -> Result<(), ApiError>,
) -> Result<String, ApiError> {
    let field = |name: &str| form.get(name).map(String::as_str);
    if field("Action") != Some("Publish") {
        return Err(ApiError::unknown(field("Action").unwrap_or_default()));
    }
    if let Some(other) = form.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(invalid(format!("{other} is not implemented by the local stack")));
    }
    let required = |name: &str| field(name).ok_or_else(|| invalid(format!("{name} is required")));
    let arn = required("TopicArn")?;
    allow("sns:Publish", arn)?;
    let (group, id) = (required("MessageGroupId")?, required("MessageDeduplicationId")?);
    for (name, id) in [("MessageGroupId", group), ("MessageDeduplicationId", id)] {
        if !is_id(id) {
            return Err(invalid(format!(
                "{name} can only include 1 to 128 alphanumeric characters and punctuation marks"
            )));
        }
    }
    let message = required("Message")?;
    if message.is_empty() || message.len() > MAX_MESSAGE_BYTES {
        return Err(invalid(format!("Message has to have 1 to {MAX_MESSAGE_BYTES} bytes")));
    }
    let published = topics.publish(topic(arn)?, group, id, message).await;
    let (id, number) = published.ok_or_else(no_such_topic)?;
    Ok(format!("<MessageId>{id}</MessageId><SequenceNumber>{number:020}</SequenceNumber>"))
}

fn invalid(message: String) -> ApiError {
    ApiError::new("InvalidParameter", message)
}

fn no_such_topic() -> ApiError {
    ApiError { status: 404, ..ApiError::new("NotFound", "Topic does not exist") }
}

/// The name of the topic in an ARN of this region and account.
fn topic(arn: &str) -> Result<&str, ApiError> {
    let here =
        arn.strip_prefix("arn:aws:sns:").and_then(|rest| rest.strip_prefix(names::REGION)?.strip_prefix(':'));
    let here =
        here.ok_or_else(|| invalid(format!("TopicArn: {arn} is no topic of the region {}", names::REGION)))?;
    here.strip_prefix(names::ACCOUNT).and_then(|rest| rest.strip_prefix(':')).ok_or_else(no_such_topic)
}
