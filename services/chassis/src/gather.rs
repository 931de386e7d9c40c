//! Requests that are asked for at the same time go out together. The first one opens a round; whoever asks before the runtime
//! comes round to it again joins in; then the round is closed and answered as one.
//!
//! The round belongs to all that wait for it, and any of them carries it on: one that is dropped leaves it to the others, and
//! its own request is withdrawn if the round is still open.

use futures_util::future::{BoxFuture, Shared};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The requests of a round, by number; none once it is closed.
type Requests<T> = Arc<Mutex<BTreeMap<usize, T>>>;
/// The answers of a round, by number.
type Answers<R> = Shared<BoxFuture<'static, Arc<BTreeMap<usize, R>>>>;

/// The round that is open.
struct Round<T, R> {
    requests: Requests<T>,
    /// How many have asked.
    asked: usize,
    answers: Answers<R>,
}

/// Puts requests of one kind together. Clones share the rounds.
pub struct Gather<T, R>(Arc<Mutex<Option<Round<T, R>>>>);

impl<T, R> Clone for Gather<T, R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T, R> Default for Gather<T, R> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request's place in a round. Dropped, it is withdrawn.
struct Place<T> {
    requests: Requests<T>,
    number: usize,
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        lock(&self.requests).remove(&self.number);
    }
}

impl<T: Send + 'static, R: Clone + Send + Sync + 'static> Gather<T, R> {
    /// The answer to a request. One request of each round has its `answer` asked: for all of them, in the order in which they came. None
    /// if that gave too few.
    pub async fn ask<F>(&self, request: T, answer: impl FnOnce(Vec<T>) -> F + Send + 'static) -> Option<R>
    where
        F: Future<Output = Vec<R>> + Send + 'static,
    {
        let (place, answers) = self.join(request, answer);
        answers.await.get(&place.number).cloned()
    }

    /// Puts a request into the open round, or opens one.
    fn join<F>(&self, request: T, answer: impl FnOnce(Vec<T>) -> F + Send + 'static) -> (Place<T>, Answers<R>)
    where
        F: Future<Output = Vec<R>> + Send + 'static,
    {
        let mut open = lock(&self.0);
        let round = open.get_or_insert_with(|| {
            let requests = Requests::default();
            let answers = close(Arc::downgrade(&self.0), Arc::clone(&requests), answer);
            Round { requests, asked: 0, answers: answers.boxed().shared() }
        });
        let place = Place { requests: Arc::clone(&round.requests), number: round.asked };
        lock(&round.requests).insert(place.number, request);
        round.asked += 1;
        (place, round.answers.clone())
    }
}

/// Ends when the runtime has run everything that was ready. A `yield_now` by itself ends when it is polled again, and here each that
/// waits for the round polls; in a set it is polled only once it was woken.
async fn everything_ready() {
    FuturesUnordered::from_iter([tokio::task::yield_now()]).next().await;
}

/// Closes a round, once everything that is ready has run, and answers it.
async fn close<T, R, F: Future<Output = Vec<R>>>(
    open: Weak<Mutex<Option<Round<T, R>>>>,
    requests: Requests<T>,
    answer: impl FnOnce(Vec<T>) -> F,
) -> Arc<BTreeMap<usize, R>> {
    everything_ready().await;
    // What is asked from now on belongs to the next round: no answer is older than its request.
    drop(open.upgrade().and_then(|open| lock(&open).take()));
    let requests = std::mem::take(&mut *lock(&requests));
    let (numbers, requests): (Vec<usize>, Vec<T>) = requests.into_iter().unzip();
    Arc::new(numbers.into_iter().zip(answer(requests).await).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::task::{Context, Poll, Waker};

    type Asked = Arc<Mutex<Vec<Vec<u32>>>>;

    /// Asks for twice a number, and notes which were asked for together.
    async fn twice(gather: &Gather<u32, u32>, asked: &Asked, number: u32) -> Option<u32> {
        let asked = Arc::clone(asked);
        let answer = async move |numbers: Vec<u32>| {
            asked.lock().unwrap().push(numbers.clone());
            everything_ready().await;
            numbers.into_iter().map(|number| 2 * number).collect()
        };
        gather.ask(number, answer).await
    }

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        future.poll_unpin(&mut Context::from_waker(Waker::noop()))
    }

    /// Guards: what is asked for at the same time is one round, and each has its own answer; what is asked for later is another.
    #[tokio::test]
    async fn what_is_asked_for_at_the_same_time_is_one_round() {
        let (gather, asked) = (Gather::default(), Asked::default());
        for round in [[1, 2, 3], [4, 5, 6]] {
            let answers = join_all(round.map(|number| twice(&gather, &asked, number))).await;
            assert_eq!(answers, round.map(|number| Some(2 * number)));
        }
        assert_eq!(*asked.lock().unwrap(), [[1, 2, 3], [4, 5, 6]]);
    }

    /// Guards: no answer is older than its request. One that comes while a round is being answered waits for the next.
    #[tokio::test]
    async fn a_closed_round_takes_no_more() {
        let (gather, asked) = (Gather::default(), Asked::default());
        let mut first = Box::pin(twice(&gather, &asked, 1));
        while asked.lock().unwrap().is_empty() {
            assert!(poll(&mut first).is_pending());
            tokio::task::yield_now().await;
        }
        assert_eq!(twice(&gather, &asked, 2).await, Some(4));
        assert_eq!((first.await, asked.lock().unwrap().len()), (Some(2), 2));
    }

    /// Guards: whoever is dropped, however far the round is, leaves it to the others, and is not asked for if it still can be
    /// withdrawn.
    #[tokio::test]
    async fn one_that_is_dropped_leaves_the_round_to_the_others() {
        for polls in 1..=2 {
            for dropped in [0, 1] {
                let (gather, asked) = (Gather::default(), Asked::default());
                let mut both = [1, 2].map(|number| Some(Box::pin(twice(&gather, &asked, number))));
                for _ in 0..polls {
                    assert!(both.iter_mut().flatten().all(|future| poll(future).is_pending()));
                    tokio::task::yield_now().await;
                }
                both[dropped] = None;
                let left = 1 - dropped;
                let answer = both[left].take().unwrap().await;
                let number = [1, 2][left];
                assert_eq!(answer, Some(2 * number), "{polls} polls, {dropped} dropped");
                let withdrawn = if polls == 1 { vec![number] } else { vec![1, 2] };
                assert_eq!(*asked.lock().unwrap(), [withdrawn], "{polls} polls, {dropped} dropped");
            }
        }
    }

    /// Guards: a round that all have left keeps nobody waiting, and asks for nothing of theirs.
    #[tokio::test]
    async fn a_round_that_all_have_left_is_joined_by_the_next() {
        let (gather, asked) = (Gather::default(), Asked::default());
        let mut gone = Box::pin(twice(&gather, &asked, 1));
        assert!(poll(&mut gone).is_pending());
        drop(gone);
        assert_eq!(twice(&gather, &asked, 2).await, Some(4));
        assert_eq!(*asked.lock().unwrap(), [[2]]);
    }
}
