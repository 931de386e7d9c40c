//! Filter patterns of CloudWatch Logs: terms of a text, and comparisons of the fields of a line that is JSON. What else AWS knows
//! (terms in brackets, regular expressions, parentheses) is refused.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>

use serde_json::Value;

/// What lines a caller wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// Every line with all of the first, any of the second if there are some, and none of the third.
    Terms { all: Vec<String>, any: Vec<String>, none: Vec<String> },
    /// Of the alternatives one has to hold, with all of its comparisons.
    Fields(Vec<Vec<Comparison>>),
}

/// `$.status >= 500`
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// As a JSON pointer.
    field: String,
    sign: Sign,
    value: Literal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq)]
enum Literal {
    /// May begin or end with `*`.
    Text(String),
    Number(f64),
}

/// The longer ones first: each begins with a shorter one.
const SIGNS: [(&str, Sign); 6] = [
    ("!=", Sign::Unequal),
    (">=", Sign::GreaterOrEqual),
    ("<=", Sign::LessOrEqual),
    ("=", Sign::Equal),
    (">", Sign::Greater),
    ("<", Sign::Less),
];

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Why it cannot be read, or what of it is not implemented.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with('[') || text.starts_with('%') {
            return Err(format!("{text:?} is not implemented by the local stack"));
        }
        match text.strip_prefix('{') {
            Some(rest) => {
                let inside = rest.strip_suffix('}').ok_or("a { without its }")?;
                let alternatives = split(inside, "||")?.into_iter();
                let all =
                    alternatives.map(|all| split(&all, "&&")?.iter().map(|one| comparison(one)).collect());
                all.collect::<Result<_, _>>().map(Self::Fields)
            }
            None => terms(text),
        }
    }

    #[must_use]
    pub fn matches(&self, line: &str) -> bool {
        match self {
            Self::Terms { all, any, none } => {
                let has = |term: &String| line.contains(term.as_str());
                all.iter().all(has) && (any.is_empty() || any.iter().any(has)) && !none.iter().any(has)
            }
            Self::Fields(alternatives) => serde_json::from_str::<Value>(line)
                .is_ok_and(|line| alternatives.iter().any(|all| all.iter().all(|one| one.holds(&line)))),
        }
    }
}

/// `a "b c" ?d -e`
fn terms(text: &str) -> Result<Pattern, String> {
    let (mut all, mut any, mut none) = (Vec::new(), Vec::new(), Vec::new());
    for term in parts(text)? {
        match (term.strip_prefix('?'), term.strip_prefix('-')) {
            (Some(term), _) => any.push(unquoted(term)),
            (_, Some(term)) => none.push(unquoted(term)),
            _ => all.push(unquoted(&term)),
        }
    }
    Ok(Pattern::Terms { all, any, none })
}

fn unquoted(term: &str) -> String {
    term.trim_matches('"').to_owned()
}

/// What blanks part, outside of quotes.
fn parts(text: &str) -> Result<Vec<String>, String> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        quoted ^= c == '"';
        if c.is_whitespace() && !quoted {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
    }
    parts.push(part);
    parts.retain(|part| !part.is_empty());
    if quoted { Err("a quote without its end".into()) } else { Ok(parts) }
}

/// What a sign parts, outside of quotes.
fn split(text: &str, sign: &str) -> Result<Vec<String>, String> {
    let (mut parts, mut rest, mut part) = (Vec::new(), text, String::new());
    let mut quoted = false;
    while let Some(c) = rest.chars().next() {
        if !quoted && let Some(after) = rest.strip_prefix(sign) {
            parts.push(std::mem::take(&mut part));
            rest = after;
            continue;
        }
        quoted ^= c == '"';
        part.push(c);
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    parts.push(part);
    if quoted { Err("a quote without its end".into()) } else { Ok(parts) }
}

fn comparison(text: &str) -> Result<Comparison, String> {
    let refused = || format!("{:?} is not implemented by the local stack", text.trim());
    let (at, (written, sign)) = SIGNS
        .iter()
        .filter_map(|sign| Some((text.find(sign.0)?, *sign)))
        .min_by_key(|(at, (written, _))| (*at, std::cmp::Reverse(written.len())))
        .ok_or_else(refused)?;
    let (field, value) = text.split_at_checked(at).ok_or_else(refused)?;
    let field = field.trim().strip_prefix("$.").ok_or_else(refused)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    if field.is_empty() || !field.chars().all(plain) {
        return Err(refused());
    }
    let value = value.strip_prefix(written).unwrap_or_default().trim();
    if value.is_empty() || value.starts_with(['(', '%']) {
        return Err(refused());
    }
    let number = value.parse().ok().filter(|_| !value.starts_with('"'));
    let value = number.map_or_else(|| Literal::Text(unquoted(value)), Literal::Number);
    let orders = !matches!(sign, Sign::Equal | Sign::Unequal);
    if orders && !matches!(value, Literal::Number(_)) {
        return Err(refused());
    }
    Ok(Comparison { field: format!("/{}", field.replace('.', "/")), sign, value })
}

impl Comparison {
    fn holds(&self, line: &Value) -> bool {
        let Some(found) = line.pointer(&self.field) else { return false };
        match &self.value {
            Literal::Text(text) => {
                let written = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
                is_like(&written, text) == (self.sign == Sign::Equal)
            }
            Literal::Number(number) => {
                let found = found.as_f64().or_else(|| found.as_str()?.parse().ok());
                found.is_some_and(|found| self.sign.holds(found, *number))
            }
        }
    }
}

impl Sign {
    #[allow(clippy::float_cmp, reason = "a caller names the number that it wants")]
    fn holds(self, found: f64, wanted: f64) -> bool {
        match self {
            Self::Equal => found == wanted,
            Self::Unequal => found != wanted,
            Self::Less => found < wanted,
            Self::LessOrEqual => found <= wanted,
            Self::Greater => found > wanted,
            Self::GreaterOrEqual => found >= wanted,
        }
    }
}

fn is_like(text: &str, pattern: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (Some(_), Some(_)) => text.contains(pattern.trim_matches('*')),
        (None, None) => text == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a pattern finds the lines that it describes, and no others.
    #[test]
    fn a_pattern_finds_its_lines() {
        let line = r#"{"level":"WARN","status":503,"order":{"id":"o-1"},"message":"it failed"}"#;
        for (pattern, matches) in [
            ("", true),
            ("WARN", true),
            ("warn", false),
            ("\"it failed\"", true),
            ("it WARN", true),
            ("it -failed", false),
            ("?ERROR ?WARN", true),
            ("?ERROR ?FATAL", false),
            ("{ $.level = \"WARN\" }", true),
            ("{ $.level = WARN && $.status = 503 }", true),
            ("{ $.status < 500 || $.order.id = \"o-*\" }", true),
            ("{ $.status >= 504 }", false),
            ("{ $.level != \"WARN\" }", false),
            ("{ $.nothing = 1 }", false),
        ] {
            assert_eq!(Pattern::read(pattern).unwrap().matches(line), matches, "{pattern}");
        }
        assert!(!Pattern::read("{ $.level = WARN }").unwrap().matches("WARN"));
    }

    /// Guards: a pattern that is not implemented is refused; it would find nothing, or everything.
    #[test]
    fn what_is_not_implemented_is_refused() {
        for pattern in [
            "[a, b]",
            "%x%",
            "{ $.a IS NULL }",
            "{ ($.a = 1) }",
            "{ $.a = 1",
            "\"a",
            "{ $.a[0] = 1 }",
            "{ $.a > \"x\" }",
        ] {
            assert!(Pattern::read(pattern).is_err(), "{pattern}");
        }
    }
}
