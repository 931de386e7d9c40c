//! What `infra/smoke` says of a stage where nothing goes on as it should, against a stub `aws` and a stub `curl`. It needs `jq`.

use crate::platform::{root, scratch};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Knows one product, and breaks at the first order that has a price.
const CURL: &str = r#"#!/usr/bin/env bash
here=$(dirname "$0")
cat >/dev/null
echo "$*" >>"$here/calls"
while test $# -gt 1; do
  case $1 in --output) output=$2 ;; esac
  shift
done
case $(tail -1 "$here/calls") in
  */health*) body='{"status": "healthy"}' code=200 ;;
  *PUT*) body='{}' code=201 ;;
  *unit_price_cents*) body='{"error": "PRICE_MISMATCH"}' code=422 ;;
  *) body='<html>' code=502 ;;
esac
echo "$body" >"$output"
printf %s "$code"
"#;

struct Stubs(PathBuf);

impl Stubs {
    /// `aws` answers each call with the same text and exit code.
    fn new(name: &str, claim: &str, code: i32) -> Self {
        let folder = scratch(name);
        write(&folder.join("curl"), CURL);
        write(&folder.join("aws"), &format!("#!/bin/sh\necho '{claim}'\nexit {code}\n"));
        Self(folder)
    }

    fn smoke(&self, token: &str) -> (i32, String) {
        let path = format!("{}:{}", self.0.display(), std::env::var("PATH").unwrap());
        let mut smoke = Command::new(root().join("infra/smoke"));
        smoke.args(["qa", "api=http://stage.example"]).env("TOKEN", token).env("PATH", path);
        let ended = smoke.output().unwrap();
        (ended.status.code().unwrap(), String::from_utf8(ended.stderr).unwrap())
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn token(claims: &Value) -> String {
    let encode = "printf %s \"$0\" | base64 --wrap=0 | tr -d = | tr '+/' '-_'";
    let encoded = Command::new("sh").args(["-c", encode, &claims.to_string()]).output().unwrap();
    format!("e30.{}.e30", String::from_utf8(encoded.stdout).unwrap())
}

/// It ended with exit code 1, and one line that gives this reason.
fn fails((code, said): (i32, String), because: &str) {
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert!(said.starts_with("FAIL  ") && said.contains(because), "{because}: {said}");
}

/// Guards: who places the orders is read from the claim that the stage has, whatever its characters.
#[test]
fn the_customer_is_what_the_stages_claim_names() {
    let claims = json!({"sub": "ada@shop.example", "uid": "00u|\"ada\\", "n": 1});
    for (claim, customer) in [("uid", &claims["uid"]), ("sub", &claims["sub"])] {
        let stubs = Stubs::new(&format!("smoke-claim-{claim}"), claim, 0);
        fails(stubs.smoke(&token(&claims)), "POST /orders: 502 and no JSON object: <html>");
        let calls = fs::read_to_string(stubs.0.join("calls")).unwrap();
        let ordered = format!("{{\"customer_id\": {customer},");
        assert_eq!(calls.matches(&ordered).count(), 2, "{calls}");
    }
    for (claim, because) in [("oid", "no claim oid"), ("n", "it has n sub uid"), ("None", "no claim None")] {
        fails(Stubs::new("smoke-no-claim", claim, 0).smoke(&token(&claims)), because);
    }
    fails(Stubs::new("smoke-no-function", "", 254).smoke(&token(&claims)), "CustomerClaim cannot be read");
}

/// Guards: exit code 1 and a reason, also where a program that the script calls fails.
#[test]
fn a_failure_has_a_reason() {
    for opaque in ["opaque", "a.b.c", "..", "e30.W10.e30"] {
        fails(Stubs::new("smoke-opaque", "sub", 0).smoke(opaque), "TOKEN is no JSON Web Token");
    }
    let silent = Stubs::new("smoke-silent", "sub", 0);
    let ada = token(&json!({"sub": "ada"}));
    write(&silent.0.join("curl"), "#!/bin/sh\nexit 7\n");
    fails(silent.smoke(&ada), "nothing listens at http://stage.example");
    let broken = Stubs::new("smoke-broken", "sub", 0);
    write(&broken.0.join("cut"), "#!/bin/sh\nexit 9\n");
    fails(broken.smoke(&ada), "of infra/smoke failed");
    // Where no local stack runs: port 9 is for what answers nothing.
    let mut local = Command::new(root().join("infra/smoke"));
    let ended = local.args(["local", "endpoint=http://127.0.0.1:9"]).env_remove("TOKEN").output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    fails((ended.status.code().unwrap(), said), "the local stack does not run there");
}
