//! Follows the files that functions log to. They write them themselves, so that a log costs the stack nothing until it is followed.

use super::colours::Colours;
use super::line::{logged_at, shown};
use super::outlet::Outlet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the files are looked at.
const PERIOD: Duration = Duration::from_millis(100);
/// How much of a file is read at a time.
const CHUNK: u64 = 256 * 1024;
/// A terminal that is so many bytes of a log behind skips them.
const MAX_BEHIND: u64 = 16 * 1024 * 1024;
/// A line without an end is shown in pieces of so many bytes.
const MAX_LINE: usize = 64 * 1024;

/// A file, and how far it has been read.
pub(super) struct Tail {
    name: String,
    path: PathBuf,
    at: u64,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
}

/// Shows what is written to the files until nobody shows anything any more.
pub(super) fn follow(mut tails: Vec<Tail>, out: &Outlet, colours: Colours) {
    loop {
        for (name, line) in in_order(&mut tails) {
            if shown(&name, &line, colours).is_some_and(|line| !out.say_patiently(line)) {
                return;
            }
        }
        std::thread::sleep(PERIOD);
    }
}

/// What was written since the last time, in the order in which it was logged. A line without a time follows the one before it.
fn in_order(tails: &mut [Tail]) -> Vec<(String, Vec<u8>)> {
    let mut lines = Vec::new();
    for tail in tails {
        let mut time = String::new();
        // A file that cannot be read now may be there the next time.
        for line in tail.read().unwrap_or_default() {
            time = logged_at(&line).unwrap_or(time);
            lines.push((time.clone(), (tail.name.clone(), line)));
        }
    }
    lines.sort_by(|(one, _), (other, _)| one.cmp(other));
    lines.into_iter().map(|(_, line)| line).collect()
}

impl Tail {
    /// From the end that the file has now.
    pub(super) fn new(name: &str, path: &Path) -> Self {
        let at = std::fs::metadata(path).map_or(0, |data| data.len());
        Self { name: name.to_owned(), path: path.to_owned(), at, begun: Vec::new() }
    }

    /// The lines that were written since the last time.
    fn read(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let length = std::fs::metadata(&self.path)?.len();
        if length == self.at {
            return Ok(Vec::new());
        }
        let mut lines = Vec::new();
        let skipped = self.skip_to(length);
        if skipped > 0 {
            lines.push(
                format!("… {skipped} bytes are left out: this terminal is too slow for them").into_bytes(),
            );
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = Vec::new();
        let read = file.take(CHUNK).read_to_end(&mut bytes)?;
        self.at += u64::try_from(read).unwrap_or_default();
        lines.extend(self.cut(&bytes));
        Ok(lines)
    }

    /// Begins anew where the file was emptied, and gives up what is too far behind: how many bytes.
    fn skip_to(&mut self, length: u64) -> u64 {
        if length < self.at {
            (self.at, self.begun) = (0, Vec::new());
        }
        let behind = length - self.at;
        if behind <= MAX_BEHIND {
            return 0;
        }
        (self.at, self.begun) = (length - CHUNK, Vec::new());
        behind - CHUNK
    }

    fn cut(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend(part);
            if self.begun.last() == Some(&b'\n') {
                self.begun.pop();
                lines.push(std::mem::take(&mut self.begun));
            } else if self.begun.len() > MAX_LINE {
                lines.push(std::mem::take(&mut self.begun));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn texts(tail: &mut Tail) -> Vec<String> {
        tail.read().unwrap_or_default().into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
    }

    /// Guards: a line is shown once and whole, from where the file ended; a file that is emptied is read from its beginning.
    #[test]
    fn a_file_is_followed_from_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "before\n").unwrap();
        let mut tail = Tail::new("a", &path);
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(texts(&mut tail), ["one"]);
        assert!(texts(&mut tail).is_empty());
        file.write_all("o\n\nthree\n".as_bytes()).unwrap();
        assert_eq!(texts(&mut tail), ["two", "", "three"]);
        std::fs::write(&path, "anew\n").unwrap();
        assert_eq!(texts(&mut tail), ["anew"]);
        std::fs::remove_file(&path).unwrap();
        assert!(texts(&mut tail).is_empty());
    }

    /// Guards: an order's lines stand in the order in which they were logged, whichever function's they are.
    #[test]
    fn lines_of_several_files_are_sorted_by_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut tails = ["sorted-a", "sorted-b"].map(|name| Tail::new(name, &path(name)));
        let line = |at: &str| format!("{{\"timestamp\":\"{at}\"}}\n");
        std::fs::write(path("sorted-a"), format!("{}{}", line("1"), line("3"))).unwrap();
        std::fs::write(path("sorted-b"), format!("{}panic\n{}", line("2"), line("4"))).unwrap();
        let lines = in_order(&mut tails).into_iter().map(|(_, line)| String::from_utf8(line).unwrap());
        let expected = ["1", "2", "panic", "3", "4"]
            .map(|at| line(at).trim().replace("{\"timestamp\":\"panic\"}", "panic"));
        assert_eq!(lines.collect::<Vec<_>>(), expected);
    }

    /// Guards: the memory of a log that grows faster than it is shown, and of a line without an end.
    #[test]
    fn what_is_too_long_is_cut_and_what_is_too_far_behind_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "").unwrap();
        let mut tail = Tail::new("a", &path);
        std::fs::write(&path, vec![b'x'; usize::try_from(MAX_BEHIND).unwrap() + 1]).unwrap();
        let lines = texts(&mut tail);
        let left_out = MAX_BEHIND + 1 - CHUNK;
        assert_eq!(lines[0], format!("… {left_out} bytes are left out: this terminal is too slow for them"));
        assert_eq!((lines.len(), tail.at), (2, MAX_BEHIND + 1));
    }
}
