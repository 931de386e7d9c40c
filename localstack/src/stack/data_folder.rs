//! The data folder: claimed by one stack at a time, with the tables, the journal and the logs in it.

use super::options::Options;
use crate::aws::dynamodb::Database;
use crate::aws::logs::Groups;
use crate::aws::secretsmanager;
use crate::outside::token_issuer;
use crate::support::journal::{Journal, Positions};
use crate::support::storage::Storage;
use crate::template::resources::Model;
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The folder of the storage.
const STORE: &str = "store";

/// The folder of the functions' logs. Metrics are read from them: a fresh stage has none of an earlier one's.
const LOGS: &str = "logs";

/// Everything that this program writes there besides the storage, logs and the lock.
const FILES: [&str; 2] = [secretsmanager::FILE, token_issuer::FILE];

/// What earlier versions kept there.
const OLD: [&str; 6] =
    ["tables.db", "tables.db-wal", "tables.db-shm", "journal.db", "journal.db-wal", "journal.db-shm"];

pub struct DataFolder {
    pub database: Database,
    pub journal: Journal,
    /// How far each reader of a stream had come when the journal was opened.
    pub positions: Positions,
    pub logs: PathBuf,
    /// Held, not read.
    pub claim: Claim,
}

/// Claims the folder for as long as it is held. Then the storage is closed, though others still have it.
pub struct Claim {
    storage: Storage,
    _lock: File,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.storage.close();
    }
}

impl DataFolder {
    /// # Errors
    /// When another stack holds the folder, or a file in it cannot be opened.
    pub fn open(options: &Options, model: &Model) -> Result<Self> {
        let logs = options.data.join(LOGS);
        let unusable =
            || format!("cannot keep data in {}; choose another folder with --data-dir", logs.display());
        std::fs::create_dir_all(&logs).with_context(unusable)?;
        let lock = lock(options)?;
        prepare(options, &Groups::new(model, &logs))?;
        let storage = match options.kept() {
            Some(folder) => {
                let store = folder.join(STORE);
                if store.exists() {
                    // After a million orders it lasts some seconds until the first service is up.
                    options.terminal.say(&format!("  reading {}", store.display()));
                }
                Storage::open(&store).with_context(|| spoiled(folder))?
            }
            None => Storage::memory(),
        };
        let (journal, positions) = Journal::open(&storage)?;
        let database = Database::start(&storage, &model.tables)?;
        let claim = Claim { storage, _lock: lock };
        Ok(Self { database, journal, positions, logs, claim })
    }
}

fn spoiled(folder: &Path) -> String {
    let path = folder.join(STORE);
    format!("cannot use {}; put a copy back, or start with --fresh, which deletes it", path.display())
}

/// Claims the folder: two stacks on one folder would lose what each acknowledged, and write to the same logs also in memory.
fn lock(options: &Options) -> Result<File> {
    let folder = &options.data;
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    file.try_lock().map_err(|_| {
        let data = folder.display();
        anyhow::anyhow!(
            "the data folder {data} is in use by another stack; choose another with --data-dir DIR"
        )
    })?;
    Ok(file)
}

/// Deletes what is to be deleted.
fn prepare(options: &Options, logs: &Groups) -> Result<()> {
    let Some(folder) = options.kept() else { return Ok(()) };
    if options.fresh {
        // By name: the folder is the user's choice and may hold other files.
        let names = FILES.iter().chain(&OLD);
        names
            .into_iter()
            .try_for_each(|name| remove(&folder.join(name), |path| std::fs::remove_file(path)))?;
        remove(&folder.join(STORE), |path| std::fs::remove_dir_all(path))?;
        logs.files().iter().try_for_each(|log| remove(log, |path| std::fs::remove_file(path)))?;
    }
    let old = OLD.iter().map(|name| folder.join(name)).find(|path| path.exists());
    let old = old.map(|path| path.display().to_string()).unwrap_or_default();
    ensure!(
        old.is_empty(),
        "{old} is of an earlier version, which kept its data otherwise; choose another --data-dir, or start with --fresh, which deletes it"
    );
    Ok(())
}

fn remove(path: &Path, delete: impl Fn(&Path) -> std::io::Result<()>) -> Result<()> {
    match delete(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}
