//! Wires payments' two functions: its queue, and the tasks of its compensation flow.

use anyhow::{Result, anyhow};
use chassis::{Ports, aws, batch::Answering, config, lambda, log};
use chrono::TimeDelta;
use payments::{compensating::Compensator, guard::Guarded, provider::Provider, reactor::Payments};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// One thread: a function waits far more than it computes, and a wake-up across threads costs more than the
// work it hands over.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    log::init("payments");
    let sdk = aws::sdk_config().await;
    let ports = Ports::system(aws::dynamodb::DynamoStore::new(&sdk, config::required("TABLE")?));
    let secret = aws::secrets::secret(&sdk, &config::required("PROVIDER_SECRET")?).await?;
    let provider = Provider::new(&config::parsed("PROVIDER_URL")?, &secret)?;
    let open_for = TimeDelta::seconds(config::parsed::<u32>("CIRCUIT_OPEN_SECONDS")?.into());
    let provider = Guarded::new(provider, ports.clone(), open_for);
    let bus = aws::eventbridge::EventBus::new(&sdk, config::required("BUS")?);
    match config::handler()?.as_str() {
        "reactor" => {
            let reactor = Payments { provider };
            lambda::serve_queue(Answering { ports, reactor, bus }).await.map_err(|e| anyhow!(e))
        }
        "compensator" => {
            lambda::serve_tasks(Compensator { ports, bus, provider }).await.map_err(|e| anyhow!(e))
        }
        other => Err(config::unknown_handler(other, "reactor, compensator").into()),
    }
}
