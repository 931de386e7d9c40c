//! The contracts from the command line: what changed since the last release, and writing what is generated.

use anyhow::Result;
use clap::{Parser, Subcommand};
use contracts::{Contracts, documents, gate, release, services};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};

/// Says what changed in the contracts since the last release, and whether that breaks a consumer.
///
/// Ends with 0 when everything is compatible and nothing has drifted, with 1 otherwise.
#[derive(Parser)]
#[command(name = "contracts", version)]
struct Arguments {
    /// The repository
    #[arg(long, default_value = ".")]
    root: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Write the generated files anew, first the registry of services
    Bless,
    /// Promise today's schemas and examples for good
    Release {
        /// The release, 0.2.0
        number: String,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let contracts = Contracts::of(&arguments.root);
    match &arguments.command {
        Some(Command::Bless) if services::bless(&contracts.services, &contracts.infra)? => {
            anew(&arguments.root)
        }
        Some(Command::Bless) => {
            contracts.bless()?;
            documents::bless(&contracts)?;
            Ok(true)
        }
        Some(Command::Release { number }) => release::make(&contracts, number).map(|()| true),
        None => report(&contracts),
    }
}

/// Builds this program with the services that the registry has now, and lets that one write the rest.
fn anew(root: &Path) -> Result<bool> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut run = process::Command::new(cargo);
    run.args(["run", "--quiet", "--bin", "contracts", "--", "bless"]).current_dir(root);
    Ok(run.status()?.success())
}

fn report(contracts: &Contracts) -> Result<bool> {
    let (lines, compatible) = release::report(contracts)?;
    let breaches = gate::breaches(contracts)?;
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    for breach in &breaches {
        writeln!(out, "drifted: {breach}")?;
    }
    let verdict = if compatible { "compatible" } else { "NOT compatible" };
    writeln!(out, "{verdict}; {} breaches", breaches.len())?;
    Ok(compatible && breaches.is_empty())
}
