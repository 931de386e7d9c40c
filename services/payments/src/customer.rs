//! The provider's customer that stands for one of ours, and the payment method saved for it: the pure core.
//!
//! At the provider a payment method belongs to one customer for good. So payments commits the provider's customer before it
//! attaches anything to it: two requests at the same time may create two, the first that is committed is the one, and the
//! other stays empty. Payments keeps the provider's ids, and never a card number.

use chassis::outbox::OutboxEntry;
use chassis::{Aggregate, AggregateId, Decider, Refusal};
use chrono::{DateTime, Utc};
use events::{CustomerId, Envelope, Unreadable};
use serde::{Deserialize, Serialize};

/// What payments knows about a customer. Each stage has what it needs and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Customer {
    /// The provider has no customer for it.
    Unregistered {
        /// The number of the idempotency key under which it is created, from 0.
        key: u32,
    },
    /// The provider has one.
    Registered {
        /// The provider's id of it.
        id: String,
        /// The number of the idempotency key under which it was created.
        key: u32,
        /// The provider's id of what its orders are charged to, if a method was saved.
        payment_method: Option<String>,
    },
}

impl Default for Customer {
    fn default() -> Self {
        Self::Unregistered { key: 0 }
    }
}

/// What payments decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The provider created a customer.
    Created {
        /// The provider's id of it.
        id: String,
    },
    /// The provider only repeats an earlier failure for this idempotency key.
    KeySpent { key: u32 },
    /// The provider attached a payment method to its customer.
    Attached {
        /// The provider's id of the customer.
        id: String,
        payment_method: String,
    },
    /// The provider does not have this customer any more.
    Gone {
        /// The provider's id of it.
        id: String,
    },
}

/// What payments decides. None is an event: no other service has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// This is the provider's customer.
    Registered(String),
    /// The next try has an idempotency key of its own.
    KeySpent,
    /// Orders without a payment method are charged to this one.
    Saved(String),
    /// Another customer has to be created.
    Forgotten,
}

/// The method was attached to a customer that is no longer the one: its orders could not be charged to it.
pub const OTHER_CUSTOMER: Refusal = Refusal::Stale("the provider's customer is another one");

impl Decider for Customer {
    type Message = Message;
    type Fact = Fact;

    fn decide(&self, message: &Message, _now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
        match (self, message) {
            (Self::Unregistered { .. }, Message::Created { id }) => Ok(vec![Fact::Registered(id.clone())]),
            // Another request was faster: its customer is the one.
            (Self::Registered { .. }, Message::Created { .. }) => Ok(Vec::new()),
            (Self::Unregistered { key }, Message::KeySpent { key: spent }) if key == spent => {
                Ok(vec![Fact::KeySpent])
            }
            (_, Message::KeySpent { .. }) => Err(Refusal::Stale("another key has its turn")),
            (
                Self::Registered { id, payment_method, .. },
                Message::Attached { id: to, payment_method: new },
            ) if id == to => {
                let is_known = payment_method.as_ref() == Some(new);
                Ok(if is_known { Vec::new() } else { vec![Fact::Saved(new.clone())] })
            }
            (Self::Registered { id, .. }, Message::Gone { id: gone }) if id == gone => {
                Ok(vec![Fact::Forgotten])
            }
            (_, Message::Attached { .. } | Message::Gone { .. }) => Err(OTHER_CUSTOMER),
        }
    }

    fn evolve(self, fact: &Fact) -> Self {
        match (self, fact) {
            (Self::Unregistered { key }, Fact::Registered(id)) => {
                Self::Registered { id: id.clone(), key, payment_method: None }
            }
            (Self::Unregistered { key } | Self::Registered { key, .. }, Fact::KeySpent | Fact::Forgotten) => {
                Self::Unregistered { key: key.saturating_add(1) }
            }
            (Self::Registered { id, key, .. }, Fact::Saved(method)) => {
                Self::Registered { id, key, payment_method: Some(method.clone()) }
            }
            // No decision leads here.
            (before, _) => before,
        }
    }
}

impl Aggregate for Customer {
    const SERVICE: &'static str = "payments";

    fn event(_fact: &Fact) -> Option<OutboxEntry> {
        None
    }

    fn facts(&self, event: &Envelope) -> Result<Vec<Fact>, Unreadable> {
        Err(event.not_consumed_by(Self::SERVICE))
    }

    /// It publishes no event, so none determines anything.
    fn visible(&self) -> String {
        String::new()
    }
}

impl Customer {
    /// The provider's id of the customer, if it has one.
    #[must_use]
    pub fn provider_id(&self) -> Option<&str> {
        match self {
            Self::Unregistered { .. } => None,
            Self::Registered { id, .. } => Some(id),
        }
    }

    /// The provider's id of the saved payment method, if there is one.
    #[must_use]
    pub fn payment_method(&self) -> Option<&str> {
        match self {
            Self::Unregistered { .. } => None,
            Self::Registered { payment_method, .. } => payment_method.as_deref(),
        }
    }
}

/// Where payments keeps a customer.
#[must_use]
pub fn id(customer: &CustomerId) -> AggregateId {
    AggregateId::new("customer", customer.key())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spec = chassis::spec::Spec<Customer>;

    fn registered(id: &str) -> Fact {
        Fact::Registered(id.into())
    }

    fn saved(method: &str) -> Fact {
        Fact::Saved(method.into())
    }

    fn created(id: &str) -> Message {
        Message::Created { id: id.into() }
    }

    fn attached(id: &str, method: &str) -> Message {
        Message::Attached { id: id.into(), payment_method: method.into() }
    }

    fn gone(id: &str) -> Message {
        Message::Gone { id: id.into() }
    }

    /// Guards: no issuer's name of a customer breaks the key under which payments keeps it.
    #[test]
    fn a_customers_key_has_one_separator() {
        let id = id(&"auth0|a#b".parse().unwrap());
        assert_eq!(id.pk, "customer#auth0%7Ca%23b");
        assert_eq!(AggregateId::of_partition(&id.pk).subject, id.subject);
    }

    /// Guards: one customer at the provider. The first that is committed stays the one.
    #[test]
    fn the_first_customer_is_the_one() {
        Spec::given([]).when(created("cus_1")).then([registered("cus_1")]);
        Spec::given([registered("cus_1")]).when(created("cus_2")).then([]);
        let saving = Spec::given([registered("cus_1"), saved("pm_1")]);
        saving.when(created("cus_2")).then([]);
        assert_eq!(saving.state().provider_id(), Some("cus_1"));
    }

    /// Guards: no method is saved that belongs to another customer of the provider, and none before there is one.
    #[test]
    fn only_a_method_of_that_customer_is_saved() {
        Spec::given([]).when(attached("cus_1", "pm_1")).refused(OTHER_CUSTOMER);
        let registered = Spec::given([registered("cus_1")]);
        registered.when(attached("cus_2", "pm_1")).refused(OTHER_CUSTOMER);
        registered.when(attached("cus_1", "pm_1")).then([saved("pm_1")]);
    }

    #[test]
    fn the_last_method_counts() {
        let spec = Spec::given([registered("cus_1"), saved("pm_1")]);
        spec.when(attached("cus_1", "pm_1")).then([]);
        spec.when(attached("cus_1", "pm_2")).then([saved("pm_2")]);
        let after = Spec::given([registered("cus_1"), saved("pm_1"), saved("pm_2")]);
        assert_eq!(after.state().payment_method(), Some("pm_2"));
    }

    /// Guards: a failure that the provider keeps under a key does not last longer than that key, which is counted once.
    #[test]
    fn a_spent_key_is_not_used_again() {
        let spent = Message::KeySpent { key: 0 };
        Spec::given([]).when(spent.clone()).then([Fact::KeySpent]);
        let next = Spec::given([Fact::KeySpent]);
        assert_eq!(next.state(), &Customer::Unregistered { key: 1 });
        next.when(spent.clone()).refused(Refusal::Stale("another key has its turn"));
        Spec::given([registered("cus_1")]).when(spent).refused(Refusal::Stale("another key has its turn"));
    }

    /// Guards: a customer that the provider has deleted is created again, under a key that does not repeat the deleted one,
    /// and takes its methods along.
    #[test]
    fn a_customer_that_is_gone_is_forgotten() {
        let spec = Spec::given([registered("cus_1"), saved("pm_1")]);
        spec.when(gone("cus_2")).refused(OTHER_CUSTOMER);
        spec.when(gone("cus_1")).then([Fact::Forgotten]);
        let after = Spec::given([registered("cus_1"), saved("pm_1"), Fact::Forgotten]);
        assert_eq!(after.state(), &Customer::Unregistered { key: 1 });
        after.when(gone("cus_1")).refused(OTHER_CUSTOMER);
        let anew = Spec::given([registered("cus_1"), saved("pm_1"), Fact::Forgotten, registered("cus_2")]);
        assert_eq!((anew.state().provider_id(), anew.state().payment_method()), (Some("cus_2"), None));
    }
}
