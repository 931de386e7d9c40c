//! Wires fulfillment's one function: its queue.

use aws::lambda::{self, serve_queue};
use chassis::{Consumer, config};
use fulfillment::carrier::HttpCarrier;
use fulfillment::reactor::Shipping;
use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run("fulfillment", async |function| {
        if function.handler() != "reactor" {
            return Err(function.unknown_handler("reactor"));
        }
        let key = function.secret("CARRIER_SECRET")?;
        let carrier = HttpCarrier::new(&config::parsed("CARRIER_URL")?, key).await?;
        let (keys, bus) = (function.keys()?, function.bus()?);
        serve_queue(Consumer::new(function.grouped(), Shipping { carrier, keys }).answering(bus)).await
    })
}
