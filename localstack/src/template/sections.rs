//! The sections of a template, read into a [`Scope`]: parameters bound, conditions and resources declared.

use super::names::Names;
use super::parameters;
use super::refused::Refused;
use super::scope::{Resource, Scope};
use super::stack::Output;
use super::types::ResourceType;
use super::yaml::{Kind, Node};
use std::collections::{BTreeMap, BTreeSet};

const SECTIONS: [&str; 6] =
    ["AWSTemplateFormatVersion", "Description", "Parameters", "Conditions", "Resources", "Outputs"];
const RESOURCE_KEYS: [&str; 6] =
    ["Type", "Properties", "DeletionPolicy", "UpdateReplacePolicy", "Condition", "DependsOn"];

const OUTPUT_KEYS: [&str; 2] = ["Description", "Value"];

/// Binds the `given` parameters to a template and sorts its sections.
///
/// # Errors
/// [`Refused`] for a section, parameter key or resource attribute that is not implemented, and for a parameter without
/// a value or with one that its constraints do not allow.
pub fn read<'a>(
    file: &str,
    root: &Node,
    names: &'a Names,
    given: &BTreeMap<String, String>,
) -> Result<Scope<'a>, Refused> {
    let mut scope = Scope {
        file: file.to_owned(),
        stack: file.trim_end_matches(".yaml").to_owned(),
        names,
        parameters: BTreeMap::new(),
        conditions: BTreeMap::new(),
        resources: BTreeMap::new(),
        description: root.get("Description").and_then(Node::text).map(str::to_owned),
        hidden: BTreeSet::new(),
        outputs: Vec::new(),
    };
    check_keys(&scope, root, &SECTIONS, "")?;
    for (name, node) in entries(root, "Parameters") {
        check_keys(&scope, node, &parameters::KEYS, name)?;
        let value = parameters::value(&scope, name, node, given)?;
        scope.parameters.insert(name.clone(), value);
        if node.get("NoEcho").and_then(Node::text) == Some("true") {
            scope.hidden.insert(name.clone());
        }
    }
    for (name, node) in entries(root, "Conditions") {
        scope.conditions.insert(name.clone(), node.clone());
    }
    let resources = root.get("Resources").ok_or_else(|| scope.refused(0, "", "no Resources"))?;
    for (name, node) in resources.entries() {
        declare(&mut scope, name, node)?;
    }
    for (name, node) in entries(root, "Outputs") {
        check_keys(&scope, node, &OUTPUT_KEYS, name)?;
        let output = output(&scope, name, node)?;
        scope.outputs.push(output);
    }
    Ok(scope)
}

fn output(scope: &Scope<'_>, name: &str, node: &Node) -> Result<Output, Refused> {
    let value = node.get("Value").ok_or_else(|| scope.refused(node.line, name, "no Value"))?;
    let value = scope.evaluate(value, name)?;
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let description = node.get("Description").and_then(Node::text).map(str::to_owned);
    Ok(Output { name: name.to_owned(), value, description })
}

fn entries<'n>(root: &'n Node, section: &str) -> &'n [(String, Node)] {
    root.get(section).map_or(&[][..], Node::entries)
}

fn check_keys(scope: &Scope<'_>, node: &Node, known: &[&str], at: &str) -> Result<(), Refused> {
    match node.entries().iter().find(|(key, _)| !known.contains(&key.as_str())) {
        Some((key, node)) => {
            let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            Err(scope.refused(node.line, &at, "is not implemented by the local stack"))
        }
        None => Ok(()),
    }
}

fn declare(scope: &mut Scope<'_>, name: &str, node: &Node) -> Result<(), Refused> {
    check_keys(scope, node, &RESOURCE_KEYS, name)?;
    let refused = |reason: &str| scope.refused(node.line, name, reason);
    let kind = node.get("Type").and_then(Node::text).ok_or_else(|| refused("no Type"))?;
    let kind = ResourceType::find(kind)
        .ok_or_else(|| refused(&format!("{kind} is not implemented by the local stack")))?;
    if let Some(condition) = node.get("Condition") {
        let wanted = condition.text().unwrap_or_default();
        if !scope.holds(wanted, condition.line)? {
            return Ok(());
        }
    }
    let empty = || Node { line: node.line, tag: None, kind: Kind::Map(Vec::new()) };
    let properties = node.get("Properties").cloned().unwrap_or_else(empty);
    scope.resources.insert(name.to_owned(), Resource { kind, line: node.line, properties });
    Ok(())
}
