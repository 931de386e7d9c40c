//! Wires orders' three functions: its HTTP API, its queue, and the sweeper.

use anyhow::{Context, Result, anyhow};
use chassis::{Ports, Store, aws, config, cursor::Cursors, lambda, log};
use orders::{api::OrdersApi, reactor::Inbox, sweeping::Sweeper};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// One thread: a function waits far more than it computes, and a wake-up across threads costs more than the
// work it hands over.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    log::init("orders");
    let sdk = aws::sdk_config().await;
    let ports = Ports::system(aws::dynamodb::DynamoStore::new(&sdk, config::required("TABLE")?));
    let handler = config::handler()?;
    let served = match handler.as_str() {
        "api" => lambda::serve_api(api(ports, &sdk).await?).await,
        "reactor" => lambda::serve_queue(Inbox { ports }).await,
        "sweeper" => {
            let bus = aws::eventbridge::EventBus::new(&sdk, config::required("BUS")?);
            lambda::serve_tasks(Sweeper { ports, bus }).await
        }
        other => return Err(config::unknown_handler(other, "api, reactor, sweeper").into()),
    };
    served.map_err(|e| anyhow!(e))
}

async fn api<S: Store>(ports: Ports<S>, sdk: &aws::SdkConfig) -> Result<OrdersApi<S>> {
    let key = aws::secrets::secret(sdk, &config::required("CURSOR_KEY")?).await?;
    let cursors = Cursors::new(&key).context("no key for cursors")?;
    Ok(OrdersApi { ports, stage: config::required("STAGE")?, auth: config::parsed("AUTH")?, cursors })
}
