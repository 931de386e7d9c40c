//! Wires notifications' one function: its queue.

use anyhow::{Result, anyhow};
use chassis::{Ports, aws, batch::Reacting, config, lambda, log};
use notifications::reactor::Notifications;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// One thread: a function waits far more than it computes, and a wake-up across threads costs more than the
// work it hands over.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    log::init("notifications");
    let sdk = aws::sdk_config().await;
    let ports = Ports::system(aws::dynamodb::DynamoStore::new(&sdk, config::required("TABLE")?));
    let topic = aws::sns::SnsTopic::new(&sdk, config::required("TOPIC")?);
    match config::handler()?.as_str() {
        "reactor" => {
            let reactor = Notifications { topic };
            lambda::serve_queue(Reacting { ports, reactor }).await.map_err(|e| anyhow!(e))
        }
        other => Err(config::unknown_handler(other, "reactor").into()),
    }
}
