//! Stores that misbehave around the memory store: something else is written first, or there is no answer.

use chassis::Failure;
use chassis::store::{CommitError, Indexed, Item, Key, Store, Write};
use std::future::pending;
use std::sync::{Arc, Mutex};

/// What a store does, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whim {
    /// Before the next commit, this is written.
    WriteFirst(Write),
    /// The next commit is made, and never answered.
    SilentCommit,
    /// After the next commit, no row is loaded any more.
    SilentLoads,
}

/// A store with a whim.
#[derive(Clone)]
pub struct Whimsical<S> {
    inner: S,
    whim: Arc<Mutex<Option<Whim>>>,
    is_silent: Arc<Mutex<bool>>,
}

impl<S> Whimsical<S> {
    pub fn new(inner: S, whim: Whim) -> Self {
        Self { inner, whim: Arc::new(Mutex::new(Some(whim))), is_silent: Arc::default() }
    }
}

impl<S: Store> Store for Whimsical<S> {
    async fn load(&self, key: &Key) -> Result<Option<Item>, Failure> {
        let is_silent = *self.is_silent.lock().unwrap();
        if is_silent { pending().await } else { self.inner.load(key).await }
    }

    async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, Failure> {
        self.inner.load_many(keys).await
    }

    async fn page(
        &self,
        pk: &str,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Item>, Failure> {
        self.inner.page(pk, prefix, after, limit).await
    }

    async fn newest(
        &self,
        index: &'static str,
        partition: &str,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Indexed>, Failure> {
        self.inner.newest(index, partition, before, limit).await
    }

    async fn oldest(
        &self,
        index: &'static str,
        partition: &str,
        until: &str,
        after: Option<&Indexed>,
        limit: u32,
    ) -> Result<Vec<Indexed>, Failure> {
        self.inner.oldest(index, partition, until, after, limit).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), CommitError> {
        let whim = self.whim.lock().unwrap().take();
        match whim {
            None => {}
            Some(Whim::WriteFirst(write)) => self.inner.commit(vec![write]).await?,
            Some(Whim::SilentLoads) => *self.is_silent.lock().unwrap() = true,
            Some(Whim::SilentCommit) => {
                self.inner.commit(writes).await?;
                pending::<()>().await;
                return Ok(());
            }
        }
        self.inner.commit(writes).await
    }
}
