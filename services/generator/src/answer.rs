//! What a new service does with what it consumes, until its author decides: each event is answered once, the earlier
//! ones of the dance only as long as no later one has come.

use crate::catalogue::Known;
use crate::names::{camel, rest};

/// An event that is consumed, and what follows from it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The event.
    pub event: Known,
    /// What it is called among those that the service consumes, `Created`.
    pub variant: String,
    /// The events that it is answered with, `fraud.cleared`; none: only the state keeps that it came.
    pub published: Vec<String>,
}

impl Answer {
    /// What the state is called after it, `Cleared`.
    pub fn stage(&self) -> String {
        self.published.first().map_or_else(|| self.variant.clone(), |kind| camel(rest(kind)))
    }
}

/// The answers, in the order of the dance: the first event that is consumed is answered with the first that is
/// published, and so on, and the last with what is left over.
pub fn answers(consumed: Vec<Known>, produced: &[String]) -> Vec<Answer> {
    let plain: Vec<String> = consumed.iter().map(|event| camel(rest(&event.kind))).collect();
    let last = consumed.len().saturating_sub(1);
    let mut answers = Vec::new();
    for (n, event) in consumed.into_iter().enumerate() {
        let published: Vec<String> = match n {
            n if n == last => produced.iter().skip(n).cloned().collect(),
            n => produced.get(n).into_iter().cloned().collect(),
        };
        let mut variant = camel(rest(&event.kind));
        let fact = produced.iter().any(|kind| camel(rest(kind)) == variant);
        let twice = plain.iter().filter(|other| **other == variant).count() > 1;
        if twice || (fact && published.is_empty()) {
            // Of `order.failed` and `fulfillment.failed`: FailedOrder and FailedFulfillment.
            variant += &camel(event.kind.split('.').next().unwrap_or_default());
        }
        answers.push(Answer { event, variant, published });
    }
    answers.sort_by_key(|answer| answer.event.place);
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, place: usize) -> Known {
        Known {
            kind: kind.into(),
            module: "orders".into(),
            type_name: camel(kind),
            id: "order_id".into(),
            place,
        }
    }

    fn told(consumed: Vec<Known>, produced: &[&str]) -> Vec<(String, Vec<String>, String)> {
        let produced: Vec<String> = produced.iter().map(|kind| (*kind).to_owned()).collect();
        let all = answers(consumed, &produced).into_iter();
        all.map(|answer| (answer.variant.clone(), answer.published.clone(), answer.stage())).collect()
    }

    #[test]
    fn each_event_is_answered_with_its_own_and_the_last_with_the_rest() {
        let all = told(
            vec![event("order.cancelled", 9), event("order.created", 2)],
            &["x.undone", "x.done", "x.seen"],
        );
        let created = ("Created".into(), vec!["x.done".into(), "x.seen".into()], "Done".into());
        assert_eq!(all, [created, ("Cancelled".into(), vec!["x.undone".into()], "Undone".into())]);
    }

    #[test]
    fn two_of_one_name_are_told_apart() {
        let all = told(vec![event("order.created", 1), event("order.cancelled", 2)], &["x.cancelled"]);
        let kept = ("CancelledOrder".into(), Vec::new(), "CancelledOrder".into());
        assert_eq!(all, [("Created".into(), vec!["x.cancelled".into()], "Cancelled".into()), kept]);
        let all = told(vec![event("order.failed", 1), event("fulfillment.failed", 2)], &["x.seen"]);
        assert_eq!((all[0].0.as_str(), all[1].0.as_str()), ("FailedOrder", "FailedFulfillment"));
    }
}
