//! A log file as lines with their times. A line that says no time has that of the line before it.

use chrono::DateTime;
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// How much of a file is looked at at once to find where a time begins.
const BLOCK: u64 = 256 * 1024;

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Epoch milliseconds.
    pub at: i64,
    /// Where it begins in its file.
    pub offset: u64,
    pub text: String,
}

/// Where a line says its time: our own lines, those of metrics, those of the access log.
#[derive(Default, Deserialize)]
struct Times {
    timestamp: Option<String>,
    #[serde(rename = "_aws")]
    metrics: Option<Metrics>,
    time: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metrics {
    timestamp: Option<i64>,
}

fn time(line: &str) -> Option<i64> {
    if !line.starts_with('{') {
        return None;
    }
    let times: Times = serde_json::from_str(line).ok()?;
    let own = times.timestamp.and_then(|time| DateTime::parse_from_rfc3339(&time).ok());
    let metrics = times.metrics.and_then(|metrics| metrics.timestamp);
    let access = || DateTime::parse_from_str(&times.time?, "%d/%b/%Y:%H:%M:%S %z").ok();
    own.map(|time| time.timestamp_millis()).or(metrics).or_else(|| Some(access()?.timestamp_millis()))
}

/// Calls `each` with the lines of a file that are not older than `from`, in their order, until it returns false. A file that is
/// not there has no lines.
pub fn read(path: &Path, from: i64, mut each: impl FnMut(Line) -> bool) -> std::io::Result<()> {
    let Ok(mut file) = File::open(path) else { return Ok(()) };
    let mut offset = beginning(&mut file, from)?;
    file.seek(SeekFrom::Start(offset))?;
    let (mut reader, mut at, mut bytes) = (BufReader::new(file), None, Vec::new());
    loop {
        bytes.clear();
        let length = reader.read_until(b'\n', &mut bytes)?;
        // A line without its end is still being written.
        if bytes.pop() != Some(b'\n') {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        at = time(&text).or(at);
        let line = Line { at: at.unwrap_or(from), offset, text };
        offset += length as u64;
        if line.at >= from && !each(line) {
            return Ok(());
        }
    }
}

/// Where the lines of a time may begin: a block whose first line with a time is older.
fn beginning(file: &mut File, from: i64) -> std::io::Result<u64> {
    let mut at = file.metadata()?.len();
    while at > 0 {
        at = at.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(at))?;
        let mut block = Vec::new();
        file.take(BLOCK).read_to_end(&mut block)?;
        // Within a file the first line of a block is the rest of one.
        let skipped = if at == 0 {
            0
        } else {
            block.iter().position(|byte| *byte == b'\n').map_or(block.len(), |end| end + 1)
        };
        let rest = block.get(skipped..).unwrap_or_default();
        let mut lines = rest.split(|byte| *byte == b'\n');
        let first = lines.find_map(|line| time(std::str::from_utf8(line).ok()?));
        if first.is_some_and(|first| first < from) {
            return Ok(at + skipped as u64);
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path, from: i64) -> Vec<(i64, String)> {
        let mut lines = Vec::new();
        read(path, from, |line| {
            lines.push((line.at, line.text));
            true
        })
        .unwrap();
        lines
    }

    /// Guards: a line is found by its time wherever it stands in a file of many blocks, and a panic between two lines too.
    #[test]
    fn lines_are_found_by_their_times() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.log");
        let line = |at: i64| format!("{{\"_aws\":{{\"Timestamp\":{at}}},\"x\":\"{}\"}}\n", "y".repeat(200));
        let mut text: String = (0..5000).map(|n| line(n * 10)).collect();
        text.push_str("thread panicked\n{\"timestamp\":\"1970-01-01T00:01:00.000Z\"}\n{\"time\":\"01/Jan/1970:00:01:01 +0000\"}\nunfinis");
        std::fs::write(&path, text).unwrap();
        let found = lines(&path, 49_980);
        let times: Vec<i64> = found.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [49_980, 49_990, 49_990, 60_000, 61_000]);
        assert_eq!(found[2].1, "thread panicked");
        assert_eq!((lines(&path, 0).len(), lines(&path.with_extension("none"), 0).len()), (5003, 0));
    }
}
