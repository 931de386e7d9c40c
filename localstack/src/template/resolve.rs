//! Parameters, conditions and intrinsics: from a template's nodes to plain JSON properties.

use super::names::{self, ACCOUNT, Names, REGION};
use super::yaml::{Kind, Node};
use super::{Refused, resources};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A template with its parameters bound.
pub struct Template<'a> {
    file: String,
    /// The stack's name: the file's stem.
    pub stack: String,
    names: &'a Names,
    parameters: BTreeMap<String, Value>,
    conditions: BTreeMap<String, Node>,
    /// Resources by logical id.
    pub resources: BTreeMap<String, Resource>,
}

/// One resource as it stands in the file.
#[derive(Clone, Debug)]
pub struct Resource {
    /// `AWS::SQS::Queue`
    pub kind: String,
    /// Where it stands.
    pub line: usize,
    properties: Node,
}

/// How deep references may lead from one resource to the next.
const MAX_DEPTH: usize = 32;

const SECTIONS: [&str; 6] =
    ["AWSTemplateFormatVersion", "Description", "Parameters", "Conditions", "Resources", "Outputs"];
const PARAMETER_KEYS: [&str; 9] = [
    "Type",
    "Default",
    "AllowedPattern",
    "AllowedValues",
    "Description",
    "NoEcho",
    "MinLength",
    "MinValue",
    "MaxValue",
];
const RESOURCE_KEYS: [&str; 6] =
    ["Type", "Properties", "DeletionPolicy", "UpdateReplacePolicy", "Condition", "DependsOn"];

impl<'a> Template<'a> {
    /// Binds `parameters` to the template and sorts its sections.
    ///
    /// # Errors
    /// [`Refused`] for a section, parameter key or resource attribute that is not implemented, and for a
    /// parameter without a value.
    pub fn read(
        file: &str,
        root: &Node,
        names: &'a Names,
        parameters: &BTreeMap<String, String>,
    ) -> Result<Self, Refused> {
        let stack = file.trim_end_matches(".yaml").to_owned();
        let mut template = Self {
            file: file.to_owned(),
            stack,
            names,
            parameters: BTreeMap::new(),
            conditions: BTreeMap::new(),
            resources: BTreeMap::new(),
        };
        template.check_keys(root, &SECTIONS, "")?;
        for (name, node) in root.get("Parameters").map_or(&[][..], Node::entries) {
            template.bind(name, node, parameters)?;
        }
        for (name, node) in root.get("Conditions").map_or(&[][..], Node::entries) {
            template.conditions.insert(name.clone(), node.clone());
        }
        let resources = root.get("Resources").ok_or_else(|| template.refused(0, "", "no Resources"))?;
        for (name, node) in resources.entries() {
            template.declare(name, node)?;
        }
        // Outputs are for people and other stacks; they are resolved so that a typo in one is found.
        for (name, node) in root.get("Outputs").map_or(&[][..], Node::entries) {
            let value = node.get("Value").ok_or_else(|| template.refused(node.line, name, "no Value"))?;
            template.resolve(value, name, 0)?;
        }
        Ok(template)
    }

    /// The parameters that it takes.
    #[must_use]
    pub fn parameter_names(&self) -> Vec<String> {
        self.parameters.keys().cloned().collect()
    }

    /// An error of this template.
    #[must_use]
    pub fn refused(&self, line: usize, at: &str, reason: impl Into<String>) -> Refused {
        Refused { file: self.file.clone(), line, at: at.to_owned(), reason: reason.into() }
    }

    fn check_keys(&self, node: &Node, known: &[&str], at: &str) -> Result<(), Refused> {
        match node.entries().iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, node)) => {
                let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                Err(self.refused(node.line, &at, "is not implemented by the local stack"))
            }
            None => Ok(()),
        }
    }

    fn bind(&mut self, name: &str, node: &Node, given: &BTreeMap<String, String>) -> Result<(), Refused> {
        self.check_keys(node, &PARAMETER_KEYS, name)?;
        let default = node.get("Default").and_then(Node::text).map(str::to_owned);
        let value = given.get(name).cloned().or(default);
        let value = value.ok_or_else(|| self.refused(node.line, name, "this parameter has no value"))?;
        if let Some(Node { kind: Kind::Seq(allowed), .. }) = node.get("AllowedValues")
            && !allowed.iter().any(|one| one.text() == Some(&value))
        {
            let allowed: Vec<&str> = allowed.iter().filter_map(Node::text).collect();
            let reason = format!("{value:?} is not allowed, only {}", allowed.join(", "));
            return Err(self.refused(node.line, name, reason));
        }
        let kind = node.get("Type").and_then(Node::text).unwrap_or_default();
        let value = Self::typed(kind, value).map_err(|reason| self.refused(node.line, name, reason))?;
        let bound = |key: &str| node.get(key).and_then(Node::text).and_then(|text| text.parse::<i64>().ok());
        let (least, most) = (bound("MinValue"), bound("MaxValue"));
        let number = value.as_i64().unwrap_or_default();
        if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
            return Err(self.refused(node.line, name, format!("{number} is out of its bounds")));
        }
        self.parameters.insert(name.to_owned(), value);
        Ok(())
    }

    /// A parameter's text as its type means it.
    fn typed(kind: &str, text: String) -> Result<Value, String> {
        match kind {
            "String" => Ok(text.into()),
            "Number" => text.parse::<i64>().map(Value::from).map_err(|_| format!("{text:?} is not a number")),
            "CommaDelimitedList" => Ok(text.split(',').map(str::trim).collect()),
            _ => Err(format!("parameters of type {kind:?} are not implemented by the local stack")),
        }
    }

    fn declare(&mut self, name: &str, node: &Node) -> Result<(), Refused> {
        self.check_keys(node, &RESOURCE_KEYS, name)?;
        let kind = node.get("Type").and_then(Node::text);
        let kind = kind.ok_or_else(|| self.refused(node.line, name, "no Type"))?.to_owned();
        if !resources::TYPES.contains(&kind.as_str()) {
            let reason = format!("{kind} is not implemented by the local stack");
            return Err(self.refused(node.line, name, reason));
        }
        if let Some(condition) = node.get("Condition") {
            let wanted = condition.text().unwrap_or_default();
            if !self.condition(wanted, condition.line, 0)? {
                return Ok(());
            }
        }
        let empty = Node { line: node.line, tag: None, kind: Kind::Map(Vec::new()) };
        let properties = node.get("Properties").cloned().unwrap_or(empty);
        self.resources.insert(name.to_owned(), Resource { kind, line: node.line, properties });
        Ok(())
    }

    /// The resolved properties of a resource.
    ///
    /// # Errors
    /// [`Refused`] for an intrinsic that is not implemented or a reference to nothing.
    pub fn properties(&self, logical: &str, resource: &Resource) -> Result<Value, Refused> {
        self.resolve(&resource.properties, logical, 0)
    }

    /// The line of a property, by its path from the resource's properties; as deep as it can be followed.
    #[must_use]
    pub fn line_of(resource: &Resource, path: &[String]) -> usize {
        let mut node = &resource.properties;
        let mut line = resource.line;
        for part in path {
            let next = match (&node.kind, part.parse::<usize>()) {
                (Kind::Seq(nodes), Ok(index)) => nodes.get(index),
                _ => node.get(part),
            };
            let Some(next) = next else { break };
            (node, line) = (next, next.line);
        }
        line
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
            Kind::Seq(nodes) => nodes.iter().map(|node| self.resolve(node, at, depth + 1)).collect(),
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
        match (name, &node.kind) {
            ("Ref", Kind::Scalar { text, .. }) => self.reference(text, line, at, depth),
            ("Sub", Kind::Scalar { text, .. }) => self.substitute(text, line, at, depth).map(Value::String),
            ("GetAtt", Kind::Scalar { text, .. }) => match text.split_once('.') {
                Some((logical, attribute)) => self.attribute(logical, attribute, line, at, depth),
                None => Err(self.refused(line, at, "!GetAtt takes Resource.Attribute")),
            },
            ("Equals", Kind::Seq(sides)) if sides.len() == 2 => {
                let sides = self.parts(sides, at, depth)?;
                Ok(Value::Bool(sides.windows(2).all(|pair| pair.first() == pair.last())))
            }
            ("Not", Kind::Seq(parts)) if parts.len() == 1 => match self.parts(parts, at, depth)?.as_slice() {
                [Value::Bool(holds)] => Ok(Value::Bool(!holds)),
                _ => Err(self.refused(line, at, "!Not of something that is not a condition")),
            },
            ("Join", Kind::Seq(parts)) if parts.len() == 2 => {
                match self.parts(parts, at, depth)?.as_slice() {
                    [Value::String(between), Value::Array(parts)] => {
                        let parts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
                        Ok(parts.join(between).into())
                    }
                    _ => Err(self.refused(line, at, "!Join takes a text and a list")),
                }
            }
            ("If", Kind::Seq(parts)) if parts.len() == 3 => {
                let parts: &[Node; 3] =
                    parts.as_slice().try_into().map_err(|_| self.refused(line, at, "!If"))?;
                let [condition, yes, no] = parts;
                let holds = self.condition(condition.text().unwrap_or_default(), line, depth)?;
                self.resolve(if holds { yes } else { no }, at, depth + 1)
            }
            _ => Err(self.refused(
                line,
                at,
                format!("!{name} in this form is not implemented by the local stack"),
            )),
        }
    }

    fn parts(&self, nodes: &[Node], at: &str, depth: usize) -> Result<Vec<Value>, Refused> {
        nodes.iter().map(|node| self.resolve(node, at, depth + 1)).collect()
    }

    fn reference(&self, name: &str, line: usize, at: &str, depth: usize) -> Result<Value, Refused> {
        match name {
            "AWS::Region" => Ok(REGION.into()),
            "AWS::AccountId" => Ok(ACCOUNT.into()),
            "AWS::Partition" => Ok("aws".into()),
            "AWS::StackName" => Ok(self.stack.as_str().into()),
            "AWS::NoValue" => Ok(no_value()),
            _ => match self.parameters.get(name) {
                Some(value) => Ok(value.clone()),
                None => self.attribute(name, "Ref", line, at, depth),
            },
        }
    }

    fn substitute(&self, text: &str, line: usize, at: &str, depth: usize) -> Result<String, Refused> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let (name, after) = after.split_once('}').ok_or_else(|| self.refused(line, at, "unclosed ${"))?;
            let value = match name.split_once('.') {
                Some((logical, attribute)) => self.attribute(logical, attribute, line, at, depth)?,
                None => self.reference(name, line, at, depth)?,
            };
            match value {
                Value::String(text) => out.push_str(&text),
                Value::Number(number) => out.push_str(&number.to_string()),
                _ => return Err(self.refused(line, at, "!Sub of something that is neither text nor number")),
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn attribute(
        &self,
        logical: &str,
        attribute: &str,
        line: usize,
        at: &str,
        depth: usize,
    ) -> Result<Value, Refused> {
        let unknown = || self.refused(line, at, format!("there is no {logical} to refer to"));
        let resource = self.resources.get(logical).ok_or_else(unknown)?;
        let text = |property: &str| -> Result<Option<String>, Refused> {
            let node = resource.properties.get(property);
            let value = node.map(|node| self.resolve(node, logical, depth + 1)).transpose()?;
            Ok(value.and_then(|value| value.as_str().map(str::to_owned)))
        };
        let name = match resources::name_property(&resource.kind) {
            Some(property) => text(property)?,
            None => None,
        };
        let name = name.unwrap_or_else(|| format!("{}-{logical}", self.stack));
        let bus = text("EventBusName")?.unwrap_or_default();
        let value = attribute_of(self.names, &resource.kind, attribute, &name, &bus);
        let reason = || format!("{} has no attribute {attribute} in the local stack", resource.kind);
        value.map(Value::String).ok_or_else(|| self.refused(line, at, reason()))
    }
}

/// What `Ref` and `GetAtt` give, per type: the "Return values" section of each resource's page.
fn attribute_of(names: &Names, kind: &str, attribute: &str, name: &str, bus: &str) -> Option<String> {
    let table = || names::arn("dynamodb", &format!("table/{name}"));
    let secret = || names::arn("secretsmanager", &format!("secret:{name}-local0"));
    Some(match (kind, attribute) {
        ("AWS::DynamoDB::Table", "Arn") => table(),
        ("AWS::DynamoDB::Table", "StreamArn") => format!("{}/stream/{}", table(), names::STREAM_LABEL),
        ("AWS::SNS::Topic", "Ref" | "TopicArn") => names::arn("sns", name),
        ("AWS::SQS::Queue", "Arn") => names::arn("sqs", name),
        ("AWS::SQS::Queue", "Ref" | "QueueUrl") => format!("{}/{ACCOUNT}/{name}", names.endpoint),
        ("AWS::SQS::Queue", "QueueName") => name.to_owned(),
        ("AWS::Lambda::Function", "Arn") => names::arn("lambda", &format!("function:{name}")),
        ("AWS::IAM::Role", "Arn") => names::role_arn(name),
        ("AWS::Events::EventBus", "Arn") => names::arn("events", &format!("event-bus/{name}")),
        ("AWS::Events::Rule", "Arn") => names::arn("events", &format!("rule/{bus}/{name}")),
        ("AWS::Logs::LogGroup", "Arn") => names::arn("logs", &format!("log-group:{name}:*")),
        ("AWS::ApiGatewayV2::Api", "ApiEndpoint") => names.api.clone(),
        ("AWS::StepFunctions::StateMachine", "Ref" | "Arn") => crate::aws::stepfunctions::arn(name),
        ("AWS::SecretsManager::Secret", "Ref" | "Id") => secret(),
        (_, "Ref") => name.to_owned(),
        _ => return None,
    })
}

/// Stands for `AWS::NoValue` until the mapping around it drops the key.
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
