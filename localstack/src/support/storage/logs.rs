//! The store's logs as they lie on disk. They are read before the store opens them, because it cuts a log at whatever it cannot
//! read, and refuses one whose end a power cut has mixed up.
//!
//! A log is one batch after the other, and zeros where nothing is written yet. A batch is `1`, how many changes it has and its
//! number; its changes; `3`, the checksum of the changes, and [`END`]. A change is `2`, its kind, how its value is compressed, its
//! space, the lengths of its key, of its value and of its value as it is stored, and the two; or `4` and the space that it clears.
//! Numbers are little-endian.

use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

/// The store's logs are named `0.jnl`, `1.jnl` and so on; the last one is written.
const SUFFIX: &str = "jnl";
/// How a whole batch ends.
const END: [u8; 4] = *b"FJL\x03";
/// The key of the marks that the syncer writes, each of them in a batch of its own.
pub const MARK: &[u8] = b"synced";
/// What is read at once, and compared with zeros.
const PIECE: usize = 64 * 1024;

/// A log as it was read.
struct Seen {
    /// The last mark in it.
    mark: Option<u64>,
    /// Where the last whole batch ends.
    end: u64,
    /// Whether something else than zeros follows.
    is_torn: bool,
}

/// A log by its number.
pub fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number}.{SUFFIX}"))
}

/// The logs of a folder with their numbers, oldest first.
pub fn of(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_log = path.extension().is_some_and(|suffix| suffix == SUFFIX);
        let number = path.file_stem().and_then(|name| name.to_str()?.parse().ok());
        logs.extend(number.filter(|_| is_log).map(|number| (number, path)));
    }
    logs.sort();
    Ok(logs)
}

/// Cuts off what was written after the last sync and not wholly: a power cut loses any part of it. `noted` is the last mark that is
/// known to be synced.
///
/// # Errors
/// When what was synced cannot be read: that was acknowledged. Nothing is cut then.
pub fn mend(folder: &Path, noted: u64) -> Result<()> {
    let mut logs = of(folder)?;
    let Some((_, newest)) = logs.pop() else { return Ok(()) };
    let mut mark = None;
    for (_, path) in &logs {
        let seen = seen(path)?;
        // The store syncs a log before it begins the next.
        ensure!(!seen.is_torn, "its log is spoiled: {} at byte {}", path.display(), seen.end);
        mark = seen.mark.or(mark);
    }
    let seen = seen(&newest)?;
    let behind = if seen.is_torn { proven_behind(&newest, seen.end)? } else { 0 };
    let synced = noted.max(behind);
    // Without a mark the last one is in the tables; what they hold is compared when they are open.
    let is_whole = seen.mark.or(mark).is_none_or(|mark| mark >= synced);
    ensure!(
        is_whole,
        "its log is spoiled: {} at byte {}, and more was synced and acknowledged",
        newest.display(),
        seen.end
    );
    if seen.is_torn {
        cut(&newest, seen.end)?;
    }
    Ok(())
}

fn cut(path: &Path, end: u64) -> Result<()> {
    tracing::warn!("{} is cut at byte {end}: the rest was never synced", path.display());
    let file = File::options().write(true).open(path)?;
    file.set_len(end)?;
    Ok(file.sync_all()?)
}

fn seen(path: &Path) -> Result<Seen> {
    let of = || path.display().to_string();
    let file = File::open(path).with_context(of)?;
    let mut batches = Batches::new(BufReader::with_capacity(PIECE, &file));
    let (mut end, mut mark) = (0, None);
    while let Some(found) = whole(batches.next()).with_context(of)? {
        (end, mark) = (batches.at, found.or(mark));
    }
    let is_torn = !is_zero_from(&file, end).with_context(of)?;
    Ok(Seen { mark, end, is_torn })
}

fn is_zero_from(mut file: &File, start: u64) -> std::io::Result<bool> {
    file.seek(SeekFrom::Start(start))?;
    let mut rest = BufReader::with_capacity(PIECE, file);
    let zeros = vec![0; PIECE];
    loop {
        let piece = rest.fill_buf()?;
        if piece.is_empty() || !zeros.starts_with(piece) {
            return Ok(piece.is_empty());
        }
        let length = piece.len();
        rest.consume(length);
    }
}

/// The last mark that a later one behind `start` proves to be synced: the syncer writes a mark when the one before is safe.
fn proven_behind(path: &Path, start: u64) -> Result<u64> {
    let mut rest = Vec::new();
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    file.read_to_end(&mut rest)?;
    // A batch of one change.
    let starts = rest.windows(5).enumerate().filter(|(_, window)| *window == [1, 1, 0, 0, 0]);
    let mark = |(at, _): (usize, _)| whole(Batches::new(rest.get(at..)?).next()).ok()??;
    let last = starts.filter_map(mark).max().unwrap_or_default();
    Ok(last.saturating_sub(1))
}

/// `None` for what is no whole batch.
fn whole<T>(read: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The batches of a log.
struct Batches<R> {
    from: R,
    at: u64,
    hash: Xxh3,
    /// The number of the last batch. The checksum does not cover it, but it grows.
    number: Option<u64>,
}

impl<R: BufRead> Batches<R> {
    fn new(from: R) -> Self {
        Self { from, at: 0, hash: Xxh3::new(), number: None }
    }

    /// The next bytes.
    fn bytes<const N: usize>(&mut self) -> std::io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        self.at += N as u64;
        self.hash.update(&bytes);
        Ok(bytes)
    }

    /// Reads a whole batch; the mark in it.
    fn next(&mut self) -> std::io::Result<Option<u64>> {
        let [tag] = self.bytes()?;
        let mut changes = u32::from_le_bytes(self.bytes()?);
        let number = Some(u64::from_le_bytes(self.bytes()?));
        if tag != 1 || number <= self.number {
            return Err(ErrorKind::InvalidData.into());
        }
        self.number = number;
        self.hash.reset();
        let mut mark = None;
        while changes > 0 {
            match self.bytes()? {
                [2] => mark = self.change()?,
                [4] => drop(self.bytes::<8>()?),
                _ => return Err(ErrorKind::InvalidData.into()),
            }
            changes -= 1;
        }
        self.end().map(|()| mark)
    }

    fn end(&mut self) -> std::io::Result<()> {
        let sum = self.hash.digest();
        let is_whole =
            self.bytes()? == [3] && u64::from_le_bytes(self.bytes()?) == sum && self.bytes()? == END;
        if is_whole { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
    }

    /// Reads a change; its value if it is a mark.
    fn change(&mut self) -> std::io::Result<Option<u64>> {
        // Its kind, its compression and its space.
        let _: [u8; 10] = self.bytes()?;
        let key = u16::from_le_bytes(self.bytes()?);
        let _: [u8; 4] = self.bytes()?;
        let value = u32::from_le_bytes(self.bytes()?);
        if usize::from(key) == MARK.len() && value == 8 {
            let key: [u8; MARK.len()] = self.bytes()?;
            let value = self.bytes()?;
            return Ok((key == MARK).then(|| u64::from_le_bytes(value)));
        }
        self.skip(u64::from(key) + u64::from(value))?;
        Ok(None)
    }

    fn skip(&mut self, mut length: u64) -> std::io::Result<()> {
        while length > 0 {
            let piece = self.from.fill_buf()?;
            let most = usize::try_from(length).unwrap_or(usize::MAX).min(piece.len());
            let piece = piece.get(..most).filter(|piece| !piece.is_empty());
            let piece = piece.ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))?;
            self.hash.update(piece);
            self.from.consume(most);
            self.at += most as u64;
            length -= most as u64;
        }
        Ok(())
    }
}
