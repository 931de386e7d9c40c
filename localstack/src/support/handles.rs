//! File handles: every connection, table file and log has one. Some shells allow a program 256 of them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as the stack asks for. macOS allows no more to a process than 10,240, whatever its hard limit says.
const WANTED: u64 = 10_240;
/// With fewer, functions that open their connections at the start find no handle, and nothing would answer.
pub const NEEDED: u64 = 512;
/// With fewer, many clients at a time have to wait for each other.
pub const ENOUGH: u64 = 1024;
/// Of so many handles, a listener's clients may have one.
const SHARE: u64 = 4;

/// Raises the soft limit as far as the hard one lets it, up to what the stack asks for; returns what there is.
pub fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = WANTED.min(maximum.unwrap_or(WANTED));
    if current.is_some_and(|current| current < wanted) {
        // Where the system refuses, what there is has to do.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(WANTED)
}

/// How many connections one listener accepts at a time, so that clients that keep theirs leave enough for the functions.
#[must_use]
pub fn connections() -> usize {
    let handles = getrlimit(Resource::Nofile).current.unwrap_or(WANTED).min(WANTED);
    usize::try_from(handles / SHARE).unwrap_or(usize::MAX)
}
