//! Texts of others for a terminal.

/// A text without what moves a terminal's cursor or turns its direction.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if moves(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Controls, line ends of Unicode's, and the marks that turn the direction of what follows.
fn moves(c: char) -> bool {
    c.is_control() && c != '\t'
        || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    /// Guards: what a function or a client writes overwrites nothing of the terminal, and does not look like something else.
    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(printable("a\tb ü 漢"), "a\tb ü 漢");
        for c in ['\u{1b}', '\r', '\n', '\u{9b}', '\u{202e}', '\u{2066}', '\u{2028}'] {
            assert_eq!(printable(&format!("a{c}b")), "a\u{fffd}b");
        }
    }
}
