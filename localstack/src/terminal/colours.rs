//! Colours, where a terminal shows them.

use std::io::IsTerminal;

/// The sequences of ECMA-48 that a terminal understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
    Magenta = 35,
    Cyan = 36,
    Grey = 90,
}

/// The colours of names.
const OF_NAMES: [Colour; 4] = [Colour::Green, Colour::Blue, Colour::Magenta, Colour::Cyan];

/// Whether texts are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colours(bool);

impl Colours {
    pub const NONE: Self = Self(false);

    /// Those of standard output: a terminal's, unless `NO_COLOR` holds something (<https://no-color.org>) or the terminal has
    /// none.
    #[must_use]
    pub fn of_stdout() -> Self {
        let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|kind| kind == "dumb");
        Self(std::io::stdout().is_terminal() && !is_refused && !is_dumb)
    }

    pub(super) fn paint(self, colour: Colour, text: &str) -> String {
        if self.0 { format!("\u{1b}[{}m{text}\u{1b}[0m", colour as u8) } else { text.to_owned() }
    }

    /// A name in the colour that it always has.
    pub(super) fn name(self, name: &str, width: usize) -> String {
        let sum = name.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let colour = OF_NAMES.get(sum % OF_NAMES.len()).copied().unwrap_or(Colour::Cyan);
        self.paint(colour, &format!("{name:<width$}"))
    }

    #[cfg(test)]
    pub(super) const ALL: Self = Self(true);
}
