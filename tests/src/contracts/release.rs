//! Releases: the schemas and examples that were once promised, kept for as long as anybody may hold such an event.

use super::{Contracts, examples_path, promise, schema_path};
use anyhow::{Context, Result, ensure};
use events::catalogue::Entry;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// One event as a release promised it.
pub struct Promised {
    /// The release, `0.1.0`.
    pub release: String,
    /// `order.created`
    pub kind: String,
    /// The version of the shape.
    pub version: u32,
    /// Its schema.
    pub schema: Value,
    /// Its examples.
    pub examples: Vec<Value>,
}

/// How today's schema stands to a promised one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Equal.
    None,
    /// Changed within what the promise allows.
    Compatible,
    /// Somebody would be broken, and how.
    Breaking(Vec<String>),
}

/// A release's number, for sorting.
fn number(name: &str) -> Option<[u32; 3]> {
    let parts: Vec<u32> = name.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    parts.try_into().ok()
}

/// The releases below `contracts/released`, oldest first.
///
/// # Errors
/// When the folder holds something that is not a release.
pub fn releases(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder.join("released")) else { return Ok(Vec::new()) };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = number(&name).with_context(|| format!("{} is not a release", path.display()))?;
        found.push((number, name, path));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, name, path)| (name, path)).collect())
}

/// Everything that was ever promised, oldest release first.
///
/// # Errors
/// When a released file cannot be read.
pub fn promised(folder: &Path) -> Result<Vec<Promised>> {
    let mut all = Vec::new();
    for (release, path) in releases(folder)? {
        let mut events: Vec<PathBuf> = fs::read_dir(&path)?.filter_map(|e| Some(e.ok()?.path())).collect();
        events.sort();
        for event in events {
            let kind = event.file_name().unwrap_or_default().to_string_lossy().into_owned();
            all.extend(versions(&release, &kind, &event)?);
        }
    }
    Ok(all)
}

fn versions(release: &str, kind: &str, folder: &Path) -> Result<Vec<Promised>> {
    let mut found = Vec::new();
    for version in 1_u32.. {
        let Ok(schema) = fs::read_to_string(folder.join(format!("v{version}.schema.json"))) else { break };
        let examples = fs::read_to_string(folder.join(format!("v{version}.examples.json")))?;
        let place = || folder.display().to_string();
        found.push(Promised {
            release: release.to_owned(),
            kind: kind.to_owned(),
            version,
            schema: serde_json::from_str(&schema).with_context(place)?,
            examples: serde_json::from_str(&examples).with_context(place)?,
        });
    }
    ensure!(!found.is_empty(), "{} holds no schema", folder.display());
    Ok(found)
}

/// What happened to a promised schema since. Within a version only optional fields are added: today's events
/// satisfy readers of then, and the events of then satisfy today's readers.
#[must_use]
pub fn change(promised: &Value, today: &Value) -> Change {
    if promised == today {
        return Change::None;
    }
    let mut reasons = promise::unmet(today, promised, promise::Reader::Strict);
    let older = promise::unmet(promised, today, promise::Reader::Newer);
    reasons.extend(older.into_iter().map(|reason| format!("{reason} (an event of that release)")));
    if reasons.is_empty() { Change::Compatible } else { Change::Breaking(reasons) }
}

/// What changed since the newest release, one line an event, and whether all of it is compatible.
///
/// # Errors
/// When a release cannot be read.
pub fn report(contracts: &Contracts) -> Result<(Vec<String>, bool)> {
    let Some((newest, _)) = releases(&contracts.folder)?.pop() else {
        return Ok((vec!["nothing is released yet".into()], true));
    };
    let promised = promised(&contracts.folder)?;
    let of = |entry: &Entry| {
        promised.iter().find(|p| p.release == newest && p.kind == entry.kind && p.version == entry.version)
    };
    let (mut lines, mut compatible) = (vec![format!("since {newest}:")], true);
    for entry in &contracts.entries {
        let name = format!("{} v{}", entry.kind, entry.version);
        match of(entry).map(|promised| change(&promised.schema, &(entry.schema)())) {
            None => lines.push(format!("  {name}: new")),
            Some(Change::None) => {}
            Some(Change::Compatible) => lines.push(format!("  {name}: changed, compatible")),
            Some(Change::Breaking(reasons)) => {
                compatible = false;
                lines.extend(reasons.iter().map(|reason| format!("  {name}: BREAKING, {reason}")));
            }
        }
    }
    for gone in promised.iter().filter(|p| p.release == newest) {
        if !contracts.entries.iter().any(|e| e.kind == gone.kind && e.version == gone.version) {
            compatible = false;
            lines.push(format!("  {} v{}: BREAKING, is not told any more", gone.kind, gone.version));
        }
    }
    if lines.len() == 1 {
        lines.push("  nothing changed".into());
    }
    Ok((lines, compatible))
}

/// Makes a release of today's schemas and examples.
///
/// # Errors
/// When there is such a release already: a promise is not rewritten.
pub fn make(contracts: &Contracts, release: &str) -> Result<()> {
    number(release).with_context(|| format!("{release:?} is not a release number like 0.2.0"))?;
    let folder = contracts.folder.join("released").join(release);
    ensure!(!folder.exists(), "{release} is released already; a promise is not rewritten");
    for entry in &contracts.entries {
        for path in [schema_path(entry), examples_path(entry)] {
            let to = folder.join(&path);
            fs::create_dir_all(to.parent().unwrap_or(&folder))?;
            fs::copy(contracts.folder.join(&path), &to).with_context(|| path)?;
        }
    }
    Ok(())
}
