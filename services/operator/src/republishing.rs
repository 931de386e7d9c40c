//! The command `republish`: what is selected is counted first, and asked about where it is more than one subject.

use crate::session::{Misuse, Session, bar, publishes, say};
use anyhow::{Context, Result, bail, ensure};
use aws::{dynamodb::DynamoStore, eventbridge::EventBus};
use chassis::AggregateId;
use chrono::{DateTime, SubsecRound, Utc};
use clap::Args;
use events::{Envelope, OrderId};
use operator::event_log::{EventLog, Selection};
use operator::replay::{self, Counted, Pace};
use operator::republish::{self, Which};
use registry::SERVICES;
use serde_json::json;
use std::collections::BTreeSet;

#[derive(Args)]
pub struct RepublishArguments {
    /// The events about this subject: an order's id, order#ID, product#ID
    #[arg(long, conflicts_with_all = ["pipe", "since", "until"], required_unless_present = "pipe")]
    subject: Option<String>,
    /// Only the event of this number in the service's history of the subject
    #[arg(long, requires = "subject")]
    seq: Option<u64>,
    /// Only what this service published about the subject
    #[arg(long, requires = "subject")]
    service: Option<String>,
    /// What the pipe of this service should have carried
    #[arg(long, value_name = "SERVICE", requires = "since")]
    pipe: Option<String>,
    /// Committed at this time or later: 2026-11-22T09:30:00Z
    #[arg(long, requires = "pipe")]
    since: Option<DateTime<Utc>>,
    /// Committed before this time; without it: now
    #[arg(long, requires = "pipe")]
    until: Option<DateTime<Utc>>,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    /// How many events a second at most
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
}

/// Publishes again.
///
/// # Errors
/// [`Misuse`], or whatever went wrong.
pub async fn run(session: &Session, arguments: RepublishArguments) -> Result<()> {
    let bus = session.bus();
    let log =
        |services: &[&str]| EventLog::new(services.iter().map(|service| session.table(service)).collect());
    for service in arguments.service.iter().chain(&arguments.pipe) {
        ensure!(
            SERVICES.contains(&service.as_str()),
            Misuse(format!("{service} is none of {}", SERVICES.join(", ")))
        );
    }
    match (&arguments.subject, &arguments.pipe) {
        (Some(subject), _) => {
            let events = selected(&log(SERVICES), subject, &arguments).await?;
            let mut counted = Counted { subjects: 1, ..Counted::default() };
            replay::add(&mut counted.events, &events);
            if arguments.announce(session, &counted)? {
                replay::publish(&events, &bus, &mut Pace::new(arguments.rate)).await?;
            }
            arguments.done(session, &counted)
        }
        (None, Some(service)) => {
            ensure!(
                publishes(service),
                Misuse(format!("--pipe: {service} publishes nothing, and has no pipe"))
            );
            let (log, selection) = (log(&[service]), arguments.window(Utc::now())?);
            let counted = replay::count(&log, &selection).await?;
            if arguments.announce(session, &counted)? {
                publish_all(&log, &selection, &bus, (arguments.rate, &counted)).await?;
            }
            arguments.done(session, &counted)
        }
        (None, None) => bail!(Misuse("--subject or --pipe is needed".into())),
    }
}

/// The events about one subject that are meant.
async fn selected(
    log: &EventLog<DynamoStore>,
    subject: &str,
    arguments: &RepublishArguments,
) -> Result<Vec<Envelope>> {
    let pk = match subject.contains('#') {
        true => subject.to_owned(),
        false => {
            let order = subject.parse::<OrderId>().map_err(|_| {
                Misuse(format!("--subject: {subject} is no order's id; name another subject as product#ID"))
            })?;
            AggregateId::order(order).pk
        }
    };
    let all = Selection::all([]);
    let which = Which { service: arguments.service.clone(), seq: arguments.seq };
    let events = which.of(log.of(&pk, &all).await?);
    ensure!(!events.is_empty(), Misuse(format!("no service has published such an event about {pk}")));
    if arguments.seq.is_some() {
        let misuse =
            || Misuse("--seq: several services have an event of this number: name one with --service".into());
        ensure!(republish::services(&events) == 1, misuse());
    }
    Ok(events)
}

async fn publish_all(
    log: &EventLog<DynamoStore>,
    selection: &Selection,
    bus: &EventBus,
    (rate, counted): (u32, &Counted),
) -> Result<()> {
    let (mut pace, bar) = (Pace::new(rate), bar(Some(counted.events.values().sum()), "events"));
    let visit = async |events: Vec<Envelope>| {
        let again = "stopped on the way: publishing again from the start is harmless";
        replay::publish(&events, bus, &mut pace).await.context(again)?;
        bar.inc(u64::try_from(events.len()).unwrap_or_default());
        anyhow::Ok(())
    };
    log.walk(selection, visit).await?;
    bar.finish_and_clear();
    Ok(())
}

impl RepublishArguments {
    /// What a pipe should have carried; it ends now at the latest, so that what is counted is what is published.
    fn window(&self, now: DateTime<Utc>) -> Result<Selection> {
        let now = now.trunc_subsecs(3);
        let from = self.since.unwrap_or(now);
        let to = self.until.unwrap_or(now).min(now);
        ensure!(from < to, Misuse("--since: has to be before --until and before now".into()));
        Ok(Selection { from, to, kinds: BTreeSet::new() })
    }

    /// Says what there is; whether it is to be published.
    fn announce(&self, session: &Session, counted: &Counted) -> Result<bool> {
        if !session.json {
            for (kind, number) in &counted.events {
                say(&format!("{number:>9}  {kind}"))?;
            }
        }
        if self.dry_run || counted.events.is_empty() {
            return Ok(false);
        }
        if counted.subjects > 1 {
            session.confirm(&format!(
                "{} subjects: who never had these events charges, ships and notifies. Publish them?",
                counted.subjects
            ))?;
        }
        Ok(true)
    }

    fn done(&self, session: &Session, counted: &Counted) -> Result<()> {
        let sum: u64 = counted.events.values().sum();
        let done = if self.dry_run { "counted" } else { "published" };
        if session.json {
            return say(&json!({done: counted.events, "subjects": counted.subjects}).to_string());
        }
        let as_they_were = if self.dry_run { "" } else { " as they were" };
        say(&format!("{sum} events of {} subjects {done}{as_they_were}", counted.subjects))
    }
}
