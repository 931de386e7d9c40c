//! YAML with CloudFormation's short tags, every node with its line.

use super::refused::Refused;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use std::borrow::Cow;

/// `line` is the key's line for the value of a mapping, and the node's own line elsewhere.
#[derive(Clone, Debug)]
pub struct Node {
    /// From 1.
    pub line: usize,
    /// Its short tag without the `!`, such as `Sub`; `None` where there is none.
    pub tag: Option<String>,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// A scalar; `plain` when it stands without quotes and may be a number or a boolean.
    Scalar {
        text: String,
        plain: bool,
    },
    Seq(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value under a key of a mapping; `None` for any other node.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            Kind::Scalar { .. } | Kind::Seq(_) => None,
        }
    }

    /// The entries of a mapping; empty for any other node.
    #[must_use]
    pub fn entries(&self) -> &[(String, Self)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Scalar { .. } | Kind::Seq(_) => &[],
        }
    }

    /// `None` for a node that is no scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            Kind::Seq(_) | Kind::Map(_) => None,
        }
    }
}

/// How deep a template may nest.
const MAX_DEPTH: usize = 64;

struct Reader<'a> {
    file: &'a str,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

/// Reads one document.
///
/// # Errors
/// [`Refused`] for text that is not YAML, anchors, aliases, and keys that stand twice.
pub fn read(file: &str, text: &str) -> Result<Node, Refused> {
    let mut reader = Reader { file, parser: Parser::new_from_str(text) };
    loop {
        match reader.next()? {
            (Event::StreamStart | Event::DocumentStart(_), _) => {}
            (event, span) => return reader.node(event, span, 0),
        }
    }
}

impl<'a> Reader<'a> {
    fn refused(&self, line: usize, reason: impl Into<String>) -> Refused {
        Refused { file: self.file.to_owned(), line, at: String::new(), reason: reason.into() }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Refused> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(e)) => Err(self.refused(e.marker().line(), e.info())),
            None => Err(self.refused(0, "the file ends too early")),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Refused> {
        let line = span.start.line();
        if depth > MAX_DEPTH {
            return Err(self.refused(line, format!("nested deeper than {MAX_DEPTH}")));
        }
        match event {
            Event::Scalar(text, style, 0, tag) => {
                let kind = Kind::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                Ok(Node { line, tag: short(tag), kind })
            }
            Event::SequenceStart(0, tag) => {
                let mut nodes = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => nodes.push(self.node(event, span, depth + 1)?),
                    }
                }
                Ok(Node { line, tag: short(tag), kind: Kind::Seq(nodes) })
            }
            Event::MappingStart(0, tag) => {
                let kind = Kind::Map(self.entries(depth)?);
                Ok(Node { line, tag: short(tag), kind })
            }
            _ => Err(self.refused(line, "anchors, aliases and several documents are not supported")),
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<(String, Node)>, Refused> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let line = span.start.line();
            let key = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(key, ..) => key.into_owned(),
                _ => return Err(self.refused(line, "a key must be a scalar")),
            };
            if entries.iter().any(|(name, _)| *name == key) {
                return Err(self.refused(line, format!("the key {key:?} stands twice")));
            }
            let (event, span) = self.next()?;
            let mut node = self.node(event, span, depth + 1)?;
            // An error names the line of the key: readers look for the key, not for where its value begins.
            node.line = line;
            entries.push((key, node));
        }
    }
}

fn short(tag: Option<Cow<'_, Tag>>) -> Option<String> {
    tag.filter(|tag| tag.handle == "!").map(|tag| tag.suffix.clone())
}
