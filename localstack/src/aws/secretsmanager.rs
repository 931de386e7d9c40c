//! Secrets Manager: secrets created by an operator, given by a template, or generated at the first start. What is generated,
//! and what an operator puts later, is kept with the data.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>

use crate::aws::protocol::{ApiError, Call, Outcome, ok};
use crate::support::secret_file;
use crate::template::names;
use crate::template::resources::{GenerateSecretString, Secret};
use anyhow::{Context, Result, ensure};
use rsa::rand_core::{OsRng, RngCore};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The file in the data folder.
pub const FILE: &str = "secrets.json";

/// Secrets Manager's default length.
const LENGTH: u32 = 32;
/// The symbols of generated secrets.
const SYMBOLS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// AWS's limits of a text, in bytes, and of the token that becomes its version's id, in characters.
const TEXT: RangeInclusive<usize> = 1..=65_536;
const TOKEN: RangeInclusive<usize> = 32..=64;

/// The secrets of the stack.
pub struct Secrets {
    state: Mutex<State>,
    path: Option<PathBuf>,
}

struct State {
    /// The versions of each secret, the current one last, by the secret's name.
    secrets: BTreeMap<String, Vec<Version>>,
    /// The texts that no template and no option gives, by the secret's name.
    kept: BTreeMap<String, String>,
}

struct Version {
    id: String,
    text: String,
}

/// The fields of all operations together; any other is refused.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Request {
    secret_id: String,
    secret_string: Option<String>,
    client_request_token: Option<String>,
}

impl Secrets {
    /// The secrets that are `created` already, by name, and the declared ones. Texts that were generated, or put later, are
    /// kept in `folder`, or forgotten without one.
    ///
    /// # Errors
    /// When a secret has neither a text nor a rule to generate it, or cannot be kept.
    pub fn open(
        created: BTreeMap<String, String>,
        declared: &[Secret],
        folder: Option<&Path>,
    ) -> Result<Self> {
        let path = folder.map(|folder| folder.join(FILE));
        let text = path.as_deref().map(secret_file::read).transpose()?.flatten();
        let mut kept: BTreeMap<String, String> = match (&text, &path) {
            (Some(text), Some(path)) => serde_json::from_slice(text).with_context(|| {
                format!("{} does not hold secrets; delete it, and they are made anew", path.display())
            })?,
            _ => BTreeMap::new(),
        };
        let before = kept.len();
        let mut texts = created;
        for secret in declared {
            let text = text_of(secret, &mut kept)?;
            texts.insert(secret.name.clone(), text);
        }
        let first = |(name, text): (String, String)| {
            let text = kept.get(&name).cloned().unwrap_or(text);
            (name, vec![Version { id: uuid::Uuid::new_v4().to_string(), text }])
        };
        let secrets = texts.into_iter().map(first).collect();
        if let Some(path) = path.as_ref().filter(|_| kept.len() > before) {
            write(path, &kept).with_context(|| path.display().to_string())?;
        }
        Ok(Self { state: Mutex::new(State { secrets, kept }), path })
    }

    pub fn answer(&self, call: &Call<'_>) -> Outcome {
        if !["DescribeSecret", "GetSecretValue", "PutSecretValue"].contains(&call.operation) {
            return Err(call.unknown());
        }
        let request: Request = call.parse()?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let name = state.name_of(&request.secret_id)?;
        call.require(&format!("secretsmanager:{}", call.operation), &names::secret_arn(&name))?;
        match call.operation {
            "PutSecretValue" => self.put(&mut state, &name, request),
            _ if request.secret_string.is_some() || request.client_request_token.is_some() => {
                Err(ApiError::new("InvalidParameterException", "SecretString is for PutSecretValue"))
            }
            "DescribeSecret" => state.describe(&name),
            _ => state.current(&name, true),
        }
    }

    /// A new version, which is the current one from now on.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html>
    fn put(&self, state: &mut State, name: &str, request: Request) -> Outcome {
        let (id, text) = version_of(request)?;
        let versions = state.secrets.get(name).map(Vec::as_slice).unwrap_or_default();
        match versions.iter().find(|version| version.id == id) {
            // The same call again.
            Some(version) if version.text == text => return state.current(name, false),
            Some(_) => {
                let message = "a version with this ClientRequestToken has another SecretString";
                return Err(ApiError::new("ResourceExistsException", message));
            }
            None => {}
        }
        let mut kept = state.kept.clone();
        kept.insert(name.to_owned(), text.clone());
        if let Some(path) = &self.path {
            let failed =
                |e| ApiError { status: 500, ..ApiError::new("InternalServiceError", format!("{e}")) };
            write(path, &kept).map_err(failed)?;
        }
        state.kept = kept;
        state.secrets.entry(name.to_owned()).or_default().push(Version { id, text });
        state.current(name, false)
    }
}

impl State {
    /// The secret with this name, this ARN, or this ARN without its random end.
    fn name_of(&self, id: &str) -> Result<String, ApiError> {
        let is_meant = |name: &&String| {
            let arn = names::secret_arn(name);
            *name == id || arn == id || arn.rsplit_once('-').is_some_and(|(partial, _)| partial == id)
        };
        self.secrets.keys().find(is_meant).cloned().ok_or_else(|| {
            let message = "Secrets Manager can't find the specified secret.";
            ApiError::new("ResourceNotFoundException", message)
        })
    }

    fn current(&self, name: &str, with_text: bool) -> Outcome {
        let version = self.secrets.get(name).and_then(|versions| versions.last());
        let mut answer = json!({"ARN": names::secret_arn(name), "Name": name,
            "VersionId": version.map(|version| &version.id), "VersionStages": ["AWSCURRENT"]});
        if with_text {
            answer["SecretString"] = json!(version.map(|version| &version.text));
        }
        ok(&answer)
    }

    fn describe(&self, name: &str) -> Outcome {
        let versions = self.secrets.get(name).into_iter().flatten().rev();
        let stages = versions.zip(["AWSCURRENT", "AWSPREVIOUS"]);
        let stages: BTreeMap<_, _> = stages.map(|(version, stage)| (&version.id, [stage])).collect();
        ok(&json!({"ARN": names::secret_arn(name), "Name": name, "VersionIdsToStages": stages}))
    }
}

/// The id and the text of the version that a caller puts. The SDKs and the CLI make a token of their own.
fn version_of(request: Request) -> Result<(String, String), ApiError> {
    let refused = |message: &str| ApiError::new("InvalidParameterException", message);
    let text = request.secret_string.filter(|text| TEXT.contains(&text.len()));
    let token = request.client_request_token.filter(|token| TOKEN.contains(&token.chars().count()));
    let text = text.ok_or_else(|| refused("SecretString has to have 1 to 65536 bytes"))?;
    Ok((token.ok_or_else(|| refused("ClientRequestToken has to have 32 to 64 characters"))?, text))
}

fn write(path: &Path, kept: &BTreeMap<String, String>) -> std::io::Result<()> {
    secret_file::write(path, json!(kept).to_string().as_bytes())
}

fn text_of(secret: &Secret, generated: &mut BTreeMap<String, String>) -> Result<String> {
    match (&secret.secret_string, &secret.generate_secret_string) {
        (Some(text), None) => Ok(text.clone()),
        (None, Some(rule)) => {
            ensure!(rule.exclude_punctuation, "{}: the local stack makes no punctuation", secret.name);
            Ok(generated.entry(secret.name.clone()).or_insert_with(|| random(rule)).clone())
        }
        _ => anyhow::bail!("{}: needs either SecretString or GenerateSecretString", secret.name),
    }
}

fn random(rule: &GenerateSecretString) -> String {
    let length = usize::try_from(rule.password_length.unwrap_or(LENGTH)).unwrap_or_default();
    let symbol = || SYMBOLS.get(usize::from(OsRng.next_u32() as u8 & 63)).copied();
    std::iter::from_fn(|| Some(symbol())).flatten().take(length).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::iam::{Caller, Iam};
    use serde_json::Value;

    const NAME: &str = "local-quadrille-payments-provider";
    const TOKEN: &str = "36d83e54-ba4e-5757-878d-04f18c04fcdb";

    fn open(folder: Option<&Path>) -> Secrets {
        Secrets::open(BTreeMap::from([(NAME.to_owned(), "old".to_owned())]), &[], folder).unwrap()
    }

    fn call(secrets: &Secrets, caller: &Caller, operation: &str, body: &Value) -> Result<Value, String> {
        let (iam, body) = (Iam::default(), body.to_string());
        let call = Call { caller, iam: &iam, operation, body: body.as_bytes() };
        let answer = secrets.answer(&call);
        answer.map(|(_, body)| serde_json::from_slice(&body).unwrap()).map_err(|error| error.code.to_owned())
    }

    fn asked(secrets: &Secrets, operation: &str, body: &Value) -> Result<Value, String> {
        call(secrets, &Caller::Administrator, operation, body)
    }

    fn text(secrets: &Secrets, id: &str) -> Result<Value, String> {
        asked(secrets, "GetSecretValue", &json!({"SecretId": id}))
            .map(|answer| answer["SecretString"].clone())
    }

    fn put(text: &str, token: &str) -> Value {
        json!({"SecretId": NAME, "SecretString": text, "ClientRequestToken": token})
    }

    /// Guards: what an operator puts is the current text at once, and after a restart; the same call again changes nothing.
    #[test]
    fn what_is_put_is_current_and_kept() {
        let folder = std::env::temp_dir().join(format!("secrets-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder).unwrap();
        let secrets = open(Some(&folder));
        assert_eq!(text(&secrets, NAME).unwrap(), "old");
        for _ in 0..2 {
            let answer = asked(&secrets, "PutSecretValue", &put("new", TOKEN)).unwrap();
            assert_eq!((&answer["VersionId"], &answer["SecretString"]), (&json!(TOKEN), &Value::Null));
        }
        let stages = asked(&secrets, "DescribeSecret", &json!({"SecretId": NAME})).unwrap();
        assert_eq!(stages["VersionIdsToStages"][TOKEN], json!(["AWSCURRENT"]));
        assert_eq!(stages["VersionIdsToStages"].as_object().unwrap().len(), 2);
        assert_eq!(text(&secrets, &names::secret_arn(NAME)).unwrap(), "new");
        assert_eq!(text(&open(Some(&folder)), NAME).unwrap(), "new");
        assert_eq!(text(&open(None), NAME).unwrap(), "old");
        std::fs::remove_dir_all(&folder).unwrap();
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
}
