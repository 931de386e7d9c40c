//! Arbitrary bytes and arbitrary JSON at every route's reader: no panic, no server error, and nothing is written for
//! what is refused. Seeded: the same dice, the same requests.

use crate::seeded::Dice;
use crate::topology::routes;
use crate::world::World;
use aws::eventbridge::read_body;
use chassis::http::{Api, Request, Response};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Requests for each route.
const ROUNDS: usize = 1500;

/// Texts that readers often get wrong.
const TEXTS: [&str; 16] = [
    "",
    " ",
    "x",
    "beans",
    "ada",
    "null",
    "-1",
    "00",
    "1e9",
    "4111 1111 1111 1111",
    "a#b",
    "\u{0}",
    "\u{7f}",
    "ÄÖ\u{1f600}",
    "../..",
    "\u{202e}\u{feff}",
];

/// Methods that the provider attaches, declines and does not know.
const METHODS: [&str; 3] = ["pm_card_visa", "pm_card_visa_chargeDeclined", "pm_x"];

struct Fuzz {
    dice: Dice,
    orders: Vec<String>,
}

impl Fuzz {
    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.dice.below(of.len())]
    }

    fn text(&mut self) -> String {
        match self.dice.below(4) {
            0 => self.one(&TEXTS).to_string().repeat(1 + self.dice.below(70)),
            1 if !self.orders.is_empty() => {
                let orders = self.orders.clone();
                self.one(&orders).clone()
            }
            2 => (0..self.dice.below(12))
                .filter_map(|_| char::from_u32(self.dice.below(0x11_0000) as u32))
                .collect(),
            _ => self.one(&TEXTS).to_string(),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.dice.below(64)).map(|_| self.dice.below(256) as u8).collect()
    }

    fn json(&mut self, depth: usize) -> Value {
        match self.dice.below(if depth == 0 { 7 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.dice.below(2) == 0),
            2 => json!(self.dice.below(2000)),
            3 => json!(-(self.dice.below(2000) as i64)),
            4 => serde_json::from_str(&format!("{}.5e{}", self.dice.below(1000), self.dice.below(400)))
                .unwrap_or(Value::Null),
            5 => json!(u64::MAX - self.dice.below(3) as u64),
            6 => self.text().into(),
            7 => (0..self.dice.below(4)).map(|_| self.json(depth - 1)).collect(),
            _ => {
                Value::Object((0..self.dice.below(4)).map(|_| (self.text(), self.json(depth - 1))).collect())
            }
        }
    }

    /// A good body with a few places changed, left out or added.
    fn bent(&mut self, good: &Value) -> Value {
        let mut body = good.clone();
        for _ in 0..self.dice.below(4) {
            self.bend(&mut body);
        }
        body
    }

    fn bend(&mut self, value: &mut Value) {
        let stop = self.dice.below(4) == 0;
        match value {
            Value::Object(map) if !stop && !map.is_empty() => self.bend_field(map),
            Value::Array(items) if !stop && !items.is_empty() => {
                let at = self.dice.below(items.len());
                self.bend(&mut items[at]);
            }
            value => *value = self.json(2),
        }
    }

    fn bend_field(&mut self, map: &mut Map<String, Value>) {
        let name = map.keys().nth(self.dice.below(map.len())).unwrap().clone();
        match self.dice.below(6) {
            0 => drop(map.remove(&name)),
            1 => drop(map.insert(self.text(), self.json(1))),
            _ => self.bend(map.get_mut(&name).unwrap()),
        }
    }

    /// A body with one of its pieces once more, a field that stands twice among them.
    fn doubled(&mut self, good: &Value) -> String {
        let text = good.to_string();
        let pieces: Vec<&str> = text.split_inclusive(',').collect();
        let at = self.dice.below(pieces.len());
        let twice = |(n, piece): (usize, &&str)| piece.repeat(if n == at { 2 } else { 1 });
        pieces.iter().enumerate().map(twice).collect()
    }

    fn pairs(&mut self, names: &[&str]) -> std::collections::HashMap<String, String> {
        (0..self.dice.below(4)).map(|_| (self.one(names).to_string(), self.text())).collect()
    }

    fn headers(&mut self) -> std::collections::HashMap<String, String> {
        let names =
            ["content-type", "idempotency-key", "x-idempotency-key", "if-match", "prefer", "traceparent"];
        let mut headers = self.pairs(&names);
        // The ETag that beans keep as long as nothing is shipped or counted.
        if self.dice.below(4) == 0 {
            headers.insert("if-match".into(), "\"1-0\"".into());
        }
        headers
    }

    fn request(&mut self, route: &str) -> Request {
        let good = if route.contains("products") {
            json!({"name": "Beans", "unit_price_cents": 100, "stock": 1000})
        } else if route.contains("customers") {
            json!({"payment_method": self.one(&METHODS)})
        } else {
            json!({"customer_id": "ada", "items": [{"product_id": "beans", "quantity": 2, "unit_price_cents": 100}],
                "payment_method": "pm_card_visa", "shipping_address": {"name": "Ada", "line1": "1 Row", "line2": "b",
                "city": "Oslo", "postal_code": "0150", "country": "NO"}})
        };
        let body = match self.dice.below(5) {
            0 => self.bytes(),
            1 => self.json(4).to_string().into_bytes(),
            2 => self.doubled(&good).into_bytes(),
            _ => self.bent(&good).to_string().into_bytes(),
        };
        Request {
            route: route.to_owned(),
            method: self.text(),
            raw_path: self.text(),
            path: [("id".to_owned(), self.text())].into(),
            query: self.pairs(&["customer_id", "limit", "cursor", "at", "version", "x"]),
            headers: self.headers(),
            body,
            ..Request::default()
        }
    }
}

/// Guards: readers refuse by field and never fail; what is refused is refused before the first write.
#[test]
fn every_route_survives_everything() {
    crate::platform::run(async {
        let mut world = World::new();
        world.list("beans", 1_000_000).await;
        let mut fuzz = Fuzz { dice: Dice::new(20_261_121), orders: Vec::new() };
        let mut statuses: BTreeMap<(String, u16), usize> = BTreeMap::new();
        let routes = routes();
        for _ in 0..ROUNDS {
            for route in &routes {
                let request = fuzz.request(route);
                let commits = || ["orders", "inventory", "payments"].map(|service| world.commits(service));
                let before = commits();
                let answer = if route.contains("products") {
                    world.products().answer(request.clone()).await
                } else if route.contains("customers") {
                    world.customers().answer(request.clone()).await
                } else {
                    world.api().answer(request.clone()).await
                };
                let answer = answer.unwrap_or_else(Response::from);
                assert!(answer.status < 500, "{request:?}: {answer:?}");
                // The provider's customer is kept, whatever the provider says to the method.
                let may_write = answer.status < 300 || (route.contains("customers") && answer.status != 400);
                assert!(may_write || before == commits(), "{request:?} wrote, and was answered {answer:?}");
                fuzz.orders.extend(answer.body["order_id"].as_str().map(str::to_owned));
                *statuses.entry((route.clone(), answer.status)).or_default() += 1;
            }
        }
        // The dice have to reach the code behind the readers too.
        for (route, status) in [
            ("POST /orders", 202),
            ("PUT /products/{id}", 200),
            ("PUT /products/{id}", 412),
            ("PUT /products/{id}", 428),
            ("GET /orders/{id}", 200),
            ("PUT /customers/{id}/payment-method", 201),
            ("PUT /customers/{id}/payment-method", 400),
            ("PUT /customers/{id}/payment-method", 402),
            ("PUT /customers/{id}/payment-method", 422),
            ("GET /customers/{id}/payment-method", 200),
        ] {
            assert!(statuses.contains_key(&(route.to_owned(), status)), "{route} {status}: {statuses:?}");
        }
    });
}

#[test]
fn every_body_on_a_queue_is_read_or_refused() {
    let mut fuzz = Fuzz { dice: Dice::new(7), orders: Vec::new() };
    let envelope =
        crate::envelopes::envelope("order.created", 1, "orders", json!({"order_id": "x", "lines": []}));
    let good = json!({ "detail": envelope });
    for _ in 0..20_000 {
        let body = match fuzz.dice.below(3) {
            0 => String::from_utf8_lossy(&fuzz.bytes()).into_owned(),
            1 => fuzz.json(4).to_string(),
            _ => fuzz.bent(&good).to_string(),
        };
        let _ = read_body(&body);
    }
}
