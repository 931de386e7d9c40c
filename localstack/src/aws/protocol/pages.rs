//! Lists that come page by page. A token is the key of the last entry of the page before it.

use super::ApiError;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// The entries after the one that the token names, at most `limit`, by their key; and the token of the next page.
pub fn page<T>(
    mut entries: Vec<T>,
    key: impl Fn(&T) -> String,
    after: Option<&str>,
    limit: usize,
) -> (Vec<T>, Option<String>) {
    entries.sort_by_cached_key(&key);
    entries.retain(|entry| after.is_none_or(|after| key(entry).as_str() > after));
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| has_more).map(key);
    (entries, next)
}

/// How many entries a caller wants, or as many as one page has.
///
/// # Errors
/// `code` for a number out of the range; the text names the field.
pub fn limit(
    (field, asked): (&str, Option<i64>),
    range: &RangeInclusive<i64>,
    code: &'static str,
) -> Result<usize, ApiError> {
    let asked = asked.unwrap_or(*range.end());
    if !range.contains(&asked) {
        return Err(out_of_range(field, asked, range, code));
    }
    Ok(usize::try_from(asked).unwrap_or_default())
}

fn out_of_range(
    field: &str,
    value: impl Display,
    range: &RangeInclusive<i64>,
    code: &'static str,
) -> ApiError {
    let (from, to) = (range.start(), range.end());
    ApiError::new(
        code,
        format!("Value {value} for parameter {field} is invalid: it has to be from {from} to {to}."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: every entry is on one page, and the last page has no token.
    #[test]
    fn pages_follow_each_other() {
        let all = || vec!["c", "a", "b"];
        let key = |entry: &&str| (*entry).to_owned();
        let (first, token) = page(all(), key, None, 2);
        assert_eq!((first, token.as_deref()), (vec!["a", "b"], Some("b")));
        assert_eq!(page(all(), key, token.as_deref(), 2), (vec!["c"], None));
        assert!(limit(("Limit", Some(0)), &(1..=100), "X").unwrap_err().message.contains("parameter Limit"));
        assert_eq!(limit(("Limit", None), &(1..=100), "X").unwrap(), 100);
    }
}
