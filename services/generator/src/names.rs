//! Names: which may be given, and how one becomes another, `fraud.check.passed` the type `FraudCheckPassed`.

use anyhow::{Result, ensure};
use std::fs;
use std::path::Path;

/// Participles that do not end in "ed".
const IRREGULAR: &[&str] = &[
    "begun",
    "bought",
    "broken",
    "brought",
    "built",
    "caught",
    "chosen",
    "cut",
    "drawn",
    "forgotten",
    "found",
    "frozen",
    "given",
    "gone",
    "held",
    "hidden",
    "kept",
    "known",
    "left",
    "lent",
    "lost",
    "made",
    "met",
    "paid",
    "put",
    "read",
    "said",
    "seen",
    "sent",
    "set",
    "shown",
    "sold",
    "spent",
    "split",
    "stolen",
    "taken",
    "thrown",
    "told",
    "withdrawn",
    "won",
    "written",
];

/// Words of Rust's own, and its crates: no crate of ours can be called so.
const TAKEN: &[&str] = &[
    "abstract", "alloc", "as", "async", "await", "become", "box", "break", "const", "continue", "core",
    "crate", "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in",
    "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
    "self", "static", "std", "struct", "super", "test", "trait", "true", "try", "type", "unsafe", "unsized",
    "use", "virtual", "where", "while", "yield",
];

/// Checks a service's name.
///
/// # Errors
/// A line that says what is wrong with it.
pub fn check_service(root: &Path, name: &str) -> Result<()> {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    ensure!(
        plain && name.len() <= 30,
        "{name}: a service's name is one word of lower-case letters and digits, 30 at most"
    );
    let folder = root.join("services").join(name);
    ensure!(!folder.exists(), "{name}: there is a service of this name, services/{name}");
    ensure!(!TAKEN.contains(&name), "{name}: is a word of Rust's own, and cannot be the name of a crate");
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let is_crate = lock.lines().any(|line| line == format!("name = \"{name}\""));
    ensure!(!is_crate, "{name}: is the name of a crate that the workspace builds already (Cargo.lock)");
    Ok(())
}

/// Checks the name of an event that the service `name` is to publish.
///
/// # Errors
/// A line that says what is wrong with it.
pub fn check_event(name: &str, event: &str) -> Result<()> {
    let words: Vec<&str> = event.split(['.', '_']).collect();
    let plain = words.iter().all(|word| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    });
    let own = event.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    let last = words.last().copied().unwrap_or_default();
    let past = last.ends_with("ed") || IRREGULAR.contains(&last);
    ensure!(
        plain && own && past,
        "{event}: an event of {name} is called {name}.<past tense>, in lower case: {name}.cleared"
    );
    Ok(())
}

/// `refund.half_failed`: `RefundHalfFailed`
pub fn camel(name: &str) -> String {
    name.split(['.', '_']).map(capital).collect()
}

/// `fraud`: `Fraud`
pub fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

/// `payment.refund.failed`: `refund.failed`
pub fn rest(event: &str) -> &str {
    event.split_once('.').map_or(event, |(_, rest)| rest)
}

/// `fraud`: `fraud's`, and `rewards`: `rewards'`
pub fn possessive(name: &str) -> String {
    if name.ends_with('s') { format!("{name}'") } else { format!("{name}'s") }
}

/// `an order`
pub fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_another() {
        assert_eq!(camel("payment.circuit.half_opened"), "PaymentCircuitHalfOpened");
        assert_eq!(rest("payment.refund.failed"), "refund.failed");
        assert_eq!((possessive("fraud"), possessive("rewards")), ("fraud's".into(), "rewards'".into()));
        assert_eq!((with_article("order"), with_article("product")), ("an order".into(), "a product".into()));
    }

    #[test]
    fn an_event_is_of_its_service_and_in_the_past_tense() {
        for good in ["fraud.cleared", "fraud.check.passed", "fraud.half_opened", "fraud.sent"] {
            assert!(check_event("fraud", good).is_ok(), "{good}");
        }
        for bad in [
            "cleared",
            "fraud.clear",
            "order.cleared",
            "fraud.Cleared",
            "fraud..cleared",
            "frauds.cleared",
            "",
        ] {
            let said = check_event("fraud", bad).unwrap_err().to_string();
            assert!(said.contains("fraud.<past tense>"), "{bad}: {said}");
        }
    }

    #[test]
    fn a_service_is_one_word_that_nothing_else_is_called() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (bad, why) in [
            ("Fraud", "one word"),
            ("fraud-check", "one word"),
            ("", "one word"),
            ("rewards", "there is a service of this name"),
            ("match", "a word of Rust's own"),
            ("serde", "the name of a crate"),
        ] {
            let said = check_service(&root, bad).unwrap_err().to_string();
            assert!(said.contains(why) && !said.contains('\n'), "{said}");
        }
        assert!(check_service(&root, "nobody").is_ok());
    }
}
