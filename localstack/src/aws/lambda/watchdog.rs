//! Ends every function's process when the stack is gone, however it went: a frozen process cannot notice it by itself.

use anyhow::{Context, Result};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// A shell that reads from the stack. All processes of functions are in its process group. When the stack ends, even by
/// `kill -9`, its end of the pipe closes, and the shell kills the group. A process that is stopped dies of SIGKILL too.
pub struct Watchdog {
    /// Held for its pipe; killed when dropped.
    _shell: Child,
    group: i32,
}

impl Watchdog {
    /// # Errors
    /// When no shell can be started.
    pub fn start() -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read -r _; kill -s KILL 0"]).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let shell = command.spawn().context("cannot start a shell to watch over the functions' processes")?;
        let group = shell.id().and_then(|id| i32::try_from(id).ok()).context("the shell has no id")?;
        Ok(Self { _shell: shell, group })
    }

    /// The process group that ends with the stack.
    #[must_use]
    pub const fn group(&self) -> i32 {
        self.group
    }
}
