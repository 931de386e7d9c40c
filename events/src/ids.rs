//! Identifiers. Each is its own type, so that an order id cannot be passed where a product id belongs.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt};
use uuid::Uuid;

/// The namespace of every derived (version 5) id in Quadrille. A random constant; changing it would give
/// repeated reactions new event ids and so break deduplication.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0d_2a3e_9b1c_4c55_8a77_51d3_0c9e_4f21);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// An order. UUIDv7, made when the order is accepted.
    OrderId
);
uuid_id!(
    /// An event. UUIDv7 for the first fact of a request, otherwise derived from its cause (see
    /// [`EventId::derived`]).
    EventId
);
uuid_id!(
    /// A payment attempt. Derived from the order: one order has at most one payment.
    PaymentId
);

impl EventId {
    /// The id of entry `seq` in the event log of `aggregate` (its partition, `order#018f…`), written by `service` because of
    /// `cause`. Aggregate and number make it unique: the table holds that entry once. The cause is in it because a table
    /// that was restored from a backup hands out the same numbers once more, for other facts.
    #[must_use]
    pub fn derived(cause: EventId, service: &str, aggregate: &str, seq: u64) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("{cause}/{service}/{aggregate}/{seq}").as_bytes()))
    }
}

impl PaymentId {
    /// The one payment of `order`.
    #[must_use]
    pub fn of(order: OrderId) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("{order}/payment").as_bytes()))
    }
}

/// Why a text is not an identifier: the rule it breaks, fit to be shown to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAnId(&'static str);

/// What the identifiers of one kind look like: as a pattern, in words, and as code.
struct Rule {
    pattern: &'static str,
    words: &'static str,
    most: usize,
    allows: fn(u8) -> bool,
}

const PRODUCT: Rule = Rule {
    pattern: "^[A-Za-z0-9._-]{1,64}$",
    words: "must be 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' or '-'",
    most: 64,
    allows: is_plain,
};

/// Every printable character of ASCII but three, so that each issuer's names of people fit. `/` and `?` would end a segment or
/// the path of a URL in which a gateway has decoded them, and `%` would be decoded a second time.
const CUSTOMER: Rule = Rule {
    pattern: "^[!-$&-.0->@-~]{1,128}$",
    words: "must be 1 to 128 printable ASCII characters, no blank and none of / ? %",
    most: 128,
    allows: |c| c.is_ascii_graphic() && !matches!(c, b'/' | b'?' | b'%'),
};

const fn is_plain(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-')
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $rule.pattern})
            }
        }

        impl $name {
            /// The text of the id.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;
            fn try_from(text: String) -> Result<Self, NotAnId> {
                let fits = (1..=$rule.most).contains(&text.len()) && text.bytes().all($rule.allows);
                if fits { Ok(Self(text)) } else { Err(NotAnId($rule.words)) }
            }
        }

        impl std::str::FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A product, named by the shop that lists it: `espresso-beans`. 1 to 64 characters of `[A-Za-z0-9._-]`.
    ProductId,
    PRODUCT
);
text_id!(
    /// A customer, by the name that the identity provider gives it: `auth0|5f7c8ec7c33c6c004bbafe82`. 1 to 128 printable ASCII
    /// characters, without `/`, `?` and `%`. It is shown as it came; a key holds it as [`CustomerId::key`].
    CustomerId,
    CUSTOMER
);

impl CustomerId {
    /// The ids that are legal, as a regular expression.
    pub const PATTERN: &'static str = CUSTOMER.pattern;

    /// The id as a part of a key: what is not a letter, a digit, `.`, `_` or `-` is encoded as `%7C`. So `#` separates the parts
    /// of a key and nothing else, and a plain id is its own key.
    #[must_use]
    pub fn key(&self) -> String {
        let mut key = String::new();
        for c in self.0.bytes() {
            if is_plain(c) { key.push(char::from(c)) } else { key.push_str(&format!("%{c:02X}")) }
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_reaction_makes_the_same_event_id() {
        let cause = EventId(Uuid::from_u128(7));
        assert_eq!(
            EventId::derived(cause, "orders", "order#1", 1),
            EventId::derived(cause, "orders", "order#1", 1)
        );
    }

    #[test]
    fn service_and_ordinal_both_count() {
        let cause = EventId(Uuid::from_u128(7));
        let first = EventId::derived(cause, "orders", "order#1", 1);
        assert_ne!(first, EventId::derived(cause, "orders", "order#1", 2));
        assert_ne!(first, EventId::derived(cause, "payments", "order#1", 1));
    }

    #[test]
    fn text_ids_refuse_what_could_break_a_key() {
        for bad in ["", "a#b", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(bad.parse::<ProductId>(), Err(NotAnId(PRODUCT.words)), "{bad:?}");
        }
        assert!("espresso-beans_1.0".parse::<ProductId>().is_ok());
    }

    /// Guards: the names that the common issuers give people are customers, shown as they came, and what could break a path, a
    /// header or a log is none.
    #[test]
    fn customers_are_named_by_their_issuer() {
        let longest = "x".repeat(128);
        for good in
            ["ada", "auth0|5f7c8ec7c33c6c004bbafe82", "ada+1@shop.example", "waad|a#b", "..", &longest]
        {
            assert_eq!(good.parse::<CustomerId>().map(String::from), Ok(good.to_owned()));
        }
        for bad in ["", "a b", "a/b", "a?b", "a%7Cb", "a\nb", "a\u{7f}", "ä", &"x".repeat(129)] {
            assert_eq!(bad.parse::<CustomerId>(), Err(NotAnId(CUSTOMER.words)), "{bad:?}");
        }
    }

    /// Guards: a key has no separator in it, and two customers never share one.
    #[test]
    fn a_key_holds_a_customer_encoded() {
        let key = |id: &str| id.parse::<CustomerId>().unwrap().key();
        assert_eq!(key("ada_1.x-y"), "ada_1.x-y");
        assert_eq!(key("auth0|5f#"), "auth0%7C5f%23");
        assert_eq!(key(".."), "..");
        assert!(!key(&"#|@".repeat(40)).contains('#'));
    }

    /// Guards: pattern and code are the same rule.
    #[test]
    fn the_pattern_says_what_the_code_does() {
        let ranges = [(b'!', b'$'), (b'&', b'.'), (b'0', b'>'), (b'@', b'~')];
        let class: String =
            ranges.iter().map(|(from, to)| format!("{}-{}", char::from(*from), char::from(*to))).collect();
        assert_eq!(CUSTOMER.pattern, format!("^[{class}]{{1,128}}$"));
        for c in 0..=u8::MAX {
            let inside = ranges.iter().any(|(from, to)| (from..=to).contains(&&c));
            assert_eq!((CUSTOMER.allows)(c), inside, "{c}");
        }
    }
}
