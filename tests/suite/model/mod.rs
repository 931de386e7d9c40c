//! A model of one order, and a search of everything that can happen to it within a budget of trouble.
//!
//! A move delivers an event, makes a call, commits, lets a worker crash, an answer get lost, the provider fail, a customer
//! cancel, a day pass. What a move does is not described here: it runs the services' deciders and reaction loop, the
//! compensator, the client of the provider against the local stack's simulator, and the state machine of `infra/` in the
//! local stack's interpreter. [`rules`] says what must hold. A broken rule is shown with a shortest way to it.

mod interner;
mod order;
mod outside;
mod rules;
mod search;
mod state;
mod steps;
mod system;

use order::Order;
use search::{Found, search};
use state::Budget;

/// The most states of one search in `cargo test`: no search below comes near it.
const MOST: usize = 500_000;

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
        executions: of("executions"),
        cancels: of("cancels"),
        outages: of("outages"),
        days: of("days"),
        weeks: of("weeks"),
        sweeps: of("sweeps"),
        retries: of("retries"),
        redrives: of("redrives"),
        is_prompt: of("prompt") > 0,
    }
}

fn searched(method: &'static str, text: &str, most: usize) -> Found {
    let found = search(&mut Order::new(method, budget(text)), most);
    println!("{method}, {text}: {}", found.report());
    found
}

/// Everything that can happen within a budget breaks no rule.
#[track_caller]
fn sound(method: &'static str, text: &str) {
    let found = searched(method, text, MOST);
    assert!(found.broken.is_empty(), "{}", found.report());
    assert!(found.is_complete, "{method}, {text}: more than {MOST} states");
}

/// Guards: an event's id names one fact. Two executions of one request, and the provider is away for one of them: the refund
/// that failed and the one that was made are two facts, and orders learns both.
#[test]
fn two_facts_never_share_an_event_id() {
    sound("pm_card_visa", "all=3 cancels=1 outages=1 executions=1 prompt=1");
}

/// Guards: I3. A charge whose answer is lost or a failure is looked up by its intent and voided or found, whenever the
/// customer cancels.
#[test]
fn a_charge_without_an_answer_ends() {
    sound("pm_card_visa", "all=2 faults=2 cancels=1");
}

/// Guards: I2. A day or a week between a lost answer and the next try: the provider has forgotten its keys, the inbox its
/// events.
#[test]
fn a_day_between_an_answer_and_the_next_try_is_one_capture() {
    sound("pm_card_visa", "all=3 faults=1 days=1 redrives=1");
    sound("pm_card_visa", "all=3 faults=1 weeks=1 redrives=1");
}

/// Guards: I2. Two workers, and one of them gets a "no" that is none: only an intent that can capture nothing any more has
/// declined.
#[test]
fn a_no_is_believed_only_when_nothing_can_be_captured() {
    sound("pm_card_visa", "all=2 faults=1 repeats=1");
}

/// Guards: a refund that is pending is no refund yet, and one that is taken back is none any more: its order is FAILED, and
/// an operator's retry ends it.
#[test]
fn a_refund_is_followed_until_it_has_arrived() {
    for method in ["pm_card_pendingRefund", "pm_sim_refund_pending_then_failed", "pm_card_refundFail"] {
        sound(method, "all=2 cancels=1 faults=1 prompt=1");
    }
}

/// Guards: what banks refuse, with one thing going wrong beside it.
#[test]
fn a_decline_ends_without_money() {
    for method in ["pm_card_visa_chargeDeclined", "pm_card_authenticationRequired", "pm_unknown"] {
        sound(method, "all=2 cancels=1 faults=1");
    }
}

/// The deep search: `just model`. It takes minutes and several gigabytes.
#[test]
#[ignore = "takes minutes: just model"]
fn deep() {
    let number = |name: &str, otherwise: usize| {
        std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
    };
    let (all, most) = (number("TROUBLES", 3), number("STATES", 10_000_000));
    let text = format!(
        "all={all} faults={all} repeats={all} executions=1 cancels=1 outages=1 days=1 weeks=1 sweeps=2 retries=1 redrives=1"
    );
    let found = searched("pm_card_visa", &text, most);
    assert!(found.broken.is_empty());
}
