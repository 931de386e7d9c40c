//! What an audit needs of a service: how the rows of its table are compared with its events. The reading is an operator's.
//!
//! A row's digest shows that it is as its transaction wrote it. It has no key: it guards against accidents and against edits
//! by hand, and not against an attacker, who can compute it too.

use crate::aggregate::{Aggregate, read_state};
use crate::failure::Failure;
use crate::outbox::envelope_of;
use crate::store::{AggregateId, Attr, Item};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use events::{Envelope, Metadata, Unreadable};
use sha2::{Digest, Sha256};

/// The attribute that holds a row's digest.
pub const DIGEST: &str = "digest";

/// How much of the SHA-256 is kept: 128 bits.
const BYTES: usize = 16;

/// What a service lets an audit see of its table.
pub struct Audited {
    /// The aggregates in it.
    pub kinds: &'static [Kind],
    /// The projections in it.
    pub views: &'static [View],
    /// Whose inbox remembers an event.
    pub inbox: fn(&Metadata) -> AggregateId,
}

/// The aggregates of one kind.
pub struct Kind {
    /// How their partitions begin: `order` of `order#018f…`.
    pub name: &'static str,
    /// Whether only events begin one, and so leave an event row or an inbox row.
    pub by_events: bool,
    /// The attributes of the state row that other writes adjust.
    pub adjusted: fn() -> Vec<&'static str>,
    /// Both sides of a comparison: a state row, and the event rows of its aggregate, oldest first.
    pub compare: fn(&Item, &[Item]) -> Result<Compared, Failure>,
}

/// A projection.
pub struct View {
    /// How its partitions begin.
    pub name: &'static str,
    /// The row that an event makes, if it is one that the view shows.
    pub row: fn(&Envelope) -> Result<Option<Item>, Unreadable>,
}

/// What a state row says of what its events determine, and what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The state row.
    pub stored: String,
    /// The fold of the events.
    pub folded: String,
}

impl Kind {
    /// Aggregates that only events begin.
    #[must_use]
    pub const fn by_events<A: Aggregate>(name: &'static str) -> Self {
        Self { name, by_events: true, adjusted: adjusted::<A>, compare: compare::<A> }
    }

    /// Aggregates that commands begin too.
    #[must_use]
    pub const fn by_commands<A: Aggregate>(name: &'static str) -> Self {
        Self { by_events: false, ..Self::by_events::<A>(name) }
    }
}

fn adjusted<A: Aggregate>() -> Vec<&'static str> {
    A::default().adjusted_elsewhere().into_iter().map(|(name, _)| name).collect()
}

fn compare<A: Aggregate>(state: &Item, events: &[Item]) -> Result<Compared, Failure> {
    let mut folded = A::default();
    for row in events {
        let facts = folded.facts(&envelope_of(row)?)?;
        folded = facts.iter().fold(folded, A::evolve);
    }
    Ok(Compared { stored: read_state::<A>(state)?.state.visible(), folded: folded.visible() })
}

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
