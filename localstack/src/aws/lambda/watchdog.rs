//! Ends every function's process when the stack is gone, however it went: a frozen process cannot notice it by itself.

use anyhow::{Context, Result};
use std::process::Stdio;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// A shell that reads from the stack. All processes of functions are in its process group. When the stack ends, even by
/// `kill -9`, its end of the pipe closes, and the shell kills the group. A process that is stopped dies of SIGKILL too. When
/// the shell itself is killed, the stack puts another one in its place.
pub struct Watchdog {
    /// Holds the shell and its pipe.
    watch: JoinHandle<()>,
    group: i32,
}

/// A shell in a process group, or in a new one of its own for 0.
fn shell(group: i32) -> Result<Child> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "read -r _; kill -s KILL 0"]).process_group(group);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().context("cannot start a shell to watch over the functions' processes")
}

async fn watch(mut shell: Child, group: i32) {
    loop {
        // Waiting for a child closes the pipe to it, unless the pipe is held apart.
        let _pipe = shell.stdin.take();
        let _ = shell.wait().await;
        shell = match self::shell(group) {
            Ok(another) => another,
            Err(error) => return tracing::error!("functions may outlive the stack: {error:#}"),
        };
    }
}

impl Watchdog {
    /// # Errors
    /// When no shell can be started.
    pub fn start() -> Result<Self> {
        let shell = shell(0)?;
        let group = shell.id().and_then(|id| i32::try_from(id).ok()).context("the shell has no id")?;
        Ok(Self { watch: tokio::spawn(watch(shell, group)), group })
    }

    /// The process group that ends with the stack.
    #[must_use]
    pub const fn group(&self) -> i32 {
        self.group
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn output(program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program).args(arguments).output().await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Guards: functions whose shell was killed are watched over by another one.
    #[tokio::test]
    async fn a_watchdog_that_is_killed_is_replaced() {
        let watchdog = Watchdog::start().unwrap();
        let group = watchdog.group().to_string();
        let mut function = Command::new("sleep").arg("60").process_group(watchdog.group()).spawn().unwrap();
        output("kill", &["-s", "KILL", &group]).await;
        let watched = async || {
            let all = output("ps", &["-A", "-o", "pgid=,pid=,stat="]).await;
            let all = all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let living: Vec<_> = all.filter(|it| it[0] == group && !it[2].starts_with('Z')).collect();
            living.len() == 2 && living.iter().all(|it| it[1] != group)
        };
        let replaced = async {
            while !watched().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), replaced).await.unwrap();
        drop(watchdog);
        tokio::time::timeout(Duration::from_secs(10), function.wait()).await.unwrap().unwrap();
    }
}
