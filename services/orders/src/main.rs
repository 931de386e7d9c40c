//! Wires orders' three functions: its HTTP API, its queue, and the sweeper.

use anyhow::{Context, Result};
use aws::dynamodb::DynamoStore;
use aws::lambda::{self, Function, serve_api, serve_queue, serve_tasks};
use aws::secrets::Secret;
use chassis::ports::Secret as _;
use chassis::store::{Grouped, Limits};
use chassis::{config, http::cursor::Cursors};
use orders::http::{OrdersApi, renewed::Renewed};
use orders::{reactor::Tracker, sweeper::Sweeper};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

fn main() -> ExitCode {
    lambda::run("orders", async |function| match function.handler() {
        "api" => serve_api(api(function).await?).await,
        "reactor" => serve_queue(Tracker { ports: function.grouped() }).await,
        "sweeper" => {
            let bus = function.bus()?;
            serve_tasks(Sweeper { ports: function.ports, bus }).await
        }
        _ => Err(function.unknown_handler("api, reactor, sweeper")),
    })
}

async fn api(function: Function) -> Result<Renewed<OrdersApi<Grouped<DynamoStore>>, Secret>> {
    let key = function.secret("CURSOR_KEY")?;
    let cursors = Cursors::new(&key.read().await?).context("no key for cursors")?;
    let (stage, auth) = (config::required("STAGE")?, config::parsed("AUTH")?);
    let max_wait = Duration::from_secs(config::parsed("MAX_WAIT_SECONDS")?);
    let clock = Arc::clone(&function.ports.clock);
    let mut ports = function.ports;
    ports.store = ports.store.with_keys(config::required("KEYS")?);
    let ports = ports.grouped(Limits::default());
    let api = OrdersApi { ports, stage, auth, cursors: cursors.clone(), max_wait };
    Ok(Renewed::new(api, cursors, key, clock))
}
