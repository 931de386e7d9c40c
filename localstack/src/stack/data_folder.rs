//! The data folder: claimed by one stack at a time, with the tables, the journal and the logs in it.

use super::options::Options;
use crate::aws::dynamodb::Database;
use crate::aws::secretsmanager;
use crate::outside::token_issuer;
use crate::support::journal::{Journal, Past};
use crate::template::resources::Model;
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const TABLES: &str = "tables.db";
const JOURNAL: &str = "journal.db";

/// Everything that this program writes there besides logs and the lock.
const FILES: [&str; 8] = [
    secretsmanager::FILE,
    token_issuer::FILE,
    TABLES,
    "tables.db-wal",
    "tables.db-shm",
    JOURNAL,
    "journal.db-wal",
    "journal.db-shm",
];

pub struct DataFolder {
    pub database: Database,
    pub journal: Journal,
    /// What the journal held when it was opened.
    pub past: Past,
    pub logs: PathBuf,
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
        prepare(options)?;
        let path = |name: &str| options.kept().map(|folder| folder.join(name));
        let (tables, kept) = (path(TABLES), path(JOURNAL));
        let [has_tables, has_journal] =
            [&tables, &kept].map(|path| path.as_deref().is_some_and(Path::exists));
        ensure!(has_journal || !has_tables, halves(options, TABLES, JOURNAL));
        // Before the tables: a start that ends between the two leaves a journal without a position, which is none.
        let (journal, past) = Journal::open(kept.as_deref()).with_context(|| spoiled(options, JOURNAL))?;
        ensure!(has_tables || past.positions.is_empty(), halves(options, JOURNAL, TABLES));
        let database =
            Database::start(tables.as_deref(), &model.tables).with_context(|| spoiled(options, TABLES))?;
        Ok(Self { database, journal, past, logs, lock })
    }
}

/// One half of a life would be continued without the other: pipes would stand where the tables' streams never come to.
fn halves(options: &Options, there: &str, gone: &str) -> String {
    let folder = options.data.display();
    format!("{folder} has {there} without {gone}: put it back, or start with --fresh, which deletes both")
}

fn spoiled(options: &Options, name: &str) -> String {
    let path = options.data.join(name);
    format!("cannot use {}; put a copy back, or start with --fresh, which deletes it", path.display())
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

/// Deletes what is to be deleted.
fn prepare(options: &Options) -> Result<()> {
    if options.fresh && options.data.exists() {
        // By name: the folder is the user's choice and may hold other files.
        FILES.iter().try_for_each(|name| remove(&options.data.join(name)))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}
