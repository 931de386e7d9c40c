//! Projections: which attributes of a row an answer has.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ProjectionExpressions.html>

use super::parser::Parser;
use super::path::check_whole;
use super::{Refused, Scope};
use crate::aws::dynamodb::value::Item;

/// The names of attributes.
#[derive(Debug)]
pub struct Projection(Vec<String>);

impl Projection {
    /// # Errors
    /// When the text is no projection, names an attribute twice, or a part of one, which is not implemented.
    pub fn parse<'a>(text: &'a str, scope: &Scope<'a>) -> Result<Self, Refused> {
        let mut parser = Parser::new(text, scope)?;
        let mut paths = vec![parser.path()?];
        while parser.passes(",") {
            paths.push(parser.path()?);
        }
        parser.expect_end()?;
        check_whole(&paths.iter().collect::<Vec<_>>(), "the path")?;
        Ok(Self(paths.into_iter().map(|path| path.name).collect()))
    }

    #[must_use]
    pub fn of(&self, mut item: Item) -> Item {
        item.retain(|name, _| self.0.contains(name));
        item
    }
}
