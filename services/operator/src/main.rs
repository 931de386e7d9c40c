//! The operator's command line.

use anyhow::Result;
use chassis::aws::{
    self, SdkConfig, dynamodb::DynamoStore, eventbridge::EventBus, invoke::invoke, sqs::Queues,
};
use chrono::Utc;
use clap::{Parser, Subcommand};
use events::OrderId;
use operator::letters::Stage;
use operator::redrive::NotRedriven;
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;

/// What the people who run the platform do by hand.
///
/// Region and credentials are those of the AWS CLI. The stage `local` is the local stack at 127.0.0.1:4566, or at
/// AWS_ENDPOINT_URL.
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
    /// Have a refund that was refused for good tried again
    RetryCompensation {
        /// The order, which is FAILED
        order: OrderId,
    },
    /// Remind every silent step now that is overdue, instead of waiting for the next minute
    Sweep {
        /// Treat as overdue what will be in so many seconds, at most a day
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=86_400))]
        ahead: u32,
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
    let sdk = aws::operators_config(&arguments.stage).await;
    let function = |name: &str| format!("{}-{name}", arguments.stage);
    let (lines, nothing) = match arguments.command {
        Command::RetryCompensation { order } => {
            let task = json!({"task": "Retry", "order_id": order});
            (vec![invoke(&sdk, &function("payments-compensator"), &task).await?.to_string()], "")
        }
        Command::Sweep { ahead } => {
            let input = json!({ "ahead_seconds": ahead });
            (vec![invoke(&sdk, &function("orders-sweeper"), &input).await?.to_string()], "")
        }
        Command::Dlq => (stage(&sdk, &arguments.stage).list(Utc::now()).await?, "no dead letters"),
        Command::Redrive { queue, order } => {
            let bus = EventBus::new(&sdk, function("quadrille"));
            let lines = stage(&sdk, &arguments.stage).redrive(&queue, order, &bus).await?;
            (lines, "nothing to send back")
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

fn stage(sdk: &SdkConfig, name: &str) -> Stage<DynamoStore> {
    let (queues, sdk) = (Queues::new(sdk), sdk.clone());
    Stage { name: name.to_owned(), queues, table: Box::new(move |name| DynamoStore::new(&sdk, name)) }
}
