//! What every command has: the stage, the clients' configuration, how it prints and how it asks.

use crate::table::{Column, Table};
use anyhow::{Context, Result, bail, ensure};
use aws::sdk::SdkConfig;
use aws::{dynamodb::DynamoStore, eventbridge::EventBus, sqs::Queues};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use operator::dead_letters::Stage;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a command line said that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub String);

/// The flags of every command.
#[derive(Args)]
pub struct Global {
    /// The stage to work on
    #[arg(long, global = true, default_value = "local")]
    pub stage: String,
    /// Print JSON, for programs: one object, or one to a line
    #[arg(long, global = true)]
    pub json: bool,
    /// Do what cannot be undone without asking
    #[arg(long, global = true)]
    pub yes: bool,
}

/// A stage, and the way to speak with the person or program that runs the command.
pub struct Session {
    /// `prod`
    pub stage: String,
    /// How its clients are configured.
    pub sdk: SdkConfig,
    /// Whether a program reads what is printed.
    pub json: bool,
    /// Whether what cannot be undone was confirmed on the command line.
    yes: bool,
}

impl Session {
    /// A session on the stage that the flags name.
    ///
    /// # Errors
    /// When the stage cannot be reached: what is missing, and the command that helps.
    pub async fn open(global: &Global) -> Result<Self> {
        ensure!(
            is_stage(&global.stage),
            Misuse("--stage: has to be a letter and up to 15 more letters or digits, in lower case".into())
        );
        let sdk = aws::sdk::operators_config(&global.stage).await?;
        Ok(Self { stage: global.stage.clone(), sdk, json: global.json, yes: global.yes })
    }

    /// The name of a resource of the stage: `prod-quadrille-orders`.
    pub fn name(&self, resource: &str) -> String {
        format!("{}-quadrille-{resource}", self.stage)
    }

    /// A service's table.
    pub fn table(&self, service: &str) -> DynamoStore {
        DynamoStore::new(&self.sdk, self.name(service))
    }

    /// The stage's bus.
    pub fn bus(&self) -> EventBus {
        EventBus::new(&self.sdk, format!("{}-quadrille", self.stage))
    }

    /// The stage's queues and tables.
    pub fn stage(&self) -> Stage<DynamoStore> {
        let sdk = self.sdk.clone();
        Stage::new(&self.stage, Queues::new(&self.sdk), move |name| DynamoStore::new(&sdk, name))
    }

    /// Prints rows: a table with these columns, or `nothing` where there are none; for programs an object to a line.
    pub fn rows(&self, columns: &[Column], rows: &[Value], nothing: &str) -> Result<()> {
        if self.json {
            return rows.iter().try_for_each(|row| say(&row.to_string()));
        }
        if rows.is_empty() {
            return say(nothing);
        }
        Table { columns, rows }.lines(has_colour()).iter().try_for_each(|line| say(line))
    }

    /// Prints what came of a command: a line, or for programs an object.
    pub fn done(&self, line: &str, object: &Value) -> Result<()> {
        if self.json { say(&object.to_string()) } else { say(line) }
    }

    /// Has a person confirm what cannot be undone.
    ///
    /// # Errors
    /// [`Misuse`] where there is no terminal to ask on, and no `--yes`; an error too when the answer is no.
    pub fn confirm(&self, question: &str) -> Result<()> {
        if self.yes {
            return Ok(());
        }
        let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
        if !stdin.is_terminal() || !stderr.is_terminal() {
            bail!(Misuse(format!("{question} Without a terminal to ask on, this needs --yes")));
        }
        write!(stderr, "{question} [y/N] ")?;
        let mut answer = String::new();
        stdin.lock().read_line(&mut answer)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => bail!("nothing was done"),
        }
    }
}

/// As the templates allow it, so that no name of a resource means another one.
fn is_stage(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 16 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(plain)
}

/// Whether headers stand out: on a terminal, unless <https://no-color.org> is asked for.
fn has_colour() -> bool {
    let is_off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_off && std::io::stdout().is_terminal()
}

/// Whether a service publishes events, and so has a pipe.
pub fn publishes(service: &str) -> bool {
    events::catalogue::entries().iter().any(|entry| entry.producer == service)
}

/// A new file that only its owner can read, because what is written may be personal data. One that is there already is not
/// written over.
///
/// # Errors
/// [`Misuse`], which names the flag.
pub fn private_file(path: &Path, flag: &str) -> Result<File> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.with_context(|| Misuse(format!("{flag}: {}", path.display())))
}

/// Prints a line. A reader who has seen enough (`quadrille orders … | head`) does not end a command in the middle of its work, and
/// does not change how it ends.
pub fn say(line: &str) -> Result<()> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        said => Ok(said?),
    }
}

/// What ends a command from outside: Ctrl-C, SIGTERM, or a terminal that closes.
pub struct Signals([Signal; 3]);

impl Signals {
    /// Listens to them from now on.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn listen() -> Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    /// Returns at the next one.
    pub async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// A progress bar over so many things, or a spinner where their number is not known; nothing without a terminal.
pub fn bar(total: Option<u64>, what: &str) -> ProgressBar {
    let Some(total) = total else {
        let style = ProgressStyle::with_template(&format!("{{spinner}} {{pos}} {what} {{msg}}"));
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
        return ProgressBar::new_spinner().with_style(style);
    };
    let template = format!("{{wide_bar}} {{pos}}/{{len}} {what}, {{per_sec}}, {{eta}} left");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}
