//! What a template's intrinsics can refer to, and their evaluation: from the nodes of a file to plain JSON.

use super::declared::generated_name;
use super::names::{ACCOUNT, Names, REGION};
use super::refused::Refused;
use super::stack::Output;
use super::types::{Identity, ResourceType};
use super::yaml::{Kind, Node};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The parameters, conditions and resources of one template.
pub struct Scope<'a> {
    pub file: String,
    /// The stack's name: the file's stem.
    pub stack: String,
    pub names: &'a Names,
    pub parameters: BTreeMap<String, Value>,
    pub conditions: BTreeMap<String, Node>,
    /// By logical id.
    pub resources: BTreeMap<String, Resource>,
    /// The template's own text about itself.
    pub description: Option<String>,
    /// The parameters whose values are not shown.
    pub hidden: BTreeSet<String>,
    /// What other stacks and people read.
    pub outputs: Vec<Output>,
}

/// One resource as it stands in the file.
pub struct Resource {
    pub kind: &'static ResourceType,
    pub line: usize,
    pub properties: Node,
}

/// Where a reference stands: its errors name the place, and its depth finds references in a circle.
#[derive(Clone, Copy)]
struct Place<'a> {
    line: usize,
    /// Resource and property.
    at: &'a str,
    depth: usize,
}

/// How deep references may lead from one resource to the next.
const MAX_DEPTH: usize = 32;

impl Scope<'_> {
    /// An error of this template.
    #[must_use]
    pub fn refused(&self, line: usize, at: &str, reason: impl Into<String>) -> Refused {
        Refused { file: self.file.clone(), line, at: at.to_owned(), reason: reason.into() }
    }

    /// Evaluates a node; `at` is the resource or output that holds it.
    ///
    /// # Errors
    /// [`Refused`] for an intrinsic that is not implemented or a reference to nothing.
    pub fn evaluate(&self, node: &Node, at: &str) -> Result<Value, Refused> {
        self.resolve(node, at, 0)
    }

    /// Whether a condition holds; `line` is where it is referred to.
    ///
    /// # Errors
    /// [`Refused`] when there is no such condition, or it is none.
    pub fn holds(&self, name: &str, line: usize) -> Result<bool, Refused> {
        self.condition(name, line, 0)
    }

    fn condition(&self, name: &str, line: usize, depth: usize) -> Result<bool, Refused> {
        let node = self.conditions.get(name);
        let node = node.ok_or_else(|| self.refused(line, name, "there is no such condition"))?;
        match self.resolve(node, name, depth + 1)? {
            Value::Bool(holds) => Ok(holds),
            _ => Err(self.refused(node.line, name, "is not a condition")),
        }
    }

    fn resolve(&self, node: &Node, at: &str, depth: usize) -> Result<Value, Refused> {
        if depth > MAX_DEPTH {
            return Err(self.refused(node.line, at, "references lead in a circle"));
        }
        if let Some(tag) = &node.tag {
            return self.intrinsic(tag, node, at, depth);
        }
        match &node.kind {
            Kind::Scalar { text, plain } => {
                Ok(if *plain { plain_scalar(text) } else { text.as_str().into() })
            }
            Kind::Seq(nodes) => {
                let items = nodes.iter().map(|node| self.resolve(node, at, depth + 1));
                items.filter(|item| item.as_ref().ok() != Some(&no_value())).collect()
            }
            Kind::Map(entries) => {
                if let [(key, argument)] = entries.as_slice()
                    && let Some(function) = key.strip_prefix("Fn::").or((key == "Ref").then_some("Ref"))
                {
                    return self.intrinsic(function, argument, at, depth);
                }
                let mut map = Map::new();
                for (key, node) in entries {
                    map.insert(key.clone(), self.resolve(node, &format!("{at}.{key}"), depth + 1)?);
                }
                map.retain(|_, value| *value != no_value());
                Ok(Value::Object(map))
            }
        }
    }

    fn intrinsic(&self, name: &str, node: &Node, at: &str, depth: usize) -> Result<Value, Refused> {
        let line = node.line;
        let place = Place { line, at, depth };
        match (name, &node.kind) {
            ("Ref", Kind::Scalar { text, .. }) => self.reference(text, place),
            ("Sub", Kind::Scalar { text, .. }) => self.substitute(text, place).map(Value::String),
            ("GetAtt", Kind::Scalar { text, .. }) => match text.split_once('.') {
                Some((logical, attribute)) => self.attribute(logical, attribute, place),
                None => Err(self.refused(line, at, "!GetAtt takes Resource.Attribute")),
            },
            ("Equals", Kind::Seq(sides)) if sides.len() == 2 => {
                let sides = self.parts(sides, place)?;
                Ok(Value::Bool(sides.windows(2).all(|pair| pair.first() == pair.last())))
            }
            ("Not", Kind::Seq(parts)) if parts.len() == 1 => match self.parts(parts, place)?.as_slice() {
                [Value::Bool(holds)] => Ok(Value::Bool(!holds)),
                _ => Err(self.refused(line, at, "!Not of something that is not a condition")),
            },
            ("Join", Kind::Seq(parts)) if parts.len() == 2 => self.join(parts, place),
            ("If", Kind::Seq(parts)) => match parts.as_slice() {
                [condition, yes, no] => {
                    let holds = self.condition(condition.text().unwrap_or_default(), line, depth)?;
                    self.resolve(if holds { yes } else { no }, at, depth + 1)
                }
                _ => Err(self.not_implemented(name, place)),
            },
            _ => Err(self.not_implemented(name, place)),
        }
    }

    fn not_implemented(&self, intrinsic: &str, place: Place<'_>) -> Refused {
        let reason = format!("!{intrinsic} in this form is not implemented by the local stack");
        self.refused(place.line, place.at, reason)
    }

    fn parts(&self, nodes: &[Node], place: Place<'_>) -> Result<Vec<Value>, Refused> {
        nodes.iter().map(|node| self.resolve(node, place.at, place.depth + 1)).collect()
    }

    fn join(&self, parts: &[Node], place: Place<'_>) -> Result<Value, Refused> {
        match self.parts(parts, place)?.as_slice() {
            [Value::String(between), Value::Array(parts)] => {
                let parts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
                Ok(parts.join(between).into())
            }
            _ => Err(self.refused(place.line, place.at, "!Join takes a text and a list")),
        }
    }

    fn reference(&self, name: &str, place: Place<'_>) -> Result<Value, Refused> {
        match name {
            "AWS::Region" => Ok(REGION.into()),
            "AWS::AccountId" => Ok(ACCOUNT.into()),
            "AWS::Partition" => Ok("aws".into()),
            "AWS::StackName" => Ok(self.stack.as_str().into()),
            "AWS::NoValue" => Ok(no_value()),
            _ => match self.parameters.get(name) {
                Some(value) => Ok(value.clone()),
                None => self.attribute(name, "Ref", place),
            },
        }
    }

    fn substitute(&self, text: &str, place: Place<'_>) -> Result<String, Refused> {
        let refused = |reason: &str| self.refused(place.line, place.at, reason);
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let (name, after) = after.split_once('}').ok_or_else(|| refused("unclosed ${"))?;
            let value = match name.split_once('.') {
                Some((logical, attribute)) => self.attribute(logical, attribute, place)?,
                None => self.reference(name, place)?,
            };
            match value {
                Value::String(text) => out.push_str(&text),
                Value::Number(number) => out.push_str(&number.to_string()),
                _ => return Err(refused("!Sub of something that is neither text nor number")),
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn attribute(&self, logical: &str, attribute: &str, place: Place<'_>) -> Result<Value, Refused> {
        let Place { line, at, depth } = place;
        let unknown = || self.refused(line, at, format!("there is no {logical} to refer to"));
        let resource = self.resources.get(logical).ok_or_else(unknown)?;
        let text = |property: &str| -> Result<Option<String>, Refused> {
            let node = resource.properties.get(property);
            let value = node.map(|node| self.resolve(node, logical, depth + 1)).transpose()?;
            Ok(value.and_then(|value| value.as_str().map(str::to_owned)))
        };
        let name = match resource.kind.name_property {
            Some(property) => text(property)?,
            None => None,
        };
        let name = name.unwrap_or_else(|| generated_name(&self.stack, logical));
        let bus = text("EventBusName")?.unwrap_or_default();
        let identity = Identity { names: self.names, name: &name, bus: &bus };
        let value = resource.kind.attribute(attribute, &identity);
        let reason = || format!("{} has no attribute {attribute} in the local stack", resource.kind.name);
        value.map(Value::String).ok_or_else(|| self.refused(line, at, reason()))
    }
}

/// Stands for `AWS::NoValue` until the mapping around it drops the key, or the list the item.
fn no_value() -> Value {
    Value::String("\u{0}AWS::NoValue".into())
}

fn plain_scalar(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" | "~" | "" => Value::Null,
        _ => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
    }
}
