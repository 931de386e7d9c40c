//! A service's binary started by hand, outside Lambda.

use crate::platform::BINARIES;
use registry::SERVICES;
use std::process::Command;

/// Guards: one line that names the command to run instead, and exit code 2; not a page of SDK errors.
#[test]
fn a_binary_outside_lambda_names_the_command_to_run_instead() {
    for service in SERVICES {
        let mut binary = Command::new(BINARIES.join(service));
        let output = binary.env_remove("AWS_LAMBDA_RUNTIME_API").output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let line = format!("error: {service} is a Lambda function; `cargo dev` runs it on this machine\n");
        assert_eq!((output.status.code(), errors), (Some(2), line));
    }
}
