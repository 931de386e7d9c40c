//! The JWT authorizer: which tokens a route lets in, and what the route's function learns of them.
//!
//! - A token names its key (`kid`), has the configured issuer, is signed with RSA, and is neither too old (`exp`) nor from the
//!   future (`nbf`, `iat`). `aud`, a text or a list, has one of the configured audiences; a token without it has one as its
//!   `client_id`. Its scopes are `scope`, a text, or `scp`, a text or a list; one of them has to be one of the route's:
//!   <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>
//! - The function gets every claim as a text: a list as `[a b]`, a claim that is null not at all. `jwt.scopes` is the list of
//!   the token's scopes where the route asks for some, and null where it does not. AWS documents neither; both were measured:
//!   <https://github.com/floci-io/floci/pull/2011>

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

/// A token that was let in, as the route's function gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its claims, every one a text.
    pub claims: Map<String, Value>,
    /// All its scopes, where the route asks for some.
    pub scopes: Option<Vec<String>>,
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

    /// Checks the `authorization` header of a request against a route's configuration and scopes, one of which is enough.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check(
        &self,
        authorization: Option<&str>,
        jwt: &JwtConfiguration,
        wanted: &[String],
    ) -> Result<Token, Denied> {
        let token = authorization.ok_or(Denied::Unauthorized)?;
        let token = match token.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
            _ => token,
        };
        let claims = self.verify(token.trim(), jwt).ok_or(Denied::Unauthorized)?;
        let scopes = scopes(&claims);
        if !wanted.is_empty() && !scopes.iter().any(|scope| wanted.contains(scope)) {
            return Err(Denied::Forbidden);
        }
        let claims = claims.into_iter().filter_map(|(name, value)| Some((name, as_text(value)?.into())));
        Ok(Token { claims: claims.collect(), scopes: (!wanted.is_empty()).then_some(scopes) })
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
        is_current(&claims, chrono::Utc::now().timestamp()).then_some(claims)
    }

    fn decode(&self, token: &str, jwt: &JwtConfiguration) -> Option<Map<String, Value>> {
        // The key is chosen by its name, as from a list of several.
        let named = jsonwebtoken::decode_header(token).ok()?;
        if named.kid.as_deref() != Some(KEY_ID) {
            return None;
        }
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_issuer(&[&jwt.issuer]);
        rules.set_required_spec_claims(&["exp", "iss"]);
        // Times and audience are checked here, as API Gateway does: without leeway, and with `client_id`.
        (rules.validate_exp, rules.validate_aud) = (false, false);
        let claims: Map<String, Value> = jsonwebtoken::decode(token, &self.key, &rules).ok()?.claims;
        is_for(&claims, &jwt.audience).then_some(claims)
    }
}

/// Whether a token is for one of these audiences. `client_id` counts only for a token without `aud`.
fn is_for(claims: &Map<String, Value>, audiences: &[String]) -> bool {
    let named = claims.get("aud").or_else(|| claims.get("client_id"));
    named.is_some_and(|named| texts(named).iter().any(|one| audiences.contains(one)))
}

fn is_current(claims: &Map<String, Value>, now: i64) -> bool {
    let time = |name: &str| claims.get(name).map(Value::as_i64);
    let has_begun = |name: &str| time(name).is_none_or(|at| at.is_some_and(|at| at <= now));
    time("exp").flatten().is_some_and(|exp| exp > now) && has_begun("nbf") && has_begun("iat")
}

/// The scopes of a token. One with both claims is read by `scope`.
fn scopes(claims: &Map<String, Value>) -> Vec<String> {
    match (claims.get("scope").and_then(Value::as_str), claims.get("scp")) {
        (Some(scope), _) => split(scope),
        (None, Some(Value::String(scopes))) => split(scopes),
        (None, scopes) => scopes.map(texts).unwrap_or_default(),
    }
}

fn split(scopes: &str) -> Vec<String> {
    scopes.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
}

/// A text, or the texts of a list.
fn texts(value: &Value) -> Vec<String> {
    let values = value.as_array().map_or(std::slice::from_ref(value), |values| values.as_slice());
    values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn as_text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        Value::Array(values) => {
            let parts: Vec<String> = values.into_iter().filter_map(as_text).collect();
            Some(format!("[{}]", parts.join(" ")))
        }
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::token_issuer::{Dialect, SCOPES};
    use jsonwebtoken::Header;
    use serde_json::json;

    const URL: &str = "http://here";
    const AUDIENCE: &str = "quadrille";

    fn wanted(issuer: &str, audience: &str) -> JwtConfiguration {
        JwtConfiguration { issuer: issuer.into(), audience: vec![audience.into()] }
    }

    fn fresh() -> TokenIssuer {
        TokenIssuer::open(None, URL, Dialect::Plain).unwrap()
    }

    /// What `changes` make of the claims of a good token.
    fn signed(issuer: &TokenIssuer, kid: Option<&str>, changes: &Value) -> String {
        let mut claims = json!({"iss": URL, "aud": AUDIENCE, "sub": "ada", "scope": "orders:read", "iat": 1,
            "exp": i64::MAX});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| *value != "absent");
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::RS256) };
        issuer.sign(&header, &claims).unwrap()
    }

    /// Guards: signature, issuer, key, audience, age and scope are each checked.
    #[test]
    fn a_token_holds_only_for_whom_it_was_made() {
        let issuer = fresh();
        let authorizer = Authorizer::new(&issuer);
        let token = issuer.token("ada", "orders:read orders:write").unwrap();
        let scopes = ["orders:read".to_owned()];
        let good = wanted(URL, AUDIENCE);
        let bearer = format!("Bearer {token}");
        let Token { claims, scopes: all } = authorizer.check(Some(&bearer), &good, &scopes).unwrap();
        assert_eq!((&claims["sub"], &claims["scope"]), (&json!("ada"), &json!("orders:read orders:write")));
        assert_eq!(all, Some(vec!["orders:read".to_owned(), "orders:write".to_owned()]));
        assert_eq!(authorizer.check(Some(&bearer), &good, &[]).unwrap().scopes, None);
        assert_eq!(authorizer.check(None, &good, &scopes), Err(Denied::Unauthorized));
        for other in [wanted("http://there", AUDIENCE), wanted(URL, "others")] {
            assert_eq!(authorizer.check(Some(&bearer), &other, &scopes), Err(Denied::Unauthorized));
        }
        let missing = ["products:write".to_owned()];
        assert_eq!(authorizer.check(Some(&bearer), &good, &missing), Err(Denied::Forbidden));
        let stranger = fresh().token("ada", SCOPES).unwrap();
        let (head, rest) = token.split_once('.').unwrap();
        let (body, _) = rest.split_once('.').unwrap();
        let unnamed = signed(&issuer, None, &json!({}));
        for bad in [stranger, unnamed, format!("{head}.{body}."), "nonsense".to_owned()] {
            assert_eq!(authorizer.check(Some(&bad), &good, &scopes), Err(Denied::Unauthorized), "{bad}");
        }
    }

    /// Guards: each rule about the times, the audience and the scopes of a token, in the forms that issuers write.
    #[test]
    fn claims_are_read_in_every_form() {
        let issuer = fresh();
        let authorizer = Authorizer::new(&issuer);
        let scopes = ["orders:read".to_owned()];
        let checked = |changes: &Value| {
            let token = signed(&issuer, Some(KEY_ID), changes);
            authorizer.check(Some(&token), &wanted(URL, AUDIENCE), &scopes).map(|token| token.claims)
        };
        for good in [
            json!({}),
            json!({"aud": ["others", AUDIENCE]}),
            json!({"aud": "absent", "client_id": AUDIENCE}),
            json!({"scope": "absent", "scp": "x orders:read"}),
            json!({"scope": "absent", "scp": ["x", "orders:read"]}),
        ] {
            assert!(checked(&good).is_ok(), "{good}");
        }
        let future = chrono::Utc::now().timestamp() + 30;
        for bad in [
            json!({"exp": 1}),
            json!({"exp": "absent"}),
            json!({"nbf": future}),
            json!({"iat": future}),
            json!({"aud": "others", "client_id": AUDIENCE}),
            json!({"aud": "absent", "client_id": "others"}),
            json!({"aud": "absent"}),
        ] {
            assert_eq!(checked(&bad), Err(Denied::Unauthorized), "{bad}");
        }
        for bare in [json!({"scope": "orders:reader"}), json!({"scope": "absent"}), json!({"scope": ""})] {
            assert_eq!(checked(&bare), Err(Denied::Forbidden), "{bare}");
        }
        let list = json!({"scope": "absent", "scp": ["x orders:operate y", "orders:read"]});
        let token = signed(&issuer, Some(KEY_ID), &list);
        let seen = authorizer.check(Some(&token), &wanted(URL, AUDIENCE), &scopes).unwrap().scopes;
        assert_eq!(seen.unwrap(), ["x orders:operate y", "orders:read"], "the elements of a list are whole");
        let claims = checked(&json!({"groups": ["a", "b"], "level": 7, "none": null})).unwrap();
        assert_eq!((&claims["groups"], &claims["level"]), (&json!("[a b]"), &json!("7")));
        assert!(!claims.contains_key("none"));
    }
}
