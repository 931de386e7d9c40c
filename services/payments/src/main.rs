//! Wires payments' two functions: its queue, and the tasks of its compensation flow.

use anyhow::Result;
use aws::lambda::{self, Function, serve_queue, serve_tasks};
use chassis::http::client::HttpClient;
use chassis::{Consumer, config};
use chrono::TimeDelta;
use payments::compensation::Compensator;
use payments::provider::{circuit_breaker::CircuitBreaker, stripe::Stripe};
use payments::reactor::Charges;
use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run("payments", async |function| {
        let (bus, provider) = (function.bus()?, provider(&function).await?);
        let open_for = TimeDelta::seconds(config::parsed::<u32>("CIRCUIT_OPEN_SECONDS")?.into());
        let circuit = CircuitBreaker::new(provider, function.ports.clone(), open_for);
        match function.handler() {
            "reactor" => serve_queue(Consumer::new(function.ports, Charges { circuit }).answering(bus)).await,
            "compensator" => serve_tasks(Compensator { ports: function.ports, bus, circuit }).await,
            _ => Err(function.unknown_handler("reactor, compensator")),
        }
    })
}

async fn provider(function: &Function) -> Result<Stripe<HttpClient>> {
    let secret = function.secret("PROVIDER_SECRET").await?;
    Ok(Stripe::new(&config::parsed("PROVIDER_URL")?, &secret)?)
}
