//! Wires inventory's two functions: its HTTP API and its queue.

use anyhow::{Result, anyhow};
use chassis::{Ports, aws, batch::Answering, config, lambda, log};
use inventory::{api::ProductsApi, reactor::Inventory};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// One thread: a function waits far more than it computes, and a wake-up across threads costs more than the
// work it hands over.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    log::init("inventory");
    let sdk = aws::sdk_config().await;
    let ports = Ports::system(aws::dynamodb::DynamoStore::new(&sdk, config::required("TABLE")?));
    let handler = config::handler()?;
    let served = match handler.as_str() {
        "api" => lambda::serve_api(ProductsApi { ports, currency: config::parsed("CURRENCY")? }).await,
        "reactor" => {
            let bus = aws::eventbridge::EventBus::new(&sdk, config::required("BUS")?);
            lambda::serve_queue(Answering { ports, reactor: Inventory, bus }).await
        }
        other => return Err(config::unknown_handler(other, "api, reactor").into()),
    };
    served.map_err(|e| anyhow!(e))
}
