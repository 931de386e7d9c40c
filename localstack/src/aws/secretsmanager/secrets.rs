//! Secrets created by an operator, given by a template, or generated at the first start. What is generated,
//! and what an operator puts later, is kept with the data.

use crate::support::secret_file;
use crate::template::names;
use crate::template::resources::{GenerateSecretString, Secret};
use anyhow::{Context, Result, ensure};
use chrono::Utc;
use rsa::rand_core::{OsRng, RngCore};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The file in the data folder.
pub const FILE: &str = "secrets.json";

/// Secrets Manager's default length.
const LENGTH: u32 = 32;
/// The symbols of generated secrets.
const SYMBOLS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

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

/// A text that a secret had, or has.
#[derive(Clone)]
pub struct Version {
    pub id: String,
    pub text: String,
    /// Epoch milliseconds.
    pub created_at: i64,
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
        let text = secret_file::read(path.as_deref())?;
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
            let (id, created_at) = (uuid::Uuid::new_v4().to_string(), Utc::now().timestamp_millis());
            (name, vec![Version { id, text, created_at }])
        };
        let secrets = texts.into_iter().map(first).collect();
        if let Some(path) = path.as_ref().filter(|_| kept.len() > before) {
            write(path, &kept).with_context(|| path.display().to_string())?;
        }
        Ok(Self { state: Mutex::new(State { secrets, kept }), path })
    }

    /// The secret with this name, this ARN, or this ARN without its random end.
    #[must_use]
    pub fn name_of(&self, id: &str) -> Option<String> {
        let is_meant = |name: &&String| {
            let arn = names::secret_arn(name);
            *name == id || arn == id || arn.rsplit_once('-').is_some_and(|(partial, _)| partial == id)
        };
        self.state().secrets.keys().find(is_meant).cloned()
    }

    /// The names of all.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.state().secrets.keys().cloned().collect()
    }

    /// The versions of a secret, the current one last.
    #[must_use]
    pub fn versions(&self, name: &str) -> Vec<Version> {
        self.state().secrets.get(name).cloned().unwrap_or_default()
    }

    /// Makes a version the current one.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn put(&self, name: &str, version: Version) -> std::io::Result<()> {
        let mut state = self.state();
        let mut kept = state.kept.clone();
        kept.insert(name.to_owned(), version.text.clone());
        if let Some(path) = &self.path {
            write(path, &kept)?;
        }
        state.kept = kept;
        state.secrets.entry(name.to_owned()).or_default().push(version);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
