//! The web pages that may call the API. `.ci/browser` shows the same with a real browser.

use crate::access::with;
use crate::platform::{Platform, copy, options, root, run, scratch};
use hyper::Method;
use localstack::stack::Options;
use std::fs;
use tests::client::{Answer, Client};

const SHOP: &str = "https://shop.example";
const LIST: [(&str, &str); 1] = [("AllowedOrigins", "https://shop.example, http://localhost:5173")];

/// What a browser asks before a page of `origin` may place an order.
async fn preflight(api: &Client, origin: &str, path: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,idempotency-key"),
    ];
    api.send_with(Method::OPTIONS, path, &headers, "").await.unwrap()
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name).map(|value| value.to_str().unwrap())
}

/// Guards: CORS by the allow-list, in preflights and in answers; without a list there are no headers at all. A preflight has
/// no token, and gets an ok status on every path.
#[test]
fn only_origins_on_the_list_are_allowed() {
    run(async {
        let platform = Platform::start(&with("cors", &LIST)).await.unwrap();
        let closed = Platform::start(&options("no-cors")).await.unwrap();
        for (platform, origin, allowed) in
            [(&platform, SHOP, true), (&platform, "https://thief.example", false), (&closed, SHOP, false)]
        {
            let anonymous = Client::new(&platform.stack.api);
            for path in ["/orders", "/orders/018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f/cancel", "/nothing"] {
                let answer = preflight(&anonymous, origin, path).await;
                assert_eq!(answer.status, 204, "{path}");
                let got = (
                    header(&answer, "access-control-allow-origin"),
                    header(&answer, "access-control-allow-methods"),
                );
                assert_eq!(
                    got,
                    (allowed.then_some(origin), allowed.then_some("GET,POST,PUT")),
                    "{origin} {path}"
                );
                let headers = header(&answer, "access-control-allow-headers").unwrap_or_default();
                assert_eq!(headers.contains("authorization"), allowed);
            }
            let headers = [("origin", origin)];
            let answer = platform.api.send_with(Method::GET, "/health", &headers, "").await.unwrap();
            assert_eq!(header(&answer, "access-control-allow-origin"), allowed.then_some(origin));
            // The gateway's own refusal is no integration's answer.
            let answer = anonymous.send_with(Method::GET, "/orders", &headers, "").await.unwrap();
            assert_eq!((answer.status, header(&answer, "access-control-allow-origin")), (401, None));
        }
    });
}

/// Starts a platform whose `api.yaml` is changed by `change`.
async fn changed(name: &str, change: impl Fn(&str) -> String) -> Platform {
    let infra = scratch(&format!("{name}-infra"));
    copy(&root().join("infra"), &infra);
    let template = fs::read_to_string(infra.join("api.yaml")).unwrap();
    fs::write(infra.join("api.yaml"), change(&template)).unwrap();
    Platform::start(&Options { infra, ..with(name, &LIST) }).await.unwrap()
}

/// The template without the route of this logical id, and without its settings.
fn without(template: &str, route: &str, key: &str) -> String {
    let resource = template.split_once(&format!("  {route}:\n")).unwrap();
    let rest = resource.1.split_once("\n\n").unwrap().1;
    let template = format!("{}{rest}", resource.0);
    let settings = template.split_once(&format!("        {key}:\n")).unwrap();
    let rest: String = settings.1.split_inclusive('\n').skip(2).collect();
    let listed = [format!(", {route}]"), format!(" {route},")];
    let template = format!("{}{rest}", settings.0);
    template.replace(&listed[0], "]").replace(&listed[1], "")
}

/// Guards: the local stack routes before it answers a preflight, as AWS does. With `$default` alone every preflight reaches the
/// function, which refuses the method; without any route for it, the gateway answers itself.
#[test]
fn a_preflight_is_routed_like_any_request() {
    run(async {
        let caught = |template: &str| without(template, "Preflight", "OPTIONS /{proxy+}");
        let platform = changed("cors-default", caught).await;
        let answer = preflight(&platform.api, SHOP, "/orders").await;
        assert_eq!((answer.status, &answer.body["error"]), (405, &"METHOD_NOT_ALLOWED".into()));
        assert_eq!(header(&answer, "access-control-allow-origin"), Some(SHOP));
        let nothing = |template: &str| without(&caught(template), "Elsewhere", "$default");
        let platform = changed("cors-gateway", nothing).await;
        let answer = preflight(&platform.api, SHOP, "/orders").await;
        assert_eq!((answer.status, header(&answer, "access-control-allow-origin")), (204, Some(SHOP)));
        let bare = platform.api.send_with(Method::OPTIONS, "/orders", &[], "").await.unwrap();
        assert_eq!(bare.status, 404);
    });
}
