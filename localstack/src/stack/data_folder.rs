//! The data folder: claimed by one stack at a time, with the tables, the journal and the logs in it.

use super::options::Options;
use crate::aws::dynamodb::Database;
use crate::aws::secretsmanager;
use crate::support::journal::{Journal, Past};
use crate::template::resources::Model;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Everything that this program writes there besides logs, the issuer's key and the lock.
const FILES: [&str; 7] = [
    secretsmanager::FILE,
    "tables.db",
    "tables.db-wal",
    "tables.db-shm",
    "journal.db",
    "journal.db-wal",
    "journal.db-shm",
];

pub struct DataFolder {
    pub database: Database,
    pub journal: Journal,
    /// What the journal held when it was opened.
    pub past: Past,
    pub logs: PathBuf,
    /// Whether there were no tables yet.
    pub is_new: bool,
    /// Claims the folder for as long as it is held.
    pub lock: Option<File>,
}

impl DataFolder {
    /// # Errors
    /// When another stack holds the folder, or a file in it cannot be opened.
    pub fn open(options: &Options, model: &Model) -> Result<Self> {
        let logs = options.data.join("logs");
        std::fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
        let lock = lock(options)?;
        let is_new = prepare(options)?;
        let path = |name: &str| options.kept().map(|folder| folder.join(name));
        let database = Database::start(path("tables.db").as_deref(), &model.tables)?;
        let (journal, past) = Journal::open(path("journal.db").as_deref())?;
        Ok(Self { database, journal, past, logs, is_new, lock })
    }
}

/// Claims the folder: two stacks on one folder would lose what each acknowledged.
fn lock(options: &Options) -> Result<Option<File>> {
    let Some(folder) = options.kept() else { return Ok(None) };
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    file.try_lock().map_err(|_| {
        let data = folder.display();
        anyhow::anyhow!(
            "the data folder {data} is in use by another stack; choose another with --data-dir DIR"
        )
    })?;
    Ok(Some(file))
}

/// Deletes what is to be deleted; returns whether there are no tables.
fn prepare(options: &Options) -> Result<bool> {
    if options.fresh && options.data.exists() {
        // By name: the folder is the user's choice and may hold other files.
        FILES.iter().try_for_each(|name| remove(&options.data.join(name)))?;
    }
    Ok(options.in_memory || !options.data.join("tables.db").exists())
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}
