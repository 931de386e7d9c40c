//! The part of CloudWatch's metric math that the templates use: numbers, series, arithmetic, comparisons, AND, OR, IF and FILL.
//! A period in which a series has no value has none in what is reckoned from it, but for FILL.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>
#![allow(clippy::float_arithmetic, clippy::float_cmp, reason = "CloudWatch's values are floats")]

use std::collections::BTreeMap;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    Number(f64),
    Series(String),
    Of(&'static str, Box<[Expression]>),
}

/// The signs between two operands, weakest first.
const LEVELS: [&[&str]; 5] =
    [&["OR", "||"], &["AND", "&&"], &[">=", "<=", "==", "!=", ">", "<"], &["+", "-"], &["*", "/"]];
/// The functions, and how many operands each has.
const FUNCTIONS: [(&str, usize); 2] = [("IF", 3), ("FILL", 2)];

/// The longest expression.
///
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html>
const MAX_CHARACTERS: usize = 2048;
/// How deep parentheses may stand in each other: each level is some calls of the reader. AWS does not say how deep it reads.
const MAX_DEPTH: usize = 50;

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// Why it cannot be read, or what of it is not implemented.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.chars().nth(MAX_CHARACTERS).is_some() {
            return Err(format!("it has more than {MAX_CHARACTERS} characters"));
        }
        let tokens = tokens(text);
        let mut reader = Reader { tokens: &tokens, at: 0, depth: 0 };
        let expression = reader.level(0)?;
        match reader.next() {
            None => Ok(expression),
            Some(other) => Err(format!("{other:?} in {text:?} is not implemented by the local stack")),
        }
    }

    /// Its value in a period, from those of the series.
    #[must_use]
    pub fn value(&self, series: &BTreeMap<String, Option<f64>>) -> Option<f64> {
        let (sign, operands) = match self {
            Self::Number(number) => return Some(*number),
            Self::Series(name) => return series.get(name).copied().flatten(),
            Self::Of(sign, operands) => (*sign, operands),
        };
        let value = |place: usize| operands.get(place).and_then(|operand| operand.value(series));
        match sign {
            "IF" => value(if value(0)? == 0.0 { 2 } else { 1 }),
            "FILL" => value(0).or_else(|| value(1)),
            sign => reckoned(sign, value(0)?, value(1)?),
        }
    }

    /// The series that it names.
    pub fn series(&self) -> Vec<&str> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Series(name) => vec![name],
            Self::Of(_, operands) => operands.iter().flat_map(Self::series).collect(),
        }
    }
}

fn reckoned(sign: &str, a: f64, b: f64) -> Option<f64> {
    let truth = |holds: bool| Some(f64::from(u8::from(holds)));
    match sign {
        "OR" | "||" => truth(a != 0.0 || b != 0.0),
        "AND" | "&&" => truth(a != 0.0 && b != 0.0),
        ">=" => truth(a >= b),
        "<=" => truth(a <= b),
        "==" => truth(a == b),
        "!=" => truth(a != b),
        ">" => truth(a > b),
        "<" => truth(a < b),
        "+" => Some(a + b),
        "-" => Some(a - b),
        "*" => Some(a * b),
        // What is divided by nothing has no value.
        _ => (b != 0.0).then(|| a / b),
    }
}

struct Reader<'a> {
    tokens: &'a [String],
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn next(&mut self) -> Option<String> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn level(&mut self, level: usize) -> Result<Expression, String> {
        let Some(signs) = LEVELS.get(level) else { return self.operand() };
        let mut left = self.level(level + 1)?;
        while let Some(sign) = signs.iter().find(|sign| self.peek() == Some(sign)) {
            self.at += 1;
            left = Expression::Of(sign, [left, self.level(level + 1)?].into());
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Expression, String> {
        let token = self.next().ok_or("it ends too early")?;
        if token == "(" {
            let inside = self.inside()?;
            return self.expect(")").map(|()| inside);
        }
        if let Some((name, count)) = FUNCTIONS.iter().find(|(name, _)| *name == token) {
            return self.operands(*count).map(|operands| Expression::Of(name, operands));
        }
        if let Ok(number) = token.parse() {
            return Ok(Expression::Number(number));
        }
        if token.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Ok(Expression::Series(token));
        }
        Err(format!("{token:?} is not implemented by the local stack"))
    }

    fn operands(&mut self, count: usize) -> Result<Box<[Expression]>, String> {
        self.expect("(")?;
        let mut operands = Vec::new();
        for place in 0..count {
            if place > 0 {
                self.expect(",")?;
            }
            operands.push(self.inside()?);
        }
        self.expect(")").map(|()| operands.into())
    }

    /// What stands in parentheses.
    fn inside(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH}"));
        }
        let inside = self.level(0);
        self.depth -= 1;
        inside
    }

    fn expect(&mut self, wanted: &str) -> Result<(), String> {
        match self.next() {
            Some(token) if token == wanted => Ok(()),
            token => Err(format!("{wanted} is expected, not {:?}", token.unwrap_or_default())),
        }
    }
}

fn tokens(text: &str) -> Vec<String> {
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let two = ["||", "&&", ">=", "<=", "==", "!="].iter().any(|sign| rest.starts_with(sign));
        let length = match () {
            () if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            () if two => 2,
            () => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token.to_owned());
        rest = after.trim_start();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, series: &[(&str, Option<f64>)]) -> Option<f64> {
        let series = series.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Expression::read(text).unwrap().value(&series)
    }

    /// Guards: the expressions of the templates.
    #[test]
    fn expressions_are_reckoned() {
        let share = "IF(orders >= 20, 100 * share, 100)";
        assert_eq!(value(share, &[("orders", Some(20.0)), ("share", Some(0.5))]), Some(50.0));
        assert_eq!(value(share, &[("orders", Some(19.0)), ("share", Some(0.5))]), Some(100.0));
        assert_eq!(value(share, &[("orders", None), ("share", None)]), None);
        let silent = "IF(written > 20 AND FILL(published, 0) == 0, 1, 0)";
        assert_eq!(value(silent, &[("written", Some(21.0)), ("published", None)]), Some(1.0));
        assert_eq!(value(silent, &[("written", Some(21.0)), ("published", Some(1.0))]), Some(0.0));
        assert_eq!(value("1 + 2 * (3 - 1) / 4", &[]), Some(2.0));
        assert_eq!(value("1 / 0", &[]), None);
        for text in ["SEARCH('x')", "m1 ^ 2", "IF(m1)", "1 +", "SUM(m1)", "1 2"] {
            assert!(Expression::read(text).is_err(), "{text}");
        }
    }

    /// Guards: the stack's life. A parenthesis is some calls of the reader, and its stack has an end.
    #[test]
    fn an_expression_is_neither_long_nor_deep() {
        let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
        assert!(Expression::read(&nested(MAX_DEPTH)).is_ok());
        for text in [nested(MAX_DEPTH + 1), nested(MAX_CHARACTERS / 2 - 1), nested(100_000)] {
            assert!(Expression::read(&text).is_err(), "{} characters", text.len());
        }
        assert!(Expression::read(&format!("{}1", "1 + ".repeat(MAX_CHARACTERS / 4))).is_err());
    }
}
