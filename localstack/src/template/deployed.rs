//! Makes the stack of a template.

use super::refused::Refused;
use super::scope::{Resource, Scope};
use super::stack::{Deployed, Stack};
use super::yaml::{Kind, Node};

/// The stack of a template.
///
/// # Errors
/// [`Refused`] when a resource has no name.
pub fn stack(scope: &Scope<'_>) -> Result<Stack, Refused> {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let shown =
        |name: &String, value| if scope.hidden.contains(name) { "****".to_owned() } else { text(value) };
    let parameters = scope.parameters.iter().map(|(name, value)| (name.clone(), shown(name, value)));
    let stage = scope.parameters.get("Stage").map(text);
    let resource = |(logical_id, resource): (&String, &Resource)| {
        let kind = Kind::Scalar { text: logical_id.clone(), plain: true };
        let reference = Node { line: resource.line, tag: Some("Ref".into()), kind };
        let physical_id = text(&scope.evaluate(&reference, logical_id)?);
        Ok(Deployed { logical_id: logical_id.clone(), physical_id, kind: resource.kind.name })
    };
    Ok(Stack {
        name: stage.map_or_else(|| scope.stack.clone(), |stage| format!("{stage}-quadrille-{}", scope.stack)),
        description: scope.description.clone(),
        parameters: parameters.collect(),
        outputs: scope.outputs.clone(),
        resources: scope.resources.iter().map(resource).collect::<Result<_, Refused>>()?,
    })
}
