//! Access as the template declares it: tokens and scopes, throttling, and the access log. `dialects` runs parts of it with the
//! tokens of other issuers.

use crate::platform::{Platform, copy, on_platform, options, root, run, scratch};
use hyper::Method;
use localstack::stack::Options;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use tests::client::{Client, encoded, order_of};

const CUSTOMER: &str = "orders:read orders:write";

/// Guards: the authorizer on every route but the open ones, and the scope that each asks for.
#[test]
fn every_route_asks_for_a_token_with_its_scope() {
    on_platform(routes_ask_for_scopes);
}

pub async fn routes_ask_for_scopes(platform: &Platform) {
    let anonymous = Client::new(&platform.stack.api);
    let order = "/orders/018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f";
    let (events, saga, cancel) =
        (format!("{order}/events"), format!("{order}/saga"), format!("{order}/cancel"));
    let method = format!("/customers/{}/payment-method", encoded(&platform.customer("ada")));
    for (method, path, scope) in [
        (Method::POST, "/orders", "orders:write"),
        (Method::GET, "/orders", "orders:read"),
        (Method::GET, order, "orders:read"),
        (Method::GET, &events, "orders:read"),
        (Method::GET, &saga, "orders:read"),
        (Method::POST, &cancel, "orders:write"),
        (Method::PUT, "/products/x", "products:write"),
        (Method::GET, "/products/x", "orders:read"),
        (Method::PUT, &method, "orders:write"),
        (Method::GET, &method, "orders:read"),
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
}

/// Guards: the functions' own check. A request that reaches a function around the API's authorizer, as through another API
/// of the account, is refused, and so is one whose token has not the scope.
#[test]
fn a_function_refuses_what_comes_around_the_authorizer() {
    on_platform(async |platform| {
        let orders = ["GET /orders", "GET /orders/{id}", "GET /orders/{id}/events", "GET /orders/{id}/saga"];
        let orders = orders.map(|route| (route, "orders:read")).into_iter();
        let orders = orders.chain(["POST /orders", "POST /orders/{id}/cancel"].map(|r| (r, "orders:write")));
        let orders = orders.map(|(route, scope)| ("test-quadrille-orders-api", route, scope));
        let products = ["PUT", "GET"].map(|method| format!("{method} /products/{{id}}"));
        let products =
            products.iter().map(|route| ("test-quadrille-inventory-api", route.as_str(), "products:write"));
        let customers = [("PUT", "orders:write"), ("GET", "orders:read")];
        let customers =
            customers.map(|(method, scope)| (format!("{method} /customers/{{id}}/payment-method"), scope));
        let customers =
            customers.iter().map(|(route, scope)| ("test-quadrille-payments-api", route.as_str(), *scope));
        for (function, route, scope) in orders.chain(products).chain(customers) {
            let status = async |jwt: Option<Value>| {
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
            assert_eq!(status(claims("other")).await, 403, "{function} {route}");
        }
    });
}

/// Guards: no customer reaches another's orders, in any of the ways to name one.
#[test]
fn a_customer_sees_and_touches_its_own_orders_only() {
    on_platform(orders_are_the_customers_own);
}

pub async fn orders_are_the_customers_own(platform: &Platform) {
    let product = platform.product(10).await;
    let (ada, bob) = (platform.bearing("ada", CUSTOMER), platform.bearing("bob", CUSTOMER));
    let order = platform.order_of(&product, 1);
    let id = ada.place(&order).await.unwrap();
    for path in [String::new(), "/events".into(), "/saga".into(), "?version=1".into()] {
        let path = format!("/orders/{id}{path}");
        let statuses = (ada.get(&path).await.unwrap().status, bob.get(&path).await.unwrap().status);
        assert_eq!(statuses, (200, 404), "{path}");
    }
    let cancel = format!("/orders/{id}/cancel");
    assert_eq!(bob.send(Method::POST, &cancel, "").await.unwrap().status, 404);
    let for_ada = bob.post(&order).await.unwrap();
    assert_eq!((for_ada.status, &for_ada.body["error"]), (403, &json!("FORBIDDEN")));
    let list = format!("/orders?customer_id={}", encoded(&platform.customer("ada")));
    assert_eq!(bob.get(&list).await.unwrap().status, 403);
    let operator = platform.bearing("ops", "orders:read orders:operate");
    let shown = operator.get(&format!("/orders/{id}")).await.unwrap();
    assert_eq!((shown.status, &shown.body["customer_id"]), (200, &order["customer_id"]));
    assert_eq!(operator.get(&format!("{list}&limit=1")).await.unwrap().status, 200);
}

pub fn with(name: &str, parameters: &[(&str, &str)]) -> Options {
    let pairs = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut options = options(name);
    options.parameters.extend(pairs);
    options
}

/// How often each status is the answer to twenty requests at once.
async fn twenty(api: &Client, path: &str) -> BTreeMap<u16, u32> {
    let mut statuses: BTreeMap<u16, u32> = BTreeMap::new();
    for _ in 0..20 {
        let answer = api.get(path).await.unwrap();
        *statuses.entry(answer.status).or_default() += 1;
        if answer.status == 429 {
            assert_eq!(answer.headers["retry-after"], "1");
        }
    }
    statuses
}

/// Guards: the stage's throttling.
#[test]
fn too_many_requests_are_answered_with_429_and_when_to_come_again() {
    run(async {
        let parameters = [("RequestRate", "1"), ("RequestBurst", "5")];
        let platform = Platform::start(&with("throttled", &parameters)).await.unwrap();
        let statuses = twenty(&platform.api, "/orders?customer_id=ada").await;
        assert!((10..=15).contains(&statuses[&429]), "{statuses:?}");
    });
}

/// Guards: the open routes' throttles. What asks them without a token does not use up the customers' rate, nor that of each
/// other.
#[test]
fn an_open_route_uses_up_its_own_rate_only() {
    run(async {
        let parameters = [
            ("OpenRequestRate", "1"),
            ("OpenRequestBurst", "5"),
            ("RequestRate", "1"),
            ("RequestBurst", "20"),
        ];
        let platform = Platform::start(&with("open-throttled", &parameters)).await.unwrap();
        for open in ["/nothing", "/health", "/openapi.json"] {
            let statuses = twenty(&platform.api, open).await;
            assert!((10..=15).contains(&statuses[&429]), "{open}: {statuses:?}");
        }
        let statuses = twenty(&platform.api, "/orders?customer_id=ada").await;
        assert_eq!(statuses, BTreeMap::from([(200, 20)]));
    });
}

/// Guards: the access log has a line for each request, and says nothing of who asks for what: no token, no path, no body.
#[test]
fn the_access_log_names_the_route_and_not_the_customer() {
    run(async {
        let options = with("access-log", &[]);
        let platform = Platform::start(&options).await.unwrap();
        let product = platform.product(10).await;
        let placed = platform.api.post(&order_of(&product, 1)).await.unwrap();
        assert_eq!(placed.status, 202);
        let anonymous = Client::new(&platform.stack.api);
        assert_eq!(anonymous.get("/orders?customer_id=ada").await.unwrap().status, 401);
        assert_eq!(anonymous.get("/customers").await.unwrap().status, 404);
        let log = options.data.join("logs/test-quadrille-api-access.log");
        let log = fs::read_to_string(log).unwrap();
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |route: &str, status: &str| {
            let line = lines.iter().rfind(|line| line["route"] == route && line["status"] == status);
            line.unwrap_or_else(|| panic!("no {route} {status} in {log}"))
        };
        assert_eq!(of("POST /orders", "202")["integrationError"], "-");
        assert_eq!(of("GET /orders", "401")["authorizerError"], "Unauthorized");
        assert_eq!(of("GET /orders", "401")["integrationMs"], "-");
        assert_eq!(of("$default", "404")["ip"], "127.0.0.1");
        let token = platform.stack.issuer.token("ada", "orders:read").unwrap();
        let header = token.split('.').next().unwrap();
        // A request's id is made of digits and letters from a to f, and may have a name in it by chance.
        let ids = lines.iter().filter_map(|line| line["requestId"].as_str());
        let said = ids.fold(log.clone(), |said, id| said.replace(id, ""));
        for secret in [header, "ada", "customer", product.as_str()] {
            assert!(!said.contains(secret), "{secret} in {log}");
        }
    });
}

/// Guards: settings for a route that there is not, which AWS refuses.
#[test]
fn a_stage_cannot_have_settings_for_a_route_that_there_is_not() {
    run(async {
        let infra = scratch("route-settings-infra");
        copy(&root().join("infra"), &infra);
        let template = fs::read_to_string(infra.join("api.yaml")).unwrap();
        fs::write(infra.join("api.yaml"), template.replace("        GET /health:", "        GET /healthy:"))
            .unwrap();
        let started = Platform::start(&Options { infra, ..options("route-settings") }).await;
        let error = started.map(drop).unwrap_err().to_string();
        assert_eq!(error, "Unable to find Route by key GET /healthy within the provided RouteSettings");
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
