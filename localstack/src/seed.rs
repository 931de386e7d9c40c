//! A few products, so that a first order has something to buy. Listed through the public API like any other.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use std::time::{Duration, Instant};

/// Id, name, cents, stock.
pub const PRODUCTS: [(&str, &str, u32, u32); 5] = [
    ("espresso-beans", "Espresso beans, 1 kg", 1450, 100),
    ("filter-papers", "Filter papers, 100 pieces", 390, 500),
    ("pour-over-kettle", "Pour-over kettle", 6900, 25),
    ("last-grinder", "Hand grinder, the last one", 8900, 1),
    ("unshippable-anvil", "Anvil, which no carrier takes", 19900, 3),
];

/// How long a function may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Lists the products at the API, in the name of `token`.
///
/// # Errors
/// When the API refuses one.
pub async fn products(api: &str, token: &str) -> Result<()> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let started = Instant::now();
    for (id, name, cents, stock) in PRODUCTS {
        loop {
            let body = json!({"name": name, "unit_price_cents": cents, "stock": stock}).to_string();
            let request = Request::put(format!("{api}/products/{id}"))
                .header("content-type", "application/json")
                .header("authorization", format!("Bearer {token}"))
                .body(Full::from(body))?;
            let answer = client.request(request).await.with_context(|| format!("listing {id}"))?;
            let status = answer.status();
            let text = answer.into_body().collect().await?.to_bytes();
            // An earlier try, whose answer was lost, has listed it: a count without If-Match is refused then.
            if status.is_success() || status == StatusCode::PRECONDITION_REQUIRED {
                break;
            }
            let text = String::from_utf8_lossy(&text).into_owned();
            ensure!(
                status.is_server_error() && started.elapsed() < START_TIMEOUT,
                "listing {id}: {status} {text}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}
