//! From a request body to a priced order: strict reading, one line per product, prices from the list.

use chassis::http::fields::{self, Fields, kind};
use chassis::http::{FieldError, Problem};
use events::orders::{Address, OrderCreated, OrderLine};
use events::{CustomerId, Money, OrderId, ProductId};
use serde_json::{Value, json};

/// The most lines an order may have.
const MAX_LINES: usize = 40;
/// The most units on one line.
const MAX_QUANTITY: u64 = 1_000;
/// The highest price a client may expect, in minor units.
const MAX_PRICE: u64 = 100_000_000;

/// One line as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub product_id: ProductId,
    pub quantity: u32,
    /// The price the client believes in, in minor units.
    pub expected_price: Option<u64>,
}

/// A readable request for an order, not yet priced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub customer_id: CustomerId,
    /// Its lines, as sent.
    pub items: Vec<Item>,
    pub payment_method: Option<String>,
    pub address: Option<Address>,
}

/// Reads the body of `POST /orders`.
///
/// # Errors
/// 400, naming every field that breaks a rule.
pub fn read(body: &[u8]) -> Result<Placement, Problem> {
    let object = fields::object(body)?;
    let mut fields = Fields::new(&object);
    let mut errors = Vec::new();
    let customer_id = fields.parsed("customer_id");
    let items = fields.required("items").map(|value| read_items(value, &mut errors));
    let payment_method = fields.optional_token("payment_method");
    let address = fields.optional("shipping_address").and_then(|value| read_address(value, &mut errors));
    let mut all = fields.finish();
    all.append(&mut errors);
    match (customer_id, items) {
        (Some(customer_id), Some(items)) if all.is_empty() => {
            Ok(Placement { customer_id, items, payment_method, address })
        }
        _ => Err(Problem::invalid(&all)),
    }
}

fn read_items(value: &Value, errors: &mut Vec<FieldError>) -> Vec<Item> {
    let Some(items) = value.as_array() else {
        errors.push(FieldError::new("items", "type", format!("must be an array, not {}", kind(value))));
        return Vec::new();
    };
    if items.is_empty() || items.len() > MAX_LINES {
        errors.push(FieldError::new("items", "size", format!("must hold 1 to {MAX_LINES} lines")));
        return Vec::new();
    }
    items.iter().enumerate().filter_map(|(n, item)| read_item(n, item, errors)).collect()
}

fn read_item(n: usize, value: &Value, errors: &mut Vec<FieldError>) -> Option<Item> {
    let path = format!("items[{n}]");
    let Some(object) = value.as_object() else {
        errors.push(FieldError::new(path, "type", format!("must be an object, not {}", kind(value))));
        return None;
    };
    let mut fields = Fields::at(object, path);
    let product_id = fields.parsed("product_id");
    let quantity = fields.integer("quantity", 1..=MAX_QUANTITY).and_then(|n| u32::try_from(n).ok());
    let expected_price = fields.optional_integer("unit_price_cents", 0..=MAX_PRICE);
    errors.append(&mut fields.finish());
    Some(Item { product_id: product_id?, quantity: quantity?, expected_price })
}

fn read_address(value: &Value, errors: &mut Vec<FieldError>) -> Option<Address> {
    let Some(object) = value.as_object() else {
        let message = format!("must be an object, not {}", kind(value));
        errors.push(FieldError::new("shipping_address", "type", message));
        return None;
    };
    let mut fields = Fields::at(object, "shipping_address".into());
    let name = fields.text("name", 200);
    let line1 = fields.text("line1", 200);
    let line2 = fields.optional_text("line2", 200);
    let city = fields.text("city", 100);
    let postal_code = fields.text("postal_code", 20);
    let country = fields.text("country", 2);
    if country.as_ref().is_some_and(|code| code.len() != 2 || !code.bytes().all(|c| c.is_ascii_uppercase())) {
        fields.refuse("country", "format", "must be two capital letters (ISO 3166-1)");
    }
    errors.append(&mut fields.finish());
    Some(Address {
        name: name?,
        line1: line1?,
        line2,
        city: city?,
        postal_code: postal_code?,
        country: country?,
    })
}

impl Placement {
    /// The products asked for, each once, in the order of their first line.
    #[must_use]
    pub fn products(&self) -> Vec<ProductId> {
        let mut products: Vec<ProductId> = Vec::with_capacity(self.items.len());
        for item in &self.items {
            if !products.contains(&item.product_id) {
                products.push(item.product_id.clone());
            }
        }
        products
    }

    /// The order at these prices, one line per product. `prices` stand in the order of
    /// [`Placement::products`]; `None`: not on the list.
    ///
    /// # Errors
    /// 422, naming every line with a product that is not on the list or a price that differs; or a total that is
    /// too large.
    pub fn price(&self, order_id: OrderId, prices: &[Option<Money>]) -> Result<OrderCreated, Problem> {
        let products = self.products();
        self.check_prices(&products, prices)?;
        let mut lines = Vec::with_capacity(products.len());
        for (product_id, unit_price) in products.into_iter().zip(prices.iter().copied().flatten()) {
            let mut of_product = self.items.iter().filter(|item| item.product_id == product_id);
            let quantity = of_product.try_fold(0_u32, |sum, item| sum.checked_add(item.quantity));
            lines.push(OrderLine { quantity: quantity.ok_or_else(too_large)?, product_id, unit_price });
        }
        Ok(OrderCreated {
            order_id,
            customer_id: self.customer_id.clone(),
            total: total(&lines)?,
            lines,
            payment_method: self.payment_method.clone(),
        })
    }

    fn check_prices(&self, products: &[ProductId], prices: &[Option<Money>]) -> Result<(), Problem> {
        let price = |id: &ProductId| products.iter().position(|p| p == id).and_then(|n| *prices.get(n)?);
        let wrong = |(n, item): (usize, &Item)| wrong_price(n, item, price(&item.product_id));
        let mut wrong = self.items.iter().enumerate().filter_map(wrong);
        let Some((problem, first)) = wrong.next() else { return Ok(()) };
        let errors: Vec<FieldError> = std::iter::once(first).chain(wrong.map(|(_, error)| error)).collect();
        Err(problem.with("errors", json!(errors)))
    }
}

fn total(lines: &[OrderLine]) -> Result<Money, Problem> {
    let mut sum: Option<Money> = None;
    for line in lines {
        let of_line = line.unit_price.times(line.quantity).map_err(|_| too_large())?;
        sum = Some(match sum {
            None => of_line,
            Some(sum) => sum.plus(of_line).map_err(|_| too_large())?,
        });
    }
    sum.ok_or_else(too_large)
}

fn too_large() -> Problem {
    Problem::new(422, "TOTAL_NOT_PAYABLE", "the order's total cannot be charged in one currency and payment")
}

/// What is wrong with the `n`-th line at this price: as the problem that it is alone, and as one of many.
fn wrong_price(n: usize, item: &Item, price: Option<Money>) -> Option<(Problem, FieldError)> {
    let id = &item.product_id;
    let Some(price) = price else {
        let detail = format!("{id} is not on the price list");
        let error = FieldError::new(format!("items[{n}].product_id"), "unknown_product", detail.clone());
        return Some((Problem::new(422, "UNKNOWN_PRODUCT", detail).with("product_id", json!(id)), error));
    };
    let expected = item.expected_price.filter(|expected| *expected != price.amount)?;
    let detail = format!("{id} costs {} {}, not {expected}", price.amount, price.currency);
    let error = FieldError::new(format!("items[{n}].unit_price_cents"), "price_mismatch", detail.clone());
    let problem = Problem::new(422, "PRICE_MISMATCH", detail)
        .with("product_id", json!(id))
        .with("expected_cents", json!(expected))
        .with("unit_price_cents", json!(price.amount));
    Some((problem, error))
}

#[cfg(test)]
#[path = "place_order_specs.rs"]
mod specs;
