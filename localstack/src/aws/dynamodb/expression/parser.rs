//! Tokens of an expression, and a place among them.

use super::path::{Path, Step};
use super::{Refused, Scope, check_text, reserved};
use crate::aws::dynamodb::value::Value;
use std::ops::Range;

/// A token. The unreadable one is a character that no expression has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Word,
    Name,
    Value,
    Number,
    Symbol,
    Unreadable,
}

pub struct Parser<'a, 's> {
    text: &'a str,
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    scope: &'s Scope<'a>,
}

const SYMBOLS: [&str; 14] = ["<>", "<=", ">=", "<", ">", "=", "+", "-", "(", ")", "[", "]", ".", ","];

/// How many bytes of `text` are of the token that it begins with.
fn token(text: &str) -> (Token, usize) {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let run = |from: usize| from + text.bytes().skip(from).take_while(|byte| is_name(*byte)).count();
    let first = text.chars().next().unwrap_or_default();
    match first {
        '#' if run(1) > 1 => (Token::Name, run(1)),
        ':' if run(1) > 1 => (Token::Value, run(1)),
        '0'..='9' => (Token::Number, text.bytes().take_while(u8::is_ascii_digit).count()),
        'a'..='z' | 'A'..='Z' | '_' => (Token::Word, run(0)),
        _ => match SYMBOLS.iter().find(|symbol| text.starts_with(**symbol)) {
            Some(symbol) => (Token::Symbol, symbol.len()),
            None => (Token::Unreadable, first.len_utf8()),
        },
    }
}

impl<'a, 's> Parser<'a, 's> {
    /// # Errors
    /// For a text that is empty, or too long.
    pub fn new(text: &'a str, scope: &'s Scope<'a>) -> Result<Self, Refused> {
        check_text(text)?;
        let (mut tokens, mut at) = (Vec::new(), 0);
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let blank = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_whitespace()).len();
            at += blank;
            let Some(rest) = rest.get(blank..).filter(|rest| !rest.is_empty()) else { break };
            let (kind, length) = token(rest);
            tokens.push((kind, at..at + length));
            at += length;
        }
        Ok(Self { text, tokens, at: 0, scope })
    }

    /// The token at a distance from here, and its text.
    fn peek_at(&self, distance: usize) -> Option<(Token, &'a str)> {
        let (kind, range) = self.tokens.get(self.at + distance)?;
        Some((*kind, self.text.get(range.clone())?))
    }

    pub fn peek(&self) -> Option<(Token, &'a str)> {
        self.peek_at(0)
    }

    pub fn skip(&mut self) {
        self.at += 1;
    }

    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Passes a symbol, if it is next.
    pub fn passes(&mut self, symbol: &str) -> bool {
        let passes = self.peek() == Some((Token::Symbol, symbol));
        self.at += usize::from(passes);
        passes
    }

    /// Passes a keyword, in whatever case, if it is next.
    pub fn passes_word(&mut self, word: &str) -> bool {
        let passes =
            self.peek().is_some_and(|(kind, text)| kind == Token::Word && text.eq_ignore_ascii_case(word));
        self.at += usize::from(passes);
        passes
    }

    /// # Errors
    /// When the symbol is not next.
    pub fn expect(&mut self, symbol: &str) -> Result<(), Refused> {
        if self.passes(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// # Errors
    /// When something is left.
    pub fn expect_end(&self) -> Result<(), Refused> {
        if self.is_at_end() { Ok(()) } else { Err(self.unexpected()) }
    }

    /// The function whose call is next.
    pub fn function(&self) -> Option<&'a str> {
        let (kind, name) = self.peek()?;
        (kind == Token::Word && self.peek_at(1) == Some((Token::Symbol, "("))).then_some(name)
    }

    /// Refuses parentheses right around other ones: `((a))`, and not `((a) AND (b))`.
    ///
    /// # Errors
    /// When there are such.
    pub fn expect_no_redundant_parentheses(&self) -> Result<(), Refused> {
        let (mut open, mut pairs) = (Vec::new(), std::collections::BTreeMap::new());
        for (place, (_, range)) in self.tokens.iter().enumerate() {
            match self.text.get(range.clone()) {
                Some("(") => open.push(place),
                Some(")") => drop(open.pop().map(|start| pairs.insert(start, place))),
                _ => {}
            }
        }
        let is_redundant = |(start, end): (&usize, &usize)| pairs.get(&(start + 1)) == Some(&(end - 1));
        if pairs.iter().any(is_redundant) {
            return Err(Refused::new("The expression has redundant parentheses;"));
        }
        Ok(())
    }

    /// The refusal of the next token, with those on both sides of it.
    #[must_use]
    pub fn unexpected(&self) -> Refused {
        let text = |range: Range<usize>| self.text.get(range).unwrap_or_default();
        let Some((_, token)) = self.tokens.get(self.at) else {
            let near = self.tokens.last().map_or(self.text, |(_, last)| text(last.clone()));
            return Refused(format!(r#"Syntax error; token: "<EOF>", near: "{near}""#));
        };
        let before =
            self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(token, |(_, range)| range);
        let after = self.tokens.get(self.at + 1).map_or(token, |(_, range)| range);
        let (token, near) = (text(token.clone()), text(before.start..after.end));
        Refused(format!(r#"Syntax error; token: "{token}", near: "{near}""#))
    }

    /// A path such as `a.#b[0]`.
    ///
    /// # Errors
    /// When no path is next, or a part of it is a reserved word.
    pub fn path(&mut self) -> Result<Path, Refused> {
        let name = self.path_name()?;
        let mut steps = Vec::new();
        loop {
            if self.passes(".") {
                steps.push(Step::Member(self.path_name()?));
            } else if self.passes("[") {
                steps.push(Step::Element(self.index()?));
                self.expect("]")?;
            } else {
                return Ok(Path { name, steps });
            }
        }
    }

    /// The value of the placeholder that is next; `None` when none is.
    ///
    /// # Errors
    /// For a placeholder without a value.
    pub fn value(&mut self) -> Result<Option<&'a Value>, Refused> {
        let Some((Token::Value, placeholder)) = self.peek() else { return Ok(None) };
        let value = self.scope.value(placeholder)?;
        self.skip();
        Ok(Some(value))
    }

    fn path_name(&mut self) -> Result<String, Refused> {
        let name = match self.peek() {
            Some((Token::Word, word)) if reserved::is_reserved(word) => {
                return Err(Refused(format!(
                    "Attribute name is a reserved keyword; reserved keyword: {word}"
                )));
            }
            Some((Token::Word, word)) => word,
            Some((Token::Name, placeholder)) => self.scope.name(placeholder)?,
            _ => return Err(self.unexpected()),
        };
        self.skip();
        Ok(name.to_owned())
    }

    fn index(&mut self) -> Result<usize, Refused> {
        let number = self.peek().filter(|(kind, _)| *kind == Token::Number);
        let index = number.and_then(|(_, text)| text.parse().ok()).ok_or_else(|| self.unexpected())?;
        self.skip();
        Ok(index)
    }
}
