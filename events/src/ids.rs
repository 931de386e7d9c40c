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
#[error("must be 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' or '-'")]
pub struct NotAnId;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"})
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
                let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
                let fits = (1..=64).contains(&text.len()) && text.bytes().all(legal);
                if fits { Ok(Self(text)) } else { Err(NotAnId) }
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
    ProductId
);
text_id!(
    /// A customer, named by the identity provider. 1 to 64 characters of `[A-Za-z0-9._-]`.
    CustomerId
);

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
            assert_eq!(bad.parse::<ProductId>(), Err(NotAnId), "{bad:?}");
        }
        assert!("espresso-beans_1.0".parse::<ProductId>().is_ok());
    }
}
