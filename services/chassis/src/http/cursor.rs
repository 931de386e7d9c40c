//! Cursors of paged lists: opaque to clients, bound to the list they came from, and sealed, so that one that was
//! tampered with or taken from another list is refused instead of answering nonsense.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::sync::{Arc, PoisonError, RwLock};

/// Bytes of the seal: half of HMAC-SHA-256, beyond guessing.
const SEAL: usize = 16;
/// The longest cursor that is worth looking at.
const MAX_CURSOR: usize = 512;

/// Seals and opens cursors with one key. Clones share it.
#[derive(Clone)]
pub struct Cursors(Arc<RwLock<Hmac<Sha256>>>);

/// The text is not a cursor of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the next_cursor of an earlier page of the same list")]
pub struct NotACursor;

impl Cursors {
    /// Cursors under a key; the same key opens them after a restart. `None` for a key that HMAC does not take,
    /// and it takes keys of any length.
    #[must_use]
    pub fn new(key: &str) -> Option<Self> {
        Hmac::new_from_slice(key.as_bytes()).ok().map(|mac| Self(Arc::new(RwLock::new(mac))))
    }

    /// Uses another key from now on.
    pub fn renew(&self, key: &str) {
        if let Ok(mac) = Hmac::new_from_slice(key.as_bytes()) {
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = mac;
        }
    }

    fn seal_of(&self, list: &str, position: &str) -> Hmac<Sha256> {
        let mut mac = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        mac.update(list.as_bytes());
        // A separator that neither part can hold: no two pairs read the same.
        mac.update(&[0]);
        mac.update(position.as_bytes());
        mac
    }

    /// The cursor for `position` in `list`.
    #[must_use]
    pub fn seal(&self, list: &str, position: &str) -> String {
        let seal = self.seal_of(list, position).finalize().into_bytes();
        let mut bytes: Vec<u8> = seal.iter().copied().take(SEAL).collect();
        bytes.extend_from_slice(position.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position that a cursor of `list` stands for.
    ///
    /// # Errors
    /// [`NotACursor`].
    pub fn open(&self, list: &str, cursor: &str) -> Result<String, NotACursor> {
        if cursor.len() > MAX_CURSOR {
            return Err(NotACursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| NotACursor)?;
        let (seal, position) = bytes.split_at_checked(SEAL).ok_or(NotACursor)?;
        let position = std::str::from_utf8(position).map_err(|_| NotACursor)?;
        self.seal_of(list, position).verify_truncated_left(seal).map_err(|_| NotACursor)?;
        Ok(position.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: the seal. Any changed byte, another list and another key are refused.
    #[test]
    fn a_cursor_opens_only_where_it_came_from_and_only_unchanged() {
        let cursors = Cursors::new("key").unwrap();
        let cursor = cursors.seal("orders#ada", "2026-11-20T09:30:00.000Z");
        assert_eq!(cursors.open("orders#ada", &cursor).as_deref(), Ok("2026-11-20T09:30:00.000Z"));
        assert_eq!(cursors.open("orders#bob", &cursor), Err(NotACursor));
        assert_eq!(Cursors::new("other").unwrap().open("orders#ada", &cursor), Err(NotACursor));
        for at in 0..cursor.len() {
            let mut bytes = cursor.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            // The last character carries unused bits, which the decoder itself insists are zero.
            assert_eq!(cursors.open("orders#ada", &changed), Err(NotACursor), "at {at}");
        }
        for nonsense in ["", "!", "AAAA", &"A".repeat(600)] {
            assert_eq!(cursors.open("orders#ada", nonsense), Err(NotACursor));
        }
    }
}
