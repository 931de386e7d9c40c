//! What things are called on this machine: region, account, ARNs.

pub const ACCOUNT: &str = "000000000000";
pub const REGION: &str = "us-east-1";

/// Where this stack answers; queue URLs and the API's URL come from it.
#[derive(Clone, Debug)]
pub struct Names {
    /// `http://127.0.0.1:4566`
    pub endpoint: String,
    /// `http://127.0.0.1:3000`
    pub api: String,
}

/// `arn:aws:<service>:<region>:<account>:<rest>`
#[must_use]
pub fn arn(service: &str, rest: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}")
}

#[must_use]
pub fn table_arn(table: &str) -> String {
    arn("dynamodb", &format!("table/{table}"))
}

#[must_use]
pub fn stream_arn(table: &str) -> String {
    format!("{}/stream/{STREAM_LABEL}", table_arn(table))
}

/// AWS labels a stream with the time of its creation; the local stack has one stream per table.
pub const STREAM_LABEL: &str = "local";

#[must_use]
pub fn queue_arn(queue: &str) -> String {
    arn("sqs", queue)
}

/// `http://127.0.0.1:4566/000000000000/<queue>`
#[must_use]
pub fn queue_url(endpoint: &str, queue: &str) -> String {
    format!("{endpoint}/{ACCOUNT}/{queue}")
}

#[must_use]
pub fn function_arn(function: &str) -> String {
    arn("lambda", &format!("function:{function}"))
}

#[must_use]
pub fn bus_arn(bus: &str) -> String {
    arn("events", &format!("event-bus/{bus}"))
}

#[must_use]
pub fn rule_arn(bus: &str, rule: &str) -> String {
    arn("events", &format!("rule/{bus}/{rule}"))
}

#[must_use]
pub fn pipe_arn(pipe: &str) -> String {
    arn("pipes", &format!("pipe/{pipe}"))
}

#[must_use]
pub fn state_machine_arn(machine: &str) -> String {
    arn("states", &format!("stateMachine:{machine}"))
}

/// A log group's ARN, as CloudFormation writes it: of all its streams.
#[must_use]
pub fn log_group_arn(group: &str) -> String {
    arn("logs", &format!("log-group:{group}:*"))
}

/// The ARN of a stream in a log group.
#[must_use]
pub fn log_stream_arn(group: &str, stream: &str) -> String {
    arn("logs", &format!("log-group:{group}:log-stream:{stream}"))
}

/// Whether an ARN names a state machine.
#[must_use]
pub fn is_state_machine(arn: &str) -> bool {
    arn.contains(":stateMachine:")
}

/// AWS appends six random characters to a secret's name; here they are `local0`.
#[must_use]
pub fn secret_arn(secret: &str) -> String {
    arn("secretsmanager", &format!("secret:{secret}-local0"))
}

/// IAM's ARNs have no region.
#[must_use]
pub fn role_arn(role: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{role}")
}

/// The last part of an ARN or URL: the name of the resource.
#[must_use]
pub fn last_part(arn: &str) -> &str {
    arn.rsplit([':', '/']).next().unwrap_or(arn)
}

/// The table of a stream's ARN, `…:table/<name>/stream/<label>`.
#[must_use]
pub fn table_of_stream(arn: &str) -> Option<&str> {
    arn.split_once(":table/")?.1.split_once("/stream/").map(|(table, _)| table)
}
