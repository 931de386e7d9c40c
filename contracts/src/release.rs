//! Releases: the schemas and examples that were once promised, kept for as long as an archive or a consumer may hold
//! such an event.

use crate::{Contracts, examples_path, promise, schema_path};
use anyhow::{Context, Result, ensure};
use events::CustomerId;
use events::catalogue::Entry;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
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
    /// Its schema, with what was widened since.
    pub schema: Value,
    /// Whether something was.
    pub is_widened: bool,
    /// Its examples.
    pub examples: Vec<Value>,
}

/// A customer id as 0.1.0 promised it.
const NARROW: &str = "^[A-Za-z0-9._-]{1,64}$";

/// A released document with the one promise that was widened since, by decision: a customer id may be any name that an issuer
/// gives a person (`auth0|…`). What was an id then is one now, so today's readers read the events of then. A reader of then that
/// checks the pattern refuses the new ids, and the customers whom they name could not order before; the relation between
/// schemas would call it a break of all events that name a customer.
fn widened(document: Value) -> Value {
    match document {
        Value::Array(values) => values.into_iter().map(widened).collect(),
        Value::Object(entries) => entries.into_iter().map(|(name, value)| wider(name, value)).collect(),
        other => other,
    }
}

fn wider(name: String, schema: Value) -> (String, Value) {
    let is_id = schema["pattern"] == NARROW || schema["$ref"] == "#/components/schemas/Id";
    let is_customer = ["CustomerId", "customer_id"].contains(&name.as_str());
    let today = || json!({"type": "string", "pattern": CustomerId::PATTERN});
    (name, if is_id && is_customer { today() } else { widened(schema) })
}

/// How today's schema stands to a promised one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Equal.
    None,
    /// Changed within what the promise allows.
    Compatible,
    /// A consumer would be broken, and how.
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
        if path.ends_with(LOCK) {
            continue;
        }
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
        events.retain(|path| path.is_dir());
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
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?.filter_map(|e| Some(e.ok()?.path())).collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let version = name.strip_prefix('v').and_then(|rest| rest.strip_suffix(".schema.json")?.parse().ok());
        let Some(version) = version else { continue };
        let schema = fs::read_to_string(&file)?;
        let examples = fs::read_to_string(folder.join(format!("v{version}.examples.json")))?;
        let place = || folder.display().to_string();
        let released: Value = serde_json::from_str(&schema).with_context(place)?;
        let schema = widened(released.clone());
        found.push(Promised {
            release: release.to_owned(),
            kind: kind.to_owned(),
            version,
            is_widened: schema != released,
            schema,
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
    // Of several alternatives each gives the reason.
    reasons.dedup();
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
    for entry in contracts.promises() {
        let name = format!("{} v{}", entry.kind, entry.version);
        if of(entry).is_some_and(|promised| promised.is_widened) {
            lines.push(format!(
                "  {name}: customer ids are wider; a reader that checks their pattern has to follow"
            ));
        }
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
        if !contracts.promises().any(|e| e.kind == gone.kind && e.version == gone.version) {
            compatible = false;
            lines.push(format!("  {} v{}: BREAKING, is not published any more", gone.kind, gone.version));
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
    for entry in contracts.promises() {
        for path in [schema_path(entry), examples_path(entry)] {
            let to = folder.join(&path);
            fs::create_dir_all(to.parent().unwrap_or(&folder))?;
            fs::copy(contracts.folder.join(&path), &to).with_context(|| path)?;
        }
    }
    fs::copy(contracts.folder.join("openapi.json"), folder.join("openapi.json"))?;
    fs::write(contracts.folder.join("released").join(LOCK), locked(&contracts.folder)?)?;
    Ok(())
}

/// The file that holds the digest of every released file: what was promised is neither changed nor removed.
const LOCK: &str = "lock";

/// The lock as the files are: one line each, digest and path.
///
/// # Errors
/// When a file cannot be read.
fn locked(folder: &Path) -> Result<String> {
    let mut lines = Vec::new();
    for (_, path) in releases(folder)? {
        for file in files_below(&path)? {
            let digest = Sha256::digest(fs::read(&file)?);
            let path = file.strip_prefix(folder.join("released")).unwrap_or(&file).display().to_string();
            lines.push(format!("{digest:x}  {path}\n"));
        }
    }
    Ok(lines.concat())
}

/// Every file below a folder, by path.
///
/// # Errors
/// When it cannot be read.
pub fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files_below(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

/// Whether the released files are those that were released.
///
/// # Errors
/// When they cannot be read.
pub fn tampered(folder: &Path) -> Result<Vec<String>> {
    let kept = fs::read_to_string(folder.join("released").join(LOCK)).unwrap_or_default();
    if kept.is_empty() {
        return Ok(vec!["contracts/released/lock: there is no release, and there was one".into()]);
    }
    let (now, then): (BTreeSet<_>, BTreeSet<_>) =
        (locked(folder)?.lines().map(str::to_owned).collect(), kept.lines().map(str::to_owned).collect());
    let path = |line: &String| line.split("  ").nth(1).unwrap_or_default().to_owned();
    let gone = then.difference(&now).map(|line| {
        format!("contracts/released/{}: was released, and is changed or gone; restore it", path(line))
    });
    let more = now.difference(&then).map(|line| {
        format!(
            "contracts/released/{}: was never released like this; delete it, or `just release-contracts`",
            path(line)
        )
    });
    Ok(gone.chain(more).collect())
}

/// What would break a client that was written for a released description of the HTTP API.
///
/// # Errors
/// When a released description cannot be read.
pub fn http(folder: &Path, today: &Value) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (release, path) in releases(folder)? {
        let then = widened(serde_json::from_str(&fs::read_to_string(path.join("openapi.json"))?)?);
        for (path, item) in then["paths"].as_object().into_iter().flatten() {
            for (method, old) in item.as_object().into_iter().flatten().filter(|(m, _)| *m != "parameters") {
                let name = format!("{} {path}: release {release}", method.to_uppercase());
                let reasons = operation((&then, old), (today, &today["paths"][path][method]));
                found.extend(reasons.into_iter().map(|reason| format!("{name} is broken: {reason}")));
            }
        }
    }
    Ok(found)
}

/// An old client's requests are still read, and what it is answered is what it knows.
fn operation((then, old): (&Value, &Value), (today, new): (&Value, &Value)) -> Vec<String> {
    if new.is_null() {
        return vec!["there is no such call any more".into()];
    }
    let schema = |content: &Value| content["content"]["application/json"]["schema"].clone();
    // A schema that refers to its document's components is compared with them beside it.
    let within = |schema: Value, document: &Value| json!({"$ref": "#/schema", "schema": schema, "components": document["components"]});
    let mut found = Vec::new();
    let (sent, read) = (schema(&old["requestBody"]), schema(&new["requestBody"]));
    if !read.is_null() {
        let unmet = promise::unmet(&within(sent, then), &within(read, today), promise::Reader::Newer);
        found.extend(unmet.into_iter().map(|reason| format!("request: {reason}")));
    }
    for (status, answer) in
        old["responses"].as_object().into_iter().flatten().filter(|(s, _)| s.starts_with('2'))
    {
        let (known, written) = (schema(answer), schema(&new["responses"][status]));
        if written.is_null() && !known.is_null() {
            found.push(format!("{status} is not answered any more"));
            continue;
        }
        let unmet = promise::unmet(&within(written, today), &within(known, then), promise::Reader::Strict);
        found.extend(unmet.into_iter().map(|reason| format!("{status}: {reason}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(name: &str, pattern: &str) -> Value {
        let of = json!({"$ref": format!("#/$defs/{name}")});
        json!({"type": "object", "properties": {"id": of}, "required": ["id"],
            "$defs": {name: {"type": "string", "pattern": pattern}}})
    }

    /// Guards: customer ids alone were widened, and by one decision. Any other change of a pattern is a break, also of theirs.
    #[test]
    fn only_customer_ids_are_wider_than_released() {
        let judged = |name, then, today| change(&widened(schema(name, then)), &schema(name, today));
        assert_eq!(judged("CustomerId", NARROW, CustomerId::PATTERN), Change::None);
        for (name, then, today) in [
            ("ProductId", NARROW, CustomerId::PATTERN),
            ("CustomerId", NARROW, "^.*$"),
            ("CustomerId", CustomerId::PATTERN, NARROW),
        ] {
            assert!(matches!(judged(name, then, today), Change::Breaking(_)), "{name} {today}");
        }
    }
}
