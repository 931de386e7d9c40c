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

    /// Who asks, by the claims as API Gateway hands them over: all of them texts, a list as `[a b]`.
    #[must_use]
    pub fn caller(&self, claims: &HashMap<String, String>) -> Caller {
        // As the gateway reads them: `scp` is for tokens without `scope`.
        let granted =
            claims.get("scope").or_else(|| claims.get("scp")).map(String::as_str).unwrap_or_default();
        let list = granted.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let granted: Vec<&str> = list.unwrap_or(granted).split(' ').collect();
        let known = self.scopes.iter().filter(|(_, name)| granted.contains(&name.as_str()));
        Caller {
            customer: claims.get(&self.customer).cloned().unwrap_or_default(),
            scopes: known.map(|(scope, _)| *scope).collect(),
        }
    }
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
        let Caller { customer, scopes } = claims.caller(&given);
        (customer, scopes)
    }

    /// Guards: scopes are found by their issuer's names alone, whole, in each of the forms in which the gateway hands them over.
    #[test]
    fn scopes_have_their_issuers_names() {
        let plain = claims("sub", [READ, WRITE, OPERATE]).unwrap();
        let ada = |scopes: &[&'static str]| ("ada".to_owned(), scopes.to_vec());
        assert_eq!(read(&plain, &[("sub", "ada"), ("scope", "x orders:read")]), ada(&[READ]));
        assert_eq!(read(&plain, &[("sub", "ada"), ("scp", "orders:read orders:write")]), ada(&[READ, WRITE]));
        assert_eq!(
            read(&plain, &[("sub", "ada"), ("scp", "[orders:read orders:operate]")]),
            ada(&[READ, OPERATE])
        );
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
