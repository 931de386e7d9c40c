//! Updates: SET, REMOVE, ADD and DELETE of whole attributes.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html>

use super::parser::Parser;
use super::path::{Path, check_whole};
use super::{Refused, Scope};
use crate::aws::dynamodb::number::{Number, Unfit};
use crate::aws::dynamodb::value::{Item, Value};
use std::collections::BTreeSet;

const OPERAND_TYPE: &str = "An operand in the update expression has an incorrect data type";
const MISSING: &str = "The provided expression refers to an attribute that does not exist in the item";

#[derive(Debug)]
enum Operand<'a> {
    Path(Path),
    Value(&'a Value),
    IfNotExists(Path, Box<Self>),
    ListAppend(Box<Self>, Box<Self>),
    Plus(Box<Self>, Box<Self>),
    Minus(Box<Self>, Box<Self>),
}

#[derive(Debug)]
enum Action<'a> {
    Set(Operand<'a>),
    Remove,
    Add(&'a Value),
    Delete(&'a Value),
}

/// What becomes of attributes.
#[derive(Debug)]
pub struct Update<'a>(Vec<(Path, Action<'a>)>);

/// The clauses, and how each begins.
const CLAUSES: [&str; 4] = ["SET", "REMOVE", "ADD", "DELETE"];

impl<'a> Update<'a> {
    /// # Errors
    /// When the text is no update, changes an attribute twice, or a part of one, which is not implemented.
    pub fn parse(text: &'a str, scope: &Scope<'a>) -> Result<Self, Refused> {
        let mut parser = Parser::new(text, scope)?;
        let (mut actions, mut seen) = (Vec::new(), BTreeSet::new());
        while !parser.is_at_end() || seen.is_empty() {
            let Some(clause) = CLAUSES.into_iter().find(|clause| parser.passes_word(clause)) else {
                return Err(parser.unexpected());
            };
            if !seen.insert(clause) {
                return Err(Refused(format!(
                    "The \"{clause}\" section can only be used once in an update expression;"
                )));
            }
            actions.push(action(&mut parser, clause)?);
            while parser.passes(",") {
                actions.push(action(&mut parser, clause)?);
            }
        }
        let paths: Vec<&Path> = actions.iter().map(|(path, _)| path).collect();
        check_whole(&paths, "an update of")?;
        Ok(Self(actions))
    }

    /// The attributes that the update changes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(path, _)| path.name.as_str())
    }

    /// The row after the update. Every value is computed from the row as it was.
    ///
    /// # Errors
    /// The whole message, when a value does not fit the row.
    pub fn of(&self, before: &Item) -> Result<Item, String> {
        let mut after = before.clone();
        for (path, action) in &self.0 {
            let was = before.get(&path.name);
            let value = match action {
                Action::Set(operand) => Some(operand.of(before)?),
                Action::Remove => None,
                Action::Add(value) => Some(added(was, value)?),
                Action::Delete(value) => without(was, value)?,
            };
            match value {
                Some(value) => drop(after.insert(path.name.clone(), value)),
                None => drop(after.remove(&path.name)),
            }
        }
        Ok(after)
    }
}

impl Operand<'_> {
    fn of(&self, item: &Item) -> Result<Value, String> {
        match self {
            Self::Path(path) => path.of(item).cloned().ok_or_else(|| MISSING.into()),
            Self::Value(value) => Ok((*value).clone()),
            Self::IfNotExists(path, other) => {
                path.of(item).map_or_else(|| other.of(item), |value| Ok(value.clone()))
            }
            Self::ListAppend(first, second) => match (first.of(item)?, second.of(item)?) {
                (Value::L(mut elements), Value::L(more)) => {
                    elements.extend(more);
                    Ok(Value::L(elements))
                }
                _ => Err(OPERAND_TYPE.into()),
            },
            Self::Plus(one, two) => number(&one.of(item)?, &two.of(item)?, Number::plus),
            Self::Minus(one, two) => number(&one.of(item)?, &two.of(item)?, Number::minus),
        }
    }

    /// The refusal of a value that an operator cannot have.
    fn is(&self, kind: &str, operator: &str) -> Result<(), Refused> {
        match self {
            Self::Value(value) if value.kind() != kind => Err(Refused(format!(
                "Incorrect operand type for operator or function; operator or function: {operator}, operand type: {}",
                value.kind()
            ))),
            _ => Ok(()),
        }
    }
}

fn number(
    one: &Value,
    two: &Value,
    compute: impl Fn(Number, Number) -> Result<Number, Unfit>,
) -> Result<Value, String> {
    match (one, two) {
        (Value::N(one), Value::N(two)) => {
            compute(*one, *two).map(Value::N).map_err(|unfit| unfit.to_string())
        }
        _ => Err(OPERAND_TYPE.into()),
    }
}

fn union<T: Ord + Clone>(one: &[T], two: &[T]) -> Vec<T> {
    let all: BTreeSet<&T> = one.iter().chain(two).collect();
    all.into_iter().cloned().collect()
}

fn added(was: Option<&Value>, value: &Value) -> Result<Value, String> {
    match (was, value) {
        (None, value) => Ok(value.clone()),
        (Some(one @ Value::N(_)), two @ Value::N(_)) => number(one, two, Number::plus),
        (Some(Value::Ss(one)), Value::Ss(two)) => Ok(Value::Ss(union(one, two))),
        (Some(Value::Ns(one)), Value::Ns(two)) => Ok(Value::Ns(union(one, two))),
        (Some(Value::Bs(one)), Value::Bs(two)) => Ok(Value::Bs(union(one, two))),
        _ => Err(OPERAND_TYPE.into()),
    }
}

/// A set without members; none at all when it would be empty.
fn without(was: Option<&Value>, value: &Value) -> Result<Option<Value>, String> {
    fn rest<T: PartialEq + Clone>(all: &[T], gone: &[T], make: fn(Vec<T>) -> Value) -> Option<Value> {
        let rest: Vec<T> = all.iter().filter(|member| !gone.contains(member)).cloned().collect();
        (!rest.is_empty()).then(|| make(rest))
    }
    match (was, value) {
        (None, _) => Ok(None),
        (Some(Value::Ss(all)), Value::Ss(gone)) => Ok(rest(all, gone, Value::Ss)),
        (Some(Value::Ns(all)), Value::Ns(gone)) => Ok(rest(all, gone, Value::Ns)),
        (Some(Value::Bs(all)), Value::Bs(gone)) => Ok(rest(all, gone, Value::Bs)),
        _ => Err(OPERAND_TYPE.into()),
    }
}

fn action<'a>(parser: &mut Parser<'a, '_>, clause: &str) -> Result<(Path, Action<'a>), Refused> {
    let path = parser.path()?;
    let action = match clause {
        "SET" => {
            parser.expect("=")?;
            Action::Set(sum(parser)?)
        }
        "REMOVE" => Action::Remove,
        "ADD" => Action::Add(argument(parser, clause)?),
        _ => Action::Delete(argument(parser, clause)?),
    };
    Ok((path, action))
}

/// The argument of ADD or DELETE.
fn argument<'a>(parser: &mut Parser<'a, '_>, clause: &str) -> Result<&'a Value, Refused> {
    let value = parser.value()?.ok_or_else(|| parser.unexpected())?;
    let kind = match value {
        Value::Ss(_) | Value::Ns(_) | Value::Bs(_) => return Ok(value),
        Value::N(_) if clause == "ADD" => return Ok(value),
        Value::S(_) => "STRING",
        Value::N(_) => "NUMBER",
        Value::B(_) => "Binary",
        Value::L(_) => "LIST",
        Value::M(_) => "MAP",
        Value::Bool(_) | Value::Null => value.kind(),
    };
    Err(Refused(format!(
        "Incorrect operand type for operator or function; operator: {clause}, operand type: {kind}, typeSet: ALLOWED_FOR_ADD_OPERAND"
    )))
}

fn sum<'a>(parser: &mut Parser<'a, '_>) -> Result<Operand<'a>, Refused> {
    let one = operand(parser)?;
    for (operator, make) in [("+", Operand::Plus as fn(_, _) -> _), ("-", Operand::Minus)] {
        if parser.passes(operator) {
            let two = operand(parser)?;
            one.is("N", operator)?;
            two.is("N", operator)?;
            return Ok(make(Box::new(one), Box::new(two)));
        }
    }
    Ok(one)
}

fn operand<'a>(parser: &mut Parser<'a, '_>) -> Result<Operand<'a>, Refused> {
    if let Some(function) = parser.function() {
        return call(parser, function);
    }
    match parser.value()? {
        Some(value) => Ok(Operand::Value(value)),
        None => parser.path().map(Operand::Path),
    }
}

fn call<'a>(parser: &mut Parser<'a, '_>, function: &str) -> Result<Operand<'a>, Refused> {
    let is_append = match function.to_ascii_lowercase().as_str() {
        "if_not_exists" => false,
        "list_append" => true,
        _ => return Err(Refused(format!("Invalid function name; function: {function}"))),
    };
    parser.skip();
    parser.expect("(")?;
    let called = if is_append {
        let first = operand(parser)?;
        parser.expect(",")?;
        let second = operand(parser)?;
        first.is("L", function)?;
        second.is("L", function)?;
        Operand::ListAppend(Box::new(first), Box::new(second))
    } else {
        let path = parser.path()?;
        parser.expect(",")?;
        Operand::IfNotExists(path, Box::new(operand(parser)?))
    };
    parser.expect(")")?;
    Ok(called)
}
