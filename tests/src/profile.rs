//! Where the CPU of a load goes: the time of each process of a platform, from Linux's process table, and the calls that the
//! platform counted.

use crate::client::Client;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often the process table is read: a process that lives for less is not seen.
const EVERY: Duration = Duration::from_millis(200);
/// Milliseconds per clock tick of `/proc/<pid>/stat`: Linux shows hundredths of a second, whatever the kernel counts in.
const TICK_MILLIS: u64 = 10;

type Pid = u32;

/// A process, its CPU time in milliseconds, and its name: the binary and, of a function, its handler.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sample {
    name: String,
    millis: u64,
}

/// What the processes of a platform have used so far, by process and its start.
#[derive(Clone, Default)]
pub struct Profile(Arc<Mutex<HashMap<(Pid, u64), Sample>>>);

/// The fields of `/proc/<pid>/stat` that are read here.
struct Stat {
    parent: Pid,
    ticks: u64,
    started: u64,
}

impl Stat {
    /// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>: fields 4, 14, 15 and 22; the second one ends with the last `)`.
    fn read(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let parent = u32::try_from(number(4)?).ok()?;
        Some(Self { parent, ticks: number(14)? + number(15)?, started: number(22)? })
    }

    fn of(pid: Pid) -> Option<Self> {
        Self::read(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }
}

/// `payments reactor` for a function, `localstack` for the platform.
fn name(pid: Pid) -> Option<String> {
    let binary = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned();
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let handler = variables.find_map(|variable| variable.strip_prefix(b"_HANDLER="));
    Some(handler.map_or(binary.clone(), |handler| format!("{binary} {}", String::from_utf8_lossy(handler))))
}

/// A process and its descendants.
fn family(root: Pid) -> Result<Vec<(Pid, Stat)>> {
    let entries = fs::read_dir("/proc").context("--profile reads /proc, which only Linux has")?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<Pid>().ok());
    let all: HashMap<Pid, Stat> = pids.filter_map(|pid| Some((pid, Stat::of(pid)?))).collect();
    let is_of_family = |mut pid: Pid| {
        // No process is its own ancestor, but one may have ended between two reads.
        for _ in 0..all.len() {
            match all.get(&pid) {
                _ if pid == root => return true,
                Some(stat) => pid = stat.parent,
                None => return false,
            }
        }
        false
    };
    let family: Vec<Pid> = all.keys().copied().filter(|pid| is_of_family(*pid)).collect();
    Ok(all.into_iter().filter(|(pid, _)| family.contains(pid)).collect())
}

impl Profile {
    /// Watches the processes of a platform, and this one, until it is dropped by all but the watching task.
    ///
    /// # Errors
    /// Where there is no process table to read.
    pub fn watch(platform: Pid) -> Result<Self> {
        let profile = Self::default();
        profile.sample(platform)?;
        let watched = profile.clone();
        tokio::spawn(async move {
            while Arc::strong_count(&watched.0) > 1 && watched.sample(platform).is_ok() {
                tokio::time::sleep(EVERY).await;
            }
        });
        Ok(profile)
    }

    /// Reads the process table once.
    ///
    /// # Errors
    /// Where there is none.
    pub fn sample(&self, platform: Pid) -> Result<()> {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (pid, stat) in family(platform)?.into_iter().chain(this()) {
            let millis = stat.ticks * TICK_MILLIS;
            if let Some(sample) = samples.get_mut(&(pid, stat.started)) {
                sample.millis = millis;
            } else if let Some(name) = name(pid) {
                samples.insert((pid, stat.started), Sample { name, millis });
            }
        }
        Ok(())
    }

    /// CPU milliseconds since the start of each process, by name.
    #[must_use]
    pub fn millis(&self) -> BTreeMap<String, u64> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut millis = BTreeMap::new();
        for sample in samples.values() {
            *millis.entry(sample.name.clone()).or_default() += sample.millis;
        }
        millis
    }
}

/// This process: the client.
fn this() -> Option<(Pid, Stat)> {
    let pid = std::process::id();
    Some((pid, Stat::of(pid)?))
}

/// The calls of AWS's API that a metered platform has counted, by service and operation; rows written under `rows`.
///
/// # Errors
/// When the platform's report cannot be read.
pub async fn calls(endpoint: &Client) -> Result<BTreeMap<String, u64>> {
    let metered = endpoint.get("/report").await?.body["metered"].take();
    let counts = |unit: &str| metered[unit].as_object().cloned().unwrap_or_default();
    let number = |count: &Value| count.as_u64().unwrap_or_default();
    let mut calls: BTreeMap<String, u64> =
        counts("aws.calls").iter().map(|(name, count)| (name.clone(), number(count))).collect();
    calls.insert("rows written".into(), counts("dynamodb.rows").values().map(number).sum());
    Ok(calls)
}

/// What was added between two counts.
#[must_use]
pub fn added(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let added = |(name, count): (&String, &u64)| {
        (name.clone(), count.saturating_sub(before.get(name).copied().unwrap_or(0)))
    };
    after.iter().map(added).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_parenthesis_moves_no_field() {
        let text = "7 (a) b) S 3 7 7 0 -1 0 0 0 0 0 11 5 0 0 20 0 1 0 99 0";
        let stat = Stat::read(text).unwrap();
        assert_eq!((stat.parent, stat.ticks, stat.started), (3, 16, 99));
    }

    #[test]
    fn what_was_there_before_does_not_count() {
        let counts = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, n)| ((*name).into(), *n)).collect();
        let (before, after) = (counts(&[("a", 2)]), counts(&[("a", 5), ("b", 1)]));
        assert_eq!(added(&before, &after), counts(&[("a", 3), ("b", 1)]));
    }
}
