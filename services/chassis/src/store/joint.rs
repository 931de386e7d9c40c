//! What becomes of commits that are asked for at the same time: which of them are one transaction, and what its outcome is to
//! each. No I/O: [`Grouped`](super::Grouped) sends what is planned here.

use super::{CommitError, Item, Key, Rejected, Write, check_shape};
use crate::failure::Failure;
use std::collections::HashMap;

/// A commit that waits, with the number under which its answer is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The number.
    pub number: usize,
    /// What it writes.
    pub writes: Vec<Write>,
}

/// Commits that are one transaction.
#[derive(Debug, Default)]
pub struct Joint {
    writes: Vec<Write>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    commit: Waiting,
    /// Where each of its writes stands in the transaction.
    places: Vec<usize>,
}

/// What an outcome is to one member.
#[derive(Debug, PartialEq, Eq)]
pub enum Settled {
    /// Its answer.
    Answered(usize, Result<(), CommitError>),
    /// Nothing of it was written, and the transaction's reason may be another member's: it has to go alone.
    Again(Waiting),
}

/// Takes from the commits that wait, in their order, those that may go out at the same time: transactions of at most `most`
/// writes, no two of which write the same row. Returns them, and those that have to wait for them. A commit is never divided. One
/// that is larger than `most` is a transaction of its own.
#[must_use]
pub fn wave(waiting: Vec<Waiting>, most: usize) -> (Vec<Joint>, Vec<Waiting>) {
    let (mut wave, mut later) = (Wave::default(), Vec::new());
    for commit in waiting {
        later.extend(wave.add(commit, most));
    }
    (wave.joints, later)
}

/// A wave that is being put together.
#[derive(Default)]
struct Wave {
    joints: Vec<Joint>,
    /// Who writes a row: which transaction, and which write of it.
    rows: HashMap<Key, (usize, usize)>,
}

impl Wave {
    /// Adds a commit, or returns it when it has to wait.
    fn add(&mut self, commit: Waiting, most: usize) -> Option<Waiting> {
        // The store says what is wrong with it, and only to whom it belongs.
        if check_shape(&commit.writes).is_err() {
            self.joints.push(Joint::of(commit));
            return None;
        }
        let Some(at) = self.place(&commit, most) else { return Some(commit) };
        if at == self.joints.len() {
            self.joints.push(Joint::default());
        }
        if let Some(joint) = self.joints.get_mut(at) {
            for (key, place) in joint.add(commit, &self.rows) {
                self.rows.insert(key, (at, place));
            }
        }
        None
    }

    /// The transaction that a commit joins, which may be a new one; none when it has to wait.
    fn place(&self, commit: &Waiting, most: usize) -> Option<usize> {
        let mut shared = commit.writes.iter().filter_map(|write| Some((write, self.rows.get(write.key())?)));
        let Some((_, &(at, _))) = shared.clone().next() else {
            let last = self.joints.len().checked_sub(1);
            let fits = |at: &usize| self.fits(*at, commit.writes.len(), most);
            return Some(last.filter(fits).unwrap_or(self.joints.len()));
        };
        let joint = self.joints.get(at)?;
        let is_summed = shared.clone().all(|(write, &(other, place))| {
            other == at && joint.writes.get(place).is_some_and(|there| sum(there, write).is_some())
        });
        let more = commit.writes.len() - shared.by_ref().count();
        (is_summed && self.fits(at, more, most)).then_some(at)
    }

    fn fits(&self, at: usize, more: usize, most: usize) -> bool {
        let is_sound = |joint: &Joint| check_shape(&joint.writes).is_ok();
        self.joints.get(at).is_some_and(|joint| joint.writes.len() + more <= most && is_sound(joint))
    }
}

impl Joint {
    /// A transaction of one.
    fn of(commit: Waiting) -> Self {
        let writes = commit.writes.clone();
        let places = (0..writes.len()).collect();
        Self { writes, members: vec![Member { commit, places }] }
    }

    /// Adds a commit whose rows nobody has, or can be summed; returns the rows that it adds, with their places.
    fn add(&mut self, commit: Waiting, rows: &HashMap<Key, (usize, usize)>) -> Vec<(Key, usize)> {
        let (mut places, mut added) = (Vec::with_capacity(commit.writes.len()), Vec::new());
        for write in &commit.writes {
            let place = rows.get(write.key()).map(|(_, place)| *place);
            let summed = place.and_then(|place| Some((place, sum(self.writes.get(place)?, write)?)));
            if let Some((place, summed)) = summed {
                places.push(place);
                self.writes.splice(place..=place, [summed]);
            } else {
                added.push((write.key().clone(), self.writes.len()));
                places.push(self.writes.len());
                self.writes.push(write.clone());
            }
        }
        self.members.push(Member { commit, places });
        added
    }

    /// What the transaction writes.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        self.writes.clone()
    }

    /// Whether it has more than one member.
    #[must_use]
    pub const fn is_joint(&self) -> bool {
        self.members.len() > 1
    }

    /// What its outcome is to each member.
    #[must_use]
    pub fn settle(self, outcome: &Result<(), CommitError>) -> Vec<Settled> {
        let is_joint = self.is_joint();
        let mut used: HashMap<usize, usize> = HashMap::new();
        self.members
            .iter()
            .flat_map(|member| &member.places)
            .for_each(|at| *used.entry(*at).or_default() += 1);
        let settle = |member: Member| {
            let own = if is_joint { member.own(outcome, &used) } else { Some(outcome.clone()) };
            match own {
                Some(answer) => Settled::Answered(member.commit.number, answer),
                None => Settled::Again(member.commit),
            }
        };
        self.members.into_iter().map(settle).collect()
    }
}

impl Member {
    /// What a joint outcome says of this member; none when it says nothing of it.
    fn own(
        &self,
        outcome: &Result<(), CommitError>,
        used: &HashMap<usize, usize>,
    ) -> Option<Result<(), CommitError>> {
        match outcome {
            Ok(()) => Some(Ok(())),
            // DynamoDB checks the condition of every write, so those of this member are all among the reasons: alone it would be
            // refused as well.
            Err(CommitError::Rejected(reasons)) => {
                let own = self.places.iter().zip(&self.commit.writes).map(|(place, write)| {
                    let reason = reasons.get(*place)?.clone()?;
                    let is_sum = used.get(place) != Some(&1);
                    (!is_sum || would_be_refused(write, &reason)).then_some(reason)
                });
                let own: Vec<Option<Rejected>> = own.collect();
                own.iter().any(Option::is_some).then_some(Err(CommitError::Rejected(own)))
            }
            // Another member's row may be the one that is held, or the one that cannot be written.
            Err(CommitError::Busy(_) | CommitError::Failed(Failure::Poison(_))) => None,
            // The table did not answer, and perhaps everything is written.
            Err(CommitError::Failed(_)) => Some(outcome.clone()),
        }
    }
}

/// Whether an adjustment is refused by a row that has refused a sum that it is part of.
fn would_be_refused(write: &Write, Rejected { current }: &Rejected) -> bool {
    let Write::Adjust { by, .. } = write else { return false };
    let is_short = |row: &Item| {
        let falls = |(name, by): &(&str, i64)| row.number(name).is_none_or(|n| n.saturating_add(*by) < 0);
        by.iter().any(falls)
    };
    current.as_ref().is_none_or(is_short)
}

/// Two writes of one row as one, if that succeeds only when both would, one after the other.
fn sum(a: &Write, b: &Write) -> Option<Write> {
    match (a, b) {
        (Write::Adjust { key, by }, Write::Adjust { key: other, by: more }) if key == other => {
            let are_the_same = by.len() == more.len() && by.iter().zip(more).all(|(a, b)| a.0 == b.0);
            let pairs = by.iter().zip(more).map(|((name, a), (_, b))| {
                // What one member adds must not make good what another takes: each would have to come first.
                let agree = (*a >= 0 && *b >= 0) || (*a <= 0 && *b <= 0);
                agree.then(|| a.checked_add(*b)).flatten().map(|sum| (*name, sum))
            });
            let by = pairs.collect::<Option<Vec<_>>>().filter(|_| are_the_same)?;
            Some(Write::Adjust { key: key.clone(), by })
        }
        (Write::Count { key, by }, Write::Count { key: other, by: more }) if key == other => {
            let mut by = by.clone();
            for (name, count) in more {
                match by.iter_mut().find(|(known, _)| known == name) {
                    Some((_, so_far)) => *so_far = so_far.checked_add(*count)?,
                    None => by.push((name, *count)),
                }
            }
            Some(Write::Count { key: key.clone(), by })
        }
        _ => None,
    }
}

#[cfg(test)]
mod specs {
    use super::*;
    use crate::store::{Condition, MAX_WRITES};

    fn put(row: &str) -> Write {
        Write::Put { item: Item::new(Key::state(row)), when: Condition::Absent }
    }

    fn adjust(row: &str, by: &[(&'static str, i64)]) -> Write {
        Write::Adjust { key: Key::state(row), by: by.to_vec() }
    }

    fn count(row: &str, by: &[(&'static str, u64)]) -> Write {
        Write::Count { key: Key::state(row), by: by.to_vec() }
    }

    /// The transactions of a wave as the numbers of their members, and the numbers of those that wait.
    fn planned(commits: &[Vec<Write>], most: usize) -> (Vec<Vec<usize>>, Vec<usize>) {
        let (joints, later) = wave(waiting(commits), most);
        let members = |joint: &Joint| joint.members.iter().map(|member| member.commit.number).collect();
        (joints.iter().map(members).collect(), later.iter().map(|commit| commit.number).collect())
    }

    fn waiting(commits: &[Vec<Write>]) -> Vec<Waiting> {
        commits.iter().cloned().enumerate().map(|(number, writes)| Waiting { number, writes }).collect()
    }

    fn joined(commits: &[Vec<Write>]) -> Joint {
        let (mut joints, later) = wave(waiting(commits), MAX_WRITES);
        assert!(joints.len() == 1 && later.is_empty(), "{joints:#?}, {later:#?}");
        joints.remove(0)
    }

    /// Guards: the limit of a group, and I6: a commit is in one transaction with all that it writes.
    #[test]
    fn a_group_ends_at_its_limit_and_divides_no_commit() {
        let commits = [vec![put("a"), put("b")], vec![put("c"), put("d")], vec![put("e")], vec![put("f")]];
        assert_eq!(planned(&commits, 100), (vec![vec![0, 1, 2, 3]], vec![]));
        assert_eq!(planned(&commits, 5), (vec![vec![0, 1, 2], vec![3]], vec![]));
        assert_eq!(planned(&commits, 3), (vec![vec![0], vec![1, 2], vec![3]], vec![]));
        assert_eq!(planned(&commits, 0), (vec![vec![0], vec![1], vec![2], vec![3]], vec![]));
    }

    /// Guards: a row is written by one of the transactions that are on their way at the same time, so that none of them makes another
    /// fail.
    #[test]
    fn who_writes_the_same_row_waits() {
        let commits =
            [vec![put("a")], vec![put("b"), put("a")], vec![put("b")], vec![adjust("a", &[("n", 1)])]];
        assert_eq!(planned(&commits, 100), (vec![vec![0, 2]], vec![1, 3]));
        assert_eq!(planned(&commits, 0), (vec![vec![0], vec![2]], vec![1, 3]));
    }

    /// Guards: what the store refuses by its shape is refused to its caller alone.
    #[test]
    fn a_commit_without_shape_goes_alone() {
        let many = (0..=MAX_WRITES).map(|n| put(&n.to_string())).collect();
        let commits =
            [vec![], vec![put("a")], vec![put("x"), put("x")], vec![put("b")], many, vec![put("c")]];
        let (joints, later) = planned(&commits, 100);
        assert_eq!((joints, later), (vec![vec![0], vec![1], vec![2], vec![3], vec![4], vec![5]], vec![]));
    }

    /// Guards: a hot row takes one write for a batch, and only where the sum implies each member's condition.
    #[test]
    fn increments_of_one_row_are_summed() {
        let take = |n: i64| adjust("beans", &[("available", -n), ("held", n)]);
        let joint = joined(&[vec![put("a"), take(2)], vec![take(3), put("b")], vec![take(4)]]);
        assert_eq!(joint.writes, [put("a"), take(9), put("b")]);
        let counted = joined(&[
            vec![count("day", &[("orders", 1)])],
            vec![count("day", &[("cents", 5), ("orders", 2)])],
        ]);
        assert_eq!(counted.writes, [count("day", &[("orders", 3), ("cents", 5)])]);
        for other in [
            adjust("beans", &[("available", 1), ("held", -1)]),
            adjust("beans", &[("held", -1), ("shipped", 1)]),
            adjust("beans", &[("available", -1)]),
            adjust("beans", &[("available", i64::MIN), ("held", 1)]),
            count("beans", &[("available", 1), ("held", 1)]),
            put("beans"),
        ] {
            let (joints, later) = planned(&[vec![take(1)], vec![other.clone()]], 100);
            assert_eq!((joints.len(), later), (1, vec![1]), "{other:?}");
        }
    }

    /// Guards: each member learns its own reason, from the joint answer where that names it, else by going alone.
    #[test]
    fn each_member_learns_its_own_reason() {
        let (take, inbox) = (|n: i64| adjust("beans", &[("available", -n)]), put("inbox"));
        let commits = [vec![put("a"), inbox], vec![put("b"), take(2)], vec![take(1)], vec![put("c")]];
        let refused = |n: usize, current: Option<Item>| -> Result<(), CommitError> {
            let reasons = (0..5).map(|at| (at == n).then_some(Rejected { current: current.clone() }));
            Err(CommitError::Rejected(reasons.collect()))
        };
        let numbers = |outcome: Result<(), CommitError>| {
            let settled = joined(&commits).settle(&outcome);
            let (mut answered, mut again) = (Vec::new(), Vec::new());
            for member in settled {
                match member {
                    Settled::Answered(number, answer) => answered.push((number, answer)),
                    Settled::Again(commit) => again.push(commit.number),
                }
            }
            (answered, again)
        };
        let own = Err(CommitError::Rejected(vec![None, Some(Rejected { current: None })]));
        assert_eq!(numbers(refused(1, None)), (vec![(0, own)], vec![1, 2, 3]));
        // Of a sum's members those learn it that the row as it was would refuse alone too.
        let left = |n: i64| Some(Item::new(Key::state("beans")).with("available", n));
        assert_eq!(numbers(refused(3, left(2))), (vec![], vec![0, 1, 2, 3]));
        let short = |n| Some(Rejected { current: left(n) });
        let two = (1, Err(CommitError::Rejected(vec![None, short(1)])));
        assert_eq!(numbers(refused(3, left(1))), (vec![two], vec![0, 2, 3]));
        let both = [(1, vec![None, short(0)]), (2, vec![short(0)])];
        let both = both.map(|(number, own)| (number, Err(CommitError::Rejected(own))));
        assert_eq!(numbers(refused(3, left(0))), (both.to_vec(), vec![0, 3]));
        for passing in [CommitError::Busy("held".into()), CommitError::Failed(Failure::Poison("bad".into()))]
        {
            assert_eq!(numbers(Err(passing)), (vec![], vec![0, 1, 2, 3]));
        }
        for all in [Ok(()), Err(CommitError::Failed(Failure::Transient("lost".into())))] {
            let answers = (0..4).map(|number| (number, all.clone())).collect();
            assert_eq!(numbers(all), (answers, vec![]));
        }
    }
}
