//! The places of a listener. When all are taken, the connection that has waited longest for its client makes room: clients that
//! keep connections without a use for them, or send half of a request, keep nobody else out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How long a connection may take to make room, before another is asked to.
const PATIENCE: Duration = Duration::from_millis(100);

/// Clones share the places.
#[derive(Clone)]
pub struct Connections {
    places: Arc<Semaphore>,
    /// A permit for each byte of a body that is being read.
    room: Arc<Semaphore>,
    waiting: Arc<Mutex<Waiting>>,
}

/// The connections that wait for their clients, by a number that grows: the lowest has waited longest.
#[derive(Default)]
struct Waiting {
    last: u64,
    all: BTreeMap<u64, Arc<Notify>>,
}

/// A connection's place; it is free when this is dropped.
pub struct Connection {
    waiting: Arc<Mutex<Waiting>>,
    /// Its number while it waits.
    number: Mutex<Option<u64>>,
    left: Arc<Notify>,
    room: Arc<Semaphore>,
    _place: Option<OwnedSemaphorePermit>,
}

tokio::task_local! {
    /// The connection that the task serves.
    pub static CONNECTION: Arc<Connection>;
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connections {
    /// At most so many connections, and so many bytes of bodies that are being read.
    pub fn new(most: usize, bytes: usize) -> Self {
        let (places, room) = (Arc::new(Semaphore::new(most)), Arc::new(Semaphore::new(bytes)));
        Self { places, room, waiting: Arc::default() }
    }

    /// A place. While every connection is being answered, it is the caller who waits.
    pub async fn place(&self) -> Arc<Connection> {
        let mut place = Arc::clone(&self.places).try_acquire_owned().ok();
        while place.is_none() {
            self.make_room();
            let freed = tokio::time::timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await;
            // The semaphore is never closed.
            place = freed.ok().and_then(Result::ok);
        }
        let (waiting, room, left) = (Arc::clone(&self.waiting), Arc::clone(&self.room), Arc::default());
        let connection = Connection { waiting, number: Mutex::default(), left, room, _place: place };
        connection.waits();
        Arc::new(connection)
    }

    fn make_room(&self) {
        if let Some((_, longest)) = locked(&self.waiting).all.pop_first() {
            longest.notify_one();
        }
    }
}

impl Connection {
    /// Its client is to send something, or to read.
    pub fn waits(&self) {
        let mut waiting = locked(&self.waiting);
        waiting.last += 1;
        let number = waiting.last;
        waiting.all.insert(number, Arc::clone(&self.left));
        *locked(&self.number) = Some(number);
    }

    /// A request of its client is being answered.
    pub fn answers(&self) {
        let number = locked(&self.number).take();
        number.and_then(|number| locked(&self.waiting).all.remove(&number));
    }

    /// Room for so many bytes of a body, if there is.
    pub fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }

    /// Returns when the connection is to make room. Whatever has begun to be answered meanwhile is; an answer that is known already, and
    /// larger than what a client takes at once, is cut short where the client does not read it.
    pub async fn makes_room(&self) {
        loop {
            self.left.notified().await;
            if locked(&self.number).is_some() {
                return;
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.answers();
    }
}
