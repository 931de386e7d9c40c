//! What things are called on this machine: region, account, ARNs.

/// The account of everything local.
pub const ACCOUNT: &str = "000000000000";
/// The region of everything local.
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

/// The ARN of a role; IAM knows no region.
#[must_use]
pub fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

/// The last part of an ARN or URL: the name of what it names.
#[must_use]
pub fn last_part(arn: &str) -> &str {
    arn.rsplit([':', '/']).next().unwrap_or(arn)
}

/// The table of a stream's ARN, `…:table/<name>/stream/<label>`.
#[must_use]
pub fn table_of_stream(arn: &str) -> Option<&str> {
    arn.split_once(":table/")?.1.split_once("/stream/").map(|(table, _)| table)
}

/// The label of every local stream.
pub const STREAM_LABEL: &str = "local";
