//! A service's binary started by hand, outside Lambda.

use crate::platform::BINARIES;
use registry::SERVICES;
use std::process::Command;

/// Guards: one line that names the command to run instead, and exit code 2; not a page of SDK errors.
#[test]
fn a_binary_outside_lambda_names_the_command_to_run_instead() {
    let started = SERVICES.iter().flat_map(|service| [(service, None), (service, Some("--help"))]);
    for (service, argument) in started {
        let mut binary = Command::new(BINARIES.join(service));
        let output = binary.args(argument).env_remove("AWS_LAMBDA_RUNTIME_API").output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let line = format!("error: {service} is a Lambda function; `cargo dev` runs it on this machine\n");
        assert_eq!((output.status.code(), errors), (Some(2), line));
    }
}

/// Guards: every other program says what it is and which version.
#[test]
fn every_other_program_has_a_version() {
    for program in ["contracts", "generator", "load", "localstack", "quadrille"] {
        let output = Command::new(BINARIES.join(program)).arg("--version").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_version = said.ends_with(&format!(" {}\n", env!("CARGO_PKG_VERSION")));
        assert!(output.status.success() && is_version, "{program}: {said}");
    }
}
