//! The smoke test of a stage, `infra/smoke`, against the running platform: it goes well where all is well, and says what differs
//! where something does. It needs `curl` and `jq`; with the AWS CLI it looks at the bus, too.

use crate::platform::{Platform, options, root, run};
use localstack::stack::Options;
use std::process::Command;

const ORIGIN: &str = "https://shop.example";

/// A platform whose API a page of [`ORIGIN`] may call.
async fn platform(name: &str) -> Platform {
    let mut options = Options { stage: "local".into(), ..options(name) };
    options.parameters.insert("AllowedOrigins".into(), ORIGIN.into());
    Platform::start(&options).await.unwrap()
}

/// Runs the script for the stage `local`: its exit code, what it saw, and what it complains about.
fn smoke(token: Option<&str>, settings: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(root().join("infra/smoke"));
    let output = command
        .arg("local")
        .args(settings)
        .env_remove("TOKEN")
        .envs(token.map(|token| ("TOKEN", token)))
        .output()
        .unwrap();
    let [saw, complains] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code().unwrap(), saw, complains)
}

/// Guards: the script against a change of the API, and the words that it looks for.
#[test]
fn a_platform_that_works_passes() {
    run(async {
        let platform = platform("smoke").await;
        let [api, endpoint] = [("api", &platform.stack.api), ("endpoint", &platform.stack.endpoint)]
            .map(|(name, url)| format!("{name}={url}"));
        let (code, saw, complains) = smoke(None, &[&api, &endpoint, &format!("origin={ORIGIN}")]);
        assert_eq!((code, complains.as_str()), (0, ""), "{saw}");
        let has_cli = Command::new("aws").arg("--version").output().is_ok();
        let of_bus = "the bus carried fulfillment.shipped inventory.reserved order.confirmed order.created";
        let of_bus = has_cli.then_some(of_bus);
        let seen = ["is healthy", "a preflight from", "orders sells", "is declined", "is FULFILLED"];
        for seen in seen.into_iter().chain(of_bus) {
            assert!(saw.lines().any(|line| line.starts_with("ok ") && line.contains(seen)), "{seen}: {saw}");
        }
    });
}

/// Guards: the exit code, and that the line says what differs.
#[test]
fn a_platform_that_does_not_work_fails() {
    run(async {
        let platform = platform("smoke-fails").await;
        let endpoint = format!("endpoint={}", platform.stack.endpoint);
        let fails = |token: Option<&str>, settings: &[&str], expected: &str| {
            let (code, saw, complains) = smoke(token, &[&[endpoint.as_str()], settings].concat());
            assert_eq!((code, complains.lines().count()), (1, 1), "{saw}{complains}");
            assert!(
                complains.starts_with("FAIL  ") && complains.contains(expected),
                "{expected}: {complains}"
            );
        };
        let api = format!("api={}", platform.stack.api);
        // Another program's API.
        fails(None, &[&format!("api={}", platform.stack.provider_url)], "GET /health: 401");
        fails(
            None,
            &[&api, "origin=https://elsewhere.example"],
            "a preflight from https://elsewhere.example is not allowed",
        );
        // A customer, who may not list products.
        let token = platform.stack.issuer.token("smoke", "orders:read orders:write").unwrap();
        fails(Some(&token), &[&api], ": 403 ");
    });
}

/// Guards: a slip of the hand asks nothing of any stage.
#[test]
fn an_unknown_setting_is_refused_in_one_line() {
    for (settings, because) in
        [(["nonsense"], "\"nonsense\" is none of"), (["prot=1"], "\"prot=1\" is none of")]
    {
        let (code, saw, complains) = smoke(None, &settings);
        assert_eq!((code, saw.as_str(), complains.lines().count()), (2, "", 1), "{complains}");
        assert!(complains.contains(because), "{complains}");
    }
}
