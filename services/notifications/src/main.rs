//! Wires notifications' one function: its queue.

use aws::lambda::{self, serve_queue};
use chassis::Consumer;
use notifications::reactor::Publishing;
use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run("notifications", async |function| match function.handler() {
        "reactor" => {
            let topic = function.topic()?;
            serve_queue(Consumer::new(function.grouped(), Publishing { topic })).await
        }
        _ => Err(function.unknown_handler("reactor")),
    })
}
