//! Digests of rows. A row's digest shows that it is as its transaction wrote it. It has no key: it guards against accidents and
//! against edits by hand, and not against an attacker, who can compute it too.

use crate::store::{Attr, Item};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// The attribute that holds a row's digest.
pub const DIGEST: &str = "digest";

/// How much of the SHA-256 is kept: 128 bits.
const BYTES: usize = 16;

/// The digest of a row: of its key and all attributes but these.
#[must_use]
pub fn digest(row: &Item, but: &[&str]) -> String {
    let mut hash = Sha256::new();
    let mut text = |text: &str| {
        // The length first: where one text ends and the next begins is part of it.
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text.as_bytes());
    };
    text(&row.key.pk);
    text(&row.key.sk);
    for (name, value) in row.attrs.iter().filter(|(name, _)| *name != DIGEST && !but.contains(&name.as_str()))
    {
        text(name);
        match value {
            Attr::S(value) => text(&format!("S{value}")),
            Attr::N(value) => text(&format!("N{value}")),
        }
    }
    shortened(&hash.finalize())
}

/// A short name for a text that is too long, or too personal, to be shown.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    shortened(&Sha256::digest(text.as_bytes()))
}

fn shortened(hash: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(hash.get(..BYTES).unwrap_or(hash))
}

/// The row with its digest.
#[must_use]
pub fn sealed(row: Item, but: &[&str]) -> Item {
    let digest = digest(&row, but);
    row.with(DIGEST, digest)
}

/// Whether a row is as it was sealed; none: it was written before rows had digests.
#[must_use]
pub fn is_intact(row: &Item, but: &[&str]) -> Option<bool> {
    row.attrs.get(DIGEST).map(|stored| *stored == Attr::S(digest(row, but)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Key;

    fn row() -> Item {
        Item::new(Key::state("order#1")).with("data", "text").with("version", 1).with("held", 4)
    }

    /// Guards: the digest. Every attribute and the key count, but for those that other writes adjust.
    #[test]
    fn a_changed_row_is_not_intact() {
        let sealed = sealed(row(), &["held"]);
        assert_eq!(is_intact(&sealed, &["held"]), Some(true));
        assert_eq!(is_intact(&sealed.clone().with("held", 5), &["held"]), Some(true));
        let moved = Item { key: Key::state("order#2"), ..sealed.clone() };
        let mut less = sealed.clone();
        less.attrs.remove("version");
        for changed in [sealed.clone().with("data", "texts"), sealed.clone().with("more", ""), moved, less] {
            assert_eq!(is_intact(&changed, &["held"]), Some(false), "{changed:?}");
        }
        let text = self::sealed(row().with("n", 1), &[]).with("n", "1");
        assert_eq!(is_intact(&text, &[]), Some(false), "a text is no number");
        assert_eq!(is_intact(&row(), &[]), None);
    }
}
