//! The recipe that deploys a stage, `infra/deploy`, against a stub `aws` that records how it is called.

use crate::platform::{copy, root, scratch};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

/// Records each call as a line, and what stands in its standard input when it is to keep a secret. The file `answers` holds
/// lines `pattern<TAB>exit code<TAB>output`; the first pattern that the call contains answers it. A failure's output is an
/// error's text, in which NAME stands for the stack's.
const STUB: &str = r#"#!/usr/bin/env bash
here=$(dirname "$0")
echo "$*" >>"$here/calls"
name=$*
name=${name##*--stack-name } name=${name%% *}
case $* in *secret-string*) cat >>"$here/input"; echo >>"$here/input" ;; esac
while IFS=$'\t' read -r pattern code output; do
  case $* in
    *"$pattern"*)
      test "$code" = 0 || exec >&2
      test -z "$output" || printf '%b\n' "${output//NAME/$name}"
      exit "$code"
      ;;
  esac
done <"$here/answers"
"#;

/// What a stage needs.
const NEEDED: [(&str, &str); 3] =
    [("bucket", "code"), ("CarrierUrl", "https://carrier.example"), ("TokenIssuer", "https://login.example")];

const PROVIDER_KEY: &str = r#"sk_live_"quoted" \ and blank"#;
const CARRIER_KEY: &str = "ck_live_1";

/// What CloudFormation says of a stack that is not there.
const NO_STACK: &str = "An error occurred (ValidationError): Stack with id NAME does not exist";

/// What Secrets Manager says of a secret that is not there.
const NO_SECRET: &str =
    "An error occurred (ResourceNotFoundException): Secrets Manager can't find the specified secret.";

/// A copy of what the recipe reads, and a stub `aws`.
struct Recipe(PathBuf);

struct Ended {
    code: i32,
    said: String,
    calls: Vec<String>,
}

impl Recipe {
    fn new(name: &str) -> Self {
        let folder = scratch(name);
        copy(&root().join("infra"), &folder.join("infra"));
        for service in services() {
            fs::create_dir_all(folder.join("services").join(&service)).unwrap();
            let built = folder.join("target/lambda").join(&service);
            fs::create_dir_all(&built).unwrap();
            fs::write(built.join("bootstrap"), service).unwrap();
        }
        let stub = folder.join("stub/aws");
        fs::create_dir_all(stub.parent().unwrap()).unwrap();
        fs::write(&stub, STUB).unwrap();
        fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).unwrap();
        let recipe = Self(folder);
        recipe.answers(&[]);
        recipe
    }

    /// What the stub answers before its usual answers: a stage with secrets and without stacks.
    fn answers(&self, first: &[(&str, i32, &str)]) {
        let usual = [
            ("describe-secret --secret-id qa-quadrille-payments-provider", 0, "arn:provider"),
            ("describe-secret --secret-id qa-quadrille-fulfillment-carrier", 0, "arn:carrier"),
            ("describe-stacks", 254, NO_STACK),
        ];
        let lines =
            first.iter().chain(&usual).map(|(call, code, output)| format!("{call}\t{code}\t{output}\n"));
        fs::write(self.0.join("stub/answers"), lines.collect::<String>()).unwrap();
    }

    /// After its deletion a stack is not there.
    fn gone_once_deleted(&self, describe: &str) {
        let stub = self.0.join("stub/aws");
        let gone = "case $* in *delete-stack*) sed -i \"/DESCRIBE/d\" \"$here/answers\" ;; esac\n";
        fs::write(&stub, STUB.replace("while", &format!("{}while", gone.replace("DESCRIBE", describe))))
            .unwrap();
    }

    fn settings(&self, settings: &[(&str, &str)]) {
        let lines: String = settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        fs::write(self.0.join("infra/stages/qa.env"), lines).unwrap();
    }

    /// Runs the recipe for the stage qa.
    fn run(&self, verb: &str, more: &[&str], input: &str) -> Ended {
        let calls = self.0.join("stub/calls");
        fs::write(&calls, "").unwrap();
        let path = format!("{}:{}", self.0.join("stub").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(self.0.join("infra/deploy"));
        command.args([verb, "qa"]).args(more).env("PATH", path).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A recipe that refuses does not read.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
        let calls = fs::read_to_string(calls).unwrap().lines().map(str::to_owned).collect();
        Ended { code: output.status.code().unwrap(), said, calls }
    }

    /// What the stub got on its standard input.
    fn input(&self) -> String {
        fs::read_to_string(self.0.join("stub/input")).unwrap_or_default()
    }
}

impl Ended {
    /// It refused in one line that contains this, and neither built nor changed anything.
    fn refused(&self, because: &str) {
        let changes =
            |call: &&String| call.starts_with("cloudformation") && !call.contains("describe-stacks");
        assert_eq!(self.calls.iter().find(changes), None, "{}", self.said);
        assert_eq!((self.code, self.said.lines().count()), (2, 1), "{}", self.said);
        assert!(self.said.contains(because), "{}", self.said);
    }

    /// The stacks of the calls that contain this, in their order.
    fn stacks(&self, call: &str) -> Vec<&str> {
        let name = |line: &'_ str| -> Option<usize> { line.find("--stack-name qa-quadrille-") };
        let of = self.calls.iter().filter(|line| line.contains(call));
        of.filter_map(|line| line.get(name(line)? + 26..)?.split(' ').next()).collect()
    }

    /// The parameters that a stack got.
    fn parameters(&self, stack: &str) -> BTreeMap<&str, &str> {
        let deployed = format!("--stack-name qa-quadrille-{stack} ");
        let line = self.calls.iter().find(|line| line.contains(&deployed) && line.contains(" deploy "));
        let (_, given) = line.unwrap().split_once("--parameter-overrides ").unwrap();
        given.split(' ').map(|pair| pair.split_once('=').unwrap()).collect()
    }
}

fn templates() -> BTreeSet<String> {
    let files = fs::read_dir(root().join("infra")).unwrap().map(|entry| entry.unwrap().path());
    let yaml = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    yaml.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn services() -> Vec<String> {
    let is_service = |name: &String| root().join("services").join(name).is_dir();
    templates().into_iter().filter(is_service).collect()
}

/// The bus, the services, and what names them.
fn stacks() -> Vec<String> {
    let others = templates().into_iter().filter(|name| name != "bus" && !services().contains(name));
    std::iter::once("bus".to_owned()).chain(services()).chain(others).collect()
}

/// Guards: a stage of which nothing is known is refused before anything is built or made.
#[test]
fn nothing_set_is_refused_in_one_line() {
    let recipe = Recipe::new("recipe-nothing");
    for verb in ["check", "deploy"] {
        recipe.run(verb, &[], "").refused("infra/stages/qa.env lacks bucket CarrierUrl TokenIssuer");
    }
    let refused = Command::new(recipe.0.join("infra/deploy")).args(["deploy", "No-Stage"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

/// Guards: each thing that a stage needs is asked for by name, before anything is built or made.
#[test]
fn each_one_missing_is_refused_in_one_line() {
    let recipe = Recipe::new("recipe-missing");
    for (missing, _) in NEEDED {
        let rest = NEEDED.map(|(name, value)| (name, if name == missing { "" } else { value }));
        recipe.settings(&rest);
        recipe.run("check", &[], "").refused(&format!("lacks {missing}"));
    }
    recipe.settings(&NEEDED);
    for (call, because) in [
        ("describe-secret --secret-id qa-quadrille-payments-provider", "just secrets qa"),
        ("describe-secret --secret-id qa-quadrille-fulfillment-carrier", "just secrets qa"),
        ("head-bucket", "bucket code is not there"),
        ("get-caller-identity", "no credentials"),
    ] {
        let text = if call.contains("secret") { NO_SECRET } else { "" };
        recipe.answers(&[(call, 254, text)]);
        recipe.run("deploy", &[], "").refused(because);
    }
}

/// Guards: what is written for a stage either reaches a template or stops the recipe.
#[test]
fn an_unknown_name_is_refused_in_one_line() {
    let recipe = Recipe::new("recipe-unknown");
    recipe.settings(&[&NEEDED[..], &[("RequestRat", "5")]].concat());
    recipe.run("check", &[], "").refused("no template has a parameter RequestRat");
    recipe.settings(&NEEDED);
    recipe.run("check", &["Stage=other"], "").refused("no template has a parameter Stage");
    recipe.run("check", &["nonsense"], "").refused("is not Name=Value");
    recipe
        .run("check", &["orders.RequestRate=5"], "")
        .refused("no template has a parameter orders.RequestRate");
    recipe
        .run("check", &["nothing.RequestRate=5"], "")
        .refused("no template has a parameter nothing.RequestRate");
}

/// Guards: every stack is deployed in its turn, with the settings that its template knows and no others; a value that is
/// empty never replaces what is deployed.
#[test]
fn all_set_deploys_every_stack_with_what_it_knows() {
    let recipe = Recipe::new("recipe-all");
    let more = [("AlarmTopic", ""), ("FallbackPaymentMethod", "\"\""), ("RequestRate", "5")];
    recipe.settings(&[&NEEDED[..], &more].concat());
    let own = ["RequestRate=7", "endpoint=http://127.0.0.1:1", "rewards.MaximumConcurrency=3"];
    let ended = recipe.run("deploy", &own, "");
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert_eq!(ended.stacks("cloudformation deploy"), stacks());
    let payments = [("Stage", "qa"), ("ProviderSecretArn", "arn:provider"), ("FallbackPaymentMethod", "")];
    assert_eq!(ended.parameters("payments"), payments.into());
    let fulfillment =
        [("Stage", "qa"), ("CarrierSecretArn", "arn:carrier"), ("CarrierUrl", "https://carrier.example")];
    assert_eq!(ended.parameters("fulfillment"), fulfillment.into());
    let api = [("Stage", "qa"), ("RequestRate", "7"), ("TokenIssuer", "https://login.example")];
    assert_eq!(ended.parameters("api"), api.into());
    assert_eq!(ended.parameters("rewards"), [("Stage", "qa"), ("MaximumConcurrency", "3")].into());
    assert_eq!(ended.parameters("inventory"), [("Stage", "qa")].into());
    let deploys = ended.calls.iter().filter(|call| call.contains("cloudformation deploy"));
    assert!(deploys.into_iter().all(|call| call.contains("--tags Stage=qa System=quadrille")));
}

/// Guards: unchanged code is no new code. A zip holds its files' times; every build makes new files.
#[test]
fn code_is_packaged_with_one_date() {
    let recipe = Recipe::new("recipe-dates");
    recipe.settings(&NEEDED);
    assert_eq!(recipe.run("deploy", &[], "").code, 0);
    for service in services() {
        let bootstrap = recipe.0.join("target/lambda").join(service).join("bootstrap");
        let dated = fs::metadata(bootstrap).unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(dated, Duration::from_secs(315_532_800));
    }
    fs::remove_file(recipe.0.join("target/lambda/orders/bootstrap")).unwrap();
    recipe.run("deploy", &[], "").refused("target/lambda/orders/bootstrap is not built");
}

/// Guards: a secret goes from standard input to standard input. Every user of a machine can read command lines.
#[test]
fn no_secret_stands_on_a_command_line() {
    let recipe = Recipe::new("recipe-secrets");
    recipe.answers(&[("describe-secret --secret-id qa-quadrille-fulfillment-carrier", 254, NO_SECRET)]);
    let both = format!("ProviderSecretArn={PROVIDER_KEY}\nCarrierSecretArn={CARRIER_KEY}");
    let ended = recipe.run("secrets", &[], &both);
    assert_eq!(ended.code, 0, "{}", ended.said);
    let shown = ended.calls.join("\n") + &ended.said;
    assert!(!shown.contains("sk_live") && !shown.contains("ck_live"), "{shown}");
    assert!(shown.contains("put-secret-value --secret-id qa-quadrille-payments-provider"), "{shown}");
    assert!(shown.contains("create-secret --name qa-quadrille-fulfillment-carrier"), "{shown}");
    let kept = recipe.input();
    assert_eq!(kept.lines().collect::<BTreeSet<_>>(), [PROVIDER_KEY, CARRIER_KEY].into());

    let ended = recipe.run("secrets", &[], "");
    assert!(ended.said.contains("qa-quadrille-payments-provider: arn:provider"), "{}", ended.said);
    assert_eq!(recipe.input(), kept, "a secret that is not given stays");
    for other in ["Provider=x", "=x", "x"] {
        recipe.run("secrets", &[], other).refused("a line has to be one of");
    }
}

/// Guards: a key on a command line is refused, and not shown once more.
#[test]
fn a_key_on_the_command_line_is_refused_and_not_repeated() {
    let recipe = Recipe::new("recipe-key-typed");
    recipe.settings(&NEEDED);
    for (verb, typed) in [
        ("secrets", "ProviderSecretArn=sk_live_9"),
        ("secrets", "payments.ProviderSecretArn=sk_live_9"),
        ("secrets", "sk_live_9"),
        ("deploy", "ProviderSecretArn=sk_live_9"),
        ("deploy", "fulfillment.CarrierSecretArn=sk_live_9"),
    ] {
        let ended = recipe.run(verb, &[typed], "");
        ended.refused("secret");
        assert!(ended.calls.is_empty() && !ended.said.contains("sk_live"), "{}", ended.said);
    }
    assert_eq!(recipe.run("secrets", &["region=eu-central-1"], "").code, 0);
}

/// Guards: a secret that cannot be looked at is not taken for absent, and nothing is written then.
#[test]
fn no_secret_is_made_because_a_question_failed() {
    let recipe = Recipe::new("recipe-secrets-unasked");
    recipe.settings(&NEEDED);
    for secret in ["payments-provider", "fulfillment-carrier"] {
        let describe = format!("describe-secret --secret-id qa-quadrille-{secret}");
        recipe.answers(&[(&describe, 254, "An error occurred (AccessDeniedException): no")]);
        let both = format!("ProviderSecretArn={PROVIDER_KEY}\nCarrierSecretArn={CARRIER_KEY}");
        for verb in ["secrets", "check"] {
            let ended = recipe.run(verb, &[], &both);
            assert_eq!(ended.code, 1, "{}", ended.said);
            assert!(ended.said.contains("AccessDeniedException"), "{}", ended.said);
            let writes = |call: &&String| call.contains("create-secret") || call.contains("put-secret-value");
            assert_eq!(ended.calls.iter().find(writes), None);
        }
    }
}

/// Guards: what is set for the one stack that needs it is set.
#[test]
fn what_is_set_for_one_stack_is_not_missing() {
    let recipe = Recipe::new("recipe-one-stack");
    recipe.answers(&[("describe-secret", 254, NO_SECRET)]);
    let own = [
        ("bucket", "code"),
        ("fulfillment.CarrierUrl", "https://carrier.example"),
        ("api.TokenIssuer", "https://login.example"),
        ("payments.ProviderSecretArn", "arn:own"),
        ("fulfillment.CarrierSecretArn", "arn:own"),
        ("TokenAudience", "-n"),
    ];
    recipe.settings(&own);
    let ended = recipe.run("deploy", &[], "");
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert_eq!(ended.parameters("payments")["ProviderSecretArn"], "arn:own");
    assert_eq!(ended.parameters("fulfillment")["CarrierUrl"], "https://carrier.example");
    assert_eq!(ended.parameters("api")["TokenIssuer"], "https://login.example");
    assert_eq!(ended.parameters("api")["TokenAudience"], "-n", "a value is no flag of echo");
    recipe.run("check", &["api.TokenIssuer=\"\""], "").refused("lacks TokenIssuer");
    assert_eq!(recipe.run("check", &["api.TokenIssuer=\"\"", "api.Auth=none"], "").code, 0);
    recipe.settings(&[&own[..1], &own[2..5], &[("payments.CarrierUrl", "")]].concat());
    recipe.run("check", &[], "").refused("no template has a parameter payments.CarrierUrl");
}

/// Guards: a line may end as Windows ends it; no key and no value has the carriage return.
#[test]
fn a_carriage_return_is_no_part_of_a_value() {
    let recipe = Recipe::new("recipe-windows");
    let lines: String = NEEDED.iter().map(|(name, value)| format!("{name}={value}\r\n")).collect();
    fs::write(recipe.0.join("infra/stages/qa.env"), format!("# A stage.\r\n\r\n{lines}")).unwrap();
    let ended = recipe.run("deploy", &[], "");
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert_eq!(ended.parameters("api"), [("Stage", "qa"), ("TokenIssuer", "https://login.example")].into());
    assert!(!ended.calls.join("").contains('\r'));
    let ended = recipe.run("secrets", &[], "ProviderSecretArn=sk_live_1\r\n\r\nCarrierSecretArn=ck_live_1\r");
    assert_eq!(ended.code, 0, "{}", ended.said);
    let kept = recipe.input();
    assert_eq!(kept.split('\n').collect::<BTreeSet<_>>(), ["", "ck_live_1", "sk_live_1"].into(), "{kept:?}");
}

/// Guards: nothing is deleted by a slip of the hand, and no stack before those that name it.
#[test]
fn a_stage_is_destroyed_in_reverse_order_once_its_name_is_typed() {
    let recipe = Recipe::new("recipe-destroy");
    recipe.answers(&[("describe-stacks", 0, "CREATE_COMPLETE")]);
    for typed in ["", "prod\n"] {
        let ended = recipe.run("destroy", &[], typed);
        assert_eq!((ended.code, ended.calls), (2, Vec::new()), "{}", ended.said);
    }
    let ended = recipe.run("destroy", &[], "qa\n");
    assert_eq!(ended.code, 0, "{}", ended.said);
    let reversed: Vec<_> = stacks().into_iter().rev().collect();
    assert_eq!(ended.stacks("delete-stack"), reversed);
    assert_eq!(ended.stacks("wait stack-delete-complete"), reversed);
    assert!(ended.said.contains("just adopt qa"), "{}", ended.said);
}

/// Guards: a stack is only passed over when CloudFormation says that it is not there. No failure means that, and nothing is
/// deleted after one.
#[test]
fn what_cannot_be_asked_for_is_not_absent() {
    let recipe = Recipe::new("recipe-unasked");
    for (answer, because) in [
        ((254, "An error occurred (AccessDenied): no"), "AccessDenied"),
        ((255, "Could not connect to the endpoint URL"), "Could not connect"),
        ((254, "An error occurred (ValidationError): Stack with id other does not exist"), "other"),
        ((0, "None"), "has not what was asked for"),
        ((0, ""), "has not what was asked for"),
    ] {
        let inventory = "describe-stacks --stack-name qa-quadrille-inventory";
        recipe.answers(&[(inventory, answer.0, answer.1), ("describe-stacks", 0, "CREATE_COMPLETE")]);
        for verb in ["destroy", "outputs", "adopt"] {
            let ended = recipe.run(verb, &[], "qa\n");
            assert_eq!((ended.code, ended.stacks("delete-stack").len()), (1, 0), "{verb}: {}", ended.said);
            assert!(ended.said.contains(because), "{verb}: {}", ended.said);
        }
    }
    recipe.answers(&[]);
    let ended = recipe.run("destroy", &[], "qa\n");
    assert_eq!((ended.code, ended.stacks("delete-stack").len()), (2, 0), "{}", ended.said);
    assert!(ended.said.contains("nothing was deleted"), "{}", ended.said);
}

/// Guards: a machine without the AWS CLI is no stage without stacks.
#[test]
fn without_the_cli_everything_is_refused() {
    let recipe = Recipe::new("recipe-without-cli");
    fs::create_dir(recipe.0.join("few")).unwrap();
    for program in ["bash", "dirname", "basename", "awk", "sort", "mktemp", "rm", "env"] {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
        let found = String::from_utf8(found.stdout).unwrap();
        std::os::unix::fs::symlink(found.trim(), recipe.0.join("few").join(program)).unwrap();
    }
    for verb in ["destroy", "outputs", "adopt", "secrets"] {
        let mut command = Command::new(recipe.0.join("infra/deploy"));
        let ended = command.args([verb, "qa"]).env("PATH", recipe.0.join("few")).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{verb}");
        assert_eq!(ended.stderr, b"needs the AWS CLI\n", "{verb}");
    }
}

/// Guards: a stack whose creation failed can only be deleted; the recipe does it.
#[test]
fn a_stack_whose_creation_failed_is_deleted_and_created_again() {
    let recipe = Recipe::new("recipe-rollback");
    recipe.settings(&NEEDED);
    let orders = "describe-stacks --stack-name qa-quadrille-orders";
    recipe.answers(&[(orders, 0, "ROLLBACK_COMPLETE")]);
    let ended = recipe.run("deploy", &[], "");
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert_eq!(ended.stacks("delete-stack"), ["orders"]);
    let place = |call: &str| {
        let of_orders = |line: &String| line.contains(call) && line.contains("qa-quadrille-orders");
        ended.calls.iter().position(of_orders).unwrap()
    };
    assert!(place("wait stack-delete-complete") < place("cloudformation deploy"));

    recipe.answers(&[(orders, 0, "UPDATE_ROLLBACK_FAILED")]);
    let ended = recipe.run("deploy", &[], "");
    assert_eq!((ended.code, ended.stacks("delete-stack").len()), (1, 0), "{}", ended.said);
    assert!(ended.said.contains("qa-quadrille-orders is UPDATE_ROLLBACK_FAILED"), "{}", ended.said);
}

/// Guards: what destroy leaves comes back: bus, archive and tables, into stacks that hold nothing else yet.
#[test]
fn what_remains_is_adopted_by_new_stacks() {
    let recipe = Recipe::new("recipe-adopt");
    recipe.answers(&[("describe-stacks --stack-name qa-quadrille-rewards", 0, "CREATE_COMPLETE")]);
    let ended = recipe.run("adopt", &[], "");
    assert_eq!(ended.code, 0, "{}", ended.said);
    let adopted: Vec<_> =
        stacks().into_iter().filter(|name| name == "bus" || services().contains(name)).collect();
    let adopted: Vec<_> = adopted.into_iter().filter(|name| name != "rewards").collect();
    assert_eq!(ended.stacks("execute-change-set"), adopted);
    let imported = |what: &str| ended.calls.iter().any(|call| call.contains("IMPORT") && call.contains(what));
    assert!(imported(
        r#""AWS::DynamoDB::Table", "ResourceIdentifier": {"TableName": "qa-quadrille-orders"}"#
    ));
    assert!(imported(r#""AWS::Events::EventBus", "ResourceIdentifier": {"Name": "qa-quadrille"}"#));
    assert!(imported(r#""AWS::Events::Archive", "ResourceIdentifier": {"ArchiveName": "qa-quadrille"}"#));
    for stack in adopted {
        assert_only_retained(&recipe.0.join(format!("target/lambda/{stack}-retained.yaml")));
    }
}

/// Guards: a stack that an adoption or a deployment left empty is adopted, one that CloudFormation works on stops the recipe, and
/// of one that is there the recipe says so.
#[test]
fn a_stack_that_holds_nothing_is_no_obstacle_to_adopting() {
    let recipe = Recipe::new("recipe-adopt-again");
    let orders = "describe-stacks --stack-name qa-quadrille-orders";
    for empty in ["REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE"] {
        recipe.answers(&[(orders, 0, empty)]);
        recipe.gone_once_deleted(orders);
        let ended = recipe.run("adopt", &[], "");
        assert_eq!(ended.code, 0, "{}", ended.said);
        assert_eq!(ended.stacks("delete-stack"), ["orders"], "{}", ended.said);
        let place = |call: &str| {
            let of_orders = |line: &String| line.contains(call) && line.contains("qa-quadrille-orders");
            ended.calls.iter().position(of_orders).unwrap()
        };
        assert!(place("wait stack-delete-complete") < place("execute-change-set"));
    }
    for (busy, code) in [("IMPORT_IN_PROGRESS", 1), ("DELETE_FAILED", 1), ("IMPORT_COMPLETE", 0)] {
        recipe.answers(&[(orders, 0, busy)]);
        let ended = recipe.run("adopt", &[], "");
        assert_eq!((ended.code, ended.stacks("delete-stack").len()), (code, 0), "{}", ended.said);
        assert!(!ended.stacks("execute-change-set").contains(&"orders"), "{}", ended.said);
        assert!(ended.said.contains(&format!("qa-quadrille-orders is {busy}")), "{}", ended.said);
    }
}

/// Guards: what counts for one stack alone counts for its adoption too.
#[test]
fn no_archive_is_adopted_where_there_is_none() {
    let recipe = Recipe::new("recipe-adopt-archive");
    for none in ["Archive=no", "bus.Archive=no"] {
        let ended = recipe.run("adopt", &[none], "");
        assert_eq!(ended.code, 0, "{}", ended.said);
        assert!(!ended.calls.iter().any(|call| call.contains("AWS::Events::Archive")), "{none}");
    }
}

/// An import refuses a template with anything that does not exist yet, outputs included.
fn assert_only_retained(template: &Path) {
    let text = fs::read_to_string(template).unwrap();
    let kinds = |prefix: &str| text.lines().filter(|line| line.starts_with(prefix)).count();
    assert!(kinds("    Type: AWS::") > 0, "{text}");
    assert_eq!(kinds("    Type: AWS::"), kinds("    DeletionPolicy: RetainExceptOnCreate"), "{text}");
    assert!(!text.contains("Outputs:") && !text.contains("    Condition:"), "{text}");
}

/// Guards: who writes a stage's file finds every parameter in the example.
#[test]
fn the_example_lists_every_parameter() {
    let example = fs::read_to_string(root().join("infra/stages/example.env")).unwrap();
    let lines = example.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let listed = lines.map(|line| line.split_once('=').unwrap().0).filter(|name| !name.contains('.'));
    let listed: BTreeSet<_> = listed.collect();
    let readme = fs::read_to_string(root().join("infra/README.md")).unwrap();
    let table = readme.split("<!-- parameters:").nth(1).unwrap().split("<!-- /parameters").next().unwrap();
    let names = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let own = ["bucket", "region"];
    let expected: BTreeSet<_> = names.filter(|name| *name != "Stage").chain(own).collect();
    assert_eq!(listed, expected);
}
