//! What the calls of Secrets Manager keep, and what they refuse.

use super::{Secrets, api};
use crate::aws::iam::{Caller, Iam};
use crate::aws::protocol::{Call, operations};
use crate::template::names;
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const NAME: &str = "local-quadrille-payments-provider";
const TOKEN: &str = "36d83e54-ba4e-5757-878d-04f18c04fcdb";

fn open(folder: Option<&Path>) -> Secrets {
    Secrets::open(BTreeMap::from([(NAME.to_owned(), "old".to_owned())]), &[], folder).unwrap()
}

fn call(secrets: &Secrets, caller: &Caller, operation: &str, body: &Value) -> Result<Value, String> {
    let (iam, body) = (Iam::default(), body.to_string());
    let call = Call { caller, iam: &iam, operation, body: body.as_bytes() };
    let answer = operations::answer(api::OPERATIONS, secrets, &call).now_or_never().unwrap();
    answer.map(|(_, body)| serde_json::from_slice(&body).unwrap()).map_err(|error| error.code.to_owned())
}

fn asked(secrets: &Secrets, operation: &str, body: &Value) -> Result<Value, String> {
    call(secrets, &Caller::Administrator, operation, body)
}

fn text(secrets: &Secrets, id: &str) -> Result<Value, String> {
    asked(secrets, "GetSecretValue", &json!({"SecretId": id})).map(|answer| answer["SecretString"].clone())
}

fn put(text: &str, token: &str) -> Value {
    json!({"SecretId": NAME, "SecretString": text, "ClientRequestToken": token})
}

/// Guards: what an operator puts is the current text at once, and after a restart; the same call again changes nothing.
#[test]
fn what_is_put_is_current_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = open(Some(folder.path()));
    assert_eq!(text(&secrets, NAME).unwrap(), "old");
    for _ in 0..2 {
        let answer = asked(&secrets, "PutSecretValue", &put("new", TOKEN)).unwrap();
        assert_eq!((&answer["VersionId"], &answer["SecretString"]), (&json!(TOKEN), &Value::Null));
    }
    let stages = asked(&secrets, "DescribeSecret", &json!({"SecretId": NAME})).unwrap();
    assert_eq!(stages["VersionIdsToStages"][TOKEN], json!(["AWSCURRENT"]));
    assert_eq!(stages["VersionIdsToStages"].as_object().unwrap().len(), 2);
    assert_eq!(text(&secrets, &names::secret_arn(NAME)).unwrap(), "new");
    assert_eq!(text(&open(Some(folder.path())), NAME).unwrap(), "new");
    assert_eq!(text(&open(None), NAME).unwrap(), "old");
}

/// Guards: what Secrets Manager refuses is refused here, and changes nothing.
#[test]
fn what_secrets_manager_refuses_is_refused() {
    let secrets = open(None);
    asked(&secrets, "PutSecretValue", &put("new", TOKEN)).unwrap();
    let other = "46d83e54-ba4e-5757-878d-04f18c04fcdb";
    let binary = json!({"SecretId": NAME, "SecretBinary": "bmV3", "ClientRequestToken": other});
    for (body, code) in [
        (put("newer", TOKEN), "ResourceExistsException"),
        (put("", other), "InvalidParameterException"),
        (put(&"x".repeat(65_537), other), "InvalidParameterException"),
        (put("newer", "short"), "InvalidParameterException"),
        (json!({"SecretId": NAME, "SecretString": "newer"}), "InvalidParameterException"),
        (binary, "SerializationException"),
    ] {
        assert_eq!(asked(&secrets, "PutSecretValue", &body).unwrap_err(), code, "{body}");
    }
    // A part of a name is no name.
    assert_eq!(text(&secrets, "local-quadrille-payments").unwrap_err(), "ResourceNotFoundException");
    let function = Caller::Role("arn:aws:iam::000000000000:role/payments".into());
    let by_function = call(&secrets, &function, "PutSecretValue", &put("newer", other));
    assert_eq!(by_function.unwrap_err(), "AccessDeniedException");
    assert_eq!(text(&secrets, NAME).unwrap(), "new");
}

/// Guards: a stage or an id names a version, and never another one.
#[test]
fn a_version_is_found_by_its_stage_or_its_id() {
    let secrets = open(None);
    asked(&secrets, "PutSecretValue", &put("new", TOKEN)).unwrap();
    let get = |field: &str, value: &str| {
        asked(&secrets, "GetSecretValue", &json!({"SecretId": NAME, field: value}))
            .map(|answer| answer["SecretString"].clone())
    };
    assert_eq!(get("VersionStage", "AWSPREVIOUS"), Ok(json!("old")));
    assert_eq!(get("VersionStage", "AWSCURRENT"), Ok(json!("new")));
    assert_eq!(get("VersionId", TOKEN), Ok(json!("new")));
    assert_eq!(get("VersionStage", "AWSPENDING"), Err("ResourceNotFoundException".into()));
    let both = json!({"SecretId": NAME, "VersionId": TOKEN, "VersionStage": "AWSPREVIOUS"});
    assert_eq!(asked(&secrets, "GetSecretValue", &both).unwrap_err(), "ResourceNotFoundException");
}
