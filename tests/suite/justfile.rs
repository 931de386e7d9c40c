//! The justfile: its recipes call the scripts, and hand on what was typed. Where `just` is there, a copy runs against stub scripts.

use crate::platform::{root, scratch};
use crate::readme::have;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Guards: the recipes are the script's verbs.
#[test]
fn the_just_recipes_call_the_script() {
    let justfile = fs::read_to_string(root().join("justfile")).unwrap();
    for verb in ["check", "deploy", "secrets", "outputs", "adopt", "destroy"] {
        assert!(justfile.contains(&format!("\n    infra/deploy {verb} \"$@\"\n")), "{verb}");
    }
}

/// Guards: no recipe writes what a person gave it into the shell's text. A condition may read it.
#[test]
fn no_recipe_makes_shell_text_of_an_argument() {
    let justfile = fs::read_to_string(root().join("justfile")).unwrap();
    assert!(justfile.contains("\nset positional-arguments\n"));
    for line in justfile.lines().filter(|line| line.starts_with("    ")) {
        for inside in line.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().trim()) {
            let chosen =
                inside.strip_prefix("if ").and_then(|rest| rest.split_once(" { ")).map(|(_, text)| text);
            let choices = ["operator_here", "operator_on_aws", "\"\"", "\"--here\"", "}", "{", "else"];
            let constant = chosen.is_some_and(|text| text.split(' ').all(|part| choices.contains(&part)));
            assert!(constant, "{line}");
        }
        let quoted = line.replace("\"$@\"", "").replace("\"$1\"", "").replace("\"$2\"", "");
        assert!(!quoted.contains('$'), "{line}");
    }
}

/// Guards: a setting arrives as it was typed: with its blanks and quotes, and nothing in it is run. It needs `just`.
#[test]
fn just_hands_on_what_was_typed() {
    if !have("just") {
        assert!(std::env::var_os("CI").is_none(), "this test needs just");
        println!("not run, because just is missing");
        return;
    }
    let folder = scratch("recipe-just");
    fs::copy(root().join("justfile"), folder.join("justfile")).unwrap();
    for script in ["infra/deploy", "infra/smoke", ".ci/package/run"] {
        let path = folder.join(script);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let record = format!("#!/bin/sh\nprintf '%s\\n' {script} \"$@\" >>\"{}/got\"\n", folder.display());
        fs::write(&path, record).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let typed = [
        "CarrierUrl=https://c.example/?a=1&b=2",
        "Currency=$(touch ran)",
        "\"\"",
        "",
        "a  b",
        "'",
        "endpoint=x",
    ];
    for (recipe, expected) in [
        (
            "deploy",
            vec![
                vec!["infra/deploy", "check"],
                vec![".ci/package/run", "--here"],
                vec!["infra/deploy", "deploy"],
            ],
        ),
        ("destroy", vec![vec!["infra/deploy", "destroy"]]),
        ("smoke", vec![vec!["infra/smoke"]]),
    ] {
        let _ = fs::remove_file(folder.join("got"));
        let mut just = Command::new("just");
        let ended = just.current_dir(&folder).args([recipe, "qa"]).args(typed).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let all = expected.into_iter().flat_map(|mut call| {
            if !call[0].starts_with(".ci") {
                call.push("qa");
                call.extend(typed);
            }
            call
        });
        let got = fs::read_to_string(folder.join("got")).unwrap();
        assert_eq!(got.split_terminator('\n').collect::<Vec<_>>(), all.collect::<Vec<_>>(), "{recipe}");
    }
    assert!(!folder.join("ran").exists());
    let ended = Command::new("just").current_dir(&folder).arg("smoke").output().unwrap();
    assert!(ended.status.success());
    let got = fs::read_to_string(folder.join("got")).unwrap();
    assert!(got.ends_with("infra/smoke\nlocal\n"), "a recipe's default arrives too: {got}");
}
