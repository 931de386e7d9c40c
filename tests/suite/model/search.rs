//! The search: breadth first, so that the first way into a broken state is a shortest one.
//!
//! It is written here and not taken from a crate, because the property "from every state an end can be reached" is one
//! of the graph (AG EF), which the checkers at hand do not express, and because forty lines are all that is left then.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};
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

/// Searches up to `most` states.
pub fn search<M: Model>(model: &mut M, most: usize) -> Found {
    let began = Instant::now();
    let start = model.start();
    let hasher = std::hash::RandomState::new();
    let mut known: HashMap<u64, u32> = HashMap::from([(hasher.hash_one(&start), 0)]);
    let mut states = vec![start];
    let mut ways: Vec<(u32, Option<M::Move>, u32)> = vec![(0, None, 0)];
    let mut found = Found { is_complete: true, ..Found::default() };
    let mut next = 0;
    while next < states.len() {
        let state = states[next].clone();
        for step in model.moves(&state) {
            found.steps += 1;
            let after = model.after(&state, &step);
            let place = u32::try_from(states.len()).unwrap();
            let hash = hasher.hash_one(&after);
            if known.contains_key(&hash) {
                continue;
            }
            if states.len() >= most {
                found.is_complete = false;
                continue;
            }
            known.insert(hash, place);
            let broken = model.broken(&state, &after);
            ways.push((u32::try_from(next).unwrap(), Some(step), ways[next].2 + 1));
            states.push(after);
            for rule in broken {
                if found.broken.iter().all(|(known, _)| *known != rule) {
                    let mut way = way_to(model, &states, &ways, states.len() - 1);
                    way.extend(model.epilogue(&states[states.len() - 1]));
                    found.broken.push((rule, way));
                }
            }
        }
        next += 1;
    }
    found.states = states.len();
    found.depth = ways.iter().map(|way| way.2 as usize).max().unwrap_or(0);
    found.time = began.elapsed();
    found
}

fn way_to<M: Model>(
    model: &mut M,
    states: &[M::State],
    ways: &[(u32, Option<M::Move>, u32)],
    place: usize,
) -> Vec<String> {
    let mut steps = Vec::new();
    let mut place = place;
    while let (before, Some(step), _) = &ways[place] {
        place = *before as usize;
        steps.push(model.words(&states[place], step));
    }
    steps.reverse();
    steps
}
