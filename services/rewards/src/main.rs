//! Wires rewards' one function: its queue.

use aws::lambda::{self, serve_queue};
use chassis::Consumer;
use rewards::reactor::Reactions;
use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run("rewards", async |function| match function.handler() {
        "reactor" => serve_queue(Consumer::new(function.grouped(), Reactions::default())).await,
        _ => Err(function.unknown_handler("reactor")),
    })
}
