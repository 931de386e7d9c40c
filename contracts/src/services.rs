//! The services: found in the folders, and written down for the code as the crate `services/registry`, the one list of
//! them that there is.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Every service: a package below `services` with a template of its name in `infra`.
///
/// # Errors
/// When a folder cannot be read, or a service has a name that cannot name a crate, a stack and a queue alike.
pub fn found(services: &Path, infra: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(services).with_context(|| services.display().to_string())? {
        let folder = entry?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() || !infra.join(format!("{name}.yaml")).is_file() {
            continue;
        }
        let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        ensure!(plain, "services/{name}: a service's name is one word of lower-case letters and digits");
        let text = fs::read_to_string(&manifest).with_context(|| manifest.display().to_string())?;
        let named = text.lines().any(|line| line == format!("name = \"{name}\""));
        ensure!(named, "{}: the package has to be called {name}, as its folder is", manifest.display());
        names.push(name);
    }
    names.sort();
    Ok(names)
}

/// The files of the registry of these services, by their path below `services/registry`.
#[must_use]
pub fn registry(services: &[String]) -> BTreeMap<&'static str, String> {
    let (mut dependencies, mut exports, mut list) = (String::new(), String::new(), String::new());
    for name in services {
        // Writing to a String cannot fail.
        let _ = writeln!(dependencies, "{name} = {{ path = \"../{name}\" }}");
        let _ = writeln!(exports, "pub use {name};");
        let _ = writeln!(list, "            {name},");
    }
    let manifest = MANIFEST.replace("SERVICES\n", &dependencies);
    let code = CODE.replace("EXPORTS\n", &exports).replace("LIST\n", &list);
    [("Cargo.toml", manifest), ("src/lib.rs", code)].into()
}

/// The files of the registry that are not as the folders want them, each with the command that writes it anew.
///
/// # Errors
/// When the folders cannot be read.
pub fn drift(services: &Path, infra: &Path) -> Result<Vec<String>> {
    let found = found(services, infra)?;
    let registry = registry(&found);
    let differs = |path: &str, text: &str| {
        fs::read_to_string(services.join("registry").join(path)).ok().as_deref() != Some(text)
    };
    let drifted = registry.iter().filter(|(path, text)| differs(path, text));
    let named = drifted.map(|(path, _)| {
        format!("services/registry/{path} is not that of the services found, {found:?}; run `just bless`")
    });
    Ok(named.collect())
}

/// Writes the registry; whether that changed it.
///
/// # Errors
/// When the folders cannot be read or the files not written.
pub fn bless(services: &Path, infra: &Path) -> Result<bool> {
    let changed = !drift(services, infra)?.is_empty();
    if changed {
        for (path, text) in registry(&found(services, infra)?) {
            let path = services.join("registry").join(path);
            fs::create_dir_all(path.parent().unwrap_or(services))?;
            fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
    }
    Ok(changed)
}

const MANIFEST: &str = r#"# Written by `just bless`; do not edit. Only after a service is deleted: its lines here and in src/lib.rs have to go by
# hand, because cargo reads them before `just bless` can run.
[package]
name = "registry"
description = "Every service, found in the folders"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
publish.workspace = true

[lib]
doctest = false
test = false

[dependencies]
events.workspace = true
SERVICES

[lints]
workspace = true
"#;

const CODE: &str = r#"//! Every service, found in the folders: each package below `services/` that has a template of its name in `infra/`.
//! Written by `just bless`; do not edit.

EXPORTS

use events::catalogue::Subscription;

/// Hands the services to the macro `$then`: the crate of each, then a comma.
#[macro_export]
macro_rules! for_each_service {
    ($then:ident) => {
        $then! {
LIST
        }
    };
}

macro_rules! tables {
    ($($service:ident,)*) => {
        /// The names of the services, in the order of the alphabet.
        pub const SERVICES: &[&str] = &[$(stringify!($service)),*];

        /// What each service consumes.
        pub const CONSUMES: &[(&str, &[Subscription])] =
            &[$((stringify!($service), $service::subscriptions::CONSUMES)),*];
    };
}

for_each_service!(tables);
"#;
