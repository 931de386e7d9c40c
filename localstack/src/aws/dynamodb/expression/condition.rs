//! Conditions and filters.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html>

use super::parser::{Parser, Token};
use super::path::Path;
use super::{Refused, Scope};
use crate::aws::dynamodb::number::Number;
use crate::aws::dynamodb::value::{Item, Value};
use std::borrow::Cow;
use std::cmp::Ordering;

#[derive(Debug)]
enum Operand<'a> {
    Path(Path),
    Value(&'a Value),
    Size(Path),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Debug)]
enum Node<'a> {
    Compare(Operand<'a>, Comparison, Operand<'a>),
    Between(Operand<'a>, Operand<'a>, Operand<'a>),
    In(Operand<'a>, Vec<Operand<'a>>),
    Exists(Path),
    Absent(Path),
    Type(Path, Operand<'a>),
    BeginsWith(Operand<'a>, Operand<'a>),
    Contains(Operand<'a>, Operand<'a>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
}

/// A condition that holds for a row, or does not.
#[derive(Debug)]
pub struct Condition<'a>(Node<'a>);

/// How deep conditions may be nested: each level is a call of the parser. AWS allows 300 operators, and says nothing of depth.
pub(super) const MAX_DEPTH: usize = 300;

impl<'a> Condition<'a> {
    /// # Errors
    /// When the text is no condition, or names what the scope does not have.
    pub fn parse(text: &'a str, scope: &Scope<'a>) -> Result<Self, Refused> {
        let mut parser = Parser::new(text, scope)?;
        parser.expect_no_redundant_parentheses()?;
        let node = either(&mut parser, MAX_DEPTH)?;
        parser.expect_end()?;
        Ok(Self(node))
    }

    /// Whether a row fulfils the condition; one that is not there is a row without attributes.
    #[must_use]
    pub fn holds(&self, item: &Item) -> bool {
        self.0.holds(item)
    }

    /// The attributes that the condition looks at.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.0.names(&mut names);
        names
    }
}

impl Node<'_> {
    fn holds(&self, item: &Item) -> bool {
        match self {
            Self::Compare(left, how, right) => match (left.of(item), right.of(item)) {
                (Some(left), Some(right)) => how.holds(&left, &right),
                _ => *how == Comparison::Unequal,
            },
            Self::Between(operand, low, high) => match (operand.of(item), low.of(item), high.of(item)) {
                (Some(value), Some(low), Some(high)) => {
                    Comparison::AtLeast.holds(&value, &low) && Comparison::AtMost.holds(&value, &high)
                }
                _ => false,
            },
            Self::In(operand, all) => operand
                .of(item)
                .is_some_and(|value| all.iter().any(|one| one.of(item).is_some_and(|one| one == value))),
            Self::Exists(path) => path.of(item).is_some(),
            Self::Absent(path) => path.of(item).is_none(),
            Self::Type(path, kind) => match (path.of(item), kind.of(item).as_deref()) {
                (Some(value), Some(Value::S(kind))) => value.kind() == kind,
                _ => false,
            },
            Self::BeginsWith(operand, prefix) => {
                match (operand.of(item).as_deref(), prefix.of(item).as_deref()) {
                    (Some(Value::S(text)), Some(Value::S(prefix))) => text.starts_with(prefix),
                    (Some(Value::B(bytes)), Some(Value::B(prefix))) => bytes.starts_with(prefix),
                    _ => false,
                }
            }
            Self::Contains(operand, part) => match (operand.of(item), part.of(item)) {
                (Some(value), Some(part)) => contains(&value, &part),
                _ => false,
            },
            Self::And(left, right) => left.holds(item) && right.holds(item),
            Self::Or(left, right) => left.holds(item) || right.holds(item),
            Self::Not(node) => !node.holds(item),
        }
    }

    fn names<'n>(&'n self, names: &mut Vec<&'n str>) {
        match self {
            Self::Compare(one, _, two) | Self::BeginsWith(one, two) | Self::Contains(one, two) => {
                names.extend(one.name().into_iter().chain(two.name()));
            }
            Self::Between(one, two, three) => {
                names.extend([one, two, three].into_iter().filter_map(Operand::name));
            }
            Self::In(one, all) => names.extend(all.iter().chain([one]).filter_map(Operand::name)),
            Self::Exists(path) | Self::Absent(path) | Self::Type(path, _) => names.push(&path.name),
            Self::And(left, right) | Self::Or(left, right) => {
                left.names(names);
                right.names(names);
            }
            Self::Not(node) => node.names(names),
        }
    }
}

impl Operand<'_> {
    fn of<'i>(&'i self, item: &'i Item) -> Option<Cow<'i, Value>> {
        match self {
            Self::Path(path) => path.of(item).map(Cow::Borrowed),
            Self::Value(value) => Some(Cow::Borrowed(value)),
            Self::Size(path) => path.of(item).and_then(length).map(|length| Cow::Owned(Value::N(length))),
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Path(path) | Self::Size(path) => Some(&path.name),
            Self::Value(_) => None,
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = left.order(right);
        match self {
            Self::Equal => left == right,
            Self::Unequal => left != right,
            Self::Less => order == Some(Ordering::Less),
            Self::AtMost => order.is_some_and(Ordering::is_le),
            Self::Greater => order == Some(Ordering::Greater),
            Self::AtLeast => order.is_some_and(Ordering::is_ge),
        }
    }
}

/// What `size` says of a value: characters as UTF-16 counts them, bytes, or members.
fn length(value: &Value) -> Option<Number> {
    let length = match value {
        Value::S(text) => text.encode_utf16().count(),
        Value::B(bytes) => bytes.len(),
        Value::Ss(members) => members.len(),
        Value::Ns(members) => members.len(),
        Value::Bs(members) => members.len(),
        Value::L(elements) => elements.len(),
        Value::M(members) => members.len(),
        Value::N(_) | Value::Bool(_) | Value::Null => return None,
    };
    length.to_string().parse().ok()
}

fn contains(value: &Value, part: &Value) -> bool {
    match (value, part) {
        (Value::S(text), Value::S(part)) => text.contains(part),
        (Value::B(bytes), Value::B(part)) => {
            part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
        }
        (Value::Ss(members), Value::S(part)) => members.contains(part),
        (Value::Ns(members), Value::N(part)) => members.contains(part),
        (Value::Bs(members), Value::B(part)) => members.contains(part),
        (Value::L(elements), part) => elements.contains(part),
        _ => false,
    }
}

fn either<'a>(parser: &mut Parser<'a, '_>, depth: usize) -> Result<Node<'a>, Refused> {
    let mut node = both(parser, depth)?;
    while parser.passes_word("OR") {
        node = Node::Or(Box::new(node), Box::new(both(parser, depth)?));
    }
    Ok(node)
}

fn both<'a>(parser: &mut Parser<'a, '_>, depth: usize) -> Result<Node<'a>, Refused> {
    let mut node = not(parser, depth)?;
    while parser.passes_word("AND") {
        node = Node::And(Box::new(node), Box::new(not(parser, depth)?));
    }
    Ok(node)
}

fn not<'a>(parser: &mut Parser<'a, '_>, depth: usize) -> Result<Node<'a>, Refused> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Refused::new("a condition of this depth is not implemented by the local stack"));
    };
    if parser.passes_word("NOT") {
        return Ok(Node::Not(Box::new(not(parser, depth)?)));
    }
    if parser.passes("(") {
        let node = either(parser, depth)?;
        parser.expect(")")?;
        return Ok(node);
    }
    test(parser)
}

/// A function, or a comparison.
fn test<'a>(parser: &mut Parser<'a, '_>) -> Result<Node<'a>, Refused> {
    let Some(function) = parser.function() else { return comparison(parser) };
    if function.eq_ignore_ascii_case("size") {
        return comparison(parser);
    }
    let name = function.to_ascii_lowercase();
    let is_known = ["attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains"];
    if !is_known.contains(&name.as_str()) {
        return Err(Refused(format!("Invalid function name; function: {function}")));
    }
    parser.skip();
    parser.expect("(")?;
    let node = match name.as_str() {
        "attribute_exists" => Node::Exists(parser.path()?),
        "attribute_not_exists" => Node::Absent(parser.path()?),
        "attribute_type" => {
            let path = parser.path()?;
            parser.expect(",")?;
            Node::Type(path, operand(parser)?)
        }
        _ => {
            let first = operand(parser)?;
            parser.expect(",")?;
            let second = operand(parser)?;
            if name == "contains" { contained(first, second)? } else { prefixed(first, second)? }
        }
    };
    parser.expect(")")?;
    Ok(node)
}

fn prefixed<'a>(text: Operand<'a>, prefix: Operand<'a>) -> Result<Node<'a>, Refused> {
    match &prefix {
        Operand::Value(value) if !matches!(value, Value::S(_) | Value::B(_)) => Err(Refused(format!(
            "Incorrect operand type for operator or function; operator or function: begins_with, operand type: {}",
            value.kind()
        ))),
        _ => Ok(Node::BeginsWith(text, prefix)),
    }
}

fn contained<'a>(whole: Operand<'a>, part: Operand<'a>) -> Result<Node<'a>, Refused> {
    match (&whole, &part) {
        (Operand::Path(one), Operand::Path(two)) if one == two => Err(Refused(format!(
            "The first operand must be distinct from the remaining operands for this operator or function; operator: contains, first operand: {one}"
        ))),
        _ => Ok(Node::Contains(whole, part)),
    }
}

fn operand<'a>(parser: &mut Parser<'a, '_>) -> Result<Operand<'a>, Refused> {
    if parser.function().is_some_and(|name| name.eq_ignore_ascii_case("size")) {
        parser.skip();
        parser.expect("(")?;
        let path = parser.path()?;
        parser.expect(")")?;
        return Ok(Operand::Size(path));
    }
    match parser.value()? {
        Some(value) => Ok(Operand::Value(value)),
        None => parser.path().map(Operand::Path),
    }
}

fn between<'a>(operand: Operand<'a>, low: Operand<'a>, high: Operand<'a>) -> Result<Node<'a>, Refused> {
    if let (Operand::Value(low), Operand::Value(high)) = (&low, &high) {
        check_bounds(low, high)?;
    }
    Ok(Node::Between(operand, low, high))
}

/// What the two bounds of a `BETWEEN` have to be to each other.
pub(super) fn check_bounds(low: &Value, high: &Value) -> Result<(), Refused> {
    let wanted = match low.order(high) {
        _ if low.kind() != high.kind() => "same data type for lower and upper bounds",
        Some(Ordering::Greater) => "upper bound to be greater than or equal to lower bound",
        _ => "",
    };
    if !wanted.is_empty() {
        let (low, high) = (shown(low), shown(high));
        return Err(Refused(format!(
            "The BETWEEN operator requires {wanted}; lower bound operand: AttributeValue: {{{low}}}, upper bound operand: AttributeValue: {{{high}}}"
        )));
    }
    Ok(())
}

/// A value in an error.
fn shown(value: &Value) -> String {
    let kind = value.kind();
    match value {
        Value::S(text) => format!("{kind}:{text}"),
        Value::N(number) => format!("{kind}:{number}"),
        other => format!("{kind}:{other:?}"),
    }
}

fn comparison<'a>(parser: &mut Parser<'a, '_>) -> Result<Node<'a>, Refused> {
    let left = operand(parser)?;
    if parser.passes_word("BETWEEN") {
        let low = operand(parser)?;
        if !parser.passes_word("AND") {
            return Err(parser.unexpected());
        }
        return between(left, low, operand(parser)?);
    }
    if parser.passes_word("IN") {
        parser.expect("(")?;
        let mut all = vec![operand(parser)?];
        while parser.passes(",") {
            all.push(operand(parser)?);
        }
        parser.expect(")")?;
        return Ok(Node::In(left, all));
    }
    let how = match parser.peek() {
        Some((Token::Symbol, "=")) => Comparison::Equal,
        Some((Token::Symbol, "<>")) => Comparison::Unequal,
        Some((Token::Symbol, "<")) => Comparison::Less,
        Some((Token::Symbol, "<=")) => Comparison::AtMost,
        Some((Token::Symbol, ">")) => Comparison::Greater,
        Some((Token::Symbol, ">=")) => Comparison::AtLeast,
        _ => return Err(parser.unexpected()),
    };
    parser.skip();
    Ok(Node::Compare(left, how, operand(parser)?))
}
