//! A line for each request that the API answers. A person reads a few lines a second; of a load's hundreds the first are shown, and
//! then a line says how many more there were. The stage's access log has them all.

use super::colours::{Colour, Colours};
use crate::support::printable::printable;
use chrono::Utc;
use std::time::{Duration, Instant};

/// For so long requests are counted together.
pub(super) const SECOND: Duration = Duration::from_secs(1);
/// How many of them are shown.
const MOST_LINES: u64 = 20;

/// A request that the API has answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub milliseconds: u128,
    pub correlation_id: Option<&'a str>,
}

/// The requests of a second.
#[derive(Debug)]
pub(super) struct Second {
    began: Instant,
    shown: u64,
    left_out: LeftOut,
}

/// Requests without a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    requests: u64,
    /// Of them, those with a status of 400 and above, and of 500 and above.
    refused: u64,
    failed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    Line,
    Nothing,
    /// Nothing, for the first time in this second: somebody has to say so in the end.
    NothingFirst,
}

impl Second {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, shown: 0, left_out: LeftOut::default() }
    }

    /// Counts a request: what is shown of it, and what was left out in the second before.
    pub(super) fn count(&mut self, status: u16, now: Instant) -> (Shows, Option<LeftOut>) {
        let before = self.end(now);
        if self.shown < MOST_LINES {
            self.shown += 1;
            return (Shows::Line, before);
        }
        let is_first = self.left_out.requests == 0;
        self.left_out.requests += 1;
        self.left_out.refused += u64::from((400..500).contains(&status));
        self.left_out.failed += u64::from(status >= 500);
        (if is_first { Shows::NothingFirst } else { Shows::Nothing }, before)
    }

    /// Begins another second if this one is over; what was left out in it.
    pub(super) fn end(&mut self, now: Instant) -> Option<LeftOut> {
        if now.saturating_duration_since(self.began) < SECOND {
            return None;
        }
        let ended = std::mem::replace(self, Self::new(now));
        (ended.left_out.requests > 0).then_some(ended.left_out)
    }
}

pub(super) fn summary(left_out: &LeftOut, colours: Colours) -> String {
    let LeftOut { requests, refused, failed } = *left_out;
    let text = format!("… {requests} more requests, {refused} of them 4xx and {failed} 5xx");
    colours.paint(if failed > 0 { Colour::Red } else { Colour::Grey }, &text)
}

pub(super) fn line(answered: &Answered<'_>, colours: Colours) -> String {
    let Answered { method, path, status, milliseconds, correlation_id } = *answered;
    let colour = match status {
        ..400 => Colour::Green,
        400..500 => Colour::Yellow,
        500.. => Colour::Red,
    };
    let time = colours.paint(Colour::Grey, &Utc::now().format("%H:%M:%S%.3f").to_string());
    let status = colours.paint(colour, &status.to_string());
    let (path, id) = (printable(path), printable(correlation_id.unwrap_or("-")));
    format!("{time} {method} {path} {status} {milliseconds} ms {id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a load does not fill the terminal; it is counted.
    #[test]
    fn of_many_requests_in_a_second_some_are_shown_and_the_others_counted() {
        let began = Instant::now();
        let mut second = Second::new(began);
        let shows: Vec<_> = (0..300).map(|number| second.count([202, 404, 503][number % 3], began)).collect();
        assert!(shows.iter().all(|(_, before)| before.is_none()));
        let lines = shows.iter().filter(|(shows, _)| *shows == Shows::Line).count();
        let firsts = shows.iter().filter(|(shows, _)| *shows == Shows::NothingFirst).count();
        assert_eq!((lines, firsts), (20, 1));
        let (shows, before) = second.count(202, began + SECOND);
        let before = before.unwrap();
        assert_eq!((shows, before), (Shows::Line, LeftOut { requests: 280, refused: 93, failed: 94 }));
        assert_eq!(summary(&before, Colours::NONE), "… 280 more requests, 93 of them 4xx and 94 5xx");
        assert_eq!(second.end(began + 2 * SECOND), None);
    }

    #[test]
    fn a_line_names_method_path_status_time_and_correlation() {
        let answered =
            Answered { method: "GET", path: "/a\u{1b}b", status: 404, milliseconds: 7, correlation_id: None };
        let line = line(&answered, Colours::NONE);
        assert_eq!(&line[line.find(' ').unwrap()..], " GET /a\u{fffd}b 404 7 ms -");
        assert_eq!(summary(&LeftOut::default(), Colours::ALL).chars().next(), Some('\u{1b}'));
    }
}
