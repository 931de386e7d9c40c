//! Card numbers, which must never enter the system.

/// Whether a run of digits, separators aside, is as long as a card number and passes the Luhn check that every
/// card number passes (ISO/IEC 7812-1).
pub fn is_in(text: &str) -> bool {
    let separator = |c: char| matches!(c, ' ' | '-' | '.' | '_');
    let text: String = text.chars().filter(|c| !separator(*c)).collect();
    let mut runs = text.split(|c: char| !c.is_ascii_digit());
    runs.any(|run| (12..=19).contains(&run.len()) && luhn(run))
}

fn luhn(digits: &str) -> bool {
    let doubled = |(n, digit): (usize, u32)| match (n % 2, digit) {
        (0, digit) => digit,
        (_, digit) if digit > 4 => digit * 2 - 9,
        (_, digit) => digit * 2,
    };
    let digits = digits.chars().rev().filter_map(|c| c.to_digit(10));
    digits.enumerate().map(doubled).sum::<u32>() % 10 == 0
}
