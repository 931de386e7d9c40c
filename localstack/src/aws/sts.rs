//! STS: who calls.
//!
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>

use crate::aws::iam::Caller;
use crate::aws::protocol::operations::{Operations, Run};
use crate::aws::protocol::{Call, Outcome, ok};
use crate::template::names::{self, ACCOUNT};
use serde::Deserialize;
use serde_json::json;

pub const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// Of the calls: no other service here has it.
pub const VERSION: &str = "2011-06-15";

pub static OPERATIONS: &Operations<()> = &[("GetCallerIdentity", Run::Now(caller_identity))];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Needs no permission, as on AWS.
fn caller_identity((): &(), call: &Call<'_>) -> Outcome {
    let Nothing {} = call.parse()?;
    let (id, arn) = match call.caller {
        Caller::Administrator => ("AIDALOCAL".to_owned(), format!("arn:aws:iam::{ACCOUNT}:user/local")),
        Caller::Role(role) => {
            let name = names::last_part(role);
            (format!("AROALOCAL:{name}"), format!("arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{name}"))
        }
    };
    ok(&json!({"UserId": id, "Account": ACCOUNT, "Arn": arn}))
}
