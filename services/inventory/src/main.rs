//! Wires inventory's three functions: its HTTP API, its queue, and an operator's counts.

use aws::lambda::{self, serve_api, serve_queue, serve_tasks};
use chassis::{Consumer, config};
use inventory::{api::ProductsApi, counter::Counter, reactor::Reactions};
use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run("inventory", async |function| match function.handler() {
        "api" => {
            let (currency, auth) = (config::parsed("CURRENCY")?, config::parsed("AUTH")?);
            serve_api(ProductsApi { ports: function.ports, currency, auth }).await
        }
        "reactor" => {
            let bus = function.bus()?;
            serve_queue(Consumer::new(function.grouped(), Reactions::default()).answering(bus)).await
        }
        "counter" => serve_tasks(Counter { ports: function.ports }).await,
        _ => Err(function.unknown_handler("api, reactor, counter")),
    })
}
