//! `PUT /products/{id}` and `GET /products/{id}`.

use crate::product::{
    self, BELOW_HELD, Listed, Listing, MAX_STOCK, MOVED, Message, Product, Seen, Shelf, UNCOUNTED, UNSEEN,
};
use chassis::aggregate::{Loaded, load};
use chassis::http::access::{self, Auth, LIST_PRODUCTS, require};
use chassis::http::conditional::{IfMatch, if_match};
use chassis::http::fields::{self, Fields};
use chassis::http::{Api, FieldError, Problem, Request, Response};
use chassis::outbox::Cause;
use chassis::reaction::{Executed, execute};
use chassis::{Failure, Ports, Refusal, Store};
use events::{Currency, Money, ProductId};
use serde_json::{Value, json};

/// The highest price of one unit, in minor units.
const MAX_PRICE: u64 = 100_000_000;

/// Inventory's part of the HTTP API.
pub struct ProductsApi<S> {
    pub ports: Ports<S>,
    /// The currency of every price on this stage.
    pub currency: Currency,
    /// Whether callers were verified by the gateway.
    pub auth: Auth,
}

/// The scopes that see products, each enough.
const READ: &[&str] = &[access::READ, LIST_PRODUCTS];

impl<S: Store> Api for ProductsApi<S> {
    const ROUTES: &'static [&'static str] = &["PUT /products/{id}", "GET /products/{id}"];
    const SCOPES: &'static [&'static str] = READ;

    async fn answer(&self, request: Request) -> Result<Response, Problem> {
        match request.route.as_str() {
            "PUT /products/{id}" => self.put(&request).await,
            "GET /products/{id}" => self.get(&request).await,
            _ => Err(Problem::not_found("no such route")),
        }
    }
}

fn product_id(request: &Request) -> Result<ProductId, Problem> {
    request.parameter("id").parse().map_err(|rule: events::ids::NotAnId| {
        Problem::invalid(&[FieldError::new("product_id", "format", rule.to_string())])
    })
}

/// The entity tag of a shelf. It does not move with every byte of the answer: what is available and what is held are
/// two parts of one count.
fn tag(shelf: Shelf) -> String {
    format!("\"{shelf}\"")
}

/// The shelf that a tag stands for; none for a tag that is not ours.
fn shelf(tag: &str) -> Option<Shelf> {
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

fn seen(request: &Request) -> Result<Seen, Problem> {
    Ok(match if_match(request)? {
        None => Seen::Nothing,
        Some(IfMatch::Any) => Seen::Listed,
        Some(IfMatch::Tags(tags)) => Seen::Shelf(tags.iter().filter_map(|tag| shelf(tag)).collect()),
    })
}

impl<S: Store> ProductsApi<S> {
    async fn get(&self, request: &Request) -> Result<Response, Problem> {
        require(self.auth, request, READ)?;
        let id = product_id(request)?;
        let loaded: Loaded<Product> = load(&self.ports.store, &product::id(&id)).await?;
        let shown = json(&id, &loaded.state).ok_or_else(|| Problem::not_found(format!("no product {id}")))?;
        Ok(Response::json(200, shown).with("etag", tag(loaded.state.shelf())))
    }

    async fn put(&self, request: &Request) -> Result<Response, Problem> {
        require(self.auth, request, &[LIST_PRODUCTS])?;
        fields::expect_json(request)?;
        let id = &product_id(request)?;
        let listing = self.read(id, request)?;
        let cause = Cause::request(self.ports.ids.fresh(), request.correlation_id, request.trace());
        let executed =
            execute::<Product, S>(&self.ports, &product::id(id), Message::List(listing), &cause).await?;
        let product = match executed {
            Executed::Done(product) | Executed::Unchanged(product) => product,
            Executed::Refused(why, before) => return Err(refused(why, &before.state)),
        };
        let status = if product.version == 1 { 201 } else { 200 };
        let shown = json(id, &product.state);
        Ok(Response::json(status, shown.ok_or_else(|| Failure::Poison(format!("{id} was not listed")))?))
    }

    fn read(&self, id: &ProductId, request: &Request) -> Result<Listing, Problem> {
        let seen = seen(request)?;
        let object = fields::object(&request.body)?;
        let mut fields = Fields::new(&object);
        let name = fields.text("name", 200);
        let price = fields.integer("unit_price_cents", 1..=MAX_PRICE);
        let stock = fields.optional_integer("stock", 0..=MAX_STOCK);
        match (name, price, fields.finish()) {
            (Some(name), Some(price), errors) if errors.is_empty() => {
                let unit_price = Money::new(price, self.currency);
                Ok(Listing { product_id: id.clone(), name, unit_price, stock, seen })
            }
            (.., errors) => Err(Problem::invalid(&errors)),
        }
    }
}

fn refused(why: Refusal, product: &Product) -> Problem {
    match why {
        UNCOUNTED => Problem::field("stock", "required", "is required for a product that is not listed yet"),
        UNSEEN => {
            let detail = "the product is listed: a count needs If-Match with the ETag of the GET before counting; \
                          leave stock out to change the rest";
            Problem::new(428, "PRECONDITION_REQUIRED", detail)
        }
        MOVED => {
            let detail = "something shipped or was counted since, or the product is not listed; get it again";
            Problem::new(412, "PRECONDITION_FAILED", detail)
        }
        BELOW_HELD => {
            let held = product.held;
            let detail = format!("{held} units are held for orders; the stock cannot be less");
            Problem::new(409, "STOCK_BELOW_HELD", detail).with("held", held.into())
        }
        // The core refuses for no other reason.
        other => Failure::Poison(other.to_string()).into(),
    }
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
