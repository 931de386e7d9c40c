//! Wires inventory's two functions: its HTTP API and its queue.

use aws::lambda::{self, serve_api, serve_queue};
use chassis::{Consumer, config};
use inventory::{api::ProductsApi, reactor::Reactions};
use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run("inventory", async |function| match function.handler() {
        "api" => {
            let (currency, auth) = (config::parsed("CURRENCY")?, config::parsed("AUTH")?);
            serve_api(ProductsApi { ports: function.ports, currency, auth }).await
        }
        "reactor" => {
            let bus = function.bus()?;
            serve_queue(Consumer::new(function.ports, Reactions::default()).answering(bus)).await
        }
        _ => Err(function.unknown_handler("api, reactor")),
    })
}
