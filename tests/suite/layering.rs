//! I10: what must never exist, looked for in the source itself; and tidiness.

use crate::platform::root;
use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_path_buf(), text));
            }
        }
    }
    found
}

fn all() -> Vec<(PathBuf, String)> {
    ["contracts", "events", "services", "localstack", "tests"].into_iter().flat_map(sources).collect()
}

const SERVICES: [&str; 6] = ["fulfillment", "inventory", "notifications", "orders", "payments", "rewards"];

#[test]
fn no_service_depends_on_another() {
    for service in SERVICES {
        let manifest = fs::read_to_string(root().join("services").join(service).join("Cargo.toml")).unwrap();
        for other in SERVICES.iter().filter(|other| **other != service) {
            assert!(!manifest.contains(&format!("\n{other}")), "{service} depends on {other}");
        }
    }
}

#[test]
fn aws_is_called_in_one_place_only() {
    for (path, text) in sources("services") {
        let allowed = path.starts_with("services/chassis/src/aws");
        assert!(allowed || !text.contains("aws_sdk_"), "{} calls AWS", path.display());
    }
}

/// The pure cores: decide and evolve, and what they decide on.
const CORES: [&str; 11] = [
    "services/fulfillment/src/shipping.rs",
    "services/inventory/src/holding.rs",
    "services/inventory/src/product.rs",
    "services/notifications/src/notices.rs",
    "services/orders/src/deadlines.rs",
    "services/orders/src/placing.rs",
    "services/orders/src/tracker.rs",
    "services/orders/src/view.rs",
    "services/payments/src/breaker.rs",
    "services/payments/src/charging.rs",
    "services/rewards/src/granting.rs",
];

#[test]
fn domain_code_has_no_clock_no_randomness_no_environment_and_no_io() {
    for core in CORES {
        let text = fs::read_to_string(root().join(core)).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for never in ["::now()", "fastrand", "new_v4", "now_v7", "std::env", "async ", ".await", "std::fs"] {
            assert!(!code.contains(never), "{core} holds {never:?}");
        }
    }
}

#[test]
fn money_is_never_a_float() {
    for (path, text) in sources("events").into_iter().chain(sources("services")) {
        let code = text.split("#[cfg(test)]").next().unwrap();
        let float = ["f32", "f64"]
            .into_iter()
            .any(|float| [": ", "<", " as "].iter().any(|before| code.contains(&format!("{before}{float}"))));
        assert!(!float, "{} holds a float", path.display());
    }
}

#[test]
fn every_file_opens_with_what_lives_there() {
    for (path, text) in all() {
        assert!(text.starts_with("//! "), "{} does not open with //!", path.display());
    }
}

#[test]
fn no_file_is_longer_than_six_hundred_lines() {
    for (path, text) in all() {
        assert!(text.lines().count() <= 600, "{} is too long to read", path.display());
    }
}

/// Every unit of the workspace is linted like the others.
#[test]
fn every_crate_takes_the_workspace_lints() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    for member in members.split(',').map(|m| m.trim().trim_matches('"')).filter(|m| !m.is_empty()) {
        let manifest = fs::read_to_string(Path::new(&root()).join(member).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{member}");
    }
}
