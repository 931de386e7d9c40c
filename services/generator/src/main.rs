//! A new service from the command line: everything is checked first, then written, then the contracts are.

mod answer;
mod catalogue;
mod files;
mod names;
mod service;
mod template;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use service::Service;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Writes a new service that runs, is tested, and is deployed with the others.
///
/// Ends with 2, and writes nothing, when the names do not do.
#[derive(Parser)]
#[command(name = "generator", version)]
struct Arguments {
    /// The service's name, one word: fraud
    name: String,
    /// The events that it consumes, separated by commas: order.created
    #[arg(long, required = true, value_delimiter = ',')]
    consumes: Vec<String>,
    /// The events that it publishes, separated by commas: fraud.cleared; without this it publishes none. The first answers
    /// the first that it consumes, the second the second, and what is left over the last
    #[arg(long, value_delimiter = ',')]
    produces: Vec<String>,
    /// The repository
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (service, files) = match planned(&arguments) {
        Ok(planned) => planned,
        Err(error) => return failed(&error, 2),
    };
    match made(&arguments.root, &service, &files) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, 1),
    }
}

fn failed(error: &anyhow::Error, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::from(code)
}

/// The service, and the files that it is; nothing is written yet.
fn planned(arguments: &Arguments) -> Result<(Service, Vec<files::Written>)> {
    let Arguments { name, consumes, produces, root } = arguments;
    let service = Service::of(root, name, consumes, produces)?;
    let files = files::of(root, &service)?;
    Ok((service, files))
}

/// Writes the files, then the registry and the contracts, and says what is left to do.
fn made(root: &Path, service: &Service, files: &[files::Written]) -> Result<()> {
    for file in files {
        file.write(root)?;
    }
    let name = &service.name;
    cargo(root, &["fmt", "-p", "events", "-p", name])?;
    contracts::services::bless(&root.join("services"), &root.join("infra"))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{name} is written; building it, to write its contracts")?;
    out.flush()?;
    cargo(root, &["run", "-p", "contracts", "--", "bless"])?;
    write!(out, "{}", service.what_is_left())?;
    Ok(())
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(arguments).current_dir(root).status();
    let status = status.context("cannot run cargo")?;
    ensure!(status.success(), "`cargo {}` failed; `git status` shows what is written", arguments.join(" "));
    Ok(())
}
