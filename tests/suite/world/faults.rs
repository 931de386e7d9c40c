//! What goes wrong with a store: commits that crash, and rows that expire.

use chassis::Failure;
use chassis::store::{CommitError, INBOX, Indexed, Item, Key, MemoryStore, Store, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// How a commit crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The store writes nothing.
    Before,
    /// The store writes everything, and the worker never gets the answer.
    After,
}

/// A store whose `n`-th commit crashes.
#[derive(Clone, Default)]
pub struct Faulty {
    pub inner: MemoryStore,
    commits: Arc<AtomicU64>,
    plan: Arc<Mutex<Option<(u64, Crash)>>>,
}

impl Faulty {
    /// Lets the `n`-th commit from now on crash.
    pub fn crash(&self, n: u64, how: Crash) {
        *self.plan.lock().unwrap() = Some((self.commits() + n, how));
    }

    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// Deletes every inbox row, as TTL does after a week.
    pub fn expire_inbox(&self) {
        let keys = self.inner.rows().into_iter().map(|row| row.key);
        keys.filter(|key| key.sk.starts_with(INBOX)).for_each(|key| self.inner.expire(&key));
    }

    /// A store of its own with the same rows, whose commits do not crash.
    pub fn fork(&self) -> Self {
        Self { inner: self.inner.fork(), ..Self::default() }
    }
}

impl Store for Faulty {
    async fn load(&self, key: &Key) -> Result<Option<Item>, Failure> {
        // Lets the other worker run in between, where there is one.
        tokio::task::yield_now().await;
        self.inner.load(key).await
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
        tokio::task::yield_now().await;
        let n = self.commits.fetch_add(1, Ordering::SeqCst);
        let plan = self.plan.lock().unwrap().filter(|(at, _)| *at == n).map(|(_, crash)| crash);
        let crashed = CommitError::Failed(Failure::Transient("crashed".into()));
        match plan {
            None => self.inner.commit(writes).await,
            Some(Crash::Before) => Err(crashed),
            Some(Crash::After) => self.inner.commit(writes).await.and(Err(crashed)),
        }
    }
}
