//! Stores that misbehave around another one: commits crash or are never answered, something else is written first, rows expire.

use chassis::Failure;
use chassis::digest::sealed;
use chassis::store::{
    CommitError, Condition, INBOX, Indexed, Item, Key, MemoryStore, Scan, Scanned, Store, Write,
};
use futures_util::FutureExt;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The row without the deliveries that it remembers; none for an inbox row.
pub fn without_inbox(row: &Item) -> Option<Item> {
    let mut without = row.clone();
    match without.attrs.remove("inbox") {
        Some(_) => Some(sealed(without, &[])),
        None => (!row.key.sk.starts_with(INBOX)).then_some(without),
    }
}

/// What happens to a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The store writes nothing.
    Before,
    /// The store writes everything, and the worker never gets the answer.
    After,
    /// Before it, this is written.
    WriteFirst(Write),
    /// It is made, and never answered.
    SilentCommit,
    /// It is made, and after it no row is loaded any more.
    SilentLoads,
}

/// A store whose `n`-th commit crashes.
#[derive(Clone, Default)]
pub struct Faulty<S = MemoryStore> {
    pub inner: S,
    commits: Arc<AtomicU64>,
    plan: Arc<Mutex<Option<(u64, Crash)>>>,
    is_silent: Arc<Mutex<bool>>,
    after_page: Arc<Mutex<Option<Vec<Write>>>>,
}

impl<S: Default> Faulty<S> {
    /// A store whose next commit crashes.
    pub fn new(inner: S, how: Crash) -> Self {
        let store = Self { inner, ..Self::default() };
        store.crash(0, how);
        store
    }
}

impl<S> Faulty<S> {
    /// Lets the `n`-th commit from now on crash.
    pub fn crash(&self, n: u64, how: Crash) {
        *self.plan.lock().unwrap() = Some((self.commits() + n, how));
    }

    /// Lets another worker write this once the next page is read.
    pub fn after_page(&self, writes: Vec<Write>) {
        *self.after_page.lock().unwrap() = Some(writes);
    }

    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }
}

impl Faulty {
    /// Forgets every delivery: deletes the inbox rows, as TTL does after a week, and empties the inboxes of the state rows too.
    pub fn expire_inbox(&self) {
        for row in self.inner.rows() {
            self.inner.expire(&row.key);
            if let Some(item) = without_inbox(&row) {
                let write = Write::Put { item, when: Condition::Absent };
                self.inner.commit(vec![write]).now_or_never().unwrap().unwrap();
            }
        }
        drop(self.inner.take_inserted());
    }

    /// A store of its own with the same rows, whose commits do not crash.
    pub fn fork(&self) -> Self {
        Self { inner: self.inner.fork(), ..Self::default() }
    }
}

impl<S: Store> Store for Faulty<S> {
    async fn load(&self, key: &Key) -> Result<Option<Item>, Failure> {
        Ok(self.load_many(std::slice::from_ref(key)).await?.pop().flatten())
    }

    async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, Failure> {
        // Lets the other worker run in between, where there is one.
        tokio::task::yield_now().await;
        let is_silent = *self.is_silent.lock().unwrap();
        if is_silent { pending().await } else { self.inner.load_many(keys).await }
    }

    async fn page(
        &self,
        pk: &str,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Item>, Failure> {
        let page = self.inner.page(pk, prefix, after, limit).await?;
        let meanwhile = self.after_page.lock().unwrap().take();
        if let Some(writes) = meanwhile {
            self.inner.commit(writes).await?;
        }
        Ok(page)
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
        let plan = self.plan.lock().unwrap().clone().filter(|(at, _)| *at == n).map(|(_, crash)| crash);
        let crashed = CommitError::Failed(Failure::Transient("crashed".into()));
        match plan {
            None => {}
            Some(Crash::Before) => return Err(crashed),
            Some(Crash::After) => return self.inner.commit(writes).await.and(Err(crashed)),
            Some(Crash::WriteFirst(write)) => self.inner.commit(vec![write]).await?,
            Some(Crash::SilentLoads) => *self.is_silent.lock().unwrap() = true,
            Some(Crash::SilentCommit) => {
                self.inner.commit(writes).await?;
                return pending().await;
            }
        }
        self.inner.commit(writes).await
    }
}

impl<S: Scan> Scan for Faulty<S> {
    async fn scan(&self, prefix: &str, after: Option<&Key>, limit: u32) -> Result<Scanned, Failure> {
        self.inner.scan(prefix, after, limit).await
    }
}
