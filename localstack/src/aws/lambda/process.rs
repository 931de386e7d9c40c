//! The process of a function: the unmodified service binary, its environment and its log.

use super::environments::Mode;
use crate::faults::Faults;
use crate::support::meter::Meter;
use crate::support::printable::printable;
use crate::template::names::{self, REGION};
use crate::template::resources::Function as Declared;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// How many invocations a shared process works on at a time (`AWS_LAMBDA_MAX_CONCURRENCY`). A classic one has no such
/// variable, and works on one; the binaries run both ways.
const CONCURRENCY: usize = 16;
/// Lambda's default.
pub(super) const MEMORY_MIB: u32 = 128;

/// What every function's process gets besides what its template declares.
pub struct Sandbox {
    /// Address of the Runtime API and the first part of its paths: `127.0.0.1:4570/<secret>`
    pub runtime_api: String,
    /// URL of the AWS endpoint.
    pub endpoint: String,
    /// The folder with the service binaries.
    pub binaries: PathBuf,
    /// The folder for the logs.
    pub logs: PathBuf,
    /// How functions are run.
    pub mode: Mode,
    /// The process group of every function's processes.
    pub group: i32,
    pub faults: Faults,
    pub meter: Meter,
}

pub struct Process {
    binary: PathBuf,
    environment: BTreeMap<String, String>,
    /// The Runtime API's URL for this function, without the process's number.
    runtime_api: String,
    log: PathBuf,
    group: i32,
}

impl Process {
    /// The process of a declared function, with credentials of its role.
    ///
    /// # Errors
    /// When there is no binary for the function's code, or its log cannot be opened: no process would ever start.
    pub fn new(declared: &Declared, access_key: &str, sandbox: &Sandbox) -> Result<Self> {
        let name = &declared.function_name;
        let binary = sandbox.binaries.join(names::last_part(&declared.code));
        ensure!(
            binary.is_file(),
            "function {name}: there is no binary {}; build it, or name its folder with --bin-dir",
            binary.display()
        );
        let mut environment = environment(declared, access_key, &sandbox.endpoint);
        if sandbox.mode == Mode::Shared {
            environment.insert("AWS_LAMBDA_MAX_CONCURRENCY".into(), CONCURRENCY.to_string());
        }
        let runtime_api = format!("http://{}/{name}", sandbox.runtime_api);
        let log = sandbox.logs.join(format!("{name}.log"));
        drop(
            open_log(&log)
                .with_context(|| format!("function {name} has no log; delete what is in its place"))?,
        );
        Ok(Self { binary, environment, runtime_api, log, group: sandbox.group })
    }

    /// The bytes of the binary.
    pub fn code_size(&self) -> u64 {
        std::fs::metadata(&self.binary).map_or(0, |data| data.len())
    }

    /// The binary's name.
    pub fn service(&self) -> &str {
        self.binary.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// The file that it logs to.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How long its log is.
    pub fn log_length(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |data| data.len())
    }

    /// The last complaint in its log since it was so long: why a process has ended.
    pub fn complaint(&self, since: u64) -> Option<String> {
        let mut log = File::open(&self.log).ok()?;
        let length = log.metadata().ok()?.len();
        // Emptied meanwhile, it is all new.
        let since = if since > length { 0 } else { since };
        log.seek(SeekFrom::Start(since.max(length.saturating_sub(LAST_BYTES)))).ok()?;
        let mut end = Vec::new();
        log.take(LAST_BYTES).read_to_end(&mut end).ok()?;
        let text = String::from_utf8_lossy(&end);
        let line = text.lines().rev().find(|line| is_complaint(line))?;
        Some(printable(line).chars().take(LAST_LINE).collect())
    }

    /// Starts process number `number`; it ends with the returned handle.
    ///
    /// # Errors
    /// When the log cannot be opened or the binary does not start.
    pub fn spawn(&self, number: u64) -> Result<Child> {
        let log = open_log(&self.log)?;
        let mut command = Command::new(&self.binary);
        command.env_clear().envs(&self.environment);
        command.env("AWS_LAMBDA_RUNTIME_API", format!("{}/{number}", self.runtime_api));
        // As on AWS, each environment has a token of its own; here it is its number.
        command.env("AWS_SESSION_TOKEN", number.to_string());
        command.env("AWS_LAMBDA_LOG_STREAM_NAME", format!("local/{number}"));
        command.process_group(self.group);
        let command = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        command.spawn().with_context(|| self.binary.display().to_string())
    }
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
fn environment(declared: &Declared, access_key: &str, endpoint: &str) -> BTreeMap<String, String> {
    let name = &declared.function_name;
    let log_group = declared.logging_config.as_ref().map(|config| config.log_group.clone());
    let fixed: [(&str, String); 10] = [
        ("_HANDLER", declared.handler.clone()),
        ("AWS_REGION", REGION.into()),
        ("AWS_DEFAULT_REGION", REGION.into()),
        ("AWS_ACCESS_KEY_ID", access_key.into()),
        ("AWS_SECRET_ACCESS_KEY", "local".into()),
        ("AWS_ENDPOINT_URL", endpoint.into()),
        ("AWS_LAMBDA_FUNCTION_NAME", name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".into()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", declared.memory_size.unwrap_or(MEMORY_MIB).to_string()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", log_group.unwrap_or_else(|| format!("/aws/lambda/{name}"))),
    ];
    let mut environment = declared.environment.clone().map(|e| e.variables).unwrap_or_default();
    environment.extend(std::env::var("RUST_LOG").ok().map(|level| ("RUST_LOG".to_owned(), level)));
    environment.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
    environment
}

/// Of a log's end so much is looked at, and shown.
const LAST_BYTES: u64 = 4096;
const LAST_LINE: usize = 500;

/// Whether a line of a log says that something is wrong: what is written without the logger, a panic for one, does.
fn is_complaint(line: &str) -> bool {
    match serde_json::from_str::<serde_json::Value>(line) {
        Ok(logged) if logged.is_object() => ["WARN", "ERROR"].iter().any(|level| logged["level"] == *level),
        _ => !line.trim().is_empty(),
    }
}

/// A longer log is emptied before a process starts.
const MAX_LOG_BYTES: u64 = 64 * 1024 * 1024;

fn open_log(path: &Path) -> Result<File> {
    let unusable = || path.display().to_string();
    // Each environment of a function writes at the end, wherever that is after another emptied the log.
    let log = OpenOptions::new().append(true).create(true).open(path).with_context(unusable)?;
    if log.metadata().is_ok_and(|data| data.len() > MAX_LOG_BYTES) {
        log.set_len(0).with_context(unusable)?;
    }
    Ok(log)
}
