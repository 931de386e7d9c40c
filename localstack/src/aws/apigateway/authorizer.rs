//! The JWT authorizer: which tokens a route lets in.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>

use crate::outside::token_issuer::{KEY_ID, TokenIssuer};
use crate::template::resources::JwtConfiguration;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The most verified tokens that are remembered.
const MAX_TOKENS: usize = 1000;

/// Checks tokens against the key of one issuer.
pub struct Authorizer {
    key: DecodingKey,
    verified: Mutex<HashMap<String, Map<String, Value>>>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// There is no token, or it is not valid.
    Unauthorized,
    /// The token is valid and has none of the route's scopes.
    Forbidden,
}

impl Authorizer {
    #[must_use]
    pub fn new(issuer: &TokenIssuer) -> Self {
        Self { key: issuer.verifying_key(), verified: Mutex::default() }
    }

    /// Checks the `authorization` header of a request against a route's configuration and scopes, one of which is
    /// enough; returns the claims as the function gets them, every one a text.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check(
        &self,
        authorization: Option<&str>,
        jwt: &JwtConfiguration,
        scopes: &[String],
    ) -> Result<Map<String, Value>, Denied> {
        let token = authorization.ok_or(Denied::Unauthorized)?;
        let token = match token.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
            _ => token,
        };
        let claims = self.verify(token.trim(), jwt).ok_or(Denied::Unauthorized)?;
        let granted = claims.get("scope").and_then(Value::as_str).unwrap_or_default();
        if !scopes.is_empty() && !granted.split(' ').any(|scope| scopes.iter().any(|s| s == scope)) {
            return Err(Denied::Forbidden);
        }
        let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(claims.into_iter().map(|(name, value)| (name, text(value).into())).collect())
    }

    /// The claims of a valid token. The signature of a token is checked once, its age every time.
    fn verify(&self, token: &str, jwt: &JwtConfiguration) -> Option<Map<String, Value>> {
        let key = format!("{} {} {token}", jwt.issuer, jwt.audience.join(" "));
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let claims = match verified.get(&key) {
            Some(claims) => claims.clone(),
            None => {
                let claims = self.decode(token, jwt)?;
                if verified.len() >= MAX_TOKENS {
                    verified.clear();
                }
                verified.insert(key, claims.clone());
                claims
            }
        };
        (claims.get("exp")?.as_i64()? > chrono::Utc::now().timestamp()).then_some(claims)
    }

    fn decode(&self, token: &str, jwt: &JwtConfiguration) -> Option<Map<String, Value>> {
        // The key is chosen by its name, as from a list of several.
        let named = jsonwebtoken::decode_header(token).ok()?;
        if named.kid.as_deref() != Some(KEY_ID) {
            return None;
        }
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_issuer(&[&jwt.issuer]);
        rules.set_audience(&jwt.audience);
        rules.validate_nbf = true;
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        jsonwebtoken::decode(token, &self.key, &rules).ok().map(|checked| checked.claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::token_issuer::{AUDIENCE, Claims, SCOPES};
    use jsonwebtoken::Header;
    use serde_json::json;

    fn wanted(issuer: &str, audience: &str) -> JwtConfiguration {
        JwtConfiguration { issuer: issuer.into(), audience: vec![audience.into()] }
    }

    /// Guards: signature, issuer, audience, age and scope are each checked.
    #[test]
    fn a_token_holds_only_for_whom_it_was_made() {
        let issuer = TokenIssuer::open(None, "http://here".into()).unwrap();
        let authorizer = Authorizer::new(&issuer);
        let token = issuer.token("ada", "orders:read orders:write").unwrap();
        let scopes = ["orders:read".to_owned()];
        let good = wanted("http://here", AUDIENCE);
        let bearer = format!("Bearer {token}");
        let claims = authorizer.check(Some(&bearer), &good, &scopes).unwrap();
        assert_eq!((&claims["sub"], &claims["scope"]), (&json!("ada"), &json!("orders:read orders:write")));
        assert_eq!(authorizer.check(None, &good, &scopes), Err(Denied::Unauthorized));
        for other in [wanted("http://there", AUDIENCE), wanted("http://here", "others")] {
            assert_eq!(authorizer.check(Some(&bearer), &other, &scopes), Err(Denied::Unauthorized));
        }
        let missing = ["products:write".to_owned()];
        assert_eq!(authorizer.check(Some(&bearer), &good, &missing), Err(Denied::Forbidden));
        let stranger = TokenIssuer::open(None, "http://here".into()).unwrap().token("ada", SCOPES).unwrap();
        let old = Claims { iss: "http://here", aud: AUDIENCE, sub: "ada", scope: SCOPES, iat: 0, exp: 1 };
        let named = Header { kid: Some(KEY_ID.into()), ..Header::new(Algorithm::RS256) };
        let old = issuer.sign(&named, &old).unwrap();
        let young =
            Claims { iss: "http://here", aud: AUDIENCE, sub: "ada", scope: SCOPES, iat: 0, exp: i64::MAX };
        let unnamed = issuer.sign(&Header::new(Algorithm::RS256), &young).unwrap();
        let (head, rest) = token.split_once('.').unwrap();
        let (body, _) = rest.split_once('.').unwrap();
        let unsigned = format!("{head}.{body}.");
        for bad in [stranger, old, unnamed, unsigned, "nonsense".to_owned()] {
            assert_eq!(authorizer.check(Some(&bad), &good, &scopes), Err(Denied::Unauthorized), "{bad}");
        }
    }
}
