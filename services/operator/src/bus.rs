//! The command `bus tail`: live events, like a log.

use crate::session::{Misuse, Session, Signals};
use anyhow::{Result, anyhow, ensure};
use aws::eventbridge::read_body;
use aws::tail::{LONGEST, Tail};
use chrono::Utc;
use clap::{Args, Subcommand};
use events::envelope::millis;
use events::{Envelope, OrderId, catalogue};
use operator::mask;
use serde_json::json;
use std::io::Write;

#[derive(Subcommand)]
pub enum BusCommand {
    /// Print each event as it comes, until Ctrl-C; replayed ones too, and personal data is masked
    Tail(TailArguments),
}

/// A queue and a rule are made for it, and deleted at its end; what an earlier one has left is deleted after an hour, by the next
/// one that starts.
#[derive(Args)]
pub struct TailArguments {
    /// Only events about this order
    #[arg(long)]
    order: Option<OrderId>,
    /// Only events of this type, `order.created`; may be repeated
    #[arg(long = "type")]
    kinds: Vec<String>,
}

impl TailArguments {
    fn has(&self, event: &Envelope) -> bool {
        let metadata = &event.metadata;
        self.order.is_none_or(|order| metadata.subject == order.to_string())
            && (self.kinds.is_empty() || self.kinds.contains(&metadata.kind))
    }
}

/// Does what the command says.
pub async fn run(session: &Session, BusCommand::Tail(arguments): BusCommand) -> Result<()> {
    let known = catalogue::entries();
    let unknown = arguments.kinds.iter().find(|kind| known.iter().all(|entry| entry.kind != kind.as_str()));
    ensure!(
        unknown.is_none(),
        Misuse(format!("--type: no service publishes {}", unknown.map_or("", |kind| kind)))
    );
    let bus = format!("{}-quadrille", session.stage);
    Tail::sweep(&session.sdk, &bus, Utc::now()).await?;
    let mut signals = Signals::listen()?;
    let tail = Tail::start(&session.sdk, &bus).await?;
    // On AWS a rule needs a moment until it matches.
    let _ = writeln!(std::io::stderr(), "looking at {bus}; Ctrl-C ends");
    let done = tokio::select! {
        done = follow(session, &tail, &arguments) => done,
        () = signals.next() => Ok(()),
        () = tokio::time::sleep(LONGEST) => {
            Err(anyhow!("looked for {} hours, which is the most; begin again", LONGEST.as_secs() / 3600))
        }
    };
    let ended = tail.end().await;
    done?;
    Ok(ended?)
}

async fn follow(session: &Session, tail: &Tail, arguments: &TailArguments) -> Result<()> {
    loop {
        for body in tail.next().await? {
            match read_body(&body) {
                Ok(event) if arguments.has(&event) => print(session, event)?,
                Ok(_) => {}
                Err(failure) => writeln!(std::io::stderr(), "{failure}")?,
            }
        }
    }
}

fn print(session: &Session, mut event: Envelope) -> Result<()> {
    mask::event(&mut event);
    // Without a reader there is nothing to look for: a closed pipe ends this command.
    Ok(writeln!(std::io::stdout(), "{}", if session.json { json!(event).to_string() } else { line(&event) })?)
}

/// `2026-11-22T09:30:00.125Z  order.created             018f…  1  018f…`
fn line(Envelope { metadata, .. }: &Envelope) -> String {
    let time = millis::text(&metadata.time);
    let again = match (&metadata.replay, metadata.nudge) {
        (Some(replay), _) => format!("  replay {}", replay.id),
        (None, Some(nudge)) => format!("  reminder {nudge}"),
        (None, None) => String::new(),
    };
    let (kind, subject, seq) = (&metadata.kind, &metadata.subject, metadata.seq);
    format!("{time}  {kind:<30}  {subject:<36}  {seq:>3}  {}{again}", metadata.correlation_id)
}
