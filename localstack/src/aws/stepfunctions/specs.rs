//! What is kept of executions: in memory those that run, on disk the others, for ninety days.

use super::machines::KNOWN;
use super::{Execution, Setup, StateMachines, Status};
use crate::support::journal::Journal;
use crate::support::meter::Meter;
use crate::support::storage::Storage;
use chrono::Utc;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A folder with a definition and a store in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let definition = json!({"StartAt": "A", "States": {
            "A": {"Type": "Wait", "Seconds": 3000, "Next": "B"}, "B": {"Type": "Succeed"}}});
        std::fs::write(folder.path().join("wait.json"), definition.to_string()).unwrap();
        Self(folder)
    }

    fn store(&self) -> Storage {
        Storage::open(&self.0.path().join("store")).unwrap()
    }
}

fn machines(storage: &Storage, infra: &Path, time_scale: u32) -> StateMachines {
    let declared = json!({"StateMachineName": "wait", "StateMachineType": "STANDARD",
        "DefinitionS3Location": "wait.json", "RoleArn": "role"});
    let (journal, _) = Journal::open(storage).unwrap();
    let functions = [].into_iter().collect();
    let meter = Meter::default();
    let setup = Setup { functions: &functions, infra, time_scale, journal: &journal, meter: &meter };
    StateMachines::new(&[serde_json::from_value(declared).unwrap()], &setup).unwrap()
}

async fn at_rest(machines: &StateMachines) {
    let ended = async {
        while machines.running_now() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, ended).await.expect("executions do not end, or are still in memory");
}

fn any(_: &Execution) -> bool {
    true
}

/// Guards: memory. An execution that has ended is read where it is kept, one that runs goes on after a restart, and each is listed
/// once, the newest first.
#[tokio::test]
async fn executions_that_ended_are_on_disk() {
    let folder = Folder::new();
    let first = {
        let storage = folder.store();
        let machines = machines(&storage, folder.0.path(), 1_000_000);
        let first = machines.start_execution("wait", json!(1)).unwrap();
        at_rest(&machines).await;
        machines.flush().await;
        assert_eq!(machines.execution(&first).unwrap().status, Status::Succeeded);
        storage.close();
        first
    };
    let second = {
        let storage = folder.store();
        let machines = machines(&storage, folder.0.path(), 1);
        let second = machines.start_execution("wait", json!(2)).unwrap();
        machines.flush().await;
        storage.close();
        second
    };
    let machines = machines(&folder.store(), folder.0.path(), 1_000_000);
    assert_eq!(machines.running_now(), 1);
    machines.resume();
    at_rest(&machines).await;
    let (listed, next) = machines.newest("wait", None, any);
    let listed: Vec<(String, Value)> =
        listed.into_iter().map(|(_, execution)| (execution.id, execution.data)).collect();
    assert_eq!((listed, next), (vec![(second, json!(2)), (first, json!(1))], None));
}

/// Guards: one execution per name, also for callers who come at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_callers_start_one_execution() {
    let folder = Folder::new();
    let machines = machines(&Storage::memory(), folder.0.path(), 1);
    for n in 0..200 {
        let started = ["a", "b", "c"].map(|who| {
            let machines = machines.clone();
            tokio::spawn(async move {
                let machine = machines.machine("wait").unwrap();
                machines.start(machine, format!("execution-{n}"), json!(who)).1
            })
        });
        let mut count = 0;
        for one in started {
            count += usize::from(one.await.unwrap());
        }
        assert_eq!(count, 1);
    }
    assert_eq!(machines.running_now(), 200);
}

/// Guards: the retention. An execution is deleted ninety days after it ended, and one that runs never is.
#[tokio::test]
async fn executions_are_forgotten_after_ninety_days() {
    let (folder, storage) = (Folder::new(), Storage::memory());
    let ended = machines(&storage, folder.0.path(), 1_000_000);
    let first = ended.start_execution("wait", json!(1)).unwrap();
    at_rest(&ended).await;
    let running = machines(&storage, folder.0.path(), 1);
    let second = running.start_execution("wait", json!(2)).unwrap();
    let now = Utc::now();
    running.forget(now + KNOWN - chrono::TimeDelta::minutes(1)).await;
    assert_eq!(running.all().len(), 2);
    running.forget(now + KNOWN + chrono::TimeDelta::minutes(1)).await;
    assert!(running.execution(&first).is_none() && running.execution(&second).is_some());
    let (listed, _) = running.newest("wait", None, any);
    assert_eq!((listed.len(), running.all().len()), (1, 1));
}

/// Guards: a list looks at a page at a time, and the place of the last one leads to the next page.
#[tokio::test]
async fn a_list_of_executions_has_pages() {
    let (folder, storage) = (Folder::new(), Storage::memory());
    let machines = machines(&storage, folder.0.path(), 1_000_000);
    let count = crate::support::journal::PAGE + 1;
    for n in 0..count {
        machines.start_execution("wait", json!(n)).unwrap();
    }
    at_rest(&machines).await;
    let (first, next) = machines.newest("wait", None, any);
    let (second, end) = machines.newest("wait", next.as_deref(), any);
    assert_eq!((first.len(), second.len(), end), (count - 1, 1, None));
    assert!(first.iter().all(|(place, _)| *place != second[0].0));
}

/// Guards: an execution is known after its end, however deep its data nest; what could not be read again ends it.
#[tokio::test]
async fn what_nests_deep_is_known_after_its_end() {
    let (folder, storage) = (Folder::new(), Storage::memory());
    let machines = machines(&storage, folder.0.path(), 1_000_000);
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let ids = [100, 101, 120].map(|levels| machines.start_execution("wait", nested(levels)).unwrap());
    at_rest(&machines).await;
    let statuses = ids.map(|id| machines.execution(&id).map(|execution| execution.status));
    assert_eq!(statuses, [Some(Status::Succeeded), Some(Status::Failed), Some(Status::Failed)]);
}
