//! The command `sweep`: the sweeper, now.

use crate::session::Session;
use anyhow::Result;
use aws::invoke::invoke;
use clap::Args;
use serde_json::json;

#[derive(Args)]
pub struct SweepArguments {
    /// Treat as overdue what will be in so many seconds, at most a day
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    ahead: u32,
}

/// Runs the sweeper, and prints what it did.
pub async fn run(session: &Session, arguments: &SweepArguments) -> Result<()> {
    let input = json!({ "ahead_seconds": arguments.ahead });
    let swept = invoke(&session.sdk, &session.name("orders-sweeper"), &input).await?;
    let line = format!(
        "{} overdue: {} reminded, {} given up; {} ended ones reconciled",
        swept["overdue"], swept["nudged"], swept["timed_out"], swept["reconciled"]
    );
    session.done(&line, &swept)
}
