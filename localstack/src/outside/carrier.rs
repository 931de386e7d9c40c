//! The carrier simulator: it makes and withdraws shipments under the reference that the client gives them, so that each
//! call may be repeated. How it answers depends on the products in a parcel, never on chance: `unshippable…` is refused
//! for good, `carrier-down…` always fails, `carrier-flaky…` fails twice and then succeeds, `carrier-lost-answer…` is
//! accepted and its first answer lost.

use crate::support::http::{self, Request, Response};
use crate::support::journal::{Journal, Past};
use anyhow::Result;
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
    /// By reference.
    shipments: Arc<Mutex<BTreeMap<String, Shipment>>>,
    journal: Journal,
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
    /// A simulator with the shipments that the journal kept.
    ///
    /// # Errors
    /// When a kept shipment cannot be read.
    pub fn new(journal: &Journal, past: &Past) -> Result<Self> {
        let shipments = Arc::new(Mutex::new(past.records(PREFIX)?));
        Ok(Self { shipments, journal: journal.clone() })
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Shipment>> {
        self.shipments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By reference.
    #[must_use]
    pub fn shipments(&self) -> BTreeMap<String, Shipment> {
        self.locked().clone()
    }

    /// Answers a request; `path` begins after [`PATH`].
    pub async fn answer(&self, path: &str, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        if (&parts.method, path) == (&Method::GET, "/book") {
            return answer(200, &json!(self.shipments()));
        }
        let Some(reference) = path.strip_prefix("/shipments/") else { return error(404, "no_such_path") };
        let body = match http::body(body, MAX_BODY_BYTES).await {
            Ok(body) => serde_json::from_slice(&body).unwrap_or_default(),
            Err(status) => return http::empty(status),
        };
        let response = match parts.method {
            Method::PUT => self.ship(reference, &body),
            Method::DELETE => self.withdraw(reference),
            _ => return http::empty(StatusCode::METHOD_NOT_ALLOWED),
        };
        self.keep(reference).await;
        response
    }

    /// Puts a shipment on disk before its answer is sent.
    async fn keep(&self, reference: &str) {
        let shipment = self.locked().get(reference).cloned();
        self.journal.keep(format!("{PREFIX}{reference}"), &shipment).await;
    }

    fn ship(&self, reference: &str, body: &Value) -> Response {
        let mut shipments = self.locked();
        let shipment = shipments.entry(reference.to_owned()).or_default();
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

    fn withdraw(&self, reference: &str) -> Response {
        let mut shipments = self.locked();
        let shipment = shipments.entry(reference.to_owned()).or_default();
        if let Some(number) = &shipment.tracking_number {
            return answer(409, &parcel(number));
        }
        shipment.withdrawn = true;
        answer(200, &json!({"status": "withdrawn"}))
    }
}
