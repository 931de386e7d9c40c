//! Secrets Manager's secrets: given by a template, or made at the first start and kept with the data.

use crate::outside::token_issuer::keep;
use crate::template::names;
use crate::template::resources::{GenerateSecretString, Model, Secret};
use anyhow::{Context, Result, ensure};
use rsa::rand_core::{OsRng, RngCore};
use std::collections::BTreeMap;
use std::path::Path;

/// Secrets Manager's default.
const LENGTH: u32 = 32;
const SYMBOLS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The text of every secret that the templates declare, by ARN.
///
/// # Errors
/// When one has neither a text nor a rule to make it, or cannot be kept in `folder`.
pub fn secrets(model: &Model, folder: Option<&Path>) -> Result<BTreeMap<String, String>> {
    let path = folder.map(|folder| folder.join("secrets.json"));
    let text = path.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
    let mut made: BTreeMap<String, String> = match &text {
        Some(text) => serde_json::from_str(text).context("secrets.json does not hold secrets")?,
        None => BTreeMap::new(),
    };
    let before = made.len();
    let mut secrets = BTreeMap::new();
    for secret in &model.secrets {
        let text = text_of(secret, &mut made)?;
        secrets.insert(names::arn("secretsmanager", &format!("secret:{}-local0", secret.name)), text);
    }
    if let Some(path) = path.filter(|_| made.len() > before) {
        keep(&path, &serde_json::to_vec(&made)?).with_context(|| path.display().to_string())?;
    }
    Ok(secrets)
}

fn text_of(secret: &Secret, made: &mut BTreeMap<String, String>) -> Result<String> {
    match (&secret.secret_string, &secret.generate_secret_string) {
        (Some(text), None) => Ok(text.clone()),
        (None, Some(rule)) => {
            ensure!(rule.exclude_punctuation, "{}: the local stack makes no punctuation", secret.name);
            Ok(made.entry(secret.name.clone()).or_insert_with(|| random(rule)).clone())
        }
        _ => anyhow::bail!("{}: needs either SecretString or GenerateSecretString", secret.name),
    }
}

fn random(rule: &GenerateSecretString) -> String {
    let length = usize::try_from(rule.password_length.unwrap_or(LENGTH)).unwrap_or_default();
    let symbol = || SYMBOLS.get(usize::from(OsRng.next_u32() as u8 & 63)).copied();
    std::iter::from_fn(|| Some(symbol())).flatten().take(length).map(char::from).collect()
}
