//! The commands about dead letters. Whatever ends one of them, even Ctrl-C, nothing stays hidden from others.

use crate::session::{Misuse, Session, Signals, bar, private_file, say};
use anyhow::{Result, bail, ensure};
use aws::dynamodb::DynamoStore;
use chrono::Utc;
use clap::Subcommand;
use events::OrderId;
use events::envelope::millis;
use operator::dead_letters::{DeadLetter, NotThere, Stage};
use operator::mask;
use operator::redrive::Meant;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub enum DlqCommand {
    /// List the dead letters: queue, age, event, order, and why they are there
    List,
    /// Show the bodies of dead letters; personal data is masked
    Show {
        /// The dead-letter queue, `payments-events-dlq`
        queue: String,
        /// Only this message
        #[arg(long)]
        message: Option<String>,
        /// Print each body as it lies in the queue, personal data too
        #[arg(long)]
        raw: bool,
    },
    /// Send dead letters back to where they failed, cancellations first, and show each one's verdict; ends with 1 unless the
    /// service has dealt with all
    Redrive {
        /// The dead-letter queue, `payments-events-dlq`
        #[arg(required_unless_present = "all")]
        queue: Option<String>,
        /// Only the dead letters about this order
        #[arg(long, conflicts_with = "all")]
        order: Option<OrderId>,
        /// Those of every queue
        #[arg(long, conflicts_with = "queue")]
        all: bool,
    },
    /// Delete dead letters that can never be read; a copy of each is written into a file first
    Drop {
        /// The dead-letter queue, `payments-events-dlq`
        queue: String,
        /// The message, as `quadrille dlq list` names it
        #[arg(long, required_unless_present = "all")]
        message: Option<String>,
        /// Every message of the queue
        #[arg(long, conflicts_with = "message")]
        all: bool,
        /// The file for the copy; without it QUEUE-MESSAGE.json in this folder
        #[arg(long, value_name = "FILE", conflicts_with = "all")]
        copy: Option<PathBuf>,
    },
}

/// Does what the command says.
pub async fn run(session: &Session, command: DlqCommand) -> Result<()> {
    let stage = session.stage();
    let (work, mut signals) = (act(session, &stage, command), Signals::listen()?);
    tokio::pin!(work);
    let done = tokio::select! {
        done = &mut work => done,
        () = signals.next() => {
            stage.stop();
            // A second one does not wait for the call that is under way.
            tokio::select! { _ = &mut work => {}, () = signals.next() => {} }
            Err(anyhow::anyhow!("stopped"))
        }
    };
    let released = stage.release(None).await;
    done.and(released.map_err(Into::into))
}

/// The whole name of a dead-letter queue: that of its stage may be left out.
fn whole_name(session: &Session, queue: &str) -> Result<String> {
    let Some((stage, _)) = queue.split_once("-quadrille-") else { return Ok(session.name(queue)) };
    ensure!(
        stage == session.stage,
        Misuse(format!("{queue} is no queue of the stage {}: --stage {stage}", session.stage))
    );
    Ok(queue.to_owned())
}

async fn act(session: &Session, stage: &Stage<DynamoStore>, command: DlqCommand) -> Result<()> {
    match command {
        DlqCommand::List => list(session, stage).await,
        DlqCommand::Show { queue, message, raw } => {
            show(session, stage, &whole_name(session, &queue)?, message.as_deref(), raw).await
        }
        DlqCommand::Redrive { queue, order, .. } => {
            let meant = match queue {
                Some(queue) => Meant::Of(whole_name(session, &queue)?, order),
                None => Meant::All,
            };
            redrive(session, stage, &meant).await
        }
        DlqCommand::Drop { queue, message, copy, .. } => {
            let queue = whole_name(session, &queue)?;
            match message {
                Some(message) => drop_one(session, stage, &queue, &message, copy).await,
                None => drop_all(session, stage, &queue).await,
            }
        }
    }
}

async fn list(session: &Session, stage: &Stage<DynamoStore>) -> Result<()> {
    let rows: Vec<Value> = stage.list(Utc::now()).await?.iter().map(|listed| json!(listed)).collect();
    let columns = [
        ("queue", "queue"),
        ("message", "message_id"),
        ("age", "age"),
        ("event", "what"),
        ("about", "subject"),
        ("reason", "reason"),
    ];
    session.rows(&columns, &rows, "no dead letters")
}

/// Opens a queue until a message is found, or whole; what is not meant is released at once.
async fn find(stage: &Stage<DynamoStore>, queue: &str, url: &str, id: &str) -> Result<DeadLetter, NotThere> {
    let mut found = None;
    for dead_letter in stage.open_all(queue, url).await? {
        if dead_letter.message.id == id {
            found = Some(dead_letter);
        } else {
            stage.release_one(url, &dead_letter.message).await?;
        }
    }
    found.ok_or_else(|| NotThere::Message { queue: queue.to_owned(), message: id.to_owned() })
}

async fn show(
    session: &Session,
    stage: &Stage<DynamoStore>,
    queue: &str,
    id: Option<&str>,
    raw: bool,
) -> Result<()> {
    let url = stage.dead_letter_queue(queue).await?;
    let opened = match id {
        Some(id) => vec![find(stage, queue, &url, id).await?],
        None => stage.open_all(queue, &url).await?,
    };
    stage.release(None).await?;
    if opened.is_empty() && !session.json {
        return say("no dead letters");
    }
    opened.iter().try_for_each(|dead_letter| print(session, dead_letter, raw))
}

fn print(session: &Session, dead_letter: &DeadLetter, raw: bool) -> Result<()> {
    let shown = shown(dead_letter, raw);
    if session.json {
        return say(&shown.to_string());
    }
    say(&format!("{}  {}", dead_letter.message.id, dead_letter.reason))?;
    match &shown["body"] {
        Value::String(text) => say(text),
        body => say(&format!("{body:#}")),
    }
}

/// A dead letter with its body: JSON is shown as JSON and masked, and what is no JSON is not shown, because what is personal in
/// it cannot be seen.
fn shown(dead_letter: &DeadLetter, raw: bool) -> Value {
    let DeadLetter { message, reason, .. } = dead_letter;
    let body = match serde_json::from_str::<Value>(&message.body) {
        _ if raw => message.body.as_str().into(),
        Ok(mut body @ (Value::Object(_) | Value::Array(_))) => {
            mask::tagged(&mut body);
            body
        }
        _ => format!("{} bytes that are no JSON; --raw prints them", message.body.len()).into(),
    };
    let sent_at = message.sent_at.as_ref().map(millis::text);
    json!({"message_id": message.id, "sent_at": sent_at, "reason": reason, "body": body})
}

const NOT_ALL: &str = "not every dead letter is dealt with; `quadrille dlq drop QUEUE --message ID` deletes what can never be read, \
    `quadrille dlq drop QUEUE --all` a whole queue";

async fn redrive(session: &Session, stage: &Stage<DynamoStore>, meant: &Meant) -> Result<()> {
    let (mut rows, bar) = (Vec::new(), bar(None, "dead letters"));
    let said = |fate| {
        bar.inc(1);
        rows.push(json!(fate));
    };
    let done = stage.redrive(meant, &session.bus(), said).await;
    bar.finish_and_clear();
    let columns = [
        ("queue", "queue"),
        ("message", "message_id"),
        ("event", "what"),
        ("about", "subject"),
        ("fate", "fate"),
    ];
    if done.is_ok() || !rows.is_empty() {
        session.rows(&columns, &rows, "nothing to send back")?;
    }
    done?;
    ensure!(rows.iter().all(|row| row["well"] == true), "{NOT_ALL}");
    Ok(())
}

async fn drop_one(
    session: &Session,
    stage: &Stage<DynamoStore>,
    queue: &str,
    id: &str,
    copy: Option<PathBuf>,
) -> Result<()> {
    let is_name = id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    ensure!(is_name, Misuse(format!("--message: {id} is no message's id")));
    let url = stage.dead_letter_queue(queue).await?;
    let dead_letter = find(stage, queue, &url, id).await?;
    let about = dead_letter.subject().map(|subject| format!(" about {subject}")).unwrap_or_default();
    session
        .confirm(&format!("Delete the message {id} of {queue}, {}{about}, for good?", dead_letter.kind()))?;
    delete(session, stage, (queue, &url), &dead_letter, copy).await
}

async fn drop_all(session: &Session, stage: &Stage<DynamoStore>, queue: &str) -> Result<()> {
    let url = stage.dead_letter_queue(queue).await?;
    session.confirm(&format!("Delete every message of {queue} for good?"))?;
    let opened = stage.open_all(queue, &url).await?;
    if opened.is_empty() && !session.json {
        return say("no dead letters");
    }
    for dead_letter in opened {
        delete(session, stage, (queue, &url), &dead_letter, None).await?;
    }
    Ok(())
}

/// Deletes a message, once its copy is safe.
async fn delete(
    session: &Session,
    stage: &Stage<DynamoStore>,
    (queue, url): (&str, &str),
    dead_letter: &DeadLetter,
    copy: Option<PathBuf>,
) -> Result<()> {
    let id = &dead_letter.message.id;
    let file = copy.unwrap_or_else(|| PathBuf::from(format!("{queue}-{id}.json")));
    keep(&file, queue, dead_letter)?;
    stage.delete(url, &dead_letter.message).await?;
    let file = file.display().to_string();
    let line = format!("deleted, a copy is in {file}");
    session.done(&line, &json!({"queue": queue, "message_id": id, "copy": file}))
}

/// Writes a message into a new file that only its owner can read, and waits until it is on disk.
fn keep(file: &Path, queue: &str, dead_letter: &DeadLetter) -> Result<()> {
    let DeadLetter { message, reason, .. } = dead_letter;
    let mut out = private_file(file, "--copy")?;
    let sent_at = message.sent_at.as_ref().map(millis::text);
    let copy = json!({
        "queue": queue, "message_id": message.id, "sent_at": sent_at, "group": message.group, "error": reason,
        "body": message.body,
    });
    writeln!(out, "{copy:#}")?;
    if let Err(error) = out.sync_all() {
        bail!("the copy in {} is not safe, so nothing is deleted: {error}", file.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws::sqs::Received;

    fn dead_letter(body: &str) -> DeadLetter {
        let message = Received {
            id: "m".into(),
            receipt: String::new(),
            body: body.into(),
            sent_at: None,
            error: None,
            group: None,
        };
        DeadLetter { message, event: None, reason: "poison".into() }
    }

    /// Guards: an address in a body is masked; and what is no JSON, in which nothing can be masked, is printed only when asked.
    #[test]
    fn a_body_is_readable_and_masked() {
        let body = r#"{"detail": {"data": {"order_id": "1", "shipping_address": {"city": "London"}}}}"#;
        let seen = shown(&dead_letter(body), false);
        assert_eq!(seen["body"]["detail"]["data"]["order_id"], "1");
        assert!(!seen.to_string().contains("London"));
        let broken = dead_letter(&body[..60]);
        assert_eq!(shown(&broken, false)["body"], "60 bytes that are no JSON; --raw prints them");
        assert_eq!(shown(&broken, true)["body"], body[..60]);
    }

    /// Guards: a copy never overwrites a file, and only its owner can read it.
    #[test]
    fn a_copy_is_new_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let file = std::env::temp_dir().join(format!("quadrille-copy-{}", std::process::id()));
        let _ = std::fs::remove_file(&file);
        let dead_letter = dead_letter("x");
        keep(&file, "q", &dead_letter).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let again = keep(&file, "q", &dead_letter).unwrap_err();
        assert!(again.downcast_ref::<Misuse>().is_some(), "{again:#}");
        std::fs::remove_file(&file).unwrap();
    }
}
