//! Files that hold secrets: only their owner may read them.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads a secret; none when there is no such file, or nothing is kept at all.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: Option<&Path>) -> io::Result<Option<Vec<u8>>> {
    let Some(path) = path else { return Ok(None) };
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// Writes a secret and syncs it to disk. A crash leaves the whole of it or nothing.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, secret: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(secret)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}
