//! The operator's command line.

mod forgetting;
mod replaying;

use anyhow::{Result, ensure};
use aws::pipes::{Pipe, Pipes};
use aws::sdk::{SdkConfig, operators_config};
use aws::{dynamodb::DynamoStore, eventbridge::EventBus, invoke::invoke, sqs::Queues};
use chrono::Utc;
use clap::{Parser, Subcommand};
use events::{OrderId, envelope::millis};
use forgetting::ForgetArguments;
use operator::dead_letters::Stage;
use operator::redrive::NotRedriven;
use operator::replay::NotResumed;
use replaying::{Misuse, ReplayArguments, Tools};
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;

/// What the people who run the platform do by hand.
///
/// Region and credentials are those of the AWS CLI. The stage `local` is the local stack at 127.0.0.1:4566, or at
/// AWS_ENDPOINT_URL.
#[derive(Parser)]
#[command(name = "quadrille", version)]
struct Arguments {
    /// The stage to look at
    #[arg(long, global = true, default_value = "local")]
    stage: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the dead letters: age, event, order, and why they are there
    Dlq,
    /// List the orders that wait: FAILED ones, which need an operator, and those with an overdue step
    Waiting,
    /// Send dead letters back to where they failed, and show each one's verdict; fails unless the service has dealt with all
    Redrive {
        /// The dead-letter queue, `local-quadrille-payments-events-dlq`; its stage is the first part of its name
        queue: String,
        /// Only the dead letters about this order
        #[arg(long)]
        order: Option<OrderId>,
    },
    /// Have a refund that was refused for good tried again
    RetryCompensation {
        /// The order, which is FAILED
        order: OrderId,
    },
    /// Publish events of the log once more; nothing is charged, shipped or notified for it
    Replay(ReplayArguments),
    /// Delete the keys of a customer's addresses, which makes them unreadable wherever they are
    Forget(ForgetArguments),
    /// List, stop and start the pipes by which events leave the services' tables
    Pipes {
        #[command(subcommand)]
        command: PipesCommand,
    },
    /// Remind every silent step now that is overdue, instead of waiting for the next minute
    Sweep {
        /// Treat as overdue what will be in so many seconds, at most a day
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=86_400))]
        ahead: u32,
    },
}

#[derive(Subcommand)]
enum PipesCommand {
    /// Each pipe with its state, and since when
    List,
    /// Have a service's pipe stop; what it has not carried after a day is lost
    Stop {
        /// `orders`
        service: String,
    },
    /// Have a service's pipe start where it stood
    Start {
        /// `orders`
        service: String,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let misused =
                matches!(error.downcast_ref(), Some(NotRedriven::NoSuchQueue(_) | NotRedriven::NoEvents(_)))
                    || matches!(error.downcast_ref(), Some(NotResumed::NoSuchReplay(_)))
                    || error.downcast_ref::<Misuse>().is_some();
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(if misused { 2 } else { 1 })
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    // A queue's name says which stage it belongs to.
    let name = match &arguments.command {
        Command::Redrive { queue, .. } => queue.split('-').next().unwrap_or_default().to_owned(),
        _ => arguments.stage,
    };
    let sdk = operators_config(&name).await;
    let function = |function: &str| format!("{name}-quadrille-{function}");
    match arguments.command {
        Command::RetryCompensation { order } => {
            retry_compensation(&sdk, &function("payments-compensator"), order).await
        }
        Command::Sweep { ahead } => {
            let input = json!({ "ahead_seconds": ahead });
            let swept = invoke(&sdk, &function("orders-sweeper"), &input).await?;
            let line = format!(
                "{} overdue: {} reminded, {} given up; {} ended ones reconciled",
                swept["overdue"], swept["nudged"], swept["timed_out"], swept["reconciled"]
            );
            say(&[line], "")
        }
        Command::Pipes { command } => pipes(&sdk, &name, command).await,
        Command::Replay(arguments) => Tools::new(&sdk, &name, &arguments).run(arguments).await,
        Command::Forget(arguments) => forgetting::run(&sdk, &name, arguments).await,
        Command::Dlq => say(&stage(&sdk, &name).list(Utc::now()).await?, "no dead letters"),
        Command::Waiting => say(&stage(&sdk, &name).waiting(Utc::now()).await?, "nothing waits"),
        Command::Redrive { queue, order } => {
            let bus = EventBus::new(&sdk, format!("{name}-quadrille"));
            let (lines, well) = stage(&sdk, &name).redrive(&queue, order, &bus).await?;
            say(&lines, "nothing to send back")?;
            ensure!(well, "not every dead letter is dealt with");
            Ok(())
        }
    }
}

async fn pipes(sdk: &SdkConfig, stage: &str, command: PipesCommand) -> Result<()> {
    let pipes = Pipes::new(sdk);
    let (service, running) = match command {
        PipesCommand::List => {
            let since = |pipe: &Pipe| pipe.since.map_or_else(|| "?".to_owned(), |since| millis::text(&since));
            let line = |pipe: &Pipe| format!("{}  {}  since {}", pipe.name, pipe.state, since(pipe));
            let lines: Vec<_> = pipes.list(&format!("{stage}-quadrille-")).await?.iter().map(line).collect();
            return say(&lines, "no pipes: the stage has relays");
        }
        PipesCommand::Stop { service } => (service, false),
        PipesCommand::Start { service } => (service, true),
    };
    let name = format!("{stage}-quadrille-{service}");
    pipes.set(&name, running).await?;
    say(&[format!("{name} {}", if running { "starts" } else { "stops" })], "")
}

async fn retry_compensation(sdk: &SdkConfig, function: &str, order: OrderId) -> Result<()> {
    let answer = invoke(sdk, function, &json!({"task": "Retry", "order_id": order})).await?;
    let published = answer["published_again"].as_str();
    let recorded = answer["recorded"] == true || published.is_some();
    ensure!(recorded, "no refund of order {order} waits for another try");
    let line = match published {
        Some(event) => format!("nothing is left to undo: payments publishes {event} again"),
        None => format!("requested again; GET /orders/{order}/saga shows how it ends"),
    };
    say(&[line], "")
}

fn say(lines: &[String], nothing: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    if lines.is_empty() {
        writeln!(out, "{nothing}")?;
    }
    Ok(())
}

fn stage(sdk: &SdkConfig, name: &str) -> Stage<DynamoStore> {
    let (queues, sdk) = (Queues::new(sdk), sdk.clone());
    Stage { name: name.to_owned(), queues, table: Box::new(move |name| DynamoStore::new(&sdk, name)) }
}
