//! Generations: the projection is built anew beside the one that reports show, then the two are swapped.
//!
//! One row says which generation is live, and which is being built. Every delivery reads it, strongly consistent, and books
//! in both. So a rebuild misses nothing: an event whose delivery read the row before the building began was committed before
//! that, and the rebuild reads it in the log; every later delivery books it itself.

use chassis::Failure;
use chassis::store::{Attr, Condition, Item, Key, Store, Write};
use chrono::{DateTime, Utc};
use events::envelope::millis;

/// The generations, as their row holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generations {
    /// The one that reports show.
    pub live: u32,
    /// The next one, while it is built.
    pub building: Option<Building>,
    /// How often the row was written.
    version: i64,
}

/// How far a rebuild has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Building {
    /// The place in the log, as the rebuild wrote it; empty: at the beginning.
    pub position: String,
    /// When that was.
    pub at: String,
}

impl Default for Generations {
    fn default() -> Self {
        Self { live: 1, building: None, version: 0 }
    }
}

fn key() -> Key {
    Key::new("projection#sales", "generations")
}

impl Generations {
    /// The generations as they are now.
    ///
    /// # Errors
    /// A [`Failure`] when the store does not answer, or the row cannot be read.
    pub async fn load<S: Store>(store: &S) -> Result<Self, Failure> {
        let Some(row) = store.load(&key()).await? else { return Ok(Self::default()) };
        let live = row.count("live").and_then(|live| u32::try_from(live).ok());
        let (live, version) = live.zip(row.number("version")).ok_or_else(|| {
            let reason = format!("{} names no generation", row.key);
            Failure::Poison(reason)
        })?;
        let text = |name| row.text(name).map(str::to_owned);
        let building =
            text("position").map(|position| Building { position, at: text("at").unwrap_or_default() });
        Ok(Self { live, building, version })
    }

    /// The generation that is built, or would be.
    #[must_use]
    pub const fn next(&self) -> u32 {
        self.live.saturating_add(1)
    }

    /// Those in which an event is booked.
    #[must_use]
    pub fn open(&self) -> Vec<u32> {
        std::iter::once(self.live).chain(self.building.as_ref().map(|_| self.next())).collect()
    }

    /// As they are once a building has come so far; it begins with an empty text.
    #[must_use]
    pub fn building(&self, position: String, now: DateTime<Utc>) -> Self {
        let building = Building { position, at: millis::text(&now) };
        Self { live: self.live, building: Some(building), version: self.version + 1 }
    }

    /// As they are once what was built is live.
    #[must_use]
    pub const fn swapped(&self) -> Self {
        Self { live: self.next(), building: None, version: self.version + 1 }
    }

    /// The write that makes `self` follow `before`. Of two rebuilds at a time, the database refuses the second.
    #[must_use]
    pub fn following(&self, before: &Self) -> Write {
        let mut item = Item::new(key()).with("live", i64::from(self.live)).with("version", self.version);
        if let Some(Building { position, at }) = &self.building {
            item = item.with("position", position.as_str()).with("at", at.as_str());
        }
        let when = match before.version {
            0 => Condition::Absent,
            version => Condition::Matches(vec![("version", Attr::N(version))]),
        };
        Write::Put { item, when }
    }
}

#[cfg(test)]
mod specs {
    use super::*;
    use chassis::store::{CommitError, MemoryStore};

    async fn write(store: &MemoryStore, to: &Generations, before: &Generations) -> Result<(), CommitError> {
        store.commit(vec![to.following(before)]).await
    }

    /// Guards: two rebuilds at a time. The second that writes on what it read before the first is refused, at the beginning,
    /// in the middle and at the swap.
    #[tokio::test]
    async fn only_one_goes_on() {
        let (store, now) = (MemoryStore::default(), DateTime::UNIX_EPOCH);
        let first = Generations::load(&store).await.unwrap();
        assert_eq!(first.open(), [1]);
        let begun = first.building(String::new(), now);
        write(&store, &begun, &first).await.unwrap();
        assert!(matches!(write(&store, &begun, &first).await, Err(CommitError::Rejected(_))));
        assert_eq!(Generations::load(&store).await.unwrap(), begun);
        assert_eq!(begun.open(), [1, 2]);
        let further = begun.building("there".into(), now);
        write(&store, &further, &begun).await.unwrap();
        assert!(matches!(write(&store, &begun.swapped(), &begun).await, Err(CommitError::Rejected(_))));
        write(&store, &further.swapped(), &further).await.unwrap();
        let live = Generations::load(&store).await.unwrap();
        assert_eq!((live.open(), live.building), (vec![2], None));
    }
}
