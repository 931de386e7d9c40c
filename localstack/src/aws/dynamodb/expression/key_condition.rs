//! Key conditions: the partition of a query, and what it wants of the sort key.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.KeyConditionExpressions.html>

use super::condition::{MAX_DEPTH, check_bounds};
use super::parser::{Parser, Token};
use super::{Refused, Scope};
use crate::aws::dynamodb::value::Value;

/// What a query wants of a sort key.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    Equal(&'a Value),
    Less(&'a Value),
    AtMost(&'a Value),
    Greater(&'a Value),
    AtLeast(&'a Value),
    Between(&'a Value, &'a Value),
    BeginsWith(&'a Value),
}

/// A key condition for a key: the partition's value, and what is wanted of the sort key.
#[derive(Debug)]
pub struct KeyCondition<'a> {
    pub hash: &'a Value,
    pub range: Option<Wanted<'a>>,
}

type Clause<'a> = (String, Wanted<'a>);

/// The clauses of a key condition.
#[derive(Debug)]
pub struct Clauses<'a>(Vec<Clause<'a>>);

impl<'a> Clauses<'a> {
    /// # Errors
    /// When the text is no key condition.
    pub fn parse(text: &'a str, scope: &Scope<'a>) -> Result<Self, Refused> {
        let mut parser = Parser::new(text, scope)?;
        parser.expect_no_redundant_parentheses()?;
        let mut clauses = Vec::new();
        conjunction(&mut parser, &mut clauses, MAX_DEPTH)?;
        parser.expect_end()?;
        for (place, (name, _)) in clauses.iter().enumerate() {
            if clauses.iter().take(place).any(|(other, _)| other == name) {
                return Err(Refused::new("KeyConditionExpressions must only contain one condition per key"));
            }
        }
        Ok(Self(clauses))
    }

    /// The condition for a key of these names.
    ///
    /// # Errors
    /// The whole message, when the clauses are not those of a query of this key.
    pub fn bind(self, hash: &str, range: Option<&str>) -> Result<KeyCondition<'a>, String> {
        let (given, defined) = (self.0.len(), 1 + usize::from(range.is_some()));
        if given > defined {
            return Err(format!(
                "The number of query conditions ({given}) exceeds the number of key attributes defined in the schema ({defined})"
            ));
        }
        let of = |name: &str| self.0.iter().find(|(clause, _)| clause == name).map(|(_, wanted)| *wanted);
        let missed = |name: &str| format!("Query condition missed key schema element: {name}");
        let value = match of(hash) {
            Some(Wanted::Equal(value)) => value,
            Some(_) => return Err("Query key condition not supported".into()),
            None => return Err(missed(hash)),
        };
        match (given, range, range.and_then(of)) {
            (2, Some(range), None) => Err(missed(range)),
            (_, _, wanted) => Ok(KeyCondition { hash: value, range: wanted }),
        }
    }
}

/// Clauses with `AND` between them. Any part may stand in parentheses: boto3 puts them around the whole.
fn conjunction<'a>(
    parser: &mut Parser<'a, '_>,
    clauses: &mut Vec<Clause<'a>>,
    depth: usize,
) -> Result<(), Refused> {
    let Some(depth) = depth.checked_sub(1) else { return Err(parser.unexpected()) };
    loop {
        if parser.passes("(") {
            conjunction(parser, clauses, depth)?;
            parser.expect(")")?;
        } else {
            clauses.push(clause(parser)?);
        }
        if !parser.passes_word("AND") {
            return Ok(());
        }
    }
}

fn clause<'a>(parser: &mut Parser<'a, '_>) -> Result<Clause<'a>, Refused> {
    if parser.function() == Some("begins_with") {
        parser.skip();
        parser.expect("(")?;
        let name = name(parser)?;
        parser.expect(",")?;
        let prefix = value(parser)?;
        parser.expect(")")?;
        if !matches!(prefix, Value::S(_) | Value::B(_)) {
            let kind = prefix.kind();
            return Err(Refused(format!(
                "Incorrect operand type for operator or function; operator or function: begins_with, operand type: {kind}"
            )));
        }
        return Ok((name, Wanted::BeginsWith(prefix)));
    }
    let name = name(parser)?;
    if parser.passes_word("BETWEEN") {
        let low = value(parser)?;
        if !parser.passes_word("AND") {
            return Err(parser.unexpected());
        }
        let high = value(parser)?;
        check_bounds(low, high)?;
        return Ok((name, Wanted::Between(low, high)));
    }
    let wanted = match parser.peek() {
        Some((Token::Symbol, "=")) => Wanted::Equal,
        Some((Token::Symbol, "<")) => Wanted::Less,
        Some((Token::Symbol, "<=")) => Wanted::AtMost,
        Some((Token::Symbol, ">")) => Wanted::Greater,
        Some((Token::Symbol, ">=")) => Wanted::AtLeast,
        _ => return Err(parser.unexpected()),
    };
    parser.skip();
    Ok((name, wanted(value(parser)?)))
}

fn name(parser: &mut Parser<'_, '_>) -> Result<String, Refused> {
    let path = parser.path()?;
    if path.steps.is_empty() {
        return Ok(path.name);
    }
    Err(Refused::new("KeyConditionExpressions cannot have conditions on nested attributes"))
}

fn value<'a>(parser: &mut Parser<'a, '_>) -> Result<&'a Value, Refused> {
    parser.value()?.ok_or_else(|| parser.unexpected())
}
