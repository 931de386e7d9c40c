//! A store in front of a store. What the reactions of a batch load or commit at the same time goes out together: rows in one read,
//! independent commits in one transaction. Each commit is still all or nothing, and learns its own outcome.
//!
//! Two commits that write the same row would cancel each other, so of those that come through here one waits for the other: a hot row
//! has one write after another, each for a whole batch.
//!
//! A joint transaction is refused when any member is. Then those that the refusal does not name go alone, and for a while all do:
//! where commits are refused often, joining them only adds a call.

use super::held::Rows;
use super::joint::{Joint, Settled, Waiting, wave};
use super::{CommitError, Indexed, Item, Key, MAX_WRITES, Scan, Scanned, Store, Write};
use crate::failure::Failure;
use crate::gather::Gather;
use futures_util::future::join_all;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// How far commits are put together.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most writes of a joint transaction.
    pub writes: usize,
    /// How many commits go alone after a joint transaction that was refused or met a conflict.
    pub pause: u32,
}

impl Default for Limits {
    /// As many writes as a transaction may have, and a pause of two full batches.
    fn default() -> Self {
        Self { writes: MAX_WRITES, pause: 20 }
    }
}

type Loaded = Result<Vec<Option<Item>>, Failure>;
type Committed = Result<(), CommitError>;

/// A store in front of `inner`. Clones share what is asked for.
#[derive(Clone)]
pub struct Grouped<S> {
    /// The store behind it.
    pub inner: S,
    limits: Limits,
    loads: Gather<Vec<Key>, Loaded>,
    commits: Gather<Vec<Write>, Committed>,
    /// The rows of the commits that are on their way.
    rows: Rows,
    /// How many commits still go alone.
    alone: Arc<AtomicU32>,
}

impl<S: Store> Grouped<S> {
    /// A store in front of `inner`.
    pub fn new(inner: S, limits: Limits) -> Self {
        let (loads, commits) = (Gather::default(), Gather::default());
        Self { inner, limits, loads, commits, rows: Rows::default(), alone: Arc::default() }
    }

    /// Whether a commit goes alone because of the pause, which this shortens by one.
    fn is_paused(&self) -> bool {
        self.alone.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Commits once none of its rows is in another commit of this store that is on its way.
    async fn send(&self, writes: Vec<Write>) -> Committed {
        let _held = self.rows.hold(writes.iter().map(|write| write.key().clone()).collect()).await;
        self.inner.commit(writes).await
    }

    /// Commits that were asked for at the same time.
    async fn commit_all(self, commits: Vec<Vec<Write>>) -> Vec<Committed> {
        let mut answers: Vec<Committed> = commits.iter().map(|_| Err(unanswered().into())).collect();
        let numbered = commits.into_iter().enumerate();
        let waiting = numbered.map(|(number, writes)| Waiting { number, writes }).collect();
        let refused = self.carry(waiting, self.limits.writes, &mut answers).await;
        if !refused.is_empty() {
            self.alone.store(self.limits.pause, Relaxed);
            self.carry(refused, 0, &mut answers).await;
        }
        answers
    }

    /// Commits in transactions of at most `most` writes, wave after wave; returns those that have to go alone.
    async fn carry(&self, mut waiting: Vec<Waiting>, most: usize, answers: &mut [Committed]) -> Vec<Waiting> {
        let mut refused = Vec::new();
        while !waiting.is_empty() {
            let (joints, later) = wave(waiting, most);
            waiting = later;
            let sent = joints.into_iter().map(async |joint: Joint| {
                let outcome = self.send(joint.writes()).await;
                joint.settle(&outcome)
            });
            for settled in join_all(sent).await.into_iter().flatten() {
                match settled {
                    Settled::Answered(number, answer) => {
                        answers.get_mut(number).into_iter().for_each(|place| *place = answer.clone());
                    }
                    Settled::Again(commit) => refused.push(commit),
                }
            }
        }
        refused
    }

    /// Loads what was asked for at the same time, each row once.
    async fn load_all(self, asked: Vec<Vec<Key>>) -> Vec<Loaded> {
        if let [keys] = &*asked {
            return vec![self.inner.load_many(keys).await];
        }
        let distinct: BTreeSet<&Key> = asked.iter().flatten().collect();
        let distinct: Vec<Key> = distinct.into_iter().cloned().collect();
        let read = join_all(distinct.chunks(MAX_WRITES).map(|keys| self.inner.load_many(keys))).await;
        match read.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(rows) => {
                let rows: HashMap<_, _> = distinct.into_iter().zip(rows.into_iter().flatten()).collect();
                let of = |key| rows.get(key).cloned().flatten();
                asked.iter().map(|keys| Ok(keys.iter().map(of).collect())).collect()
            }
            // One row that cannot be read is the trouble of the one that asked for it.
            Err(Failure::Poison(_)) => join_all(asked.iter().map(|keys| self.inner.load_many(keys))).await,
            Err(failure) => vec![Err(failure); asked.len()],
        }
    }
}

fn unanswered() -> Failure {
    Failure::Transient("the group has no answer".into())
}

impl<S: Store> Store for Grouped<S> {
    async fn load(&self, key: &Key) -> Result<Option<Item>, Failure> {
        Ok(self.load_many(std::slice::from_ref(key)).await?.pop().flatten())
    }

    async fn load_many(&self, keys: &[Key]) -> Loaded {
        let group = self.clone();
        let answer = self.loads.ask(keys.to_vec(), |asked| group.load_all(asked)).await;
        answer.unwrap_or_else(|| Err(unanswered()))
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

    async fn commit(&self, writes: Vec<Write>) -> Committed {
        if self.is_paused() {
            return self.send(writes).await;
        }
        let group = self.clone();
        let answer = self.commits.ask(writes, |commits| group.commit_all(commits)).await;
        answer.unwrap_or_else(|| Err(unanswered().into()))
    }
}

impl<S: Scan> Scan for Grouped<S> {
    async fn scan(&self, prefix: &str, after: Option<&Key>, limit: u32) -> Result<Scanned, Failure> {
        self.inner.scan(prefix, after, limit).await
    }
}
