//! What a web page in the developer's own browser can do to the local stack: nothing.

use crate::platform::{Platform, on_platform, options, run};
use hyper::Method;
use localstack::stack::Options;
use std::fs;
use std::time::Duration;
use tests::client::{Client, order_of};
use tokio::time::timeout;

const PAGE: &str = "http://evil.example";

async fn status(base: &str, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> u16 {
    Client::new(base).send_with(method, path, headers, body.to_owned()).await.unwrap().status
}

/// Guards: a page that reaches this machine under a name of its own (DNS rebinding) reads nothing, at no port.
#[test]
fn a_host_of_another_name_is_kept_out() {
    on_platform(async |platform| {
        let stack = &platform.stack;
        for (base, path) in
            [(&stack.api, "/health"), (&stack.endpoint, "/faults"), (&stack.provider_url, "/book")]
        {
            let port = base.rsplit(':').next().unwrap();
            for host in ["evil.example", "127.0.0.1.evil.example:3000", "localhost", "127.0.0.1:1"] {
                assert_eq!(
                    status(base, Method::GET, path, &[("host", host)], "").await,
                    421,
                    "{base} {host}"
                );
            }
            for name in ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"] {
                let host = format!("{name}:{port}");
                assert_eq!(status(base, Method::GET, path, &[("host", &host)], "").await, 200, "{host}");
            }
        }
    });
}

/// Guards: a page's request, which carries an `Origin`, changes nothing and reads nothing but the API, where CORS decides.
#[test]
fn an_origin_may_call_the_api_only() {
    on_platform(async |platform| {
        let stack = &platform.stack;
        let page = [("origin", PAGE), ("content-type", "text/plain")];
        let fault = r#"{"fault": "throttle", "times": 3}"#;
        assert_eq!(status(&stack.endpoint, Method::POST, "/faults", &page, fault).await, 403);
        assert_eq!(status(&stack.endpoint, Method::GET, "/issuer/token", &page, "").await, 403);
        assert_eq!(status(&stack.provider_url, Method::GET, "/book", &page, "").await, 403);
        assert_eq!(status(&stack.api, Method::GET, "/health", &page, "").await, 200);
        assert!(
            Client::new(&stack.endpoint).get("/faults").await.unwrap().body.as_array().unwrap().is_empty()
        );
    });
}

/// Guards: a stack without tokens. A page of an origin that is not allowed cannot place an order, though its browser asks nobody before a
/// request without a content type.
#[test]
fn a_page_places_no_order_without_a_token() {
    run(async {
        let mut options = Options { no_auth: true, ..options("pages") };
        options.parameters.insert("AllowedOrigins".into(), "http://shop.example".into());
        let platform = Platform::start(&options).await.unwrap();
        let product = platform.product(10).await;
        let order = order_of(&product, 1).to_string();
        let shown = format!("/products/{product}");
        let placed = async |origin: &str| {
            status(&platform.stack.api, Method::POST, "/orders", &[("origin", origin)], &order).await
        };
        assert_eq!(
            [placed(PAGE).await, placed("null").await, placed("http://shop.example").await],
            [403, 403, 202]
        );
        assert_eq!(status(&platform.stack.api, Method::GET, &shown, &[("origin", PAGE)], "").await, 200);
    });
}

/// `http://127.0.0.1:4570/<secret>/<function>/<number>`, as a function of this platform has it.
fn runtime_api(platform: &Platform) -> String {
    let endpoint = format!("AWS_ENDPOINT_URL={}", platform.stack.endpoint);
    let environments = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let text = fs::read(entry.ok()?.path().join("environ")).ok()?;
        Some(String::from_utf8_lossy(&text).split('\0').map(str::to_owned).collect::<Vec<_>>())
    });
    let mut functions = environments.filter(|environment| environment.contains(&endpoint));
    let found = functions.find_map(|environment| {
        environment.iter().find_map(|text| text.strip_prefix("AWS_LAMBDA_RUNTIME_API=").map(str::to_owned))
    });
    found.expect("a function runs")
}

/// Guards: the Runtime API's secret, and its guard. A page's blind GET, which carries no `Origin`, fetches no invocation away.
#[test]
#[cfg(target_os = "linux")]
fn an_invocation_cannot_be_fetched_away() {
    on_platform(async |platform| {
        let address = runtime_api(platform);
        let parts: Vec<&str> = address.trim_start_matches("http://").split('/').collect();
        let [host, secret, function, number] = parts[..] else { panic!("{address}") };
        // One that knew the secret would be a page nevertheless.
        let (base, path) = (
            format!("http://{host}"),
            format!("/{secret}/{function}/{number}/2018-06-01/runtime/invocation/next"),
        );
        assert_eq!(status(&base, Method::GET, &path, &[("host", "evil.example")], "").await, 421);
        assert_eq!(status(&base, Method::GET, &path, &[("origin", PAGE)], "").await, 403);
        for guess in [
            format!("{function}/{number}"),
            format!("secret/{function}/{number}"),
            format!("/{function}/{number}"),
        ] {
            let path = format!("/{guess}/2018-06-01/runtime/invocation/next");
            let client = Client::new(format!("http://{host}"));
            let answer = timeout(Duration::from_secs(5), client.get(&path)).await.expect(&path).unwrap();
            assert_eq!(answer.status, 404, "{path}");
        }
    });
}
