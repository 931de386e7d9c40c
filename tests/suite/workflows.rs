//! The workflows of GitHub: what actionlint does not look at.

use crate::platform::root;
use localstack::template::yaml::{self, Kind, Node};
use std::fs;

fn workflows() -> Vec<(String, Node)> {
    let entries = fs::read_dir(root().join(".github/workflows")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let named = paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
    named
        .zip(&paths)
        .map(|(name, path)| {
            let text = fs::read_to_string(path).unwrap();
            let node = yaml::read(&name, &text).unwrap();
            (name, node)
        })
        .collect()
}

fn jobs(workflow: &Node) -> Vec<&Node> {
    workflow.get("jobs").unwrap().entries().iter().map(|(_, job)| job).collect()
}

fn steps(job: &Node) -> Vec<&Node> {
    let Kind::Seq(steps) = &job.get("steps").unwrap().kind else { panic!("no steps") };
    steps.iter().collect()
}

fn text<'a>(node: &'a Node, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(node, |node, name| node.get(name))?.text()
}

/// Guards: a tag or a branch of an action may be moved to other code; a commit may not. What is not granted cannot be misused,
/// and no job runs for ever.
#[test]
fn actions_are_pinned_and_jobs_bounded() {
    let found = workflows();
    assert_eq!(found.len(), 3);
    for (name, workflow) in &found {
        assert!(workflow.get("permissions").is_some(), "{name} has what the repository's settings grant");
        for job in jobs(workflow) {
            assert!(job.get("timeout-minutes").is_some(), "{name}: a job without a limit of time");
            for action in steps(job).into_iter().filter_map(|step| text(step, &["uses"])) {
                let commit = action.split_once('@').map_or("", |(_, commit)| commit);
                let pinned = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
                assert!(pinned, "{name}: {action}");
            }
        }
    }
}

/// Guards: no key of AWS is kept at GitHub: a role is assumed, in an environment, whose rules say who may. What prod gets is the
/// commit and the files that dev has smoked, and nothing is built for it.
#[test]
fn prod_gets_what_dev_has_smoked() {
    for (name, workflow) in workflows() {
        let stage = name.strip_prefix("deploy-").and_then(|name| name.strip_suffix(".yaml"));
        let Some(stage) = stage else { continue };
        let [job] = jobs(&workflow)[..] else { panic!("{name}: one job") };
        assert_eq!(text(job, &["environment"]), Some(stage));
        assert!(workflow.get("concurrency").is_some(), "{name}");
        let steps = steps(job);
        let aws = steps
            .iter()
            .find(|step| text(step, &["uses"]).is_some_and(|it| it.contains("configure-aws")))
            .unwrap();
        let given: Vec<&str> =
            aws.get("with").unwrap().entries().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(given, ["role-to-assume", "aws-region"], "{name}");
        let runs: Vec<&str> = steps.iter().filter_map(|step| text(step, &["run"])).collect();
        let smokes = runs.iter().position(|run| *run == format!(".ci/smoke {stage}")).unwrap();
        let deploy = if stage == "dev" { "just deploy dev" } else { "infra/deploy deploy prod" };
        let deploys = runs.iter().position(|run| *run == deploy).unwrap();
        assert!(deploys < smokes, "{name}");
        if stage == "prod" {
            let sha = "${{ github.event.workflow_run.head_sha }}";
            assert!(steps.iter().any(|step| text(step, &["with", "ref"]) == Some(sha)));
            let run = "${{ github.event.workflow_run.id }}";
            assert!(steps.iter().any(|step| text(step, &["with", "run-id"]) == Some(run)));
            assert!(text(job, &["if"]).unwrap().contains("workflow_run.conclusion == 'success'"));
            assert!(!runs.iter().any(|run| run.contains("cargo") || run.contains("package")));
        }
    }
}
