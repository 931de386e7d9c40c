//! The committed schemas equal the Rust types, and the hand-written examples satisfy both.
//!
//! `just bless` (BLESS=1) writes the schemas anew; without it a difference is a failure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use events::catalogue::{self, Entry};
use serde_json::Value;
use std::{fs, path::PathBuf};

fn folder(entry: &Entry) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../contracts").join(entry.kind)
}

fn examples(entry: &Entry) -> Vec<Value> {
    let path = folder(entry).join(format!("v{}.examples.json", entry.version));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn pretty(value: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

#[test]
fn committed_schemas_equal_the_types() {
    for entry in catalogue::entries() {
        let path = folder(&entry).join(format!("v{}.schema.json", entry.version));
        let generated = pretty(&(entry.schema)());
        if std::env::var_os("BLESS").is_some() {
            fs::create_dir_all(folder(&entry)).unwrap();
            fs::write(&path, &generated).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == generated, "{} differs from its type; run `just bless`", path.display());
    }
}

#[test]
fn every_event_has_examples_that_satisfy_its_schema() {
    for entry in catalogue::entries() {
        let examples = examples(&entry);
        assert!(!examples.is_empty(), "{} has no example", entry.kind);
        let validator = jsonschema::validator_for(&(entry.schema)()).unwrap();
        for example in &examples {
            let errors: Vec<String> = validator.iter_errors(example).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", entry.kind);
        }
    }
}

#[test]
fn examples_round_trip_through_the_types() {
    for entry in catalogue::entries() {
        for example in examples(&entry) {
            let back = (entry.reread)(&example).unwrap();
            assert_eq!(back.to_string(), example.to_string(), "{}", entry.kind);
        }
    }
}

#[test]
fn the_schemas_refuse_what_the_types_refuse() {
    let created = catalogue::entries().into_iter().find(|e| e.kind == "order.created").unwrap();
    let validator = jsonschema::validator_for(&(created.schema)()).unwrap();
    let example = examples(&created).remove(0);
    for (pointer, bad) in [
        ("/total/amount", serde_json::json!(-1)),
        ("/total/currency", serde_json::json!("usd")),
        ("/lines/0/quantity", serde_json::json!(0)),
        ("/lines/0/product_id", serde_json::json!("a#b")),
        ("/lines", serde_json::json!([])),
    ] {
        let mut broken = example.clone();
        *broken.pointer_mut(pointer).unwrap() = bad;
        assert!(!validator.is_valid(&broken), "{pointer} was accepted");
    }
}
