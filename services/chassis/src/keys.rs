//! The keys of addresses: each order's address is sealed under a key of its own. An operator who deletes the key makes the address
//! unreadable in every row, archive, dead letter and backup at once.
//!
//! The table of keys is the one table that two services share. Orders writes a key together with its order and never reads it;
//! fulfillment reads it and never writes; an operator deletes it. It has no stream, no point-in-time recovery and no backup.

use crate::failure::Failure;
use crate::ports::Ids;
use crate::store::{AggregateId, Item, Key, Store, Write};
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use base64::{Engine, engine::general_purpose::STANDARD};
use events::OrderId;
use events::orders::{Address, SealedAddress};

/// Bytes of a key: AES-256.
pub const KEY_BYTES: usize = 32;
/// Bytes of the nonce before the sealed text: what AES-GCM asks for.
const NONCE_BYTES: usize = 12;
/// The attribute of a key's row that has its bytes, base64.
const ATTRIBUTE: &str = "key";

/// The key of one order's address. It seals one text only.
#[derive(Clone)]
pub struct AddressKey([u8; KEY_BYTES]);

/// A sealed address that this key does not open: it is another order's, or was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed address is not this order's")]
pub struct NotOpened;

impl AddressKey {
    /// A new key.
    #[must_use]
    pub fn fresh(ids: &dyn Ids) -> Self {
        Self(ids.secret())
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&self.0.into())
    }

    /// Seals the address of an order, whose id goes into the seal: another order's address does not open in its place.
    ///
    /// # Errors
    /// [`Failure::Poison`] for an address that is no JSON or longer than AES-GCM can seal; there is none.
    pub fn seal(&self, order: OrderId, address: &Address, ids: &dyn Ids) -> Result<SealedAddress, Failure> {
        let poison = || Failure::Poison("an address cannot be sealed".into());
        let text = serde_json::to_vec(address).map_err(|_| poison())?;
        let random = ids.secret();
        let nonce = random.get(..NONCE_BYTES).ok_or_else(poison)?;
        let payload = Payload { msg: &text, aad: order.0.as_bytes() };
        let sealed = self.cipher().encrypt(Nonce::from_slice(nonce), payload).map_err(|_| poison())?;
        Ok(SealedAddress(STANDARD.encode([nonce, &sealed].concat())))
    }

    /// Opens the address of an order.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub fn open(&self, order: OrderId, sealed: &SealedAddress) -> Result<Address, NotOpened> {
        let bytes = STANDARD.decode(&sealed.0).map_err(|_| NotOpened)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or(NotOpened)?;
        let payload = Payload { msg: sealed, aad: order.0.as_bytes() };
        let text = self.cipher().decrypt(Nonce::from_slice(nonce), payload).map_err(|_| NotOpened)?;
        serde_json::from_slice(&text).map_err(|_| NotOpened)
    }

    /// The write that keeps it, in the transaction of the order.
    #[must_use]
    pub fn kept(&self, order: OrderId) -> Write {
        Write::NewKey(Item::new(row(order)).with(ATTRIBUTE, STANDARD.encode(self.0)))
    }

    /// The key that a row keeps.
    fn read(row: &Item) -> Result<Self, Failure> {
        let bytes = row.text(ATTRIBUTE).and_then(|text| STANDARD.decode(text).ok());
        let key = bytes.and_then(|bytes| bytes.try_into().ok());
        key.map(Self).ok_or_else(|| Failure::Poison(format!("{}: no key", row.key)))
    }
}

/// Where an order's key lies.
#[must_use]
pub fn row(order: OrderId) -> Key {
    Key::new(AggregateId::order(order).pk, "key")
}

/// The table of keys.
#[derive(Clone)]
pub struct Keys<S>(pub S);

impl<S: Store> Keys<S> {
    /// The key of an order's address; none when there never was one, and when it was forgotten.
    ///
    /// # Errors
    /// [`Failure::Transient`] when the table does not answer, [`Failure::Poison`] for a row that holds no key.
    pub async fn of(&self, order: OrderId) -> Result<Option<AddressKey>, Failure> {
        self.0.load(&row(order)).await?.as_ref().map(AddressKey::read).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::RandomIds;
    use crate::store::MemoryStore;
    use uuid::Uuid;

    const ORDER: OrderId = OrderId(Uuid::from_u128(1));

    fn address() -> Address {
        Address {
            name: "Ada".into(),
            line1: "1 Byron St".into(),
            line2: None,
            city: "London".into(),
            postal_code: "N1".into(),
            country: "GB".into(),
        }
    }

    /// Guards: the associated data. A sealed address opens under its own key and for its own order only, and only unchanged.
    #[test]
    fn an_address_opens_for_its_own_order_only() {
        let (key, other) = (AddressKey::fresh(&RandomIds), AddressKey::fresh(&RandomIds));
        let sealed = key.seal(ORDER, &address(), &RandomIds).unwrap();
        assert_eq!(key.open(ORDER, &sealed), Ok(address()));
        assert_eq!(key.open(OrderId(Uuid::from_u128(2)), &sealed), Err(NotOpened));
        assert_eq!(other.open(ORDER, &sealed), Err(NotOpened));
        let mut bytes = STANDARD.decode(&sealed.0).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert_eq!(key.open(ORDER, &SealedAddress(STANDARD.encode(&bytes))), Err(NotOpened), "at {at}");
            bytes[at] ^= 1;
        }
        for nonsense in ["", "!", "AAAA"] {
            assert_eq!(key.open(ORDER, &SealedAddress(nonsense.into())), Err(NotOpened));
        }
    }

    /// Guards: a key is kept with its order, never twice, and read back.
    #[tokio::test]
    async fn a_key_is_kept_and_read_back() {
        let (store, key) = (MemoryStore::default(), AddressKey::fresh(&RandomIds));
        let sealed = key.seal(ORDER, &address(), &RandomIds).unwrap();
        store.commit(vec![key.kept(ORDER)]).await.unwrap();
        assert!(store.commit(vec![AddressKey::fresh(&RandomIds).kept(ORDER)]).await.is_err());
        let read = Keys(store.keys()).of(ORDER).await.unwrap().unwrap();
        assert_eq!(read.open(ORDER, &sealed), Ok(address()));
        assert!(store.rows().is_empty() && store.take_inserted().is_empty());
    }
}
