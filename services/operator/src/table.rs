//! Tables for people, made of the objects that programs get.

use serde_json::Value;

/// A column: its header, and the field of each object that it shows.
pub type Column = (&'static str, &'static str);

/// Rows under a header.
pub struct Table<'a> {
    pub columns: &'a [Column],
    pub rows: &'a [Value],
}

impl Table<'_> {
    /// Its lines: columns are as wide as what stands in them, numbers stand to the right.
    pub fn lines(&self, has_colour: bool) -> Vec<String> {
        let cells: Vec<Vec<String>> = self.rows.iter().map(|row| self.cells(row)).collect();
        let width = |at: usize| {
            let header = self.columns.get(at).map_or(0, |(title, _)| title.len());
            cells
                .iter()
                .filter_map(|row| row.get(at))
                .map(|cell| cell.chars().count())
                .fold(header, usize::max)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let titles: Vec<String> = self.columns.iter().map(|(title, _)| title.to_uppercase()).collect();
        let header = self.line(&titles, &widths);
        let header = if has_colour { format!("\x1b[1m{header}\x1b[0m") } else { header };
        let rest = cells.iter().map(|row| self.line(row, &widths));
        std::iter::once(header).chain(rest).collect()
    }

    fn cells(&self, row: &Value) -> Vec<String> {
        self.columns.iter().map(|(_, field)| text(&row[*field])).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let is_number = |field: &str| self.rows.iter().any(|row| row[field].is_number());
        let padded = cells.iter().zip(widths).zip(self.columns).map(|((cell, width), (_, field))| {
            match is_number(field) {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }
}

/// A value as people read it.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table(has_colour: bool) -> Vec<String> {
        let rows = [json!({"name": "beans", "held": 3}), json!({"name": "an anvil", "held": 12, "more": 1})];
        Table { columns: &[("name", "name"), ("held", "held"), ("why", "why")], rows: &rows }
            .lines(has_colour)
    }

    /// Guards: columns are aligned, numbers to the right, and what is not there is a dash.
    #[test]
    fn columns_are_aligned() {
        assert_eq!(table(false), ["NAME      HELD  WHY", "beans        3  -", "an anvil    12  -"]);
    }

    /// Guards: what a pipe reads has no control codes.
    #[test]
    fn only_a_terminal_gets_colour() {
        assert!(table(true)[0].starts_with("\x1b[1m") && !table(false).concat().contains('\x1b'));
    }
}
