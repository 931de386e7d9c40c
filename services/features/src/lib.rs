//! Nothing but a manifest. Cargo builds a crate of others with the features that the selected packages ask for: with
//! `-p rewards` it would build `serde_json`, and so every SDK above it, a second time. Every crate stands on this one,
//! which asks for what the whole workspace asks for, so that the selection makes no difference.

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::process::Command;

    fn cargo(arguments: &[&str]) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut cargo = Command::new(env!("CARGO"));
        let output = cargo.args(arguments).arg("--offline").current_dir(root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Every crate that a selection builds, each with its features.
    fn built(selection: &[&str]) -> BTreeSet<String> {
        let tree = ["tree", "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p} [{f}]"];
        let lines = cargo(&[&tree, selection].concat());
        let crates = lines.lines().map(|line| line.trim_end_matches(" (*)"));
        // The packages of the workspace show their path; their one feature, `tls`, is not selected here.
        crates.filter(|line| line.ends_with(']') && !line.contains(" (/")).map(str::to_owned).collect()
    }

    /// Guards: `cargo test -p rewards` builds rewards and nothing else when the workspace has been built.
    #[test]
    fn one_package_is_built_with_the_features_of_the_whole() {
        let whole = built(&["--workspace"]);
        let packages = cargo(&["tree", "--workspace", "--depth", "0", "--prefix", "none", "--format", "{p}"]);
        let names =
            packages.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty());
        for package in names {
            let other: Vec<String> = built(&["-p", package]).difference(&whole).cloned().collect();
            let of = |line: &String| line.split(' ').next().map(str::to_owned);
            let wanted: Vec<&String> =
                whole.iter().filter(|line| other.iter().any(|o| of(o) == of(line))).collect();
            assert!(
                other.is_empty(),
                "-p {package} builds {other:#?}; ask for {wanted:#?} in services/features/Cargo.toml"
            );
        }
    }
}
