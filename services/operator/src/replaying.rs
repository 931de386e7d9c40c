//! The command `replay`: what is selected is counted by type first, then published, or written into a file.

use crate::session::{Misuse, Session, Signals, bar, private_file, say};
use anyhow::{Result, anyhow, bail, ensure};
use aws::archive::Archive;
use aws::{dynamodb::DynamoStore, eventbridge::EventBus};
use chassis::AggregateId;
use chrono::{DateTime, SubsecRound, Utc};
use clap::Args;
use events::{Envelope, OrderId};
use operator::event_log::{EventLog, Selection};
use operator::replay::{self, Counts, Pace, Replay};
use registry::{CONSUMES, SERVICES};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

/// How long to wait until EventBridge is asked again how far it is.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Args)]
pub struct ReplayArguments {
    /// The events about this order
    #[arg(long, conflicts_with_all = ["from", "to", "resume"], required_unless_present_any = ["from", "resume"])]
    order: Option<OrderId>,
    /// The events committed at this time or later: 2026-11-22T09:30:00Z
    #[arg(long, requires = "to", conflicts_with = "resume")]
    from: Option<DateTime<Utc>>,
    /// The events committed before this time
    #[arg(long, requires = "from")]
    to: Option<DateTime<Utc>>,
    /// Only events of this type, `order.created`; may be repeated
    #[arg(long = "type", conflicts_with = "resume")]
    kinds: Vec<String>,
    /// Only for this consumer, and only what it consumes
    #[arg(long, conflicts_with = "resume")]
    consumer: Option<String>,
    /// Only count
    #[arg(long, conflicts_with_all = ["log", "resume"])]
    dry_run: bool,
    /// Write the envelopes into this file, one to a line, instead of publishing them
    #[arg(long, conflicts_with_all = ["consumer", "resume"])]
    log: Option<PathBuf>,
    /// From the bus's archive instead of the tables: EventBridge replays it by itself
    #[arg(long, requires = "from", conflicts_with_all = ["order", "kinds", "dry_run", "log", "resume"])]
    archive: bool,
    /// Go on with a replay that was stopped
    #[arg(long, value_name = "REPLAY")]
    resume: Option<Uuid>,
    /// How many events a second at most
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
}

/// What a stage is replayed with.
pub struct Tools {
    log: EventLog<DynamoStore>,
    orders: DynamoStore,
    bus: EventBus,
    archive: Archive,
    stage: String,
    json: bool,
}

impl Tools {
    /// The tools for a stage.
    pub fn new(session: &Session) -> Self {
        // Orders first: most subjects are orders, and each is read where it is first met.
        let others = SERVICES.iter().filter(|service| **service != "orders");
        let tables = std::iter::once(&"orders").chain(others).map(|service| session.table(service)).collect();
        Self {
            log: EventLog::new(tables),
            orders: session.table("orders"),
            bus: session.bus(),
            archive: Archive::new(&session.sdk, format!("{}-quadrille", session.stage)),
            stage: session.stage.clone(),
            json: session.json,
        }
    }

    /// Does what the arguments say.
    ///
    /// # Errors
    /// [`Misuse`], or whatever went wrong.
    pub async fn run(&self, arguments: ReplayArguments) -> Result<()> {
        if let Some(id) = arguments.resume {
            let replay = Replay::saved(&self.orders, id).await?;
            if replay.position.is_none() {
                return self.had_ended(&replay);
            }
            return self.go_on(replay, None, arguments.rate).await;
        }
        let selection = selection(&arguments, Utc::now())?;
        if arguments.archive {
            return self.replay_archive(&selection, arguments.consumer).await;
        }
        match (arguments.order, arguments.log) {
            (Some(order), log) => {
                let pk = AggregateId::order(order).pk;
                let events = self.log.of(&pk, &selection).await?;
                if events.is_empty() {
                    bail!(Misuse(format!("the log of {} has no such event about order {order}", self.stage)));
                }
                let mut counts = Counts::new();
                replay::add(&mut counts, &events);
                if let Some(file) = log {
                    let mut lines = Lines::create(&file)?;
                    lines.add(&events)?;
                    return self.done(&counts, json!({"file": lines.finish()?}));
                }
                if arguments.dry_run {
                    return self.counted(&counts);
                }
                let replay = Replay::new(Uuid::now_v7(), selection, arguments.consumer);
                replay::publish(&replay.marked(events), &self.bus, &mut Pace::new(arguments.rate)).await?;
                self.done(&counts, json!({"replay": replay.id}))
            }
            (None, Some(file)) => self.write(&selection, &file).await,
            (None, None) => {
                let counts = replay::count(&self.log, &selection).await?.events;
                if arguments.dry_run || counts.is_empty() {
                    return self.counted(&counts);
                }
                if !self.json {
                    self.counted(&counts)?;
                }
                let mut replay = Replay::new(Uuid::now_v7(), selection, arguments.consumer);
                replay.save(&self.orders).await?;
                self.go_on(replay, Some(sum(&counts)), arguments.rate).await
            }
        }
    }

    /// Publishes page after page, until there is no more, or Ctrl-C.
    async fn go_on(&self, mut replay: Replay, total: Option<u64>, rate: u32) -> Result<()> {
        let (mut pace, bar) = (Pace::new(rate), bar(total, "events"));
        let before = sum(&replay.published);
        let mut signals = Signals::listen()?;
        while replay.position.is_some() {
            let resume =
                format!("go on with: quadrille replay --stage {} --resume {}", self.stage, replay.id);
            tokio::select! {
                // A page that is cut off here is published again by the next run.
                stepped = replay::step(&mut replay, &self.log, (&self.bus, &mut pace), &self.orders) => {
                    stepped.map_err(|why| anyhow!("{why}; {}; {resume}", so_far(&replay, before, &pace)))?;
                }
                () = signals.next() => bail!("stopped; {}; {resume}", so_far(&replay, before, &pace)),
            }
            bar.set_position(sum(&replay.published));
        }
        bar.finish_and_clear();
        self.done(&replay.published, json!({"replay": replay.id}))
    }

    /// Has EventBridge replay its archive, and waits for the end.
    async fn replay_archive(&self, selection: &Selection, consumer: Option<String>) -> Result<()> {
        let consumers = CONSUMES.iter().map(|(service, _)| *service);
        let named = consumers.filter(|service| consumer.as_ref().is_none_or(|consumer| consumer == service));
        let rules: Vec<String> =
            named.map(|service| format!("{}-quadrille-{service}-archive", self.stage)).collect();
        let id = Uuid::now_v7();
        self.archive.start(id, (selection.from, selection.to), &rules).await?;
        let (name, bar, mut signals) = (Archive::replay_name(id), bar(None, "events"), Signals::listen()?);
        let progress = loop {
            let progress = self.archive.progress(id).await?;
            if progress.has_ended {
                break progress;
            }
            bar.set_message(progress.last.map_or_else(String::new, |last| format!("up to {last}")));
            tokio::select! {
                () = sleep(LOOK) => {}
                () = signals.next() => bail!("not waiting any longer: EventBridge goes on with its replay {name}"),
            }
        };
        bar.finish_and_clear();
        ensure!(progress.is_complete, "EventBridge's replay {name} ended as {}", progress.state);
        if self.json {
            return say(&json!({"replay": id, "name": name, "state": progress.state}).to_string());
        }
        say(&format!("the archive is replayed: EventBridge's replay {name}"))
    }

    async fn write(&self, selection: &Selection, file: &Path) -> Result<()> {
        let (mut lines, mut counts, bar) = (Lines::create(file)?, Counts::new(), bar(None, "events"));
        let visit = async |events: Vec<Envelope>| {
            lines.add(&events)?;
            replay::add(&mut counts, &events);
            bar.set_position(sum(&counts));
            anyhow::Ok(())
        };
        self.log.walk(selection, visit).await?;
        bar.finish_and_clear();
        self.done(&counts, json!({"file": lines.finish()?}))
    }

    fn counted(&self, counts: &Counts) -> Result<()> {
        if self.json {
            return say(&json!({ "counted": counts }).to_string());
        }
        for (kind, number) in counts {
            say(&format!("{number:>9}  {kind}"))?;
        }
        say(&format!("{:>9}  in all", sum(counts)))
    }

    fn had_ended(&self, replay: &Replay) -> Result<()> {
        if self.json {
            return say(&json!({"replay": replay.id, "published": Counts::new()}).to_string());
        }
        let published = sum(&replay.published);
        say(&format!("replay {} had ended after {published} events: nothing is published", replay.id))
    }

    /// The last line: what came of it.
    fn done(&self, counts: &Counts, mut what: serde_json::Value) -> Result<()> {
        let sum = sum(counts);
        if self.json {
            what["published"] = json!(counts);
            return say(&what.to_string());
        }
        match (what["replay"].as_str(), what["file"].as_str()) {
            (Some(replay), _) => say(&format!("{sum} events published, replay {replay}")),
            (_, file) => say(&format!("{sum} events written to {}", file.unwrap_or_default())),
        }
    }
}

fn sum(counts: &Counts) -> u64 {
    counts.values().sum()
}

/// How far this run has come, when `before` events were published by earlier ones.
fn so_far(replay: &Replay, before: u64, pace: &Pace) -> String {
    let again = before.saturating_add(pace.sent()).saturating_sub(sum(&replay.published));
    format!("{} events published, the last {again} of which will be published again", pace.sent())
}

/// What the arguments select. A selection ends now at the latest, so that it is the same when it is read again.
fn selection(arguments: &ReplayArguments, now: DateTime<Utc>) -> Result<Selection> {
    let now = now.trunc_subsecs(3);
    let from = arguments.from.unwrap_or(DateTime::UNIX_EPOCH);
    let to = arguments.to.unwrap_or(now).min(now);
    ensure!(from < to, Misuse(format!("--from: has to be before --to and before now, {now}")));
    let mut kinds: BTreeSet<String> = arguments.kinds.iter().cloned().collect();
    let known = events::catalogue::entries();
    if let Some(unknown) = kinds.iter().find(|kind| known.iter().all(|entry| entry.kind != kind.as_str())) {
        bail!(Misuse(format!("--type: no service publishes {unknown}")));
    }
    if let Some(consumer) = &arguments.consumer {
        let found = CONSUMES.iter().find(|(service, _)| service == consumer);
        let Some((_, consumed)) = found else {
            let named: Vec<_> = CONSUMES.iter().map(|(service, _)| *service).collect();
            bail!(Misuse(format!("--consumer: {consumer} is none of {}", named.join(", "))));
        };
        let consumed: BTreeSet<String> = consumed.iter().map(|one| one.kind.to_owned()).collect();
        kinds = if kinds.is_empty() { consumed } else { kinds.intersection(&consumed).cloned().collect() };
        ensure!(!kinds.is_empty(), Misuse(format!("--type: {consumer} consumes none of these")));
    }
    Ok(Selection { from, to, kinds })
}

/// A file of envelopes, one to a line.
struct Lines {
    path: String,
    file: BufWriter<File>,
}

impl Lines {
    /// A new file: one that is there already is not written over.
    fn create(path: &Path) -> Result<Self> {
        Ok(Self { path: path.display().to_string(), file: BufWriter::new(private_file(path, "--log")?) })
    }

    fn add(&mut self, events: &[Envelope]) -> Result<()> {
        for event in events {
            writeln!(self.file, "{}", json!(event))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<String> {
        self.file.into_inner()?.sync_all()?;
        Ok(self.path)
    }
}
