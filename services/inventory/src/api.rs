//! `PUT /products/{id}` and `GET /products/{id}`.

use crate::product::{self, Listed, Listing, Product};
use chassis::aggregate::{Loaded, load};
use chassis::http::fields::{self, Fields};
use chassis::http::{Api, FieldError, Problem, Request, Response};
use chassis::outbox::Cause;
use chassis::reaction::{Executed, execute};
use chassis::{Failure, Ports, Store};
use events::{Currency, Money, ProductId};
use serde_json::{Value, json};

/// The highest price of one unit, in minor units.
const MAX_PRICE: u64 = 100_000_000;
/// The largest stock of one product.
const MAX_STOCK: u64 = 1_000_000_000;

/// Inventory's part of the HTTP API.
pub struct ProductsApi<S> {
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
    async fn get(&self, id: &ProductId) -> Result<Response, Problem> {
        let loaded: Loaded<Product> = load(&self.ports.store, &product::id(id)).await?;
        let shown = json(id, &loaded.state).ok_or_else(|| Problem::not_found(format!("no product {id}")))?;
        Ok(Response::json(200, shown))
    }

    async fn put(&self, id: &ProductId, request: &Request) -> Result<Response, Problem> {
        fields::expect_json(request)?;
        let listing = self.read(id, &request.body)?;
        let cause = Cause::request(self.ports.ids.fresh(), request.correlation_id, None);
        let executed = execute::<Product, S>(&self.ports, &product::id(id), listing, &cause).await?;
        let (status, product) = match executed {
            Executed::Done(product) if product.version == 1 => (201, product),
            Executed::Done(product) | Executed::Unchanged(product) => (200, product),
            Executed::Refused(_, before) => return Err(below_held(before.state.held)),
        };
        let shown = json(id, &product.state);
        Ok(Response::json(status, shown.ok_or_else(|| Failure::Poison(format!("{id} was not listed")))?))
    }

    fn read(&self, id: &ProductId, body: &[u8]) -> Result<Listing, Problem> {
        let object = fields::object(body)?;
        let mut fields = Fields::new(&object);
        let name = fields.text("name", 200);
        let price = fields.integer("unit_price_cents", 1..=MAX_PRICE);
        let stock = fields.integer("stock", 0..=MAX_STOCK);
        match (name, price, stock, fields.finish()) {
            (Some(name), Some(price), Some(stock), errors) if errors.is_empty() => {
                let unit_price = Money::new(price, self.currency);
                Ok(Listing { product_id: id.clone(), name, unit_price, stock })
            }
            (.., errors) => Err(Problem::invalid(&errors)),
        }
    }
}

fn below_held(held: u64) -> Problem {
    let detail = format!("{held} units are held for orders; the stock cannot be less");
    Problem::new(409, "STOCK_BELOW_HELD", detail).with("held", held.into())
}

/// A product as the API shows it; none for one that was never listed.
fn json(id: &ProductId, product: &Product) -> Option<Value> {
    let Listed { name, unit_price } = product.listed.as_ref()?;
    Some(json!({
        "product_id": id,
        "name": name,
        "unit_price_cents": unit_price.amount,
        "currency": unit_price.currency,
        "available": product.available,
        "held": product.held,
        "shipped": product.shipped,
    }))
}
