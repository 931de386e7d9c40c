//! What the person at the terminal sees of a running stack: its services as they come up, a line for each request, and with
//! `--logs` what its functions log. Nothing here waits for the terminal.

mod access;
mod colours;
mod follow;
mod line;
mod outlet;

pub use access::Answered;
pub use colours::Colours;
pub use outlet::Outlet;

use access::Second;
use follow::Tail;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A terminal, or none: a stack that tests start shows nothing. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Terminal(Option<Arc<Screen>>);

#[derive(Debug)]
struct Screen {
    out: Outlet,
    colours: Colours,
    /// Whether it shows what the functions log.
    logs: bool,
    access: Mutex<Second>,
}

impl Terminal {
    #[must_use]
    pub fn new(out: Outlet, colours: Colours, logs: bool) -> Self {
        let access = Mutex::new(Second::new(Instant::now()));
        Self(Some(Arc::new(Screen { out, colours, logs, access })))
    }

    /// Shows a text; nothing of it when the terminal is too slow.
    pub fn say(&self, text: &str) {
        if let Some(screen) = &self.0 {
            screen.out.say(text.to_owned());
        }
    }

    /// Shows that a service's functions work.
    pub fn is_up(&self, service: &str, functions: usize, detail: &str) {
        let functions = if functions == 1 { "1 function ".into() } else { format!("{functions} functions") };
        self.say(&format!("  {service:<15}{functions:>12}   {detail}"));
    }

    /// Shows a request. Of many in a second it shows some, and says how many more there were: see [`access`].
    pub fn request(&self, answered: &Answered<'_>) {
        let Some(screen) = &self.0 else { return };
        let now = Instant::now();
        let (shows, before) = screen.access().count(answered.status, now);
        if let Some(left_out) = before {
            screen.out.say(access::summary(&left_out, screen.colours));
        }
        match shows {
            access::Shows::Line => screen.out.say(access::line(answered, screen.colours)),
            access::Shows::Nothing => {}
            access::Shows::NothingFirst => {
                let screen = Arc::clone(screen);
                tokio::spawn(async move {
                    tokio::time::sleep(access::SECOND).await;
                    if let Some(left_out) = screen.access().end(Instant::now()) {
                        screen.out.say(access::summary(&left_out, screen.colours));
                    }
                });
            }
        }
    }

    /// Shows what functions log from now on, if that is wanted: from their logs in a folder, by name. What begins all their
    /// names is left out.
    pub fn follow(&self, logs: &Path, functions: &[String], prefix: &str) {
        let Some(screen) = self.0.as_ref().filter(|screen| screen.logs) else { return };
        let tail = |name: &String| {
            let shown = name.strip_prefix(prefix).unwrap_or(name);
            Tail::new(shown, &logs.join(format!("{name}.log")))
        };
        let tails: Vec<Tail> = functions.iter().map(tail).collect();
        let (out, colours) = (screen.out.clone(), screen.colours);
        let following = std::thread::Builder::new().name("logs".into());
        if let Err(error) = following.spawn(move || follow::follow(tails, &out, colours)) {
            tracing::error!("cannot follow the logs: {error}");
        }
    }

    /// Shows nothing any more.
    pub fn close(&self) {
        if let Some(screen) = &self.0 {
            screen.out.close();
        }
    }

    /// Waits until what was said is shown, for a moment at most.
    pub fn flush(&self, at_most: Duration) {
        if let Some(screen) = &self.0 {
            screen.out.flush(at_most);
        }
    }
}

impl Screen {
    fn access(&self) -> std::sync::MutexGuard<'_, Second> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
