//! Numbers as DynamoDB keeps them: up to 38 significant digits, and one spelling for each number.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html#HowItWorks.DataTypes.Number>

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The most significant digits.
const MAX_DIGITS: usize = 38;
/// A number's first digit stands at most at this power of ten, and at least at the negative one below.
const MAX_POWER: i32 = 125;
const MIN_POWER: i32 = -130;

/// A number: `units` times ten to the `exponent`. The units do not end in a zero; zero is 0 times 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    units: i128,
    exponent: i32,
}

/// Why a text, or the outcome of a sum, is no number of DynamoDB's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("The parameter cannot be converted to a numeric value")]
    Empty,
    #[error("The parameter cannot be converted to a numeric value: {0}")]
    NotNumeric(String),
    #[error("Attempting to store more than 38 significant digits in a Number")]
    TooManyDigits,
    #[error("Number overflow. Attempting to store a number with magnitude larger than supported range")]
    TooLarge,
    #[error("Number underflow. Attempting to store a number with magnitude smaller than supported range")]
    TooSmall,
}

impl Number {
    fn new(mut units: i128, mut exponent: i32) -> Result<Self, Unfit> {
        if units == 0 {
            return Ok(Self { units: 0, exponent: 0 });
        }
        while units % 10 == 0 {
            (units, exponent) = (units / 10, exponent.saturating_add(1));
        }
        let number = Self { units, exponent };
        let digits = number.digits().len();
        let power = exponent.saturating_add(i32::try_from(digits).unwrap_or(i32::MAX)).saturating_sub(1);
        match power {
            _ if digits > MAX_DIGITS => Err(Unfit::TooManyDigits),
            power if power > MAX_POWER => Err(Unfit::TooLarge),
            power if power < MIN_POWER => Err(Unfit::TooSmall),
            _ => Ok(number),
        }
    }

    fn digits(self) -> String {
        self.units.unsigned_abs().to_string()
    }

    /// The sum; one that has more digits than DynamoDB keeps is refused.
    ///
    /// # Errors
    /// [`Unfit`]
    pub fn plus(self, other: Self) -> Result<Self, Unfit> {
        let exponent = match (self.units, other.units) {
            (0, _) => return Ok(other),
            (_, 0) => return Ok(self),
            _ => self.exponent.min(other.exponent),
        };
        let (one, two) = (self.scaled(exponent)?, other.scaled(exponent)?);
        Self::new(one.checked_add(two).ok_or(Unfit::TooManyDigits)?, exponent)
    }

    /// # Errors
    /// As [`Number::plus`].
    pub fn minus(self, other: Self) -> Result<Self, Unfit> {
        self.plus(Self { units: other.units.saturating_neg(), ..other })
    }

    /// The units at a smaller exponent.
    fn scaled(self, exponent: i32) -> Result<i128, Unfit> {
        let power = u32::try_from(self.exponent.saturating_sub(exponent)).unwrap_or(0);
        let factor = 10_i128.checked_pow(power).ok_or(Unfit::TooManyDigits)?;
        self.units.checked_mul(factor).ok_or(Unfit::TooManyDigits)
    }

    /// The bytes that a number counts for: one for two digits, and one.
    ///
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
    #[must_use]
    pub fn size(self) -> usize {
        if self.units == 0 {
            return 1;
        }
        let digits = self.digits().len();
        // Pairs of digits stand at even powers of ten.
        let aligned = digits + usize::from(self.exponent.rem_euclid(2) == 1);
        aligned.div_ceil(2) + 1 + usize::from(self.units < 0)
    }

    /// The number as seconds or another count; `None` for what is no whole number of 64 bits.
    #[must_use]
    pub fn whole(self) -> Option<i64> {
        let factor = 10_i128.checked_pow(u32::try_from(self.exponent).ok()?)?;
        i64::try_from(self.units.checked_mul(factor)?).ok()
    }
}

impl FromStr for Number {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        if let Ok(units) = text.parse::<i64>() {
            return Self::new(units.into(), 0);
        }
        if text.is_empty() {
            return Err(Unfit::Empty);
        }
        let unfit = || Unfit::NotNumeric(text.to_owned());
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| unfit())?),
            None => (text, 0),
        };
        let (sign, digits) = match mantissa.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all: String = [whole, fraction].concat();
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(unfit());
        }
        let fraction = i32::try_from(fraction.len()).map_err(|_| unfit())?;
        let trimmed = all.trim_end_matches('0');
        let zeros = i32::try_from(all.len() - trimmed.len()).map_err(|_| unfit())?;
        let significant = trimmed.trim_start_matches('0');
        if significant.len() > MAX_DIGITS {
            return Err(Unfit::TooManyDigits);
        }
        let units: i128 =
            if significant.is_empty() { 0 } else { significant.parse().map_err(|_| unfit())? };
        Self::new(sign * units, exponent.saturating_sub(fraction).saturating_add(zeros))
    }
}

impl fmt::Display for Number {
    /// Plain digits, however many: DynamoDB answers without an exponent.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits();
        if self.units < 0 {
            out.write_str("-")?;
        }
        let Ok(behind) = usize::try_from(self.exponent.saturating_neg()) else {
            let zeros = usize::try_from(self.exponent).unwrap_or_default();
            return write!(out, "{digits}{}", "0".repeat(zeros));
        };
        match digits.len().checked_sub(behind) {
            _ if behind == 0 => out.write_str(&digits),
            Some(whole) if whole > 0 => write!(out, "{}.{}", &digits[..whole], &digits[whole..]),
            _ => write!(out, "0.{}{digits}", "0".repeat(behind - digits.len())),
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = self.units.signum().cmp(&other.units.signum());
        if sign != Ordering::Equal || self.units == 0 {
            return sign;
        }
        let power = |number: &Self| i64::from(number.exponent) + number.digits().len() as i64;
        let magnitude = power(self).cmp(&power(other)).then_with(|| {
            // Two numbers whose first digit stands at one place compare as texts of digits.
            let (one, two) = (self.digits(), other.digits());
            let length = one.len().max(two.len());
            format!("{one:0<length$}").cmp(&format!("{two:0<length$}"))
        });
        if self.units < 0 { magnitude.reverse() } else { magnitude }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        text.parse().unwrap()
    }

    #[test]
    fn a_number_has_one_spelling() {
        let spellings = [
            ("0.0", "0"),
            ("-0", "0"),
            ("1.50", "1.5"),
            ("+007", "7"),
            ("1e3", "1000"),
            ("12E-3", "0.012"),
            ("-1.0E1", "-10"),
            (".5", "0.5"),
        ];
        for (text, kept) in spellings {
            assert_eq!(number(text).to_string(), kept, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let digits = "1".repeat(39);
        let refused = [
            ("", Unfit::Empty),
            ("1x", Unfit::NotNumeric("1x".into())),
            ("-", Unfit::NotNumeric("-".into())),
            (digits.as_str(), Unfit::TooManyDigits),
            ("1e126", Unfit::TooLarge),
            ("1e-131", Unfit::TooSmall),
        ];
        for (text, why) in refused {
            assert_eq!(text.parse::<Number>(), Err(why), "{text}");
        }
        let nines = number(&"9".repeat(38));
        assert_eq!(nines.plus(number("0.5")), Err(Unfit::TooManyDigits));
        assert_eq!(nines.plus(number("1")).unwrap().to_string(), format!("1{}", "0".repeat(38)));
    }

    #[test]
    fn numbers_are_added_and_compared_exactly() {
        assert_eq!(number("0.1").plus(number("0.2")).unwrap(), number("0.3"));
        assert_eq!(number("5").minus(number("7.5")).unwrap(), number("-2.5"));
        let sorted = ["-1e100", "-20", "-3", "0", "1e-100", "0.5", "9", "10", "11", "1e100"];
        for pair in sorted.windows(2) {
            assert!(number(pair[0]) < number(pair[1]), "{pair:?}");
        }
        assert_eq!((number("1e2").whole(), number("1.5").whole()), (Some(100), None));
    }
}
