//! Wires fulfillment's two functions: its queue, and the queue of what was tried often enough.

use anyhow::{Result, anyhow};
use chassis::{Ports, aws, batch::Answering, config, lambda, log};
use fulfillment::carrier::HttpCarrier;
use fulfillment::reactor::{Effort, Fulfillment};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// One thread: a function waits far more than it computes, and a wake-up across threads costs more than the
// work it hands over.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    log::init("fulfillment");
    let sdk = aws::sdk_config().await;
    let ports = Ports::system(aws::dynamodb::DynamoStore::new(&sdk, config::required("TABLE")?));
    let secret = aws::secrets::secret(&sdk, &config::required("CARRIER_SECRET")?).await?;
    let carrier = HttpCarrier::new(&config::parsed("CARRIER_URL")?, &secret)?;
    let effort = match config::handler()?.as_str() {
        "reactor" => Effort::Ship,
        "abandoner" => Effort::GiveUp,
        other => return Err(config::unknown_handler(other, "reactor, abandoner").into()),
    };
    let reactor = Fulfillment { carrier, effort };
    let bus = aws::eventbridge::EventBus::new(&sdk, config::required("BUS")?);
    lambda::serve_queue(Answering { ports, reactor, bus }).await.map_err(|e| anyhow!(e))
}
