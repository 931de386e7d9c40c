//! I10: what must never exist, looked for in the manifests and in the source itself; and tidiness.

use crate::platform::root;
use contracts::services;
use registry::SERVICES;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

pub fn sources(folder: &str) -> Vec<(PathBuf, String)> {
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

/// The packages of the workspace, as their manifests describe them.
fn packages() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(root());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// What a manifest depends on, for its tests and its build too.
fn dependencies(package: &Value) -> Vec<&str> {
    package["dependencies"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap()).collect()
}

/// Guards: the one list of services. It is that of the folders, and a failure names the command that mends it.
#[test]
fn the_registry_has_every_service_of_the_folders() {
    let (services, infra) = (root().join("services"), root().join("infra"));
    assert_eq!(services::drift(&services, &infra).unwrap(), Vec::<String>::new());
    assert_eq!(SERVICES, services::found(&services, &infra).unwrap());
    assert!(SERVICES.len() >= 6, "{SERVICES:?}");
}

#[test]
fn no_service_depends_on_another() {
    let packages = packages();
    for service in SERVICES {
        let package = packages.iter().find(|package| package["name"] == *service).unwrap();
        for other in SERVICES.iter().filter(|other| *other != service) {
            assert!(!dependencies(package).contains(other), "{service} depends on {other}");
        }
        assert!(!dependencies(package).contains(&"registry"), "{service} depends on all the others");
    }
}

/// One crate calls AWS, and the tests do, as an operator of an account would.
#[test]
fn aws_is_called_in_one_place_only() {
    let packages = packages();
    let allowed = ["aws", "tests"];
    for package in packages.iter().filter(|package| !allowed.iter().any(|name| package["name"] == *name)) {
        let sdks: Vec<&str> =
            dependencies(package).into_iter().filter(|name| name.starts_with("aws-sdk-")).collect();
        assert_eq!(sdks, Vec::<&str>::new(), "{} calls AWS", package["name"]);
    }
    for (path, text) in sources("services") {
        let allowed = path.starts_with("services/aws");
        assert!(allowed || !text.contains("aws_sdk_"), "{} calls AWS", path.display());
    }
}

/// Parts of pure cores that define no decider of their own: what it decides on, and what it derives.
const PARTS: [&str; 4] = [
    "services/orders/src/saga/deadlines.rs",
    "services/orders/src/saga/known.rs",
    "services/orders/src/http/place_order.rs",
    "services/orders/src/http/view.rs",
];

/// The pure cores: every file of a service with a decider, and the parts named above.
fn cores() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for service in SERVICES {
        let files = sources(&format!("services/{service}/src")).into_iter();
        let decider = |text: &str| text.contains("impl Decider for");
        let deciders: Vec<_> = files.filter(|(_, text)| decider(text)).collect();
        assert!(!deciders.is_empty(), "services/{service}/src has no file that decides and evolves");
        found.extend(deciders);
    }
    for part in PARTS {
        let text = fs::read_to_string(root().join(part));
        let text = text.unwrap_or_else(|e| panic!("{part}: {e}; name in PARTS the file that has it now"));
        found.push((part.into(), text));
    }
    found
}

#[test]
fn domain_code_has_no_clock_no_randomness_no_environment_and_no_io() {
    for (core, text) in cores() {
        let code = text.split("#[cfg(test)]").next().unwrap();
        for never in ["::now()", "fastrand", "new_v4", "now_v7", "std::env", "async ", ".await", "std::fs"] {
            assert!(!code.contains(never), "{} holds {never:?}", core.display());
        }
    }
}

/// Reads whatever JSON a request holds, a fraction too, so that the reader of the field can refuse it.
const READS_FRACTIONS: &str = "services/chassis/src/http/json.rs";

#[test]
fn money_is_never_a_float() {
    let sources = sources("events").into_iter().chain(sources("services"));
    for (path, text) in sources.filter(|(path, _)| !path.ends_with(READS_FRACTIONS)) {
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
    for package in packages() {
        let manifest = package["manifest_path"].as_str().unwrap();
        let text = fs::read_to_string(manifest).unwrap();
        assert!(text.contains("[lints]\nworkspace = true"), "{manifest}");
        assert!(package["description"].is_string(), "{manifest} has no description");
    }
}
