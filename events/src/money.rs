//! Money: integer minor units with a currency, and no arithmetic that can wrap or mix currencies.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt};

/// An ISO 4217 code: three capital letters, `USD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl JsonSchema for Currency {
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[A-Z]{3}$"})
    }
}

impl Currency {
    /// The US dollar, the default of a fresh stack.
    pub const USD: Self = Self(*b"USD");

    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Why a text is not a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be three capital letters (ISO 4217)")]
pub struct NotACurrency;

impl TryFrom<String> for Currency {
    type Error = NotACurrency;
    fn try_from(text: String) -> Result<Self, NotACurrency> {
        let code: [u8; 3] = text.as_bytes().try_into().map_err(|_| NotACurrency)?;
        if code.iter().all(u8::is_ascii_uppercase) { Ok(Self(code)) } else { Err(NotACurrency) }
    }
}

impl std::str::FromStr for Currency {
    type Err = NotACurrency;
    fn from_str(text: &str) -> Result<Self, NotACurrency> {
        Self::try_from(text.to_owned())
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.as_str().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount of money in minor units (cents), never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Money {
    /// Minor units: 1250 is 12.50 of a currency with two decimals.
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub amount: u64,
    /// ISO 4217.
    pub currency: Currency,
}

/// The largest amount: what every JSON reader can hold exactly (2^53 - 1).
pub const MAX_AMOUNT: u64 = 9_007_199_254_740_991;

/// Why a sum could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result is beyond [`MAX_AMOUNT`].
    #[error("the amount is larger than {MAX_AMOUNT} minor units")]
    Overflow,
    /// The two sides are of different currencies.
    #[error("amounts of different currencies cannot be added")]
    CurrencyMismatch,
}

impl Money {
    /// `amount` minor units of `currency`.
    #[must_use]
    pub const fn new(amount: u64, currency: Currency) -> Self {
        Self { amount, currency }
    }

    fn checked(amount: Option<u64>, currency: Currency) -> Result<Self, MoneyError> {
        match amount {
            Some(amount) if amount <= MAX_AMOUNT => Ok(Self { amount, currency }),
            _ => Err(MoneyError::Overflow),
        }
    }

    /// The sum of two amounts of one currency.
    ///
    /// # Errors
    /// [`MoneyError`] when the currencies differ or the sum is too large.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch);
        }
        Self::checked(self.amount.checked_add(other.amount), self.currency)
    }

    /// This price for `quantity` units.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] when the product is too large.
    pub fn times(self, quantity: u32) -> Result<Self, MoneyError> {
        Self::checked(self.amount.checked_mul(u64::from(quantity)), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_checked() {
        let most = Money::new(MAX_AMOUNT, Currency::USD);
        assert_eq!(most.plus(Money::new(1, Currency::USD)), Err(MoneyError::Overflow));
        assert_eq!(most.times(2), Err(MoneyError::Overflow));
        assert_eq!(Money::new(250, Currency::USD).times(3), Ok(Money::new(750, Currency::USD)));
    }

    #[test]
    fn currencies_do_not_mix() {
        let euro = Currency::try_from("EUR".to_owned()).unwrap();
        let sum = Money::new(1, Currency::USD).plus(Money::new(1, euro));
        assert_eq!(sum, Err(MoneyError::CurrencyMismatch));
    }

    #[test]
    fn a_currency_is_three_capitals() {
        for bad in ["usd", "US", "USDX", ""] {
            assert_eq!(Currency::try_from(bad.to_owned()), Err(NotACurrency));
        }
    }
}
