//! Pages of the bench itself, which AWS does not have: the fault dial, the functions' environments, and what was published
//! on a topic.

use crate::aws::iam::Iam;
use crate::aws::lambda::Functions;
use crate::aws::sns::Topics;
use crate::faults::{Fault, Faults};
use crate::support::http::{self, Response};
use crate::support::meter::Meter;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub const FAULTS: &str = "/faults";
pub const FUNCTIONS: &str = "/functions";
pub const TOPICS: &str = "/topics/";
pub const REPORT: &str = "/report";

/// Shows the faults that are set (GET), sets one more (POST), or clears them (DELETE).
pub fn faults(faults: &Faults, method: &Method, body: &[u8]) -> Response {
    let set = match *method {
        Method::GET => Ok(()),
        Method::DELETE => {
            faults.clear();
            Ok(())
        }
        Method::POST => serde_json::from_slice::<Fault>(body)
            .map_err(anyhow::Error::from)
            .and_then(|fault| faults.set(fault)),
        _ => return http::empty(StatusCode::METHOD_NOT_ALLOWED),
    };
    match set {
        Ok(()) => http::json(200, "application/json", json!(faults.all()).to_string()),
        Err(error) => http::json(400, "application/json", json!({"message": error.to_string()}).to_string()),
    }
}

/// Of each function, how many environments were started and how many there are.
pub fn environments(functions: &Functions) -> Response {
    let shown = functions.all().map(|function| {
        let (cold_starts, environments) = function.environments();
        (function.name.clone(), json!({"cold_starts": cold_starts, "environments": environments}))
    });
    let shown: BTreeMap<String, Value> = shown.collect();
    http::json(200, "application/json", json!(shown).to_string())
}

/// Since the start: what the roles' policies allow and what of it was needed; what AWS would bill, if that is metered.
pub fn report(iam: &Iam, meter: &Meter) -> Response {
    let counts = meter.counts().map(|counts| {
        let mut units: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
        for ((unit, place), count) in counts {
            units.entry(unit.as_str()).or_default().insert(place, count);
        }
        units
    });
    let report = json!({"permissions": iam.usage(), "metered": counts});
    http::json(200, "application/json", report.to_string())
}

/// The messages of a topic; a body that is JSON is shown as JSON.
pub fn published(topics: &Topics, topic: &str) -> Response {
    let Some(messages) = topics.published(topic) else { return http::empty(StatusCode::NOT_FOUND) };
    let mut shown = json!(messages);
    for entry in shown.as_array_mut().into_iter().flatten() {
        let body = entry["message"].as_str().and_then(|text| serde_json::from_str(text).ok());
        entry["message"] = body.unwrap_or_else(|| entry["message"].take());
    }
    http::json(200, "application/json", shown.to_string())
}
