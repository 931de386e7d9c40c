//! The events that there are: where each has its type, what it is about; and the places of a new one in `events/src`.

use crate::names;
use anyhow::{Context, Result, ensure};
use events::catalogue::{Entry, entries};
use std::fs;
use std::path::Path;

/// The catalogue's file.
pub const CATALOGUE: &str = "events/src/catalogue.rs";
/// The file that names the modules of events.
pub const MODULES: &str = "events/src/lib.rs";

/// An event that a service publishes already.
#[derive(Clone, Debug)]
pub struct Known {
    /// `order.created`
    pub kind: String,
    /// `orders`, the module of its type.
    pub module: String,
    /// `OrderCreated`
    pub type_name: String,
    /// The field that names what it is about, `order_id`.
    pub id: String,
    /// Its place in the dance.
    pub place: usize,
}

/// The event of this name.
///
/// # Errors
/// A line that names those that there are.
pub fn known(root: &Path, kind: &str) -> Result<Known> {
    let all = entries();
    let place = all.iter().rposition(|entry| entry.kind == kind);
    let place = place.with_context(|| {
        let kinds: Vec<&str> = all.iter().map(|entry| entry.kind).collect();
        format!("{kind}: no service publishes it; there are {}", kinds.join(", "))
    })?;
    let entry = all.get(place).context("the place is in the list")?;
    let (module, type_name) = type_of(root, entry)?;
    Ok(Known { kind: kind.to_owned(), module, type_name, id: id_of(entry)?, place })
}

/// The module and the name of an event's type: the line `event!(OrderCreated, "order.created", 1, "orders")` says it.
fn type_of(root: &Path, entry: &Entry) -> Result<(String, String)> {
    let rest = format!(", {:?}, {}, ", entry.kind, entry.version);
    for file in fs::read_dir(root.join("events/src")).context("events/src")? {
        let path = file?.path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let named = text.lines().filter_map(|line| line.strip_prefix("event!("));
        let mut named = named.filter_map(|line| Some(line.split_once(&rest)?.0));
        if let (Some(type_name), Some(module)) = (named.next(), path.file_stem()) {
            return Ok((module.to_string_lossy().into_owned(), type_name.to_owned()));
        }
    }
    anyhow::bail!("{}: no line `event!(…{rest}…)` in events/src", entry.kind)
}

/// The field that names what an event is about: the order, else the product, else the first text that is always there.
fn id_of(entry: &Entry) -> Result<String> {
    let schema = (entry.schema)();
    let required = schema["required"].as_array().into_iter().flatten();
    let required: Vec<&str> = required.filter_map(serde_json::Value::as_str).collect();
    let known = ["order_id", "product_id"].into_iter().find(|id| required.contains(id));
    let text = |name: &&&str| schema["properties"][**name]["type"] == "string";
    let id = known.or_else(|| required.iter().find(text).copied());
    Ok(id.with_context(|| format!("{}: it does not say what it is about", entry.kind))?.to_owned())
}

/// Checks that no service publishes this event.
///
/// # Errors
/// A line that says who does.
pub fn check_new(kind: &str) -> Result<()> {
    let entry = entries().into_iter().find(|entry| entry.kind == kind);
    let producer = entry.map(|entry| entry.producer);
    ensure!(producer.is_none(), "{kind}: {} publishes it already", producer.unwrap_or_default());
    Ok(())
}

/// `events/src/lib.rs` with one more module.
///
/// # Errors
/// When the file has no modules.
pub fn with_module(text: &str, name: &str) -> Result<String> {
    let line = format!("pub mod {name};\n");
    let modules = text.match_indices("\npub mod ").map(|(at, _)| at + 1);
    let place = modules.clone().find(|at| text.get(*at..).is_some_and(|rest| rest > line.as_str()));
    let end = |at: usize| text.get(at..).and_then(|rest| rest.find('\n')).map(|length| at + length + 1);
    let place = place.or_else(|| modules.last().and_then(end));
    let (before, after) = place.and_then(|at| text.split_at_checked(at)).context("no line `pub mod …;`")?;
    Ok(format!("{before}{line}{after}"))
}

/// The catalogue with a new service: its module, its events, and it as a consumer of what it consumes.
///
/// # Errors
/// When the file is not as it was.
pub fn with_service(text: &str, name: &str, consumed: &[Known], produced: &[String]) -> Result<String> {
    let imports = "use crate::{";
    let at = text.find(imports).context("no line `use crate::{…};`")? + imports.len();
    let mut text =
        if produced.is_empty() { text.to_owned() } else { inserted(text, at, &format!("{name}, "))? };
    for event in consumed {
        text = with_consumer(&text, name, event)?;
    }
    let list = text.find("pub fn entries()").context("no function `entries`")?;
    let end = text.get(list..).and_then(|rest| rest.find("\n    ]\n")).context("no end of the list")?;
    let row =
        |kind: &String| format!("        published_for::<{name}::{}>(\"nobody yet\"),\n", names::camel(kind));
    inserted(&text, list + end + 1, &produced.iter().map(row).collect::<String>())
}

fn inserted(text: &str, at: usize, more: &str) -> Result<String> {
    let (before, after) = text.split_at_checked(at).context("no such place in the text")?;
    Ok(format!("{before}{more}{after}"))
}

/// The catalogue with one more consumer of an event. One that had an audience outside has a service now.
fn with_consumer(text: &str, name: &str, event: &Known) -> Result<String> {
    let of_type = format!("{}::{}>(", event.module, event.type_name);
    let (entry, published) = (format!("entry::<{of_type}"), format!("published_for::<{of_type}"));
    if let Some((before, after)) = text.split_once(&published) {
        let (_, after) = after.split_once(')').context("no end of a row")?;
        return Ok(format!("{before}{entry}&[\"{name}\"]){after}"));
    }
    let (before, after) = text.split_once(&entry).with_context(|| format!("no row {entry}…)"))?;
    let (consumers, after) = after.split_once(']').context("no end of a row's consumers")?;
    let consumers = consumers.trim_end().trim_end_matches(',');
    Ok(format!("{before}{entry}{consumers}, \"{name}\"]{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    /// Every event of the catalogue is found with its type, and with what it is about.
    #[test]
    fn every_event_can_be_consumed() {
        for entry in entries() {
            let found = known(&root(), entry.kind).unwrap();
            assert_eq!(found.type_name, names::camel(entry.kind));
            assert_eq!(found.module, entry.producer);
        }
        assert_eq!(known(&root(), "order.created").unwrap().id, "order_id");
        assert_eq!(known(&root(), "product.listed").unwrap().id, "product_id");
        assert_eq!(known(&root(), "payment.circuit.opened").unwrap().id, "provider");
        let said = known(&root(), "order.creatd").unwrap_err().to_string();
        assert!(said.contains("there are product.listed, ") && said.contains("order.created"), "{said}");
        assert!(
            check_new("payment.charged").unwrap_err().to_string().contains("payments publishes it already")
        );
    }

    #[test]
    fn a_service_takes_its_places_in_the_catalogue() {
        let text = r#"use crate::{Event, orders};
pub fn entries() -> Vec<Entry> {
    vec![
        entry::<orders::OrderCreated>(&["inventory", "payments"]),
        entry::<orders::OrderCancelled>(&[
            "inventory",
            "payments",
        ]),
        published_for::<rewards::RewardsGranted>("customers' balances"),
    ]
}
"#;
        let consumed = ["order.created", "order.cancelled", "rewards.granted"];
        let consumed = consumed.map(|kind| known(&root(), kind).unwrap());
        let text = with_service(text, "fraud", &consumed, &["fraud.cleared".into()]).unwrap();
        for line in [
            "use crate::{fraud, Event, orders};",
            "entry::<orders::OrderCreated>(&[\"inventory\", \"payments\", \"fraud\"]),",
            "            \"payments\", \"fraud\"]),",
            "entry::<rewards::RewardsGranted>(&[\"fraud\"]),",
            "        published_for::<fraud::FraudCleared>(\"nobody yet\"),\n    ]\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn a_module_stands_in_the_order_of_the_alphabet() {
        let text = "//! It.\n\npub mod a;\npub mod c;\n\npub use c::C;\n";
        assert!(with_module(text, "b").unwrap().contains("pub mod a;\npub mod b;\npub mod c;\n\n"));
        assert!(with_module(text, "d").unwrap().contains("pub mod c;\npub mod d;\n\n"));
    }
}
