//! A token issuer for one machine. Its key is made at the first start and kept with the data, so that a token outlives
//! a restart. It issues any token to any caller that reaches the AWS endpoint on loopback: it stands for the login page
//! that a real issuer would show. Its tokens have the shape of one of several [dialects](Dialect).

mod dialect;

pub use dialect::{Dialect, Grant};

use crate::support::http::{self, Response};
use crate::support::secret_file;
use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hyper::StatusCode;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, rand_core::OsRng};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// The issuer's path below the AWS endpoint.
pub const PATH: &str = "/issuer";
/// The name of its one key.
pub const KEY_ID: &str = "local";
/// RSA, because API Gateway accepts nothing else.
const BITS: usize = 2048;
/// The file with the key.
pub const FILE: &str = "issuer.der";
/// How long a token is valid: 30 days, for a first look, an export in a shell, a month of tests.
const SECONDS: i64 = 30 * 24 * 3600;
/// Every scope that a route asks for, and the operator's.
pub const SCOPES: &str = "orders:read orders:write orders:operate products:write";
/// The scopes of a customer.
const CUSTOMER_SCOPES: &str = "orders:read orders:write";

/// Clones share its key.
#[derive(Clone)]
pub struct TokenIssuer(Arc<Keys>);

struct Keys {
    dialect: Dialect,
    /// As its tokens spell it.
    url: String,
    signing: EncodingKey,
    verifying: DecodingKey,
    /// The public key as a JSON Web Key.
    public: Value,
}

/// `?subject=ada&scope=orders:read`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    #[serde(default = "default_subject")]
    subject: String,
    scope: Option<String>,
}

fn default_subject() -> String {
    "ada".into()
}

impl TokenIssuer {
    /// The issuer below `url`, with the key that `folder` keeps; without a folder it is made anew.
    ///
    /// # Errors
    /// When the key cannot be made, read or kept.
    pub fn open(folder: Option<&Path>, url: &str, dialect: Dialect) -> Result<Self> {
        let path = folder.map(|folder| folder.join(FILE));
        let kept = secret_file::read(path.as_deref())?;
        let key = match (&kept, &path) {
            (Some(der), Some(path)) => RsaPrivateKey::from_pkcs1_der(der).with_context(|| {
                format!("{} does not hold a key; delete it, and tokens of before are refused", path.display())
            })?,
            _ => RsaPrivateKey::new(&mut OsRng, BITS)?,
        };
        let der = key.to_pkcs1_der()?;
        if let (Some(path), None) = (&path, kept) {
            secret_file::write(path, der.as_bytes()).with_context(|| path.display().to_string())?;
        }
        let part = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        let (n, e) = (part(key.n().to_bytes_be()), part(key.e().to_bytes_be()));
        Ok(Self(Arc::new(Keys {
            dialect,
            url: format!("{url}{}", dialect.path()),
            signing: EncodingKey::from_rsa_der(der.as_bytes()),
            verifying: DecodingKey::from_rsa_components(&n, &e)?,
            public: json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID, "n": n, "e": e}),
        })))
    }

    /// The customer's id of `subject`, as the platform reads it from a token.
    #[must_use]
    pub fn customer(&self, subject: &str) -> String {
        self.0.dialect.customer(subject)
    }

    /// A token for `subject`; the scopes have this project's names and are separated by blanks.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(&self, subject: &str, scope: &str) -> Result<String> {
        let issued = chrono::Utc::now().timestamp();
        let grant = Grant {
            issuer: &self.0.url,
            subject,
            scopes: scope,
            issued,
            expires: issued.saturating_add(SECONDS),
        };
        let header = Header { kid: Some(KEY_ID.into()), ..Header::new(Algorithm::RS256) };
        self.sign(&header, &self.0.dialect.claims(&grant))
    }

    pub(crate) fn sign(&self, header: &Header, claims: &Value) -> Result<String> {
        Ok(jsonwebtoken::encode(header, claims, &self.0.signing)?)
    }

    /// The key that verifies its tokens.
    #[must_use]
    pub fn verifying_key(&self) -> DecodingKey {
        self.0.verifying.clone()
    }

    /// Answers a request below [`PATH`]: discovery, keys, and tokens for any caller.
    #[must_use]
    pub fn answer(&self, path: &str, query: &str) -> Response {
        let url = &self.0.url;
        let base = url.trim_end_matches('/');
        // Shells get their tokens at the same place in every dialect.
        let own = self.0.dialect.path();
        match path.strip_prefix(own.trim_end_matches('/')).unwrap_or(path) {
            "/.well-known/openid-configuration" => json_answer(&json!({
                "issuer": url, "jwks_uri": format!("{base}/keys"), "token_endpoint": format!("{base}/token"),
                "id_token_signing_alg_values_supported": ["RS256"], "claims_supported": [self.0.dialect.customer_claim()],
            })),
            "/keys" => json_answer(&json!({"keys": [self.0.public]})),
            "/token" => self.issue(query),
            _ => http::empty(StatusCode::NOT_FOUND),
        }
    }

    /// Answers with the token alone, for a shell to keep in a variable.
    fn issue(&self, query: &str) -> Response {
        let asked: Result<TokenRequest, _> = serde_json::from_value(
            form_urlencoded::parse(query.as_bytes()).map(|(n, v)| (n.into_owned(), Value::from(v))).collect(),
        );
        let issued = asked
            .context("the parameters are subject and scope")
            .and_then(|asked| self.token(&asked.subject, asked.scope.as_deref().unwrap_or(CUSTOMER_SCOPES)));
        match issued {
            Ok(token) => http::json(200, "text/plain", token),
            Err(error) => http::json(400, "text/plain", format!("{error:#}")),
        }
    }
}

fn json_answer(value: &Value) -> Response {
    http::json(200, "application/json", value.to_string())
}
