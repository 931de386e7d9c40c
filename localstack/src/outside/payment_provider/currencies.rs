//! The currencies that Stripe charges, and the least and the most that it charges in one.
//!
//! <https://docs.stripe.com/currencies>

use super::refusal::Refusal;

/// Those of <https://docs.stripe.com/currencies#presentment-currencies>.
const CURRENCIES: &str = "usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bif bmd bnd bob brl bsd bwp byn bzd cad \
    cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl htg huf idr ils \
    inr isk jmd jpy kes kgs khr kmf krw kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad \
    ngn nio nok npr nzd pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std szl thb tjs \
    top try ttd twd tzs uah ugx uyu uzs vnd vuv wst xaf xcd xof xpf yer zar zmw";
/// The most of a charge: eight digits.
const MOST: u64 = 99_999_999;

/// The least of a charge, in minor units. Stripe's depends on the account too.
fn least(currency: &str) -> u64 {
    if currency == "gbp" { 30 } else { 50 }
}

/// Checks the amount of an intent, in minor units.
///
/// # Errors
/// The refusal of what Stripe does not charge.
pub fn charged(amount: i64, currency: &str) -> Result<u64, Refusal> {
    let refused = |code: &'static str, message: String| Err(Refusal::invalid(code, message).about("amount"));
    let whole = "parameter_invalid_integer";
    match u64::try_from(amount) {
        Err(_) => refused(whole, "Invalid positive integer".into()),
        Ok(0) => refused(
            whole,
            "The amount must be greater than or equal to the minimum charge amount allowed for your account and the \
             currency set"
                .into(),
        ),
        Ok(amount) if amount < least(currency) => {
            let least = written(least(currency), currency);
            refused("amount_too_small", format!("Amount must be at least {least} {currency}"))
        }
        Ok(amount) if amount > MOST => {
            let most = written(MOST, currency);
            refused("amount_too_large", format!("Amount must be no more than {most}"))
        }
        Ok(amount) => Ok(amount),
    }
}

/// Checks a currency, in lower case.
///
/// # Errors
/// The refusal of one that Stripe does not charge.
pub fn check(currency: &str) -> Result<(), Refusal> {
    if CURRENCIES.split_whitespace().any(|known| known == currency) {
        return Ok(());
    }
    let known = CURRENCIES.split_whitespace().collect::<Vec<_>>().join(", ");
    let message =
        format!("Invalid currency: {currency}. Stripe currently supports these currencies: {known}");
    Err(Refusal::invalid(None, message).about("currency"))
}

/// An amount as Stripe's messages write it.
#[must_use]
pub fn written(amount: u64, currency: &str) -> String {
    let sign = match currency {
        "usd" => "$",
        "eur" => "€",
        "gbp" => "£",
        _ => "",
    };
    let (whole, cents) = (amount / 100, amount % 100);
    let thousands = if whole < 1000 { String::new() } else { format!("{},", whole / 1000) };
    let rest = if thousands.is_empty() { whole.to_string() } else { format!("{:03}", whole % 1000) };
    format!("{sign}{thousands}{rest}.{cents:02}")
}
