//! Wires orders' three functions: its HTTP API, its queue, and the sweeper.

use anyhow::{Context, Result};
use aws::dynamodb::DynamoStore;
use aws::lambda::{self, Function, serve_api, serve_queue, serve_tasks};
use chassis::{config, http::cursor::Cursors};
use orders::{http::OrdersApi, reactor::Tracker, sweeper::Sweeper};
use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run("orders", async |function| match function.handler() {
        "api" => serve_api(api(function).await?).await,
        "reactor" => serve_queue(Tracker { ports: function.ports }).await,
        "sweeper" => {
            let bus = function.bus()?;
            serve_tasks(Sweeper { ports: function.ports, bus }).await
        }
        _ => Err(function.unknown_handler("api, reactor, sweeper")),
    })
}

async fn api(function: Function) -> Result<OrdersApi<DynamoStore>> {
    let key = function.secret("CURSOR_KEY")?.read().await?;
    let cursors = Cursors::new(&key).context("no key for cursors")?;
    let (stage, auth) = (config::required("STAGE")?, config::parsed("AUTH")?);
    Ok(OrdersApi { ports: function.ports, stage, auth, cursors })
}
