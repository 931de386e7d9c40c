//! The parameters of a template: their values, held to the constraints that the template declares for them.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html>

use super::refused::Refused;
use super::scope::Scope;
use super::yaml::{Kind, Node};
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeMap;

pub const KEYS: [&str; 11] = [
    "Type",
    "Default",
    "AllowedPattern",
    "AllowedValues",
    "ConstraintDescription",
    "Description",
    "MinLength",
    "MaxLength",
    "MinValue",
    "MaxValue",
    "NoEcho",
];

/// The types that the local stack has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    String,
    Number,
    List,
}

/// The value of a parameter: what is given, or else its default. Both are held to the constraints.
///
/// # Errors
/// [`Refused`], with the parameter and the rule.
pub fn value(
    scope: &Scope<'_>,
    name: &str,
    node: &Node,
    given: &BTreeMap<String, String>,
) -> Result<Value, Refused> {
    let refused = |reason: String| scope.refused(node.line, name, reason);
    let kind = match text(node, "Type").unwrap_or_default() {
        "String" => Type::String,
        "Number" => Type::Number,
        "CommaDelimitedList" => Type::List,
        kind => {
            return Err(refused(format!(
                "parameters of type {kind:?} are not implemented by the local stack"
            )));
        }
    };
    let mut value = None;
    for candidate in [text(node, "Default"), given.get(name).map(String::as_str)].into_iter().flatten() {
        value = Some(allowed(kind, node, candidate).map_err(refused)?);
    }
    value.ok_or_else(|| refused("this parameter has no value".into()))
}

fn text<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get(key).and_then(Node::text)
}

/// A text as a value of its type.
///
/// # Errors
/// The rule that it breaks: in the template's own text, where it has one.
fn allowed(kind: Type, node: &Node, given: &str) -> Result<Value, String> {
    let parts: Vec<&str> = match kind {
        Type::List => given.split(',').map(str::trim).collect(),
        _ => vec![given],
    };
    let echoed = text(node, "NoEcho") != Some("true");
    for part in &parts {
        if let Some(rule) = broken(kind, node, part)? {
            let rule = text(node, "ConstraintDescription").map_or(rule, str::to_owned);
            return Err(if echoed { format!("{part:?} {rule}") } else { format!("the value {rule}") });
        }
    }
    match kind {
        Type::String => Ok(given.into()),
        Type::Number => {
            given.parse::<i64>().map(Value::from).map_err(|_| format!("{given:?} is not a number"))
        }
        Type::List => Ok(parts.into()),
    }
}

/// The rule that one value breaks.
///
/// # Errors
/// For a rule that says nothing: on AWS a template with it would not be what it looks like.
fn broken(kind: Type, node: &Node, value: &str) -> Result<Option<String>, String> {
    for rule in [values, pattern, length, bounds] {
        let broken = rule(kind, node, value)?;
        if broken.is_some() {
            return Ok(broken);
        }
    }
    Ok(None)
}

fn values(_: Type, node: &Node, value: &str) -> Result<Option<String>, String> {
    let Some(allowed) = node.get("AllowedValues") else { return Ok(None) };
    let Kind::Seq(allowed) = &allowed.kind else { return Err("AllowedValues has to be a list".into()) };
    let allowed: Vec<&str> = allowed.iter().filter_map(Node::text).collect();
    Ok((!allowed.contains(&value)).then(|| format!("is not allowed, only {}", allowed.join(", "))))
}

/// The pattern matches the whole value; of a list, each.
fn pattern(kind: Type, node: &Node, value: &str) -> Result<Option<String>, String> {
    let Some(pattern) = text(node, "AllowedPattern") else { return Ok(None) };
    if kind == Type::Number {
        return Err("AllowedPattern is not for numbers".into());
    }
    let regex = portable(pattern).map_err(|what| format!("AllowedPattern {pattern:?}: {what}"))?;
    let regex = Regex::new(&format!(r"\A(?:{regex})\z"));
    let regex = regex.map_err(|_| format!("AllowedPattern {pattern:?} is no regular expression"))?;
    Ok((!regex.is_match(value)).then(|| format!("must match pattern {pattern}")))
}

fn length(kind: Type, node: &Node, value: &str) -> Result<Option<String>, String> {
    let (min, max) = (number(node, "MinLength")?, number(node, "MaxLength")?);
    if kind != Type::String && (min.is_some() || max.is_some()) {
        return Err("MinLength and MaxLength are for type String".into());
    }
    let length = i64::try_from(value.chars().count()).unwrap_or(i64::MAX);
    Ok(outside(length, min, max).map(|bound| format!("must have {bound} characters")))
}

fn bounds(kind: Type, node: &Node, value: &str) -> Result<Option<String>, String> {
    let (min, max) = (number(node, "MinValue")?, number(node, "MaxValue")?);
    if kind != Type::Number && (min.is_some() || max.is_some()) {
        return Err("MinValue and MaxValue are for type Number".into());
    }
    let number = value.parse().ok();
    Ok(number.and_then(|number| outside(number, min, max)).map(|bound| format!("must be {bound}")))
}

/// The bound that a number breaks.
fn outside(number: i64, min: Option<i64>, max: Option<i64>) -> Option<String> {
    let low = min.filter(|min| number < *min).map(|min| format!("at least {min}"));
    low.or_else(|| max.filter(|max| number > *max).map(|max| format!("at most {max}")))
}

fn number(node: &Node, key: &str) -> Result<Option<i64>, String> {
    let number = text(node, key).map(str::parse).transpose();
    number.map_err(|_| format!("{key} is not a number"))
}

/// The same pattern for Rust. CloudFormation reads patterns as Java does; one that the two would read differently is refused:
/// groups other than `(?:…)`, classes by name (`\d` is ASCII in Java, Unicode in Rust), references, possessive quantifiers, and
/// operators inside a class.
///
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-regexes.html>
fn portable(pattern: &str) -> Result<String, String> {
    let (mut out, mut in_class, mut rest) = (String::new(), false, pattern);
    while let Some(symbol) = rest.chars().next() {
        let after = rest.get(symbol.len_utf8()..).unwrap_or_default();
        let next = after.chars().next();
        let differs = match (in_class, symbol) {
            (_, '\\') => !next.is_some_and(|c| c.is_ascii_punctuation() && !"<>".contains(c)),
            (true, '[') => true,
            (true, '&' | '~' | '-') => next == Some(symbol),
            (false, '[') => after.trim_start_matches('^').starts_with(']'),
            (false, '(') => next == Some('?') && !after.starts_with("?:"),
            (false, '*' | '+' | '?' | '}') => next == Some('+'),
            (false, '{') => next == Some(','),
            _ => false,
        };
        if differs {
            let at: String = rest.chars().take(3).collect();
            return Err(format!("{at:?} means something else in Java; the local stack refuses it"));
        }
        let length = symbol.len_utf8() + if symbol == '\\' { 1 } else { 0 };
        match (in_class, symbol) {
            // In Java a dot matches none of these.
            (false, '.') => out.push_str(r"[^\n\r\u{85}\u{2028}\u{2029}]"),
            _ => out.push_str(rest.get(..length).unwrap_or_default()),
        }
        in_class = if in_class { symbol != ']' } else { symbol == '[' };
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use crate::template::names::Names;
    use crate::template::{sections, yaml};

    /// The value of a parameter with these constraints, or why it is refused.
    fn bound(constraints: &str, value: &str) -> Result<String, String> {
        let text = format!("Parameters:\n  P: {{{constraints}}}\nResources: {{}}\n");
        let names = Names { endpoint: "http://127.0.0.1:1".into(), api: "http://127.0.0.1:2".into() };
        let given = [("P".to_owned(), value.to_owned())].into();
        let scope = sections::read("t.yaml", &yaml::read("t.yaml", &text).unwrap(), &names, &given);
        scope.map(|scope| scope.parameters["P"].to_string()).map_err(|refused| refused.to_string())
    }

    /// Guards: each constraint of CloudFormation, for the whole value; of a list, for each.
    #[test]
    fn a_value_keeps_every_constraint() {
        const STRING: &str = "Type: String, ";
        const NUMBER: &str = "Type: Number, ";
        const LIST: &str = "Type: CommaDelimitedList, ";
        for (kind, constraint, good, bad, rule) in [
            (STRING, "AllowedPattern: '[a-z]+'", "abc", "abc1", "\"abc1\" must match pattern [a-z]+"),
            (STRING, "AllowedPattern: '^[a-z]+$'", "abc", "abc\n", "must match pattern ^[a-z]+$"),
            (STRING, "AllowedPattern: 'a|bc'", "bc", "ac", "\"ac\" must match pattern a|bc"),
            (STRING, "AllowedPattern: 'a.'", "ab", "a\r", "must match pattern a."),
            (STRING, "AllowedValues: [jwt, none]", "none", "non", "\"non\" is not allowed, only jwt, none"),
            (STRING, "MinLength: 2", "éé", "é", "\"é\" must have at least 2 characters"),
            (STRING, "MaxLength: 2", "éé", "ééé", "\"ééé\" must have at most 2 characters"),
            (NUMBER, "MinValue: 2", "2", "1", "\"1\" must be at least 2"),
            (NUMBER, "MaxValue: 2", "2", "3", "\"3\" must be at most 2"),
            (NUMBER, "AllowedValues: [1, 5]", "5", "2", "\"2\" is not allowed, only 1, 5"),
            (NUMBER, "MinValue: 2", "2", "x", "\"x\" is not a number"),
            (LIST, "AllowedPattern: '[a-z]+'", "a, b", "a, 1", "\"1\" must match pattern [a-z]+"),
            (LIST, "AllowedValues: [a, b]", "b,a", "a,c", "\"c\" is not allowed, only a, b"),
            (STRING, "MinLength: 2, ConstraintDescription: is short", "ab", "a", "\"a\" is short"),
            (STRING, "MinLength: 2, NoEcho: true", "ab", "a", "the value must have at least 2 characters"),
        ] {
            let constraints = format!("{kind}{constraint}");
            bound(&constraints, good).unwrap();
            let error = bound(&constraints, bad).unwrap_err();
            assert!(error.starts_with("t.yaml:2: P: ") && error.ends_with(rule), "{constraint}: {error}");
        }
    }

    /// Guards: a default that its own constraints do not allow is found, also while another value is given.
    #[test]
    fn a_default_keeps_every_constraint() {
        let error = bound("Type: String, MinLength: 2, Default: a", "ab").unwrap_err();
        assert_eq!(error, "t.yaml:2: P: \"a\" must have at least 2 characters");
    }

    /// Guards: no pattern means one thing here and another thing on AWS, and no constraint is ignored.
    #[test]
    fn what_aws_would_read_differently_is_refused() {
        for pattern in [
            r"\d+",
            r"\w",
            r"\bx",
            r"(a)\1",
            "(?i)a",
            "(?=a)a",
            "(?<n>a)",
            "a++",
            "a*+",
            "a?+",
            "a{2}+",
            "a{,2}",
            "[a-z&&[b]]",
            "[[:alpha:]]",
            "[a--b]",
            "[]a]",
            "[^]a]",
            r"\<a",
            r"\Qa\E",
            r"\é",
        ] {
            let error = bound(&format!("Type: String, AllowedPattern: '{pattern}'"), "a").unwrap_err();
            assert!(error.contains("means something else in Java"), "{pattern}: {error}");
        }
        for (constraints, reason) in [
            ("Type: String, AllowedPattern: '('", "is no regular expression"),
            ("Type: Number, AllowedPattern: 'a'", "AllowedPattern is not for numbers"),
            ("Type: Number, MinLength: 1", "MinLength and MaxLength are for type String"),
            ("Type: String, MaxValue: 1", "MinValue and MaxValue are for type Number"),
            ("Type: String, MinLength: few", "MinLength is not a number"),
            ("Type: String, AllowedValues: a", "AllowedValues has to be a list"),
            ("Type: List<Number>", "are not implemented by the local stack"),
            ("Type: String, Pattern: a", "is not implemented by the local stack"),
        ] {
            let error = bound(constraints, "1").unwrap_err();
            assert!(error.ends_with(reason), "{constraints}: {error}");
        }
    }
}
