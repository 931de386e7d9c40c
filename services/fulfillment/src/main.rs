//! Wires fulfillment's two functions: its queue, and the queue of what was tried often enough.

use aws::lambda::{self, serve_queue};
use chassis::{Consumer, config};
use fulfillment::carrier::HttpCarrier;
use fulfillment::reactor::{Effort, Shipping};
use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run("fulfillment", async |function| {
        let effort = match function.handler() {
            "reactor" => Effort::Ship,
            "abandoner" => Effort::GiveUp,
            _ => return Err(function.unknown_handler("reactor, abandoner")),
        };
        let secret = function.secret("CARRIER_SECRET")?.read().await?;
        let carrier = HttpCarrier::new(&config::parsed("CARRIER_URL")?, &secret)?;
        let bus = function.bus()?;
        serve_queue(Consumer::new(function.ports, Shipping { carrier, effort }).answering(bus)).await
    })
}
