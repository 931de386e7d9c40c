//! Secrets Manager's calls.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html>

use super::secrets::{Secrets, Version};
use crate::aws::protocol::operations::{Operations, Run};
use crate::aws::protocol::pages::{limit, page};
use crate::aws::protocol::{ApiError, Call, Outcome, ok, seconds, without_nulls};
use crate::template::names;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// AWS's limits of a text, in bytes, and of the token that becomes its version's id, in characters.
const TEXT: RangeInclusive<usize> = 1..=65_536;
const TOKEN: RangeInclusive<usize> = 32..=64;
const LISTED: RangeInclusive<i64> = 1..=100;
const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

pub static OPERATIONS: &Operations<Secrets> = &[
    ("DescribeSecret", Run::Now(describe)),
    ("GetSecretValue", Run::Now(get)),
    ("ListSecretVersionIds", Run::Now(list_versions)),
    ("ListSecrets", Run::Now(list)),
    ("PutSecretValue", Run::Now(put)),
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetSecretValue {
    secret_id: String,
    version_id: Option<String>,
    version_stage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutSecretValue {
    secret_id: String,
    secret_string: Option<String>,
    client_request_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Named {
    secret_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListSecrets {
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListVersions {
    secret_id: String,
    max_results: Option<i64>,
    next_token: Option<String>,
    #[serde(default)]
    include_deprecated: bool,
}

/// The name of a secret, if the caller may do there what it asks for.
fn named(secrets: &Secrets, call: &Call<'_>, id: &str) -> Result<String, ApiError> {
    let name =
        secrets.name_of(id).ok_or_else(|| missing("Secrets Manager can't find the specified secret."))?;
    call.require(&format!("secretsmanager:{}", call.operation), &names::secret_arn(&name))?;
    Ok(name)
}

fn missing(text: impl Into<String>) -> ApiError {
    ApiError::new("ResourceNotFoundException", text)
}

/// The versions with their stages; one that is older than the previous one has none.
fn staged(secrets: &Secrets, name: &str) -> Vec<(Version, Option<&'static str>)> {
    let stages = [Some(CURRENT), Some(PREVIOUS)].into_iter().chain(std::iter::repeat(None));
    secrets.versions(name).into_iter().rev().zip(stages).collect()
}

pub fn get(secrets: &Secrets, call: &Call<'_>) -> Outcome {
    let request: GetSecretValue = call.parse()?;
    let name = named(secrets, call, &request.secret_id)?;
    let stage = request.version_stage.as_deref();
    // Without either it is the current one; with both, they have to name the same.
    let stage = if request.version_id.is_none() { Some(stage.unwrap_or(CURRENT)) } else { stage };
    let is_meant = |(version, staged): &(Version, Option<&str>)| {
        request.version_id.as_ref().is_none_or(|id| version.id == *id)
            && stage.is_none_or(|stage| *staged == Some(stage))
    };
    let found = staged(secrets, &name).into_iter().find(is_meant);
    let (version, stage) = found.ok_or_else(|| {
        let what = request.version_id.as_deref().or(stage).unwrap_or_default();
        missing(format!("Secrets Manager can't find the specified secret value for: {what}"))
    })?;
    let mut answer = shown(&name, &version, stage);
    answer["SecretString"] = version.text.into();
    answer["CreatedDate"] = json!(seconds(version.created_at));
    ok(&answer)
}

fn shown(name: &str, version: &Version, stage: Option<&str>) -> Value {
    let stages: Vec<&str> = stage.into_iter().collect();
    json!({"ARN": names::secret_arn(name), "Name": name, "VersionId": version.id, "VersionStages": stages})
}

pub fn describe(secrets: &Secrets, call: &Call<'_>) -> Outcome {
    let Named { secret_id } = call.parse()?;
    let name = named(secrets, call, &secret_id)?;
    let mut answer = listed(secrets, &name);
    answer["VersionIdsToStages"] = json!(stages(secrets, &name));
    ok(&answer)
}

fn stages(secrets: &Secrets, name: &str) -> BTreeMap<String, Vec<&'static str>> {
    let staged = staged(secrets, name).into_iter();
    staged.filter_map(|(version, stage)| Some((version.id, vec![stage?]))).collect()
}

/// What a list says of a secret, but for its versions.
fn listed(secrets: &Secrets, name: &str) -> Value {
    let versions = secrets.versions(name);
    let time = |version: Option<&Version>| version.map(|version| seconds(version.created_at));
    json!({
        "ARN": names::secret_arn(name),
        "Name": name,
        "CreatedDate": time(versions.first()),
        "LastChangedDate": time(versions.last()),
    })
}

pub fn list(secrets: &Secrets, call: &Call<'_>) -> Outcome {
    let request: ListSecrets = call.parse()?;
    call.require("secretsmanager:ListSecrets", "*")?;
    let limit = limit(("MaxResults", request.max_results), &LISTED, "InvalidParameterException")?;
    let (found, next) = page(secrets.names(), String::clone, request.next_token.as_deref(), limit);
    let found = found.iter().map(|name| {
        let mut listed = listed(secrets, name);
        listed["SecretVersionsToStages"] = json!(stages(secrets, name));
        listed
    });
    ok(&without_nulls(json!({"SecretList": found.collect::<Vec<_>>(), "NextToken": next})))
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecretVersionIds.html>
pub fn list_versions(secrets: &Secrets, call: &Call<'_>) -> Outcome {
    let request: ListVersions = call.parse()?;
    let name = named(secrets, call, &request.secret_id)?;
    let limit = limit(("MaxResults", request.max_results), &LISTED, "InvalidParameterException")?;
    let mut versions = staged(secrets, &name);
    versions.retain(|(_, stage)| request.include_deprecated || stage.is_some());
    let id = |(version, _): &(Version, _)| version.id.clone();
    let (versions, next) = page(versions, id, request.next_token.as_deref(), limit);
    let versions = versions.into_iter().map(|(version, stage)| {
        let stages: Vec<&str> = stage.into_iter().collect();
        json!({"VersionId": version.id, "VersionStages": stages, "CreatedDate": seconds(version.created_at)})
    });
    let (arn, versions) = (names::secret_arn(&name), versions.collect::<Vec<_>>());
    ok(&without_nulls(json!({"ARN": arn, "Name": name, "Versions": versions, "NextToken": next})))
}

/// A new version, which is the current one from now on.
pub fn put(secrets: &Secrets, call: &Call<'_>) -> Outcome {
    let request: PutSecretValue = call.parse()?;
    let name = named(secrets, call, &request.secret_id)?;
    let version = version(request)?;
    let answer = shown(&name, &version, Some(CURRENT));
    match secrets.versions(&name).into_iter().find(|there| there.id == version.id) {
        // The same call again.
        Some(there) if there.text == version.text => return ok(&answer),
        Some(_) => {
            let message = "a version with this ClientRequestToken has another SecretString";
            return Err(ApiError::new("ResourceExistsException", message));
        }
        None => {}
    }
    let failed = |e| ApiError { status: 500, ..ApiError::new("InternalServiceError", format!("{e}")) };
    secrets.put(&name, version).map_err(failed)?;
    ok(&answer)
}

/// The version that a caller puts. The SDKs and the CLI make a token of their own.
fn version(request: PutSecretValue) -> Result<Version, ApiError> {
    let refused = |message: &str| ApiError::new("InvalidParameterException", message);
    let text = request.secret_string.filter(|text| TEXT.contains(&text.len()));
    let token = request.client_request_token.filter(|token| TOKEN.contains(&token.chars().count()));
    let text = text.ok_or_else(|| refused("SecretString has to have 1 to 65536 bytes"))?;
    let id = token.ok_or_else(|| refused("ClientRequestToken has to have 32 to 64 characters"))?;
    Ok(Version { id, text, created_at: chrono::Utc::now().timestamp_millis() })
}
