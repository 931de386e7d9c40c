//! The command `rebuild`: a projection is built anew from the log.

use crate::session::{self, Misuse, Session, Signals, bar};
use anyhow::{Context, Result, bail, ensure};
use aws::dynamodb::DynamoStore;
use chassis::Ports;
use clap::{Args, ValueEnum};
use events::Event;
use events::orders::OrderConfirmed;
use operator::event_log::EventLog;
use operator::rebuild::{Counters, Difference, Rebuild, Rebuilt, clean, differences};
use operator::views::{ADMISSION, Outcome, PRICES, View, Viewed};
use serde_json::{Value, json};

/// How many rows a list shows.
const SHOWN: usize = 20;

#[derive(Args)]
pub struct RebuildArguments {
    /// The projection
    #[arg(long)]
    projection: Projection,
    /// Only show what would change
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
    /// Go on with a rebuild of sales that was stopped
    #[arg(long)]
    resume: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Projection {
    /// What was sold, by day and product: the service sales
    Sales,
    /// The price list of orders
    Prices,
    /// Whether payments can charge, as orders sees it
    Admission,
}

/// Does what the arguments say.
///
/// # Errors
/// [`Misuse`], or whatever went wrong.
pub async fn run(session: &Session, arguments: RebuildArguments) -> Result<()> {
    let table = |service: &str| session.table(service);
    let view = match arguments.projection {
        Projection::Sales => {
            let log = EventLog::new(vec![table(OrderConfirmed::PRODUCER)]);
            return sales(&Ports::system(table("sales")), &log, session, arguments).await;
        }
        Projection::Prices => &PRICES,
        Projection::Admission => &ADMISSION,
    };
    if arguments.resume {
        bail!(Misuse(format!("--resume: {} is put right row by row; begin again", view.name)));
    }
    let log = EventLog::new(vec![table(view.producer)]);
    let viewed = Viewed { view, table: &table("orders"), log: &log, dry_run: arguments.dry_run };
    let outcome = viewed.rebuild().await?;
    say(&viewed_lines(view, &outcome, session.json, &arguments))?;
    let Outcome { changed, added, removed, .. } = outcome;
    let is_as_the_log_says = changed.is_empty() && added.is_empty() && removed.is_empty();
    ensure!(!arguments.dry_run || is_as_the_log_says, "{} is not as the log says", view.name);
    Ok(())
}

/// Builds the next generation, swaps, and deletes what is left of the old ones.
async fn sales(
    ports: &Ports<DynamoStore>,
    log: &EventLog<DynamoStore>,
    session: &Session,
    arguments: RebuildArguments,
) -> Result<()> {
    if arguments.dry_run {
        let differences = differences(&ports.store, log).await?;
        say(&would_change(&differences, session.json))?;
        ensure!(differences.is_empty(), "sales is not as the log says");
        return Ok(());
    }
    let rebuilt = match Rebuild::begin(ports, log, arguments.resume).await? {
        Some(rebuild) => Some(build(rebuild, &session.stage).await?),
        None => None,
    };
    let (live, deleted) = clean(ports).await.context("the new generation is live; the old one's rows are not all deleted: the next rebuild deletes them, or quadrille rebuild --projection sales --resume")?;
    let under_way = match &rebuilt {
        Some(Rebuilt { read, booked }) => format!("{read} events read, {booked} booked"),
        None => "no rebuild of sales is under way".to_owned(),
    };
    if session.json {
        let Rebuilt { read, booked } = rebuilt.unwrap_or_default();
        let done = json!({"generation": live, "read": read, "booked": booked, "deleted": deleted});
        return say(&[done.to_string()]);
    }
    say(&[under_way, format!("sales: generation {live} is live; {deleted} rows of older ones deleted")])
}

/// Page after page, until the new generation is live, or Ctrl-C.
async fn build(mut rebuild: Rebuild<'_, DynamoStore>, stage: &str) -> Result<Rebuilt> {
    let (bar, mut signals) = (bar(None, ""), Signals::listen()?);
    loop {
        let resume = format!("go on with: quadrille rebuild --stage {stage} --projection sales --resume");
        tokio::select! {
            // A page that is cut off here is read again by the next run, which finds it booked.
            stepped = rebuild.step() => {
                if !stepped.with_context(|| resume)? {
                    break;
                }
            }
            () = signals.next() => bail!("stopped after {} events; {resume}", rebuild.rebuilt.read),
        }
        bar.set_message(format!("{} events", rebuild.rebuilt.read));
    }
    bar.finish_and_clear();
    Ok(rebuild.rebuilt)
}

fn would_change(differences: &[Difference], json: bool) -> Vec<String> {
    if json {
        let list = |difference: &Difference| {
            let Difference { key, is, would_be } = difference;
            json!({"row": key.to_string(), "is": is, "would_be": would_be})
        };
        return vec![json!({ "differences": differences.iter().map(list).collect::<Vec<_>>() }).to_string()];
    }
    let shown = |counters: &Option<Counters>| match counters {
        None => "nothing".to_owned(),
        Some(counters) => {
            let one = |(name, number): (&&str, &u64)| format!("{name} {number}");
            counters.iter().map(one).collect::<Vec<_>>().join(", ")
        }
    };
    let line = |difference: &Difference| {
        format!("{}: {} -> {}", difference.key, shown(&difference.is), shown(&difference.would_be))
    };
    let mut lines: Vec<String> = differences.iter().take(SHOWN).map(line).collect();
    lines.push(format!("{} rows of counters would change", differences.len()));
    lines
}

fn viewed_lines(view: &View, outcome: &Outcome, json: bool, arguments: &RebuildArguments) -> Vec<String> {
    let Outcome { unchanged, changed, added, removed } = outcome;
    let all = [("changed", changed), ("added", added), ("removed", removed)];
    if json {
        let mut shown =
            json!({"projection": view.name, "dry_run": arguments.dry_run, "unchanged": unchanged});
        all.iter().for_each(|(what, keys)| shown[*what] = Value::from(keys.as_slice()));
        return vec![shown.to_string()];
    }
    let listed = all.iter().flat_map(|(what, keys)| keys.iter().map(move |key| format!("{what:>9}  {key}")));
    let mut lines: Vec<String> = listed.take(SHOWN).collect();
    let would = if arguments.dry_run { "would be " } else { "" };
    let [changed, added, removed] = [changed, added, removed].map(Vec::len);
    lines.push(format!(
        "{}: {unchanged} rows are as the log says; {would}changed {changed}, added {added}, removed {removed}",
        view.name
    ));
    lines
}

fn say(lines: &[String]) -> Result<()> {
    lines.iter().try_for_each(|line| session::say(line))
}
