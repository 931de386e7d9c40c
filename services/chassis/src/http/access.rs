//! Access: which customers' orders the caller may see, by the claims that the gateway's JWT authorizer verified.

use super::{Caller, Problem, Request};
use events::CustomerId;
use std::str::FromStr;

/// The scope that sees orders and what they are charged to.
pub const READ: &str = "orders:read";
/// The scope that places and cancels orders, and saves what they are charged to.
pub const WRITE: &str = "orders:write";
/// The scope of people who see and act on every customer's orders.
pub const OPERATE: &str = "orders:operate";
/// The scope that lists products and counts stock.
pub const LIST_PRODUCTS: &str = "products:write";

/// Whether the stage has an authorizer. A function that expects one refuses a request that came around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// The gateway has verified every caller.
    Jwt,
    /// Every caller may do everything: for a first look on one machine.
    Off,
}

impl FromStr for Auth {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "jwt" => Ok(Self::Jwt),
            "none" => Ok(Self::Off),
            _ => Err("must be jwt or none"),
        }
    }
}

/// Checks again what the gateway's authorizer has checked: that the caller's token has one of `scopes`. A function may be
/// reached through another API than the one that its template was written for.
///
/// # Errors
/// 401 without a verified caller, 403 for a token without any of the scopes.
pub fn require(auth: Auth, request: &Request, scopes: &[&str]) -> Result<(), Problem> {
    let Some(caller) = verified(auth, request)? else { return Ok(()) };
    match caller.scopes.iter().any(|scope| scopes.contains(scope)) {
        true => Ok(()),
        false => Err(Problem::new(403, "FORBIDDEN", "the token has none of the scopes that this needs")),
    }
}

/// The caller that the authorizer has verified; none where every caller may do everything.
fn verified(auth: Auth, request: &Request) -> Result<Option<&Caller>, Problem> {
    match (auth, &request.caller) {
        (Auth::Off, _) => Ok(None),
        (Auth::Jwt, None) => Err(Problem::new(401, "UNAUTHORIZED", "a bearer token is required")),
        (Auth::Jwt, Some(caller)) => Ok(Some(caller)),
    }
}

/// The orders that a caller may see and act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Those of all customers.
    All,
    /// Those of one customer.
    Own(CustomerId),
}

impl Access {
    /// What `request` may touch.
    ///
    /// # Errors
    /// 401 without a verified caller, 403 for a token that stands for no customer.
    pub fn of(auth: Auth, request: &Request) -> Result<Self, Problem> {
        match verified(auth, request)? {
            None => Ok(Self::All),
            Some(caller) if caller.scopes.contains(&OPERATE) => Ok(Self::All),
            Some(caller) => {
                let customer = caller
                    .customer
                    .parse()
                    .map_err(|_| Problem::new(403, "FORBIDDEN", "the token does not name a customer"))?;
                Ok(Self::Own(customer))
            }
        }
    }

    /// Whether the orders of `customer` are among them.
    #[must_use]
    pub fn includes(&self, customer: &CustomerId) -> bool {
        match self {
            Self::All => true,
            Self::Own(own) => own == customer,
        }
    }

    /// The one customer they belong to, if it is one.
    #[must_use]
    pub const fn customer(&self) -> Option<&CustomerId> {
        match self {
            Self::All => None,
            Self::Own(own) => Some(own),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(caller: Option<(&str, &'static str)>) -> Request {
        let caller = caller.map(|(customer, scopes)| Caller {
            customer: customer.to_owned(),
            scopes: scopes.split(' ').collect(),
        });
        Request { caller, ..Request::default() }
    }

    fn status(caller: Option<(&str, &'static str)>) -> u16 {
        Access::of(Auth::Jwt, &request(caller)).unwrap_err().status
    }

    /// Guards: a function that expects an authorizer does not answer without one.
    #[test]
    fn an_unverified_caller_is_refused() {
        assert_eq!(status(None), 401);
        assert_eq!(Access::of(Auth::Off, &request(None)), Ok(Access::All));
    }

    /// Guards: the scope check of the function itself, one of several scopes, and none for a token that has others.
    #[test]
    fn a_scope_is_required() {
        let status = |caller| require(Auth::Jwt, &request(caller), &["a", "b"]).map_err(|p| p.status);
        assert_eq!(status(Some(("ada", "x b"))), Ok(()));
        assert_eq!(status(Some(("ada", "ab"))), Err(403));
        assert_eq!(status(Some(("ada", ""))), Err(403));
        assert_eq!(status(None), Err(401));
        assert_eq!(require(Auth::Off, &request(None), &["a"]), Ok(()));
    }

    /// Guards: a customer sees its own orders; only the operator's scope sees all.
    #[test]
    fn a_customer_sees_its_own() {
        let access = Access::of(Auth::Jwt, &request(Some(("ada", "orders:read orders:write")))).unwrap();
        assert!(access.includes(&"ada".parse().unwrap()) && !access.includes(&"bob".parse().unwrap()));
        assert_eq!(Access::of(Auth::Jwt, &request(Some(("ops", OPERATE)))), Ok(Access::All));
        for no_customer in ["", "no customer", "no/customer"] {
            assert_eq!(status(Some((no_customer, "orders:read"))), 403);
        }
    }
}
