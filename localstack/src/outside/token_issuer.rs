//! A token issuer for one machine, and the check that API Gateway's JWT authorizer makes of every token.
//!
//! The key is made at the first start and kept with the data, so that a token outlives a restart. Whoever reaches
//! the AWS endpoint on loopback may have any token: it stands for the login page that a real issuer would show.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>

use crate::support::http::{self, Response};
use crate::template::resources::JwtConfiguration;
use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hyper::StatusCode;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, rand_core::OsRng};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the issuer lives below the AWS endpoint.
pub const PATH: &str = "/issuer";
/// The name of its one key.
const KEY_ID: &str = "local";
/// RSA, because API Gateway takes nothing else.
const BITS: usize = 2048;
/// How long a token is good for: long enough for a first look, an export in a shell, a month of tests.
const SECONDS: i64 = 30 * 24 * 3600;
/// The audience of its tokens: the template's default.
const AUDIENCE: &str = "quadrille";

/// Every scope that a route asks for, and the operator's.
pub const SCOPES: &str = "orders:read orders:write orders:operate products:write";

/// The issuer. Clones share its key.
#[derive(Clone)]
pub struct Issuer(Arc<Keys>);

struct Keys {
    url: String,
    signing: EncodingKey,
    checking: DecodingKey,
    public: Value,
    known: Mutex<HashMap<String, Map<String, Value>>>,
}

/// How many verified tokens are remembered.
const MAX_KNOWN: usize = 1000;

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    scope: &'a str,
    iat: i64,
    exp: i64,
}

/// Why a request is turned away: as API Gateway says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No token, or one that does not hold.
    Unauthorized,
    /// A good token without any of the route's scopes.
    Forbidden,
}

impl Issuer {
    /// The issuer at `url`, with the key that `folder` keeps; without a folder it is made anew.
    ///
    /// # Errors
    /// When the key cannot be made, read or kept.
    pub fn open(folder: Option<&Path>, url: String) -> Result<Self> {
        let path = folder.map(|folder| folder.join("issuer.der"));
        let kept = path.as_ref().and_then(|path| std::fs::read(path).ok());
        let key = match &kept {
            Some(der) => RsaPrivateKey::from_pkcs1_der(der).context("issuer.der does not hold a key")?,
            None => RsaPrivateKey::new(&mut OsRng, BITS)?,
        };
        let der = key.to_pkcs1_der()?;
        if let (Some(path), None) = (&path, kept) {
            keep(path, der.as_bytes()).with_context(|| path.display().to_string())?;
        }
        let part = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        let (n, e) = (part(key.n().to_bytes_be()), part(key.e().to_bytes_be()));
        Ok(Self(Arc::new(Keys {
            url,
            signing: EncodingKey::from_rsa_der(der.as_bytes()),
            checking: DecodingKey::from_rsa_components(&n, &e)?,
            public: json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID, "n": n, "e": e}),
            known: Mutex::default(),
        })))
    }

    /// A token for `subject` with these scopes, separated by blanks.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(&self, subject: &str, scope: &str) -> Result<String> {
        let iat = chrono::Utc::now().timestamp();
        let claims = Claims {
            iss: &self.0.url,
            aud: AUDIENCE,
            sub: subject,
            scope,
            iat,
            exp: iat.saturating_add(SECONDS),
        };
        let header = Header { kid: Some(KEY_ID.into()), ..Header::new(Algorithm::RS256) };
        Ok(jsonwebtoken::encode(&header, &claims, &self.0.signing)?)
    }

    /// Checks the `authorization` header of a request against an authorizer and the scopes of a route, any one of
    /// which is enough; gives the claims as the function sees them, every one a text.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check(
        &self,
        authorization: Option<&str>,
        wanted: &JwtConfiguration,
        scopes: &[String],
    ) -> Result<Map<String, Value>, Denied> {
        let token = authorization.ok_or(Denied::Unauthorized)?;
        let token = match token.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
            _ => token,
        };
        let claims = self.verify(token.trim(), wanted).ok_or(Denied::Unauthorized)?;
        let granted = claims.get("scope").and_then(Value::as_str).unwrap_or_default();
        if !scopes.is_empty() && !granted.split(' ').any(|scope| scopes.iter().any(|s| s == scope)) {
            return Err(Denied::Forbidden);
        }
        let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(claims.into_iter().map(|(name, value)| (name, text(value).into())).collect())
    }

    /// A token's claims when it holds. The signature of a token is checked once, its age every time.
    fn verify(&self, token: &str, wanted: &JwtConfiguration) -> Option<Map<String, Value>> {
        let key = format!("{} {} {token}", wanted.issuer, wanted.audience.join(" "));
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let claims = match known.get(&key) {
            Some(claims) => claims.clone(),
            None => {
                let claims = self.decode(token, wanted)?;
                if known.len() >= MAX_KNOWN {
                    known.clear();
                }
                known.insert(key, claims.clone());
                claims
            }
        };
        (claims.get("exp")?.as_i64()? > chrono::Utc::now().timestamp()).then_some(claims)
    }

    fn decode(&self, token: &str, wanted: &JwtConfiguration) -> Option<Map<String, Value>> {
        // The key is chosen by its name, as from a list of several.
        let named = jsonwebtoken::decode_header(token).ok()?;
        if named.kid.as_deref() != Some(KEY_ID) {
            return None;
        }
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_issuer(&[&wanted.issuer]);
        rules.set_audience(&wanted.audience);
        rules.validate_nbf = true;
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        jsonwebtoken::decode(token, &self.0.checking, &rules).ok().map(|checked| checked.claims)
    }

    /// Answers what lies below [`PATH`]: discovery, keys, and tokens for whoever asks.
    #[must_use]
    pub fn answer(&self, path: &str, query: &str) -> Response {
        let url = &self.0.url;
        match path {
            "/.well-known/openid-configuration" => json_answer(&json!({
                "issuer": url, "jwks_uri": format!("{url}/keys"), "token_endpoint": format!("{url}/token"),
                "id_token_signing_alg_values_supported": ["RS256"],
            })),
            "/keys" => json_answer(&json!({"keys": [self.0.public]})),
            "/token" => self.issue(query),
            _ => http::empty(StatusCode::NOT_FOUND),
        }
    }

    /// `?subject=ada&scope=orders:read`: the token alone, for a shell to keep in a variable.
    fn issue(&self, query: &str) -> Response {
        let asked: Result<TokenRequest, _> = serde_json::from_value(
            form_urlencoded::parse(query.as_bytes()).map(|(n, v)| (n.into_owned(), Value::from(v))).collect(),
        );
        let issued = asked
            .context("takes subject and scope")
            .and_then(|asked| self.token(&asked.subject, asked.scope.as_deref().unwrap_or(CUSTOMER_SCOPES)));
        match issued {
            Ok(token) => http::json(200, "text/plain", token),
            Err(error) => http::json(400, "text/plain", format!("{error:#}")),
        }
    }
}

/// What a customer's own token allows.
const CUSTOMER_SCOPES: &str = "orders:read orders:write";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    #[serde(default = "somebody")]
    subject: String,
    scope: Option<String>,
}

fn somebody() -> String {
    "ada".into()
}

fn json_answer(value: &Value) -> Response {
    http::json(200, "application/json", value.to_string())
}

/// Keeps a secret where only its owner reads it.
///
/// # Errors
/// When it cannot be written.
pub fn keep(path: &Path, secret: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(secret)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(issuer: &str, audience: &str) -> JwtConfiguration {
        JwtConfiguration { issuer: issuer.into(), audience: vec![audience.into()] }
    }

    /// Guards: signature, issuer, audience, age and scope are each checked.
    #[test]
    fn a_token_holds_only_for_whom_it_was_made() {
        let issuer = Issuer::open(None, "http://here".into()).unwrap();
        let token = issuer.token("ada", "orders:read orders:write").unwrap();
        let scopes = ["orders:read".to_owned()];
        let good = wanted("http://here", AUDIENCE);
        let bearer = format!("Bearer {token}");
        let claims = issuer.check(Some(&bearer), &good, &scopes).unwrap();
        assert_eq!((&claims["sub"], &claims["scope"]), (&json!("ada"), &json!("orders:read orders:write")));
        assert_eq!(issuer.check(None, &good, &scopes), Err(Denied::Unauthorized));
        for other in [wanted("http://there", AUDIENCE), wanted("http://here", "others")] {
            assert_eq!(issuer.check(Some(&bearer), &other, &scopes), Err(Denied::Unauthorized));
        }
        let missing = ["products:write".to_owned()];
        assert_eq!(issuer.check(Some(&bearer), &good, &missing), Err(Denied::Forbidden));
        let stranger = Issuer::open(None, "http://here".into()).unwrap().token("ada", SCOPES).unwrap();
        let old = Claims { iss: "http://here", aud: AUDIENCE, sub: "ada", scope: SCOPES, iat: 0, exp: 1 };
        let named = Header { kid: Some(KEY_ID.into()), ..Header::new(Algorithm::RS256) };
        let old = jsonwebtoken::encode(&named, &old, &issuer.0.signing).unwrap();
        let young =
            Claims { iss: "http://here", aud: AUDIENCE, sub: "ada", scope: SCOPES, iat: 0, exp: i64::MAX };
        let unnamed =
            jsonwebtoken::encode(&Header::new(Algorithm::RS256), &young, &issuer.0.signing).unwrap();
        let (head, rest) = token.split_once('.').unwrap();
        let (body, _) = rest.split_once('.').unwrap();
        let unsigned = format!("{head}.{body}.");
        for bad in [stranger, old, unnamed, unsigned, "nonsense".to_owned()] {
            assert_eq!(issuer.check(Some(&bad), &good, &scopes), Err(Denied::Unauthorized), "{bad}");
        }
    }
}
