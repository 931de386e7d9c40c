//! Wires inventory's two functions: its HTTP API and its queue.

use aws::lambda::{self, serve_api, serve_queue};
use chassis::{Consumer, NoEffects, config};
use inventory::{api::ProductsApi, reservation::Reservation};
use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run("inventory", async |function| match function.handler() {
        "api" => {
            let currency = config::parsed("CURRENCY")?;
            serve_api(ProductsApi { ports: function.ports, currency }).await
        }
        "reactor" => {
            let bus = function.bus()?;
            let reservations = NoEffects::<Reservation>::default();
            serve_queue(Consumer::new(function.ports, reservations).answering(bus)).await
        }
        _ => Err(function.unknown_handler("api, reactor")),
    })
}
