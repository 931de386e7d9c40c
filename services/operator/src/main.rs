//! The operator's command line.

use anyhow::Result;
use chassis::aws::{self, dynamodb::DynamoStore, eventbridge::EventBus, sqs::Queues};
use chrono::Utc;
use clap::{Parser, Subcommand};
use events::OrderId;
use operator::letters::Stage;
use operator::redrive::NotRedriven;
use std::io::Write;
use std::process::ExitCode;

/// What the people who run the platform do by hand.
///
/// Region and credentials are those of the AWS CLI; with AWS_ENDPOINT_URL=http://127.0.0.1:4566 it works on the local
/// stack.
#[derive(Parser)]
#[command(name = "operator", version)]
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
    /// Send dead letters back to where they failed, and show what becomes of each
    Redrive {
        /// The dead-letter queue, `local-payments-inbox-dlq`
        queue: String,
        /// Only the letters about this order
        #[arg(long)]
        order: Option<OrderId>,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let misused =
                matches!(error.downcast_ref(), Some(NotRedriven::NoSuchQueue(_) | NotRedriven::NoEvents(_)));
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(if misused { 2 } else { 1 })
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let sdk = aws::sdk_config().await;
    let bus = EventBus::new(&sdk, format!("{}-quadrille", arguments.stage));
    let queues = Queues::new(&sdk);
    let stage =
        Stage { name: arguments.stage, queues, table: Box::new(move |name| DynamoStore::new(&sdk, name)) };
    let (lines, nothing) = match arguments.command {
        Command::Dlq => (stage.list(Utc::now()).await?, "no dead letters"),
        Command::Redrive { queue, order } => {
            (stage.redrive(&queue, order, &bus).await?, "nothing to send back")
        }
    };
    let mut out = std::io::stdout().lock();
    for line in &lines {
        writeln!(out, "{line}")?;
    }
    if lines.is_empty() {
        writeln!(out, "{nothing}")?;
    }
    Ok(())
}
