//! A line of a function's log as the terminal shows it.

use super::colours::{Colour, Colours};
use crate::support::printable::printable;
use serde_json::{Map, Value};

/// How wide the names of functions are.
const NAME: usize = 24;
/// What stands at its own place in a line, or is said by the function's name already.
const PLACED: [&str; 6] = ["timestamp", "level", "service", "message", "order_id", "correlation_id"];

/// When a line was logged.
pub(super) fn logged_at(line: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Logged {
        timestamp: String,
    }
    serde_json::from_slice::<Logged>(line).ok().map(|logged| logged.timestamp)
}

/// A line as a person reads it; nothing of a metric. What is no line of JSON is shown as it is.
pub(super) fn shown(name: &str, line: &[u8], colours: Colours) -> Option<String> {
    let name = colours.name(name, NAME);
    let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(line) else {
        return Some(format!("{name} {}", printable(&String::from_utf8_lossy(line))));
    };
    // CloudWatch's embedded metric format.
    if fields.contains_key("_aws") {
        return None;
    }
    let field = |name: &str| fields.get(name).map(plain).unwrap_or_default();
    let (time, level) = (field("timestamp"), field("level"));
    let time = time.split_once('T').map_or(time.as_str(), |(_, time)| time.trim_end_matches('Z'));
    let time = colours.paint(Colour::Grey, time);
    let level = match level.as_str() {
        "ERROR" => colours.paint(Colour::Red, "ERROR"),
        "WARN" => colours.paint(Colour::Yellow, "WARN "),
        _ => format!("{level:<5}"),
    };
    let others = fields.iter().filter(|(name, _)| !PLACED.contains(&name.as_str()));
    let others: String =
        others.map(|(name, value)| format!(" {}={}", printable(name), plain(value))).collect();
    let id = ["order_id", "correlation_id"].into_iter().find(|name| fields.contains_key(*name));
    let id = id.map(|id| format!(" {}={}", id.trim_end_matches("_id"), field(id))).unwrap_or_default();
    let after = colours.paint(Colour::Grey, &format!("{others}{id}"));
    Some(format!("{time} {name} {level} {}{after}", field("message")))
}

/// A value: a text without quotes.
fn plain(value: &Value) -> String {
    printable(value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(line: &str) -> Option<String> {
        shown("orders-reactor", line.as_bytes(), Colours::NONE)
    }

    /// Guards: a line has service, level, message and the order's id; a metric is no line.
    #[test]
    fn a_line_names_service_level_message_and_order() {
        let logged = r#"{"timestamp":"2026-11-22T15:42:19.347Z","level":"WARN","service":"orders","message":"delivery failed",
            "class":"poison","duration_ms":3,"order_id":"o1","correlation_id":"c1"}"#;
        let expected =
            "15:42:19.347 orders-reactor           WARN  delivery failed class=poison duration_ms=3 order=o1";
        assert_eq!(line(logged).unwrap(), expected);
        let without = r#"{"timestamp":"x","level":"INFO","message":"request","correlation_id":"c1"}"#;
        assert!(line(without).unwrap().ends_with("INFO  request correlation=c1"));
        assert_eq!(line(r#"{"_aws":{},"Deliveries":1}"#), None);
    }

    /// Guards: what is no line of ours is shown as it is, and cannot write elsewhere on the terminal.
    #[test]
    fn a_bad_line_is_shown_as_it_is() {
        for bad in ["thread 'main' panicked at x.rs:1:1:", "{\"broken", "[1]", "", "7"] {
            assert_eq!(line(bad).unwrap(), format!("{:<24} {bad}", "orders-reactor"));
        }
        let moves = r#"{"message":"\u001b[2Jgone","level":"INFO"}"#;
        assert!(line(moves).unwrap().ends_with("INFO  \u{fffd}[2Jgone"));
        assert!(line("\u{1b}[2J").unwrap().ends_with(" \u{fffd}[2J"));
        assert!(shown("a", b"\xff", Colours::NONE).unwrap().ends_with('\u{fffd}'));
    }

    #[test]
    fn colours_are_only_shown_where_there_are_any() {
        let logged = br#"{"level":"ERROR","message":"m"}"#;
        assert!(shown("a", logged, Colours::ALL).unwrap().contains("\u{1b}[31mERROR\u{1b}[0m"));
        assert!(!shown("a", logged, Colours::NONE).unwrap().contains('\u{1b}'));
    }
}
