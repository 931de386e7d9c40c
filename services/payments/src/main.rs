//! Wires payments' three functions: its queue, its HTTP API, and the tasks of its compensation flow.

use anyhow::Result;
use aws::lambda::{self, Function, serve_api, serve_queue, serve_tasks};
use aws::secrets::Secret;
use chassis::{Consumer, config};
use chrono::TimeDelta;
use payments::api::CustomersApi;
use payments::compensation::Compensator;
use payments::provider::https::Https;
use payments::provider::{circuit_breaker::CircuitBreaker, stripe::Stripe};
use payments::reactor::Charges;
use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run("payments", async |function| {
        let provider = provider(&function).await?;
        let open_for = TimeDelta::seconds(config::parsed::<u32>("CIRCUIT_OPEN_SECONDS")?.into());
        match function.handler() {
            "reactor" => {
                let bus = function.bus()?;
                let ports = function.grouped();
                let circuit = CircuitBreaker::new(provider, ports.clone(), open_for);
                let (store, fallback) = (ports.store.clone(), config::optional("FALLBACK_PAYMENT_METHOD"));
                let charges = Charges { circuit, store, fallback };
                serve_queue(Consumer::new(ports, charges).answering(bus)).await
            }
            "api" => {
                let auth = config::parsed("AUTH")?;
                let circuit = CircuitBreaker::new(provider, function.ports.clone(), open_for);
                serve_api(CustomersApi { ports: function.ports, circuit, auth }).await
            }
            "compensator" => {
                let bus = function.bus()?;
                let circuit = CircuitBreaker::new(provider, function.ports.clone(), open_for);
                serve_tasks(Compensator { ports: function.ports, bus, circuit }).await
            }
            _ => Err(function.unknown_handler("reactor, api, compensator")),
        }
    })
}

async fn provider(function: &Function) -> Result<Stripe<Https<Secret>>> {
    let key = function.secret("PROVIDER_SECRET")?;
    Ok(Stripe(Https::new(&config::parsed("PROVIDER_URL")?, key).await?))
}
