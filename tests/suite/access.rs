//! Access as the template declares it: tokens and scopes, throttling, and the web pages that may call the API.

use crate::platform::{Platform, on_platform, options, run};
use hyper::Method;
use localstack::stack::Options;
use serde_json::json;
use std::collections::BTreeMap;
use tests::client::{Client, order_of};

const CUSTOMER: &str = "orders:read orders:write";

/// Guards: the authorizer on every route but the open ones, and the scope that each asks for.
#[test]
fn every_route_asks_for_a_token_with_its_scope() {
    on_platform(async |platform| {
        let anonymous = Client::new(&platform.stack.api);
        let order = "/orders/018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f";
        let (events, saga, cancel) =
            (format!("{order}/events"), format!("{order}/saga"), format!("{order}/cancel"));
        for (method, path, scope) in [
            (Method::POST, "/orders", "orders:write"),
            (Method::GET, "/orders", "orders:read"),
            (Method::GET, order, "orders:read"),
            (Method::GET, &events, "orders:read"),
            (Method::GET, &saga, "orders:read"),
            (Method::POST, &cancel, "orders:write"),
            (Method::PUT, "/products/x", "products:write"),
            (Method::GET, "/products/x", "orders:read"),
            (Method::PUT, "/customers/ada/payment-method", "orders:write"),
            (Method::GET, "/customers/ada/payment-method", "orders:read"),
        ] {
            let answer = anonymous.send(method.clone(), path, "").await.unwrap();
            assert_eq!(answer.status, 401, "{method} {path}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            let answer = platform.bearing("ada", "other").send(method.clone(), path, "").await.unwrap();
            assert_eq!(answer.status, 403, "{method} {path}");
            let answer = platform.bearing("ada", scope).send(method.clone(), path, "").await.unwrap();
            assert!(![401, 403].contains(&answer.status), "{method} {path}: {}", answer.status);
        }
        for open in ["/health", "/openapi.json"] {
            assert_eq!(anonymous.get(open).await.unwrap().status, 200, "{open}");
        }
    });
}

/// Guards: the functions' own check. A request that reaches a function around the API's authorizer, as through another API
/// of the account, is refused, and so is one whose token has not the scope.
#[test]
fn a_function_refuses_what_comes_around_the_authorizer() {
    on_platform(async |platform| {
        let orders = [("test-quadrille-orders-api", "GET /orders", "orders:read")];
        let products = ["PUT", "GET"].map(|method| format!("{method} /products/{{id}}"));
        let products =
            products.iter().map(|route| ("test-quadrille-inventory-api", route.as_str(), "products:write"));
        let customers = [("PUT", "orders:write"), ("GET", "orders:read")];
        let customers =
            customers.map(|(method, scope)| (format!("{method} /customers/{{id}}/payment-method"), scope));
        let customers =
            customers.iter().map(|(route, scope)| ("test-quadrille-payments-api", route.as_str(), *scope));
        for (function, route, scope) in orders.into_iter().chain(products).chain(customers) {
            let status = async |jwt: Option<serde_json::Value>| {
                let mut event = json!({"version": "2.0", "routeKey": route, "rawPath": "/", "rawQueryString": "",
                    "headers": {}, "isBase64Encoded": false, "pathParameters": {"id": "ada"},
                    "requestContext": {"http": {"method": "GET", "path": "/"}}});
                if let Some(claims) = jwt {
                    event["requestContext"]["authorizer"] =
                        json!({"jwt": {"claims": claims, "scopes": null}});
                }
                platform.invoke(function, &event).await["statusCode"].as_u64().unwrap()
            };
            assert_eq!(status(None).await, 401, "{function} {route}");
            let claims = |scope: &str| Some(json!({"sub": "ada", "scope": scope}));
            let answered = status(claims(scope)).await;
            assert!(![401, 403].contains(&answered), "{function} {route}: {answered}");
            if function != "test-quadrille-orders-api" {
                assert_eq!(status(claims("other")).await, 403, "{function} {route}");
            }
        }
    });
}

/// Guards: no customer reaches another's orders, in any of the ways to name one.
#[test]
fn a_customer_sees_and_touches_its_own_orders_only() {
    on_platform(async |platform| {
        let product = platform.product(10).await;
        let (ada, bob) = (platform.bearing("ada", CUSTOMER), platform.bearing("bob", CUSTOMER));
        let id = ada.place(&order_of(&product, 1)).await.unwrap();
        for path in [String::new(), "/events".into(), "/saga".into(), "?version=1".into()] {
            let path = format!("/orders/{id}{path}");
            assert_eq!(
                (ada.get(&path).await.unwrap().status, bob.get(&path).await.unwrap().status),
                (200, 404)
            );
        }
        let cancel = format!("/orders/{id}/cancel");
        assert_eq!(bob.send(Method::POST, &cancel, "").await.unwrap().status, 404);
        let for_ada = bob.post(&order_of(&product, 1)).await.unwrap();
        assert_eq!((for_ada.status, &for_ada.body["error"]), (403, &json!("FORBIDDEN")));
        assert_eq!(bob.get("/orders?customer_id=ada").await.unwrap().status, 403);
        let operator = platform.bearing("ops", "orders:read orders:operate");
        assert_eq!(operator.get(&format!("/orders/{id}")).await.unwrap().status, 200);
        assert_eq!(operator.get("/orders?customer_id=ada&limit=1").await.unwrap().status, 200);
    });
}

fn with(name: &str, parameters: &[(&str, &str)]) -> Options {
    let pairs = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut options = options(name);
    options.parameters.extend(pairs);
    options
}

/// Guards: the stage's throttling.
#[test]
fn too_many_requests_are_answered_with_429_and_when_to_come_again() {
    run(async {
        let parameters = [("RequestRate", "1"), ("RequestBurst", "5")];
        let platform = Platform::start(&with("throttled", &parameters)).await.unwrap();
        let mut statuses: BTreeMap<u16, u32> = BTreeMap::new();
        for _ in 0..20 {
            let answer = platform.api.get("/nothing").await.unwrap();
            *statuses.entry(answer.status).or_default() += 1;
            if answer.status == 429 {
                assert_eq!(answer.headers["retry-after"], "1");
            }
        }
        assert!(statuses[&429] >= 10 && statuses[&429] <= 15, "{statuses:?}");
    });
}

/// Guards: CORS by the allow-list, in preflights and in answers; without a list there are no headers at all.
#[test]
fn only_origins_on_the_list_are_allowed() {
    run(async {
        let (shop, thief) = ("https://shop.example", "https://thief.example");
        let list = [("AllowedOrigins", "https://shop.example, http://localhost:5173")];
        let platform = Platform::start(&with("cors", &list)).await.unwrap();
        let closed = Platform::start(&options("no-cors")).await.unwrap();
        for (platform, origin, allowed) in
            [(&platform, shop, true), (&platform, thief, false), (&closed, shop, false)]
        {
            let preflight = [("origin", origin), ("access-control-request-method", "POST")];
            let answer = platform.api.send_with(Method::OPTIONS, "/orders", &preflight, "").await.unwrap();
            assert_eq!(answer.headers.get("access-control-allow-origin").is_some(), allowed, "{origin}");
            let answer = platform.api.send_with(Method::GET, "/health", &preflight[..1], "").await.unwrap();
            let got = answer.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap());
            assert_eq!(got, allowed.then_some(origin));
        }
    });
}

#[test]
fn without_auth_a_client_needs_no_token() {
    run(async {
        let platform = Platform::start(&Options { no_auth: true, ..options("no-auth") }).await.unwrap();
        let product = platform.product(1).await;
        let anonymous = Client::new(&platform.stack.api);
        let id = anonymous.place(&order_of(&product, 1)).await.unwrap();
        assert_eq!(anonymous.get(&format!("/orders/{id}")).await.unwrap().status, 200);
    });
}

#[test]
fn a_parameter_that_no_template_has_is_refused() {
    run(async {
        let started = Platform::start(&with("parameters", &[("RequestRat", "1")])).await;
        let error = started.map(drop).unwrap_err().to_string();
        assert!(error.ends_with("has a parameter RequestRat"), "{error}");
        let started = Platform::start(&with("parameters", &[("Auth", "maybe")])).await;
        let error = started.map(drop).unwrap_err().to_string();
        assert!(error.contains("Auth: \"maybe\" is not allowed, only jwt, none"), "{error}");
    });
}
