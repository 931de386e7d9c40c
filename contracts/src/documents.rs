//! The parts of the hand-written documents that are generated: each stands between two markers, is written by `just bless`,
//! and must equal what the code says.

use crate::statuses::{self, ALL, Arrival, Explored};
use crate::{Contracts, wiring};
use anyhow::{Context, Result, bail};
use localstack::template::resources::Function;
use localstack::template::yaml::{self, Node};
use orders::saga::Status;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

/// A generated part of a document.
struct Part {
    file: PathBuf,
    /// The document, from the repository's root on.
    shown: &'static str,
    marker: &'static str,
    text: String,
}

fn parts(contracts: &Contracts) -> Result<Vec<Part>> {
    let (services, infra) = (contracts.services.join("README.md"), contracts.infra.join("README.md"));
    let part = |file: &PathBuf, shown, marker, text| Part { file: file.clone(), shown, marker, text };
    Ok(vec![
        part(&services, "services/README.md", "statuses", STATUSES.clone()),
        part(&infra, "infra/README.md", "parameters", parameters(contracts)?),
        part(&infra, "infra/README.md", "variables", variables(contracts)?),
    ])
}

/// The documents whose generated parts are not what the code says.
///
/// # Errors
/// When a document or a template cannot be read.
pub fn drift(contracts: &Contracts) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for part in parts(contracts)? {
        let text = fs::read_to_string(&part.file).with_context(|| part.file.display().to_string())?;
        if placed(&text, &part)? != text {
            found.push(format!("{}: {} differ from the code; run `just bless`", part.shown, part.marker));
        }
    }
    Ok(found)
}

/// Writes the generated parts.
///
/// # Errors
/// When a document cannot be read or written, or has lost a marker.
pub fn bless(contracts: &Contracts) -> Result<()> {
    for part in parts(contracts)? {
        let text = fs::read_to_string(&part.file).with_context(|| part.file.display().to_string())?;
        fs::write(&part.file, placed(&text, &part)?)?;
    }
    Ok(())
}

/// The document with the part between its markers.
fn placed(document: &str, part: &Part) -> Result<String> {
    let (begin, end) = (
        format!("<!-- {}: written by `just bless` -->\n", part.marker),
        format!("<!-- /{} -->", part.marker),
    );
    let Some((before, rest)) = document.split_once(&begin) else {
        bail!("{} has no line {begin}", part.shown);
    };
    let (_, after) = rest.split_once(&end).with_context(|| format!("{} has no line {end}", part.shown))?;
    Ok(format!("{before}{begin}\n{}\n{end}{after}", part.text))
}

/// What a status says to a customer.
const fn meaning(status: Status) -> &'static str {
    match status {
        Status::Pending => "orders has accepted it; stock and money are not both certain yet",
        Status::Confirmed => "the stock is held and the total is charged",
        Status::Fulfilled => "the carrier has the parcel; the end",
        Status::Cancelling => {
            "it will not happen; inventory or payments has not yet answered that everything is undone"
        }
        Status::Cancelled => "it did not happen, and nothing had to be undone; the end",
        Status::Compensated => {
            "it did not happen, and everything that was done is undone; the end, unless a refund fails later"
        }
        Status::Failed => {
            "it did not happen, but the provider refused the refund; `just order retry-compensation` has it tried again"
        }
    }
}

/// The exploration is the same each time, and takes a while.
static STATUSES: LazyLock<String> = LazyLock::new(status_page);

/// The table of statuses and their picture.
fn status_page() -> String {
    let explored = statuses::explore(Arrival::InOrder);
    let mut page = String::from("| status | what it says | waits for | next |\n|---|---|---|---|\n");
    for status in ALL {
        let waits = explored.waits_for.get(&status).map(joined).unwrap_or_default();
        let next: Vec<String> = leaving(&explored, status)
            .map(|(to, causes)| format!("`{}` on {}", to.as_str(), joined(causes)))
            .collect();
        let next = if next.is_empty() { "nothing: it is final".to_owned() } else { next.join("<br>") };
        let _ = writeln!(page, "| `{}` | {} | {waits} | {next} |", status.as_str(), meaning(status));
    }
    page.push_str("\n```mermaid\nstateDiagram-v2\n    [*] --> PENDING: POST /orders\n");
    for ((from, to), causes) in &explored.transitions {
        let causes: Vec<&str> = causes.iter().copied().collect();
        let _ = writeln!(page, "    {} --> {}: {}", from.as_str(), to.as_str(), causes.join("<br/>"));
    }
    let is_end = |status: &&Status| leaving(&explored, **status).all(|(to, _)| to == Status::Failed);
    for status in ALL.iter().filter(is_end) {
        let _ = writeln!(page, "    {} --> [*]", status.as_str());
    }
    page.push_str("```\n");
    page
}

fn leaving(explored: &Explored, status: Status) -> impl Iterator<Item = (Status, &BTreeSet<&'static str>)> {
    let of = explored.transitions.iter().filter(move |((from, _), _)| *from == status);
    of.map(|((_, to), causes)| (*to, causes))
}

/// Names of events and steps in code's type; sentences as they are.
fn joined(causes: &BTreeSet<&'static str>) -> String {
    let shown = causes.iter().map(|cause| match cause.contains(' ') {
        true => (*cause).to_owned(),
        false => format!("`{cause}`"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Every parameter of the templates, with its default.
fn parameters(contracts: &Contracts) -> Result<String> {
    let mut rows: BTreeMap<(String, String, String), Vec<String>> = BTreeMap::new();
    let mut templates = 0;
    for (name, root) in templates_of(contracts)? {
        templates += 1;
        for (parameter, node) in root.get("Parameters").map(Node::entries).unwrap_or_default() {
            let text = |key: &str| node.get(key).and_then(Node::text).unwrap_or_default().to_owned();
            let default = match node.get("Default").and_then(Node::text) {
                None => "has to be given".to_owned(),
                Some("") => "empty".to_owned(),
                Some(default) => format!("`{default}`"),
            };
            rows.entry((parameter.clone(), text("Description"), default)).or_default().push(name.clone());
        }
    }
    let mut table = String::from("| parameter | template | default | what it sets |\n|---|---|---|---|\n");
    for ((parameter, about, default), of) in rows {
        let of = if of.len() == templates { "every one".to_owned() } else { of.join(", ") };
        let _ = writeln!(table, "| `{parameter}` | {of} | {default} | {about} |");
    }
    Ok(table)
}

/// The templates, by name.
fn templates_of(contracts: &Contracts) -> Result<BTreeMap<String, Node>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(&contracts.infra)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let root = yaml::read(&file, &fs::read_to_string(&path)?)?;
            all.insert(file.trim_end_matches(".yaml").to_owned(), root);
        }
    }
    Ok(all)
}

/// What each variable of a function's environment is for.
const VARIABLES: &[(&str, &str)] = &[
    ("AUTH", "whether the function asks for a verified token: the parameter `Auth`"),
    ("CUSTOMER_CLAIM", "the claim of a token that names the customer: the parameter `CustomerClaim`"),
    ("SCOPE_ORDERS_OPERATE", "the issuer's name of the scope `orders:operate`"),
    ("SCOPE_ORDERS_READ", "the issuer's name of the scope `orders:read`"),
    ("SCOPE_ORDERS_WRITE", "the issuer's name of the scope `orders:write`"),
    ("SCOPE_PRODUCTS_WRITE", "the issuer's name of the scope `products:write`"),
    ("BUS", "the bus on which the function publishes"),
    ("CARRIER_SECRET", "the secret with the carrier's key"),
    ("CARRIER_URL", "where the carrier answers"),
    (
        "FALLBACK_PAYMENT_METHOD",
        "the provider's token for orders without a payment method whose customer has saved none; empty, they are declined",
    ),
    ("CIRCUIT_OPEN_SECONDS", "how long payments does not call a provider that failed five times in a row"),
    ("CURRENCY", "the currency of every price of the stage"),
    ("CURSOR_KEY", "the secret that seals the cursors of lists"),
    ("KEYS", "the table with the keys of addresses"),
    ("MAX_WAIT_SECONDS", "the longest wait that `Prefer: wait` gets"),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "where spans are exported by OTLP over HTTP; empty, they are not: the parameter `TracesEndpoint`",
    ),
    ("PROVIDER_SECRET", "the secret with the payment provider's key"),
    ("PROVIDER_URL", "where the payment provider answers"),
    ("STAGE", "the stage, as `GET /health` shows it"),
    ("TABLE", "the service's table"),
    ("TOPIC", "the topic for messages to customers, on which the function publishes"),
];

/// The two functions that need no table, of which a service has one.
fn is_way_out(function: &&Function) -> bool {
    ["outbox", "relay"].contains(&function.handler.as_str())
}

/// Every variable that a template gives its functions, on a stage named dev.
fn variables(contracts: &Contracts) -> Result<String> {
    let mut functions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut all = wiring::model(contracts)?.functions;
    all.extend(
        wiring::model_with(contracts, &wiring::RELAYED)?.functions.into_iter().filter(|f| is_way_out(&f)),
    );
    let with_table = all.iter().filter(|function| !is_way_out(function)).count();
    for function in &all {
        for variable in function.environment.iter().flat_map(|environment| environment.variables.keys()) {
            let name = function.function_name.trim_start_matches("dev-quadrille-").to_owned();
            functions.entry(variable.clone()).or_default().insert(name);
        }
    }
    let mut table = String::from("| variable | functions | what it holds |\n|---|---|---|\n");
    for (variable, of) in functions {
        let about = VARIABLES.iter().find(|(name, _)| *name == variable).map(|(_, about)| *about);
        let about =
            about.with_context(|| format!("{variable}: say what it is for in contracts/src/documents.rs"))?;
        let of = if of.len() == with_table {
            "every one but outbox and relay".to_owned()
        } else {
            of.into_iter().collect::<Vec<_>>().join(", ")
        };
        let _ = writeln!(table, "| `{variable}` | {of} | {about} |");
    }
    Ok(table)
}
