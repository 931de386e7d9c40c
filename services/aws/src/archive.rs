//! Replays from the bus's archive, which EventBridge makes itself.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_StartReplay.html>

use crate::eventbridge::REPLAY;
use crate::sdk::refused;
use aws_config::SdkConfig;
use aws_sdk_eventbridge::types::{ReplayDestination, ReplayState};
use aws_sdk_eventbridge::{Client, primitives};
use chassis::Failure;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The archive of a stage's bus: both have the same name.
#[derive(Clone)]
pub struct Archive {
    client: Client,
    name: String,
}

/// How far a replay has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// `STARTING`, `RUNNING`, `COMPLETED`, `CANCELLING`, `CANCELLED` or `FAILED`, with EventBridge's reason if it gives one.
    pub state: String,
    /// Whether nothing more happens.
    pub has_ended: bool,
    /// Whether all was replayed.
    pub is_complete: bool,
    /// The time of the last event that was replayed.
    pub last: Option<DateTime<Utc>>,
}

impl Archive {
    /// The archive of the bus called `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: String) -> Self {
        Self { client: Client::new(config), name }
    }

    /// The name that EventBridge has for a replay.
    #[must_use]
    pub fn replay_name(id: Uuid) -> String {
        format!("{REPLAY}{id}")
    }

    /// Starts the replay of what was committed from `from` to before `to`, to these rules of the bus.
    ///
    /// # Errors
    /// A [`Failure`] with EventBridge's own text.
    pub async fn start(
        &self,
        id: Uuid,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        rules: &[String],
    ) -> Result<(), Failure> {
        let bus = self.client.describe_event_bus().name(&self.name).send().await.map_err(|e| refused(&e))?;
        let bus = bus.arn.ok_or_else(|| Failure::Poison("the bus has no ARN".into()))?;
        let rule = |rule: &String| format!("{}/{rule}", bus.replacen(":event-bus/", ":rule/", 1));
        let destination = ReplayDestination::builder().arn(&bus);
        let destination = destination.set_filter_arns(Some(rules.iter().map(rule).collect())).build();
        let destination = destination.map_err(|e| Failure::Poison(e.to_string()))?;
        let at = |time: DateTime<Utc>| primitives::DateTime::from_millis(time.timestamp_millis());
        let start = self.client.start_replay().replay_name(Self::replay_name(id)).destination(destination);
        let start = start.event_source_arn(bus.replacen(":event-bus/", ":archive/", 1));
        let start = start.event_start_time(at(from)).event_end_time(at(to));
        start.send().await.map(drop).map_err(|e| refused(&e))
    }

    /// How far a replay has come.
    ///
    /// # Errors
    /// A [`Failure`] with EventBridge's own text.
    pub async fn progress(&self, id: Uuid) -> Result<Progress, Failure> {
        let described = self.client.describe_replay().replay_name(Self::replay_name(id)).send().await;
        let described = described.map_err(|e| refused(&e))?;
        let state = described.state().cloned().unwrap_or(ReplayState::Running);
        let last = described.event_last_replayed_time().and_then(|time| time.to_millis().ok());
        Ok(Progress {
            state: match described.state_reason() {
                Some(reason) => format!("{state}: {reason}"),
                None => state.to_string(),
            },
            has_ended: matches!(state, ReplayState::Completed | ReplayState::Cancelled | ReplayState::Failed),
            is_complete: state == ReplayState::Completed,
            last: last.and_then(DateTime::from_timestamp_millis),
        })
    }
}
