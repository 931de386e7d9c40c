//! Secrets Manager: secrets created by an operator, given by a template, or generated at the first start and kept with the data.
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
use std::path::Path;

/// Secrets Manager's default length.
const LENGTH: u32 = 32;
/// The symbols of generated secrets.
const SYMBOLS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The text of every secret, by ARN.
pub struct Secrets(BTreeMap<String, String>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetSecretValue {
    secret_id: String,
}

impl Secrets {
    /// The secrets that are `created` already, by ARN, and the declared ones; generated texts are kept in `folder`, or
    /// forgotten without one.
    ///
    /// # Errors
    /// When a secret has neither a text nor a rule to generate it, or cannot be kept.
    pub fn open(
        created: BTreeMap<String, String>,
        declared: &[Secret],
        folder: Option<&Path>,
    ) -> Result<Self> {
        let path = folder.map(|folder| folder.join("secrets.json"));
        let text = path.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        let mut generated: BTreeMap<String, String> = match &text {
            Some(text) => serde_json::from_str(text).context("secrets.json does not hold secrets")?,
            None => BTreeMap::new(),
        };
        let before = generated.len();
        let mut secrets = created;
        for secret in declared {
            let text = text_of(secret, &mut generated)?;
            secrets.insert(names::secret_arn(&secret.name), text);
        }
        if let Some(path) = path.filter(|_| generated.len() > before) {
            let text = serde_json::to_vec(&generated)?;
            secret_file::write(&path, &text).with_context(|| path.display().to_string())?;
        }
        Ok(Self(secrets))
    }

    pub fn answer(&self, call: &Call<'_>) -> Outcome {
        if call.operation != "GetSecretValue" {
            return Err(call.unknown());
        }
        let GetSecretValue { secret_id } = call.parse()?;
        let is_meant = |arn: &str| arn == secret_id || arn.contains(&format!(":{secret_id}-"));
        let (arn, text) = self.0.iter().find(|(arn, _)| is_meant(arn)).ok_or_else(|| {
            let message = "Secrets Manager can't find the specified secret.";
            ApiError::new("ResourceNotFoundException", message)
        })?;
        call.require("secretsmanager:GetSecretValue", arn)?;
        ok(&json!({"ARN": arn, "Name": secret_id, "VersionId": "local", "SecretString": text}))
    }
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
