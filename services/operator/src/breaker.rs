//! The commands about payments' circuit breaker.

use crate::session::Session;
use anyhow::Result;
use aws::invoke::invoke;
use chassis::aggregate::{Loaded, load};
use clap::Subcommand;
use events::payments::PROVIDER;
use registry::payments::breaker::Breaker;
use registry::payments::provider::circuit_breaker;
use serde_json::{Value, json};

#[derive(Subcommand)]
pub enum BreakerCommand {
    /// Whether payments calls its provider
    Show,
    /// Close the circuit without waiting for a probe, and publish that it is closed; payments calls the provider again within
    /// five seconds
    Reset,
}

/// Does what the command says.
pub async fn run(session: &Session, command: &BreakerCommand) -> Result<()> {
    if let BreakerCommand::Reset = command {
        let task = json!({"task": "ResetBreaker"});
        invoke(&session.sdk, &session.name("payments-compensator"), &task).await?;
    }
    let loaded: Loaded<Breaker> = load(&session.table("payments"), &circuit_breaker::id()).await?;
    let columns =
        [("provider", "provider"), ("state", "state"), ("failures", "failures"), ("until", "until")];
    session.rows(&columns, &[row(&loaded.state)], "")
}

fn row(breaker: &Breaker) -> Value {
    let shown = json!(breaker);
    json!({
        "provider": PROVIDER,
        "state": shown["stage"],
        "failures": shown["failures"].as_array().map_or(0, Vec::len),
        "until": shown["until"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    #[test]
    fn an_open_circuit_says_until_when() {
        let open = row(&Breaker::Open { until: DateTime::UNIX_EPOCH });
        assert_eq!(
            (open["state"].as_str(), open["until"].as_str()),
            (Some("OPEN"), Some("1970-01-01T00:00:00.000Z"))
        );
        assert_eq!(row(&Breaker::default())["state"], "CLOSED");
    }
}
