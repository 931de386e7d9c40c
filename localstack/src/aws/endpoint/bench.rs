//! Pages of the bench itself, which AWS does not have: the fault dial, the functions' environments, what they logged, and what
//! was published on a topic.

use crate::aws::iam::Iam;
use crate::aws::lambda::Functions;
use crate::aws::sns::Topics;
use crate::faults::{Fault, Faults};
use crate::support::http::{self, Response};
use crate::support::journal::PAGE;
use crate::support::meter::Meter;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use uuid::Uuid;

pub const FAULTS: &str = "/faults";
pub const FUNCTIONS: &str = "/functions";
pub const TOPICS: &str = "/topics/";
pub const REPORT: &str = "/report";
pub const LOGS: &str = "/logs";
/// The pages that only show something.
pub const SHOWN: [&str; 3] = [FUNCTIONS, REPORT, LOGS];

/// The most lines of one answer, and their most bytes together: an operator's client reads 256 KiB.
const MAX_LINES: usize = 1000;
const MAX_LOG_BYTES: usize = 200 * 1024;

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

/// A page of the messages of a topic, behind the number that `?after=` names; a body that is JSON is shown as JSON.
pub fn published(topics: &Topics, topic: &str, query: &str) -> Response {
    let after = http::after(query);
    let Some(messages) = topics.page(topic, after.as_deref(), PAGE) else {
        let why = json!({"message": format!("there is no topic {topic}")});
        return http::json(404, "application/json", why.to_string());
    };
    let shown = messages.into_iter().map(|(number, message)| {
        let mut entry = json!(message);
        entry["number"] = number.into();
        let body = entry["message"].as_str().and_then(|text| serde_json::from_str(text).ok());
        entry["message"] = body.unwrap_or_else(|| entry["message"].take());
        entry
    });
    http::json(200, "application/json", shown.collect::<Value>().to_string())
}

/// What the functions logged under a correlation id, `correlation_id=…`, or about an order, `order_id=…`, by time; the newest lines
/// where there are too many.
pub async fn logs(functions: &Functions, folder: &Path, query: &str) -> Response {
    let asked = query.split_once('=').and_then(|(name, id)| {
        let name = ["correlation_id", "order_id"].into_iter().find(|known| *known == name)?;
        Some((name, id.parse::<Uuid>().ok()?.to_string()))
    });
    let Some(asked) = asked else {
        let message = "the query is correlation_id= or order_id=, and a UUID";
        return http::json(400, "application/json", json!({ "message": message }).to_string());
    };
    let log = |name: &String| (name.clone(), folder.join(format!("{name}.log")));
    let logs: Vec<(String, PathBuf)> = functions.all().map(|function| log(&function.name)).collect();
    // The files may be long, and whatever is answered meanwhile must not wait for them.
    let read = tokio::task::spawn_blocking(move || lines_of(&logs, (asked.0, &asked.1))).await;
    http::json(200, "application/json", json!(read.unwrap_or_default()).to_string())
}

fn lines_of(logs: &[(String, PathBuf)], asked: (&str, &str)) -> Vec<Value> {
    let mut lines: Vec<Value> =
        logs.iter().flat_map(|(function, log)| matching(function, log, asked)).flatten().collect();
    lines.sort_by(|a, b| a["timestamp"].as_str().cmp(&b["timestamp"].as_str()));
    let mut bytes = 0;
    let fits = |line: &&Value| {
        bytes += line.to_string().len() + 1;
        bytes <= MAX_LOG_BYTES
    };
    let kept = lines.iter().rev().take(MAX_LINES).take_while(fits).count();
    lines.split_off(lines.len() - kept)
}

/// A function's own lines; what it printed besides is no JSON, and has no id.
fn matching(function: &str, log: &Path, (name, id): (&str, &str)) -> Option<Vec<Value>> {
    // A function that has not started has no log.
    let file = BufReader::new(File::open(log).ok()?);
    let lines = file.lines().map_while(Result::ok).filter(|line| line.contains(id));
    let read = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let mut found: Vec<Value> = read.filter(|line| line[name] == id).collect();
    for line in &mut found {
        line["function"] = function.into();
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: an answer has its limits, and beyond them the newest lines.
    #[test]
    fn an_answer_is_bounded() {
        let id = Uuid::from_u128(7).to_string();
        let line =
            |n: usize, id: &str| json!({"timestamp": format!("{n:05}"), "correlation_id": id}).to_string();
        let mut text: Vec<String> = (0..MAX_LINES + 5).map(|n| line(n, &id)).collect();
        text.push(line(99_999, "other"));
        text.push(format!("a panic about {id}"));
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        std::fs::write(&log, text.join("\n")).unwrap();
        let logs = [("f".to_owned(), log.clone()), ("none".to_owned(), log.with_extension("none"))];
        let lines = lines_of(&logs, ("correlation_id", &id));
        assert_eq!(
            (lines.len(), &lines[0]["timestamp"], &lines[0]["function"]),
            (MAX_LINES, &json!("00005"), &json!("f"))
        );
        std::fs::write(
            &log,
            vec![json!({"correlation_id": id, "x": "y".repeat(MAX_LOG_BYTES)}).to_string(); 2].join("\n"),
        )
        .unwrap();
        assert_eq!(lines_of(&logs, ("correlation_id", &id)), Vec::<Value>::new());
    }
}
