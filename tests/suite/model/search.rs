//! The search: breadth first, so that the first way into a broken state is a shortest one.
//!
//! It is written here and not taken from a crate, because the property "from every state an end can be reached" is one
//! of the graph (AG EF), which the checkers at hand do not express, and because a hundred lines are all that is left then.

use std::collections::{HashSet, VecDeque};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// A system with states and moves.
pub trait Model {
    type State: Clone + Eq + Hash;
    type Move: Clone + Debug;

    fn start(&mut self) -> Self::State;
    /// Every move that is possible in a state.
    fn moves(&mut self, state: &Self::State) -> Vec<Self::Move>;
    /// The state after a move.
    fn after(&mut self, state: &Self::State, step: &Self::Move) -> Self::State;
    /// The rules that the step into `state` broke.
    fn broken(&mut self, before: &Self::State, state: &Self::State) -> Vec<String>;
    /// How it goes on from a broken state, in the words of the domain.
    fn epilogue(&mut self, state: &Self::State) -> Vec<String>;
    /// A step in the words of the domain.
    fn words(&mut self, before: &Self::State, step: &Self::Move) -> String;
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct Found {
    pub states: usize,
    pub steps: usize,
    /// The length of the longest of the shortest ways.
    pub depth: usize,
    pub time: Duration,
    /// Whether it saw every state.
    pub is_complete: bool,
    /// The rules that were broken, each with a shortest way, one line per step.
    pub broken: Vec<(String, Vec<String>)>,
}

impl Found {
    /// For people.
    pub fn report(&self) -> String {
        let complete = if self.is_complete { "all" } else { "the first" };
        let mut text = format!(
            "{complete} {} states, {} steps, {} deep, in {:.1?}; {} rules broken\n",
            self.states,
            self.steps,
            self.depth,
            self.time,
            self.broken.len()
        );
        for (rule, way) in &self.broken {
            text.push_str(&format!("\n{rule}\n"));
            for (number, step) in (1..).zip(way) {
                text.push_str(&format!("{number:>4}. {step}\n"));
            }
        }
        text
    }
}

/// A number that stands for a state. Of ten million states, two share one with a probability below one in a hundred thousand.
pub fn fingerprint<S: Hash>(state: &S) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// How a state was reached: from which one, by which move, and how far from the start.
struct Way<M> {
    before: u32,
    step: M,
    depth: u32,
}

/// Searches up to `most` states. Only those that are still to be looked at are kept whole.
pub fn search<M: Model>(model: &mut M, most: usize) -> Found {
    let began = Instant::now();
    let start = model.start();
    let mut known: HashSet<u64> = HashSet::from([fingerprint(&start)]);
    // The way to state number n stands at n - 1: nothing leads to the start.
    let mut ways: Vec<Way<M::Move>> = Vec::new();
    let mut waiting = VecDeque::from([(0_u32, start)]);
    let mut found = Found { is_complete: true, ..Found::default() };
    while let Some((number, state)) = waiting.pop_front() {
        let depth = if number == 0 { 0 } else { ways[number as usize - 1].depth };
        for step in model.moves(&state) {
            found.steps += 1;
            let after = model.after(&state, &step);
            if known.contains(&fingerprint(&after)) {
                continue;
            }
            if known.len() >= most {
                found.is_complete = false;
                continue;
            }
            known.insert(fingerprint(&after));
            ways.push(Way { before: number, step, depth: depth + 1 });
            for rule in model.broken(&state, &after) {
                if found.broken.iter().all(|(known, _)| *known != rule) {
                    let mut way = way_to(model, &ways);
                    way.extend(model.epilogue(&after));
                    found.broken.push((rule, way));
                }
            }
            waiting.push_back((u32::try_from(ways.len()).unwrap(), after));
        }
    }
    found.states = known.len();
    found.depth = ways.iter().map(|way| way.depth as usize).max().unwrap_or(0);
    found.time = began.elapsed();
    found
}

/// The way to the newest state, gone once more from the start.
fn way_to<M: Model>(model: &mut M, ways: &[Way<M::Move>]) -> Vec<String> {
    let mut steps = Vec::new();
    let mut number = ways.len();
    while number > 0 {
        steps.push(ways[number - 1].step.clone());
        number = ways[number - 1].before as usize;
    }
    let mut state = model.start();
    let mut words = Vec::new();
    for step in steps.iter().rev() {
        words.push(model.words(&state, step));
        state = model.after(&state, step);
    }
    words
}
