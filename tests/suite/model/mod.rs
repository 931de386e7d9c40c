//! The model checker: searches every interleaving of one order up to a budget of troubles.

mod interner;
mod order;
mod outside;
mod rules;
mod search;
mod state;
mod system;

use order::Order;
use search::search;
use state::Budget;

/// A budget as `all=3 faults=1 cancels=1`; what is not named may not happen.
fn budget(text: &str) -> Budget {
    let of = |name: &str| {
        let mut named = text.split_whitespace().filter_map(|part| part.split_once('='));
        named.find(|(key, _)| *key == name).map_or(0, |(_, number)| number.parse().unwrap())
    };
    Budget {
        all: of("all"),
        faults: of("faults"),
        repeats: of("repeats"),
        cancels: of("cancels"),
        outages: of("outages"),
        days: of("days"),
        weeks: of("weeks"),
        sweeps: of("sweeps"),
        retries: of("retries"),
        redrives: of("redrives"),
    }
}

/// The rules that are broken within a budget.
fn broken(text: &str) -> Vec<String> {
    let mut order = Order::new("pm_card_visa", budget(text));
    let found = search(&mut order, 1_000_000);
    println!("{}", found.report());
    found.broken.into_iter().map(|(rule, _)| rule).collect()
}

/// What it finds before anything is mended.
#[test]
fn it_finds_what_is_wrong() {
    if let Ok(text) = std::env::var("MODEL") {
        broken(&text);
        return;
    }
    let is_found = |text: &str, rule: &str| broken(text).iter().any(|broken| broken.contains(rule));
    assert!(is_found("all=3 cancels=1 outages=1 repeats=1", "have one event id"));
    assert!(is_found("all=2 faults=1 cancels=1", "stays FAILED"));
    assert!(is_found("all=2 faults=1 days=1", "two captures"));
    assert!(is_found("all=2 faults=1 repeats=1", "a no, and money is kept"));
}
