//! Lines on their way to a terminal, a file or a pipe. A thread of its own writes them, so that nobody waits for a terminal that is
//! slow or stopped (Ctrl-S), and a pipe that nobody reads any more ends nothing.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// How many lines wait for the terminal; more are left out, and counted.
const WAITING: usize = 4096;

enum Order {
    Write(String),
    /// Answers once everything before it is written.
    Flush(SyncSender<()>),
}

#[derive(Debug, Default)]
struct Shared {
    left_out: AtomicU64,
    is_closed: AtomicBool,
    /// Whether somebody has waited in vain since the last line was written.
    is_stuck: AtomicBool,
}

/// Where lines go. Clones share it.
#[derive(Clone, Debug)]
pub struct Outlet {
    orders: SyncSender<Order>,
    shared: Arc<Shared>,
}

impl Outlet {
    /// # Errors
    /// When no thread can be started.
    pub fn new(to: impl Write + Send + 'static) -> io::Result<Self> {
        let (orders, given) = sync_channel(WAITING);
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("terminal".into())
            .spawn(move || carry_out(to, &given, &of_thread))?;
        Ok(Self { orders, shared })
    }

    /// Writes a line in time. Where too many wait already, it is left out.
    pub fn say(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.orders.try_send(Order::Write(line)) {
            self.shared.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes a line, and waits for a place for it: for a thread that has nothing else to do. Whether there is anybody who writes.
    pub(super) fn say_patiently(&self, line: String) -> bool {
        self.orders.send(Order::Write(line)).is_ok() && !self.shared.is_closed.load(Ordering::Relaxed)
    }

    /// Writes nothing any more, of what waits already too.
    pub fn close(&self) {
        self.shared.is_closed.store(true, Ordering::Relaxed);
    }

    /// Waits until everything so far is written; not at all when the last one who did has waited in vain.
    pub fn flush(&self, at_most: Duration) {
        let (done, waiting) = sync_channel(1);
        let is_stuck = &self.shared.is_stuck;
        if is_stuck.load(Ordering::Relaxed) || self.orders.try_send(Order::Flush(done)).is_err() {
            return;
        }
        if waiting.recv_timeout(at_most).is_err() {
            is_stuck.store(true, Ordering::Relaxed);
        }
    }
}

/// Writes until there is no outlet any more. What cannot be written, because nobody reads it, is nobody's loss.
fn carry_out(mut to: impl Write, given: &Receiver<Order>, shared: &Shared) {
    for order in given {
        match order {
            Order::Flush(done) => drop(done.try_send(())),
            Order::Write(_) if shared.is_closed.load(Ordering::Relaxed) => {}
            Order::Write(line) => {
                let _ = to.write_all(with_end(line).as_bytes()).and_then(|()| to.flush());
                shared.is_stuck.store(false, Ordering::Relaxed);
                let left_out = shared.left_out.swap(0, Ordering::Relaxed);
                if left_out > 0 {
                    let _ =
                        writeln!(to, "… {left_out} lines are left out: this terminal was too slow for them");
                }
            }
        }
    }
}

fn with_end(mut line: String) -> String {
    if !line.ends_with('\n') {
        line.push('\n');
    }
    line
}

/// How long an error may be on its way: the stack may end after it.
const ERROR_WAITS: Duration = Duration::from_millis(500);

/// The end of the log's lines: an error is waited for.
pub struct Writer {
    outlet: Outlet,
    waits: bool,
}

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.outlet.say(String::from_utf8_lossy(line).into_owned());
        if self.waits {
            self.outlet.flush(ERROR_WAITS);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Outlet {
    type Writer = Writer;

    fn make_writer(&self) -> Writer {
        Writer { outlet: self.clone(), waits: false }
    }

    fn make_writer_for(&self, about: &tracing::Metadata<'_>) -> Writer {
        Writer { outlet: self.clone(), waits: *about.level() == tracing::Level::ERROR }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::Instant;

    /// A terminal that shows what it is given, once it is let.
    #[derive(Clone, Default)]
    struct Shown(Arc<(Mutex<Vec<u8>>, Mutex<()>)>);

    impl Shown {
        fn text(&self) -> String {
            String::from_utf8(self.0.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _let = self.0.1.lock().unwrap();
            self.0.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(10);

    /// Guards: nobody waits for a terminal that is stopped; what it could not take is counted.
    #[test]
    fn a_stopped_terminal_holds_nobody_up() {
        let shown = Shown::default();
        let stopped = shown.0.1.lock().unwrap();
        let outlet = Outlet::new(shown.clone()).unwrap();
        let began = Instant::now();
        (0..WAITING + 500).for_each(|number| outlet.say(format!("line {number}")));
        outlet.flush(SHORT);
        outlet.flush(LONG);
        assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
        drop(stopped);
        while !shown.text().contains(&format!("line {}\n", WAITING - 1)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let text = shown.text();
        assert!(text.contains("lines are left out: this terminal was too slow"), "{}", &text[..200]);
        assert!(!text.contains(&format!("line {}", WAITING + 400)));
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Guards: a pipe that nobody reads any more is written to in vain, and its lines do not pile up.
    #[test]
    fn a_closed_pipe_ends_nothing() {
        let outlet = Outlet::new(Closed).unwrap();
        for number in 0..2 * WAITING {
            assert!(outlet.say_patiently(number.to_string()));
        }
        outlet.flush(LONG);
        assert!(!outlet.shared.is_stuck.load(Ordering::Relaxed));
    }

    /// Guards: after Ctrl-C nothing more is shown, of what waits either.
    #[test]
    fn a_closed_outlet_shows_nothing_more() {
        let shown = Shown::default();
        let stopped = shown.0.1.lock().unwrap();
        let outlet = Outlet::new(shown.clone()).unwrap();
        (0..100).for_each(|number| outlet.say(format!("line {number}")));
        outlet.close();
        drop(stopped);
        outlet.say("one more".into());
        outlet.flush(LONG);
        // The first may have been on its way.
        assert!(shown.text().lines().count() <= 1, "{}", shown.text());
        assert!(!outlet.say_patiently("another".into()));
    }
}
