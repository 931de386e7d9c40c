//! Wires sales' two functions: its HTTP API and its queue.

use aws::lambda::{self, serve_api, serve_queue};
use chassis::config;
use sales::{api::ReportsApi, reactor::Bookkeeper};
use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run("sales", async |function| match function.handler() {
        "api" => {
            let (currency, auth) = (config::parsed("CURRENCY")?, config::parsed("AUTH")?);
            serve_api(ReportsApi { ports: function.ports, currency, auth }).await
        }
        "reactor" => serve_queue(Bookkeeper { ports: function.grouped() }).await,
        _ => Err(function.unknown_handler("api, reactor")),
    })
}
