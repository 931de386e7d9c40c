//! Access with the tokens of the common issuers: the local issuer writes them, and sets the parameters that fit.

use crate::platform::{Platform, options, root, run};
use crate::{access, edge};
use hyper::Method;
use localstack::outside::token_issuer::{Dialect, SCOPES};
use localstack::stack::Options;
use serde_json::json;
use std::process::Command;
use std::time::Duration;
use tests::client::encoded;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Guards: nothing rests on how one issuer writes tokens. Its parameters are all that a stage needs to be set to.
async fn access_holds(dialect: Dialect) {
    let name = format!("dialect-{dialect:?}").to_lowercase();
    let stage = "local".to_owned();
    let platform = Platform::start(&Options { issuer: dialect, stage, ..options(&name) }).await.unwrap();
    access::routes_ask_for_scopes(&platform).await;
    access::orders_are_the_customers_own(&platform).await;
    edge::keys_are_the_customers_own(&platform).await;
    edge::lists_are_paged(&platform).await;
    methods_are_saved(&platform).await;
    the_smoke_test_passes(&platform);
}

/// Guards: the smoke test orders as the customer that this issuer's claim names.
fn the_smoke_test_passes(platform: &Platform) {
    let mut smoke = Command::new(root().join("infra/smoke"));
    smoke.args(["local", &format!("api={}", platform.stack.api)]).env_remove("TOKEN");
    let ended = smoke.arg(format!("endpoint={}", platform.stack.endpoint)).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// A customer is shown as its issuer names it, wherever it is shown, and is the same in paths, keys and messages.
async fn methods_are_saved(platform: &Platform) {
    let (ada, bob) =
        (platform.customer("ada"), platform.bearing("bob", SCOPES.trim_end_matches("products:write")));
    let client = platform.bearing("ada", "orders:read orders:write");
    let path = format!("/customers/{}/payment-method", encoded(&ada));
    let saved = client.send(Method::PUT, &path, r#"{"payment_method": "pm_card_visa"}"#).await.unwrap();
    assert_eq!((saved.status, &saved.body["customer_id"]), (201, &json!(ada)));
    assert_eq!(client.get(&path).await.unwrap().body, saved.body);
    // People who run the shop see it too; its customer is bob by name only.
    assert_eq!(bob.get(&path).await.unwrap().status, 200);
    let product = platform.product(10).await;
    let mut order = platform.order_of(&product, 1);
    order.as_object_mut().unwrap().remove("payment_method");
    let id = client.place(&order).await.unwrap();
    let ended = client.ended(&id, TIMEOUT).await.unwrap();
    assert_eq!((&ended["status"], &ended["customer_id"]), (&json!("FULFILLED"), &json!(ada)));
    let book = platform.provider.get("/book").await.unwrap().body;
    let intents: Vec<_> =
        book.as_object().unwrap().values().filter(|i| i["order_id"] == id.as_str()).collect();
    assert_eq!(intents.len(), 1, "{book}");
}

#[test]
fn cognito() {
    run(access_holds(Dialect::Cognito));
}

#[test]
fn auth0() {
    run(access_holds(Dialect::Auth0));
}

#[test]
fn okta() {
    run(access_holds(Dialect::Okta));
}

#[test]
fn entra() {
    run(access_holds(Dialect::Entra));
}
