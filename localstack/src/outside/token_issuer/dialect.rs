//! How the common issuers write their access tokens, and the template parameters that fit each. infra/README.md has the same
//! table for real deployments.
//!
//! - Cognito: <https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html>
//! - Auth0: <https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles>
//! - Okta: <https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/>
//! - Entra: <https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference>

use clap::ValueEnum;
use serde_json::{Value, json};
use uuid::Uuid;

/// An issuer that the local one plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// The templates' own defaults: the customer's name is `sub`, scopes are as the routes spell them.
    #[default]
    Plain,
    /// Amazon Cognito: no `aud`, scopes behind the name of a resource server.
    Cognito,
    /// Auth0: `sub` is `auth0|…`, `aud` a list, the issuer ends with a slash.
    Auth0,
    /// Okta: `scp` is a list, `sub` a login.
    Okta,
    /// Microsoft Entra ID: `scp` is a text, `sub` another one for each application.
    Entra,
}

/// What a token says, before its issuer writes it.
pub struct Grant<'a> {
    pub issuer: &'a str,
    pub subject: &'a str,
    /// By their names in this project, separated by blanks.
    pub scopes: &'a str,
    /// Seconds since 1970.
    pub issued: i64,
    /// Seconds since 1970.
    pub expires: i64,
}

/// The scopes, and the parameters that give them their issuer's names.
const SCOPES: [(&str, &str); 4] = [
    ("orders:read", "ScopeOrdersRead"),
    ("orders:write", "ScopeOrdersWrite"),
    ("orders:operate", "ScopeOrdersOperate"),
    ("products:write", "ScopeProductsWrite"),
];
/// A tenant at Entra, and one client of it.
const TENANT: &str = "9d2a7c34-55f0-4c6e-9b1d-0f2b8d3c7a11";
const CLIENT: &str = "4f6c2f0e-1f0d-4d7a-8f0e-7f6f5b1c2d3e";
/// A client of the others.
const CLIENT_ID: &str = "3n4b5urk1ft4fl3mg5e62d9ado";

impl Dialect {
    /// What stands behind the local issuer's own URL.
    #[must_use]
    pub fn path(self) -> String {
        match self {
            Self::Plain => String::new(),
            Self::Cognito => "/us-east-1_Local0000".into(),
            Self::Auth0 => "/".into(),
            Self::Okta => "/oauth2/default".into(),
            Self::Entra => format!("/{TENANT}/v2.0"),
        }
    }

    /// What `TokenAudience` has to be.
    const fn audience(self) -> &'static str {
        match self {
            Self::Plain => "quadrille",
            Self::Cognito => CLIENT_ID,
            Self::Auth0 => "https://api.shop.example",
            Self::Okta => "api://default",
            Self::Entra => CLIENT,
        }
    }

    /// The claim that names the customer.
    pub(super) const fn customer_claim(self) -> &'static str {
        match self {
            Self::Plain | Self::Cognito | Self::Auth0 => "sub",
            Self::Okta => "uid",
            Self::Entra => "oid",
        }
    }

    /// The issuer's name of a scope.
    fn scope(self, name: &str) -> String {
        match self {
            Self::Plain | Self::Auth0 | Self::Okta => name.to_owned(),
            Self::Cognito => format!("quadrille/{}", name.replace(':', ".")),
            Self::Entra => {
                let parts: Vec<String> = name.split(':').map(capitalised).collect();
                parts.join(".")
            }
        }
    }

    /// The id under which the platform knows a subject: what [`Dialect::customer_claim`] holds.
    #[must_use]
    pub fn customer(self, subject: &str) -> String {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, subject.as_bytes());
        let first = |n: usize| id.simple().to_string().chars().take(n).collect::<String>();
        match self {
            Self::Plain => subject.to_owned(),
            Self::Cognito | Self::Entra => id.to_string(),
            Self::Auth0 => format!("auth0|{}", first(24)),
            Self::Okta => format!("00u{}", first(17)),
        }
    }

    /// The template parameters that fit its tokens.
    #[must_use]
    pub fn parameters(self) -> Vec<(&'static str, String)> {
        let fixed = [("TokenAudience", self.audience()), ("CustomerClaim", self.customer_claim())];
        let scopes = SCOPES.map(|(name, parameter)| (parameter, self.scope(name)));
        fixed.map(|(name, value)| (name, value.to_owned())).into_iter().chain(scopes).collect()
    }

    /// The claims of an access token.
    #[must_use]
    pub fn claims(self, grant: &Grant<'_>) -> Value {
        let Grant { issuer, subject, scopes, issued, expires } = grant;
        let customer = self.customer(subject);
        let list: Vec<String> = scopes.split(' ').map(|name| self.scope(name)).collect();
        let text = list.join(" ");
        let login = format!("{subject}@shop.example");
        let id = Uuid::new_v4();
        let mut claims = match self {
            Self::Plain => json!({"aud": self.audience(), "sub": customer, "scope": text}),
            Self::Cognito => json!({
                "sub": customer, "username": subject, "client_id": CLIENT_ID, "token_use": "access", "scope": text,
                "version": 2, "auth_time": issued, "jti": id, "origin_jti": id, "cognito:groups": ["buyers", "friends"],
            }),
            Self::Auth0 => json!({
                "sub": customer, "aud": [self.audience(), "https://shop.eu.auth0.com/userinfo"], "azp": CLIENT_ID,
                "scope": format!("openid {text}"),
            }),
            Self::Okta => json!({
                "ver": 1, "jti": format!("AT.{id}"), "aud": self.audience(), "cid": "0oa1gjh63g214q0Hq0g4", "uid": customer,
                "auth_time": issued, "scp": list, "sub": login,
            }),
            Self::Entra => json!({
                "aud": CLIENT, "azp": CLIENT, "azpacr": "0", "nbf": issued, "oid": customer, "scp": text, "tid": TENANT,
                "sub": Uuid::new_v5(&Uuid::NAMESPACE_DNS, subject.as_bytes()).simple(), "ver": "2.0",
                "name": subject, "preferred_username": login,
            }),
        };
        claims["iss"] = (*issuer).into();
        claims["iat"] = (*issued).into();
        claims["exp"] = (*expires).into();
        claims
    }
}

/// `orders` as `Orders`.
fn capitalised(name: &str) -> String {
    let mut rest = name.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_names_the_customer_in_its_own_claim() {
        for dialect in Dialect::value_variants() {
            let grant =
                Grant { issuer: "http://x", subject: "ada", scopes: "orders:read", issued: 1, expires: 2 };
            let claims = dialect.claims(&grant);
            assert_eq!(claims[dialect.customer_claim()], dialect.customer("ada"), "{dialect:?}");
            let audience = claims.get("aud").unwrap_or(&claims["client_id"]);
            let first = audience.as_array().map_or(audience, |list| &list[0]);
            assert_eq!(first, dialect.audience(), "{dialect:?}");
        }
        assert_eq!(Dialect::Cognito.scope("orders:read"), "quadrille/orders.read");
        assert_eq!(Dialect::Entra.scope("orders:read"), "Orders.Read");
    }
}
