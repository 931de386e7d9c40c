//! The claims of a verified token, read in the way that its issuer writes them.

use chassis::config::{self, ConfigError};
use chassis::http::Caller;
use chassis::http::access::OPERATE;
use std::collections::HashMap;

/// How the tokens of the stage's issuer name customers and scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The claim that names the customer.
    customer: String,
    /// Each scope under its own name and its issuer's.
    scopes: Vec<(&'static str, String)>,
}

/// The variable that holds the issuer's name of a scope: `SCOPE_ORDERS_READ`.
fn variable(scope: &str) -> String {
    format!("SCOPE_{}", scope.to_uppercase().replace(':', "_"))
}

impl Claims {
    /// Reads `CUSTOMER_CLAIM` and the variable of each of these scopes.
    ///
    /// # Errors
    /// [`ConfigError`]: a variable is missing, or another scope has the same name as the operator's.
    pub fn from_environment(scopes: &[&'static str]) -> Result<Self, ConfigError> {
        let named = scopes.iter().map(|scope| Ok((*scope, config::required(&variable(scope))?)));
        let claims = Self {
            customer: config::required("CUSTOMER_CLAIM")?,
            scopes: named.collect::<Result<_, ConfigError>>()?,
        };
        claims.checked()
    }

    /// A customer's scope that were the operator's too would show every customer all orders.
    fn checked(self) -> Result<Self, ConfigError> {
        let operators = self.scopes.iter().find(|(scope, _)| *scope == OPERATE).map(|(_, name)| name);
        let double = |(scope, name): &&(&str, String)| *scope != OPERATE && Some(name) == operators;
        match self.scopes.iter().find(double) {
            None => Ok(self),
            Some((scope, name)) => Err(ConfigError::Invalid {
                name: variable(scope),
                value: name.clone(),
                reason: format!("is the scope {OPERATE} too, which no customer may have"),
            }),
        }
    }

    /// Who asks, by what API Gateway hands over of the token: its claims, all of them texts, and, on a route that asks for
    /// scopes, the scopes that the gateway `saw`.
    #[must_use]
    pub fn caller(&self, claims: &HashMap<String, String>, saw: Option<&[String]>) -> Caller {
        let granted = saw.map_or_else(|| split(claims), |saw| saw.iter().map(String::as_str).collect());
        let known = self.scopes.iter().filter(|(_, name)| granted.contains(&name.as_str()));
        Caller {
            customer: claims.get(&self.customer).cloned().unwrap_or_default(),
            scopes: known.map(|(scope, _)| *scope).collect(),
        }
    }
}

/// The scopes of a text; `scp` is for tokens without `scope`. A list comes as `[a b]`: where its elements end cannot be seen
/// any more, so it grants none.
fn split(claims: &HashMap<String, String>) -> Vec<&str> {
    let granted = claims.get("scope").or_else(|| claims.get("scp"));
    let text = granted.filter(|granted| !granted.starts_with('['));
    text.map(|text| text.split(' ').collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::http::access::{READ, WRITE};

    fn claims(customer: &str, names: [&str; 3]) -> Result<Claims, ConfigError> {
        let scopes = [READ, WRITE, OPERATE].into_iter().zip(names.map(str::to_owned)).collect();
        Claims { customer: customer.into(), scopes }.checked()
    }

    fn read(claims: &Claims, given: &[(&str, &str)]) -> (String, Vec<&'static str>) {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let Caller { customer, scopes } = claims.caller(&given, None);
        (customer, scopes)
    }

    /// Guards: a list grants its whole elements, as the gateway saw them. One with a blank in it is no scope, and no part of it
    /// is one; nor is a part of the text that the gateway makes of a list.
    #[test]
    fn the_elements_of_a_list_are_whole_scopes() {
        let plain = claims("sub", [READ, WRITE, OPERATE]).unwrap();
        let text = format!("[x {OPERATE} y {WRITE}]");
        let given = HashMap::from([("sub".to_owned(), "ada".to_owned()), ("scp".to_owned(), text)]);
        let saw = [format!("x {OPERATE} y"), WRITE.to_owned()];
        assert_eq!(plain.caller(&given, Some(&saw)).scopes, [WRITE]);
        assert_eq!(plain.caller(&given, None).scopes, Vec::<&str>::new());
        let brackets = HashMap::from([("scope".to_owned(), format!("[{OPERATE}]"))]);
        assert_eq!(plain.caller(&brackets, Some(&[format!("[{OPERATE}]")])).scopes, Vec::<&str>::new());
    }

    /// Guards: scopes are found by their issuer's names alone, whole.
    #[test]
    fn scopes_have_their_issuers_names() {
        let plain = claims("sub", [READ, WRITE, OPERATE]).unwrap();
        let ada = |scopes: &[&'static str]| ("ada".to_owned(), scopes.to_vec());
        assert_eq!(read(&plain, &[("sub", "ada"), ("scope", "x orders:read")]), ada(&[READ]));
        assert_eq!(read(&plain, &[("sub", "ada"), ("scp", "orders:read orders:write")]), ada(&[READ, WRITE]));
        assert_eq!(read(&plain, &[("sub", "ada"), ("scope", "x"), ("scp", "orders:read")]), ada(&[]));
        assert_eq!(read(&plain, &[("sub", "ada"), ("scope", "orders:reader xorders:read")]), ada(&[]));
        let cognito = claims("sub", ["q/o.read", "q/o.write", "q/o.operate"]).unwrap();
        assert_eq!(read(&cognito, &[("sub", "ada"), ("scope", "q/o.read orders:operate")]), ada(&[READ]));
    }

    /// Guards: the configured claim is the customer, and no other.
    #[test]
    fn the_customer_is_in_the_configured_claim() {
        let okta = claims("uid", [READ, WRITE, OPERATE]).unwrap();
        assert_eq!(read(&okta, &[("sub", "ada@shop.example"), ("uid", "00u1")]).0, "00u1");
        assert_eq!(read(&okta, &[("sub", "ada@shop.example")]).0, "");
    }

    /// Guards: no customer's scope is the operator's.
    #[test]
    fn the_operators_scope_has_a_name_of_its_own() {
        let error = claims("sub", ["all", "write", "all"]).unwrap_err().to_string();
        assert!(error.starts_with("environment variable SCOPE_ORDERS_READ is \"all\""), "{error}");
        assert!(claims("sub", ["all", "all", "operate"]).is_ok());
    }
}
