//! The carrier simulator: it makes and withdraws shipments under the reference that the client gives them, so that each
//! call may be repeated. How it answers depends on the products in a parcel, never on chance: `unshippable…` is refused
//! for good, `carrier-down…` always fails, `carrier-flaky…` fails twice and then succeeds, `carrier-lost-answer…` is
//! accepted and its first answer lost.

use crate::support::http::{self, Request, Response};
use crate::support::journal::{Entry, Journal, PAGE};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Its path below the simulators' address.
pub const PATH: &str = "/carrier";
/// The prefix of shipments in the journal.
const PREFIX: &str = "carrier/";
/// The most bytes of a request.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// How often a flaky parcel fails.
const FLAKES: u32 = 2;

/// What the simulator keeps of a shipment: not the address, only that there was one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Shipment {
    /// How often the client asked for the shipment.
    pub calls: u32,
    /// `None` until the carrier accepts the parcel.
    pub tracking_number: Option<String>,
    /// The carrier never accepts a withdrawn shipment.
    pub withdrawn: bool,
    /// The client sent a street and a town.
    #[serde(default)]
    pub addressed: bool,
}

/// Clones share one simulator.
#[derive(Clone)]
pub struct Carrier {
    /// The journal has the shipments by their references. It is held while one of them is changed.
    journal: Arc<Mutex<Journal>>,
}

fn product_starts(body: &Value, with: &str) -> bool {
    let lines = body["lines"].as_array().into_iter().flatten();
    let mut products = lines.filter_map(|line| line["product_id"].as_str());
    products.any(|product| product.starts_with(with))
}

fn answer(status: u16, body: &Value) -> Response {
    http::json(status, "application/json", body.to_string())
}

fn error(status: u16, code: &str) -> Response {
    answer(status, &json!({"error": {"code": code}}))
}

fn parcel(tracking_number: &str) -> Value {
    json!({"carrier": "Local Parcels", "tracking_number": tracking_number})
}

impl Carrier {
    /// A simulator with the shipments that the journal keeps.
    #[must_use]
    pub fn new(journal: &Journal) -> Self {
        Self { journal: Arc::new(Mutex::new(journal.clone())) }
    }

    fn locked(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, by reference.
    #[must_use]
    pub fn shipments(&self) -> BTreeMap<String, Shipment> {
        self.locked().records(PREFIX)
    }

    /// A page of the shipments, by reference.
    fn page(&self, query: &str) -> BTreeMap<String, Shipment> {
        self.locked().page(PREFIX, http::after(query).as_deref(), PAGE).into_iter().collect()
    }

    /// Answers a request; `path` begins after [`PATH`].
    pub async fn answer(&self, path: &str, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        if (&parts.method, path) == (&Method::GET, "/book") {
            return answer(200, &json!(self.page(parts.uri.query().unwrap_or_default())));
        }
        let Some(reference) = path.strip_prefix("/shipments/") else { return error(404, "no_such_path") };
        let body = match http::body(body, MAX_BODY_BYTES).await {
            Ok(body) => serde_json::from_slice(&body).unwrap_or_default(),
            Err(status) => return http::empty(status),
        };
        let (response, journal) = match parts.method {
            Method::PUT => self.change(reference, |shipment| ship(shipment, reference, &body)),
            Method::DELETE => self.change(reference, withdraw),
            _ => return http::empty(StatusCode::METHOD_NOT_ALLOWED),
        };
        // Before the answer is sent.
        journal.flush().await;
        response
    }

    /// Changes a shipment where it is kept.
    fn change(&self, reference: &str, change: impl FnOnce(&mut Shipment) -> Response) -> (Response, Journal) {
        let (journal, key) = (self.locked(), format!("{PREFIX}{reference}"));
        let mut shipment: Shipment = journal.record(&key).unwrap_or_default();
        let response = change(&mut shipment);
        journal.write(vec![Entry::Record { key, value: json!(shipment).to_string() }]);
        (response, journal.clone())
    }
}

fn ship(shipment: &mut Shipment, reference: &str, body: &Value) -> Response {
    shipment.calls += 1;
    shipment.addressed = ["line1", "city"].iter().all(|field| body["address"][field].is_string());
    let flakes = product_starts(body, "carrier-flaky") && shipment.calls <= FLAKES;
    if product_starts(body, "carrier-down") || flakes {
        return error(503, "unavailable");
    }
    if shipment.withdrawn {
        return error(409, "withdrawn");
    }
    if product_starts(body, "unshippable") {
        return error(422, "prohibited_goods");
    }
    let number = format!("LP{}", reference.replace('-', "").to_uppercase());
    let number = shipment.tracking_number.get_or_insert(number);
    if product_starts(body, "carrier-lost-answer") && shipment.calls == 1 {
        return error(504, "lost");
    }
    answer(200, &parcel(number))
}

fn withdraw(shipment: &mut Shipment) -> Response {
    if let Some(number) = &shipment.tracking_number {
        return answer(409, &parcel(number));
    }
    shipment.withdrawn = true;
    answer(200, &json!({"status": "withdrawn"}))
}
