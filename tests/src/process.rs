//! The platform as a process of its own.

use crate::client::Client;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running platform. Killed when dropped.
pub struct Process {
    child: Child,
    /// Its API.
    pub api: Client,
    /// Its AWS endpoint.
    pub endpoint: Client,
    /// Its payment simulator.
    pub provider: Client,
}

impl Process {
    /// Starts the platform with the binaries in `binaries` and the templates in `infra`, on free ports, without
    /// the first products; `more` are further flags.
    ///
    /// # Errors
    /// When it does not start; its own error stands on standard error.
    pub fn start(binaries: &Path, infra: &Path, data: &Path, more: &[&str]) -> Result<Self> {
        let mut child = Command::new(binaries.join("localstack"))
            .args(["--api-port", "0", "--aws-port", "0", "--provider-port", "0", "--no-seed"])
            .args(more)
            .arg("--data-dir")
            .arg(data)
            .arg("--bin-dir")
            .arg(binaries)
            .arg("--infra")
            .arg(infra)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| binaries.join("localstack").display().to_string())?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let mut find = |label: &str| -> Result<String> {
            for line in lines.by_ref() {
                if let Some(rest) = line?.trim().strip_prefix(label) {
                    return Ok(rest.trim().trim_end_matches("/book").to_owned());
                }
            }
            anyhow::bail!("the platform did not start")
        };
        let (api, endpoint) = (find("API")?, find("AWS endpoint")?);
        let (provider, token) = (find("Payments book")?, find("Token")?);
        // Behind the address stands with which key it is called.
        let endpoint = Client::new(endpoint.split_whitespace().next().context("no endpoint")?);
        // The platform would fail at a closed pipe: this thread reads its output to the end.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, api: Client::new(api).bearing(token), endpoint, provider: Client::new(provider) })
    }

    /// The id of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already dead is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
