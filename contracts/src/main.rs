//! The contracts from the command line: what changed since the last release, and writing what is generated.

use anyhow::Result;
use clap::{Parser, Subcommand};
use contracts::{Contracts, gate, release};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Says what changed in the contracts since the last release, and whether anybody is broken by it.
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
    /// Write the generated files anew
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
        Some(Command::Bless) => contracts.bless().map(|()| true),
        Some(Command::Release { number }) => release::make(&contracts, number).map(|()| true),
        None => report(&contracts),
    }
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
