//! Counts of the shelf that an operator makes: the same decision as `PUT /products/{id}` with `stock` and `If-Match`, without
//! the rest of the listing.

use crate::product::{self, BELOW_HELD, Count, MAX_STOCK, MOVED, Message, Product, Shelf};
use chassis::outbox::Cause;
use chassis::reaction::{Executed, execute};
use chassis::task::{Task, TaskError};
use chassis::{Failure, Ports, Refusal, Store};
use events::ProductId;
use serde::Deserialize;
use serde_json::{Value, json};

/// Records counts.
pub struct Counter<S> {
    pub ports: Ports<S>,
}

/// A count.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub product_id: ProductId,
    /// Units on the shelf, with what is held for orders.
    pub stock: u64,
    /// The shelf that was counted, `1-0`: the tag of a `GET` before it.
    pub seen: String,
}

impl<S: Store> Task for Counter<S> {
    type Input = Input;

    async fn run(&self, input: Input) -> Result<Value, TaskError> {
        let Input { product_id, stock, seen } = input;
        let Ok(seen) = seen.parse::<Shelf>() else { return Ok(refused(&format!("{seen} names no shelf"))) };
        if stock > MAX_STOCK {
            return Ok(refused(&format!("there are at most {MAX_STOCK} units of a product")));
        }
        let (fresh, correlation_id) = (self.ports.ids.fresh(), self.ports.ids.fresh());
        let cause = Cause::request(fresh, correlation_id, None);
        let count = Message::Count(Count { product_id: product_id.clone(), stock, seen });
        match execute::<Product, S>(&self.ports, &product::id(&product_id), count, &cause).await? {
            Executed::Done(_) | Executed::Unchanged(_) => Ok(json!({"counted": stock})),
            Executed::Refused(why, before) => Ok(refused(&reason(why, before.state.held)?)),
        }
    }
}

fn refused(why: &str) -> Value {
    json!({ "refused": why })
}

fn reason(why: Refusal, held: u64) -> Result<String, Failure> {
    match why {
        MOVED => Ok("something shipped or was counted since, or the product is not listed".into()),
        BELOW_HELD => Ok(format!("{held} units are held for orders; the stock cannot be less")),
        // The core refuses a count for no other reason.
        other => Err(Failure::Poison(other.to_string())),
    }
}
