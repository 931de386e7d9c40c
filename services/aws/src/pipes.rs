//! The pipes of a stage, which an operator looks at, stops and starts.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/API_Operations.html>

use crate::sdk::refused;
use aws_config::SdkConfig;
use aws_sdk_pipes::Client;
use chassis::Failure;
use chrono::{DateTime, Utc};

/// A pipe, as EventBridge lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipe {
    /// `prod-quadrille-orders`
    pub name: String,
    /// `RUNNING`, `STOPPED`, or on the way there: `STARTING`, `STOPPING`, and others. With EventBridge's reason if it gives one.
    pub state: String,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
}

/// The pipes of an account.
#[derive(Clone)]
pub struct Pipes(Client);

impl Pipes {
    /// The pipes that these credentials reach.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self(Client::new(config))
    }

    /// The pipes whose names begin with `prefix`, by name.
    ///
    /// # Errors
    /// A [`Failure`] with EventBridge's own text.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Pipe>, Failure> {
        let listed = self.0.list_pipes().name_prefix(prefix).into_paginator().items().send();
        let listed = listed.collect::<Result<Vec<_>, _>>().await.map_err(|e| refused(&e))?;
        let mut pipes: Vec<Pipe> = listed.into_iter().map(pipe).collect();
        pipes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(pipes)
    }

    /// Has a pipe stop, or start where it stood; its stream forgets what is older than a day.
    ///
    /// # Errors
    /// A [`Failure`] with EventBridge's own text: there is no such pipe, or it is on its way already.
    pub async fn set(&self, name: &str, running: bool) -> Result<(), Failure> {
        if running {
            return self.0.start_pipe().name(name).send().await.map(drop).map_err(|e| refused(&e));
        }
        self.0.stop_pipe().name(name).send().await.map(drop).map_err(|e| refused(&e))
    }
}

fn pipe(listed: aws_sdk_pipes::types::Pipe) -> Pipe {
    let state = listed.current_state.map_or_else(|| "?".to_owned(), |state| state.to_string());
    let since = listed.last_modified_time.and_then(|time| time.to_millis().ok());
    Pipe {
        name: listed.name.unwrap_or_default(),
        state: listed.state_reason.map_or(state.clone(), |reason| format!("{state}: {reason}")),
        since: since.and_then(DateTime::from_timestamp_millis),
    }
}
