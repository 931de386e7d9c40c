//! `PUT /products/{id}` and `GET /products/{id}`.

use crate::product::{self, HeldExceedsStock, Listing, Product};
use chassis::fields::{self, Fields};
use chassis::http::{Api, FieldError, Problem, Request, Response};
use chassis::reaction::MAX_ATTEMPTS;
use chassis::telling::{Cause, event_rows};
use chassis::{CommitError, Condition, Failure, Ports, Store, Write};
use events::{Currency, Money, ProductId};

/// The highest price of one unit, in minor units.
const MAX_PRICE: u64 = 100_000_000;
/// The largest stock of one product.
const MAX_STOCK: u64 = 1_000_000_000;

/// Inventory's part of the HTTP API.
pub struct ProductsApi<S> {
    /// The ports.
    pub ports: Ports<S>,
    /// The currency of every price on this stage.
    pub currency: Currency,
}

impl<S: Store> Api for ProductsApi<S> {
    const ROUTES: &'static [&'static str] = &["PUT /products/{id}", "GET /products/{id}"];

    async fn answer(&self, request: Request) -> Result<Response, Problem> {
        let id: ProductId = request.parameter("id").parse().map_err(|rule: events::ids::NotAnId| {
            Problem::invalid(&[FieldError::new("product_id", "format", rule.to_string())])
        })?;
        match request.route.as_str() {
            "PUT /products/{id}" => self.put(&id, &request).await,
            "GET /products/{id}" => self.get(&id).await,
            _ => Err(Problem::not_found("no such route")),
        }
    }
}

impl<S: Store> ProductsApi<S> {
    async fn load(&self, id: &ProductId) -> Result<Option<Product>, Failure> {
        let row = self.ports.store.load(&product::key(id)).await?;
        row.map(|row| Product::read(id, &row)).transpose()
    }

    async fn get(&self, id: &ProductId) -> Result<Response, Problem> {
        let product = self.load(id).await?;
        let product = product.ok_or_else(|| Problem::not_found(format!("no product {id}")))?;
        Ok(Response::json(200, product.json()))
    }

    async fn put(&self, id: &ProductId, request: &Request) -> Result<Response, Problem> {
        fields::expect_json(request)?;
        let listing = self.read(&request.body)?;
        let cause = Cause::request(self.ports.ids.fresh(), request.correlation_id, None);
        for attempt in 0..MAX_ATTEMPTS {
            let current = self.load(id).await?;
            let (product, told) = product::list(current.as_ref(), id, listing.clone()).map_err(conflict)?;
            let (pk, subject) = (product::partition(id), id.as_str());
            let first = current.as_ref().map_or(0, |product| product.seq) + 1;
            let now = self.ports.clock.now();
            let rows = event_rows(&told, (&pk, subject), first, ("inventory", &cause, now))?;
            let mut writes = vec![product.replacing(current.as_ref())];
            writes.extend(rows.into_iter().map(|item| Write::Put { item, when: Condition::Absent }));
            match self.ports.store.commit(writes).await {
                Ok(()) => {
                    let status = if current.is_some() { 200 } else { 201 };
                    return Ok(Response::json(status, product.json()));
                }
                // Somebody sold a unit in between: what was counted is counted again.
                Err(CommitError::Rejected(_) | CommitError::Busy(_)) => self.ports.back_off(attempt).await,
                Err(CommitError::Failed(failure)) => return Err(failure.into()),
            }
        }
        Err(Failure::Conflict { attempts: MAX_ATTEMPTS }.into())
    }

    fn read(&self, body: &[u8]) -> Result<Listing, Problem> {
        let object = fields::object(body)?;
        let mut fields = Fields::new(&object);
        let name = fields.text("name", 200);
        let price = fields.integer("unit_price_cents", 1..=MAX_PRICE);
        let stock = fields.integer("stock", 0..=MAX_STOCK);
        match (name, price, stock, fields.finish()) {
            (Some(name), Some(price), Some(stock), errors) if errors.is_empty() => {
                Ok(Listing { name, unit_price: Money::new(price, self.currency), stock })
            }
            (.., errors) => Err(Problem::invalid(&errors)),
        }
    }
}

fn conflict(HeldExceedsStock { held }: HeldExceedsStock) -> Problem {
    let detail = format!("{held} units are held for orders; the stock cannot be less");
    Problem::new(409, "STOCK_BELOW_HELD", detail).with("held", held.into())
}
