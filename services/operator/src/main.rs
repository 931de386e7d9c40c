//! The operator's command line.

mod auditing;
mod breaker;
mod bus;
mod dlq;
mod forgetting;
mod generated;
mod order;
mod orders;
mod pipes;
mod rebuilding;
mod replaying;
mod republishing;
mod session;
mod stock;
mod sweep;
mod table;
mod trace;
mod waiting;

use anyhow::Result;
use auditing::AuditArguments;
use aws::sdk::Unreachable;
use breaker::BreakerCommand;
use bus::BusCommand;
use chassis::Failure;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use dlq::DlqCommand;
use forgetting::ForgetArguments;
use generated::Shell;
use operator::dead_letters::NotThere;
use operator::replay::NotResumed;
use order::OrderCommand;
use orders::OrdersArguments;
use pipes::PipesCommand;
use rebuilding::RebuildArguments;
use replaying::{ReplayArguments, Tools};
use republishing::RepublishArguments;
use session::{Global, Misuse, Session};
use std::io::Write;
use std::process::ExitCode;
use stock::StockCommand;
use sweep::SweepArguments;

/// What the people who run the platform do by hand.
///
/// Region and credentials are those of the AWS CLI: a profile, SSO, `aws login`, `credential_process`. The stage `local` is the
/// local stack at 127.0.0.1:4566, or at AWS_ENDPOINT_URL.
#[derive(Parser)]
#[command(
    name = "quadrille",
    version,
    after_help = "Exit codes: 0 all went well; 1 something failed, or differs; 2 the command was used wrongly."
)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One order: where it stands, its story, and what can be done with it
    #[command(subcommand)]
    Order(OrderCommand),
    /// List orders by status, customer or time
    Orders(OrdersArguments),
    /// List the orders that wait: FAILED ones, which need an operator, and those with an overdue step
    Waiting,
    /// Remind every silent step now that is overdue, instead of waiting for the next minute
    Sweep(SweepArguments),
    /// Dead letters: list, show, send back, delete
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Stock: what is there, and a count of it
    #[command(subcommand)]
    Stock(StockCommand),
    /// The circuit between payments and its provider
    #[command(subcommand)]
    Breaker(BreakerCommand),
    /// The bus: its events as they come
    #[command(subcommand)]
    Bus(BusCommand),
    /// List, stop and start the pipes by which events leave the services' tables
    #[command(subcommand)]
    Pipes(PipesCommand),
    /// Publish events of the log once more; nothing is charged, shipped or notified for it
    Replay(ReplayArguments),
    /// Compare the tables with the events and with each other; names each difference and what mends it
    Audit(AuditArguments),
    /// Publish events of the log again as they were: whoever never had them reacts, outward too
    #[command(alias = "retell")]
    Republish(RepublishArguments),
    /// Build a projection anew from the log, beside the one that is shown, and swap the two
    Rebuild(RebuildArguments),
    /// Delete the keys of a customer's addresses, which makes them unreadable wherever they are
    Forget(ForgetArguments),
    /// Write a shell's completions: `source <(quadrille completions bash)`
    Completions { shell: Shell },
    /// Write the manual page: `man <(quadrille man)`
    Man,
}

/// The most characters of an error.
const LONGEST_LINE: usize = 2_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Arguments::try_parse() {
        Ok(arguments) => run(arguments).await,
        Err(error) => return refuse(&error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {}", printable(&in_words(&error)));
            ExitCode::from(if is_misuse(&error) { 2 } else { 1 })
        }
    }
}

/// The error without the class of a failure, which is for programs.
fn in_words(error: &anyhow::Error) -> String {
    match error.downcast_ref() {
        Some(Failure::Transient(text)) => text.clone(),
        Some(Failure::Poison(text)) if text.starts_with("ResourceNotFoundException") => {
            format!("{text}; is there a stage of this name?")
        }
        Some(Failure::Poison(text)) => text.clone(),
        _ => format!("{error:#}"),
    }
}

/// Help and version go where they were asked for; everything else is one line and exit code 2.
fn refuse(error: &clap::Error) -> ExitCode {
    let is_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if is_help {
        let _ = error.print();
    } else {
        let text = error.to_string();
        let first = text.split("\n\n").next().unwrap_or_default();
        let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
        // The local stack calls itself `quadrille dev`.
        let is_dev = error.get(ContextKind::InvalidSubcommand) == Some(&ContextValue::String("dev".into()));
        let hint = if is_dev { "the local stack starts with `cargo dev`" } else { "try --help" };
        let _ = writeln!(std::io::stderr(), "{}; {hint}", printable(&line));
    }
    ExitCode::from(if error.exit_code() == 0 { 0 } else { 2 })
}

/// A text without what moves a terminal's cursor or turns its writing round, and not longer than a person reads.
fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown =
        text.chars().map(|c| if c.is_control() || turns(c) { char::REPLACEMENT_CHARACTER } else { c });
    let mut line: String = shown.take(LONGEST_LINE).collect();
    if text.chars().nth(LONGEST_LINE).is_some() {
        line.push('…');
    }
    line
}

fn is_misuse(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Misuse>().is_some()
        || matches!(error.downcast_ref(), Some(NotThere::Queue(_) | NotThere::Message { .. }))
        || matches!(error.downcast_ref(), Some(NotResumed::NoSuchReplay(_)))
        || matches!(error.downcast_ref(), Some(Unreachable::NoAddress(_)))
}

/// Whether the reader of the output has seen enough: `quadrille orders … | head`.
fn is_closed(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

async fn run(arguments: Arguments) -> Result<()> {
    match &arguments.command {
        Command::Completions { shell } => return generated::completions(*shell, Arguments::command()),
        Command::Man => return generated::man(Arguments::command()),
        _ => {}
    }
    let session = &Session::open(&arguments.global).await?;
    match arguments.command {
        Command::Order(command) => order::run(session, command).await,
        Command::Orders(arguments) => orders::run(session, &arguments).await,
        Command::Waiting => waiting::run(session).await,
        Command::Sweep(arguments) => sweep::run(session, &arguments).await,
        Command::Dlq(command) => dlq::run(session, command).await,
        Command::Stock(command) => stock::run(session, command).await,
        Command::Breaker(command) => breaker::run(session, &command).await,
        Command::Bus(command) => bus::run(session, command).await,
        Command::Pipes(command) => pipes::run(session, command).await,
        Command::Replay(arguments) => Tools::new(session).run(arguments).await,
        Command::Audit(arguments) => auditing::run(session, arguments).await,
        Command::Republish(arguments) => republishing::run(session, arguments).await,
        Command::Rebuild(arguments) => rebuilding::run(session, arguments).await,
        Command::Forget(arguments) => forgetting::run(session, arguments).await,
        Command::Completions { .. } | Command::Man => Ok(()),
    }
}
