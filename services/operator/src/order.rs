//! The commands about one order: what it is, what happened to it, and what an operator does with it.

use crate::session::{Misuse, Session, say};
use crate::table::text;
use crate::trace::trace;
use anyhow::{Context, Result, bail, ensure};
use aws::invoke::invoke;
use chassis::AggregateId;
use chassis::aggregate::{Loaded, load};
use clap::Subcommand;
use events::OrderId;
use operator::story::{self, Chapter};
use registry::SERVICES;
use registry::orders::{http::view, saga::Saga};
use serde_json::{Value, json};

#[derive(Subcommand)]
pub enum OrderCommand {
    /// Where it stands: status, customer, lines, money, and why it failed
    Show { order: OrderId },
    /// What every service published about it, and each one's verdict on what was delivered to it; verdicts are kept for seven
    /// days
    Timeline { order: OrderId },
    /// Every service's event rows about it; personal data is masked
    Events { order: OrderId },
    /// Cancel it for its customer, if it is still pending
    Cancel { order: OrderId },
    /// Have a refund that was refused for good tried again
    RetryCompensation { order: OrderId },
    /// What every function logged about it; for a stage on AWS the query that finds it there
    Trace { order: OrderId },
}

/// Does what the command says.
pub async fn run(session: &Session, command: OrderCommand) -> Result<()> {
    match command {
        OrderCommand::Show { order } => show(session, order).await,
        OrderCommand::Timeline { order } => timeline(session, order).await,
        OrderCommand::Events { order } => events(session, order).await,
        OrderCommand::Cancel { order } => cancel(session, order).await,
        OrderCommand::RetryCompensation { order } => retry_compensation(session, order).await,
        OrderCommand::Trace { order } => {
            trace(session, order, &story::correlations(&read(session, order).await?)).await
        }
    }
}

/// What every service has about an order.
async fn read(session: &Session, order: OrderId) -> Result<Vec<Chapter>> {
    let tables: Vec<_> =
        SERVICES.iter().map(|service| ((*service).to_owned(), session.table(service))).collect();
    let chapters = story::read(&tables, order).await?;
    let is_empty = chapters.iter().all(|chapter| chapter.events.is_empty() && chapter.inbox.is_empty());
    ensure!(!is_empty, unknown(session, order));
    Ok(chapters)
}

fn unknown(session: &Session, order: OrderId) -> Misuse {
    Misuse(format!("no service of {} knows an order {order}", session.stage))
}

async fn show(session: &Session, order: OrderId) -> Result<()> {
    let loaded: Loaded<Saga> = load(&session.table("orders"), &AggregateId::order(order)).await?;
    ensure!(loaded.version > 0, unknown(session, order));
    let mut shown = view::order(order, &loaded.state, loaded.seq)?;
    let (captured, refunded) = story::money(&read(session, order).await?)?;
    shown["captured_cents"] = captured.into();
    shown["refunded_cents"] = refunded.into();
    if session.json {
        return say(&shown.to_string());
    }
    lines(&shown).iter().try_for_each(|line| say(line))?;
    let columns = [("product", "product_id"), ("quantity", "quantity"), ("unit price", "unit_price_cents")];
    session.rows(&columns, shown["items"].as_array().map_or(&[][..], Vec::as_slice), "")
}

/// An order for people, without its lines.
fn lines(shown: &Value) -> Vec<String> {
    let in_currency = |field: &str| format!("{} {}", shown[field], text(&shown["currency"]));
    let mut lines = vec![
        format!("order     {}", text(&shown["order_id"])),
        format!("status    {}", text(&shown["status"])),
        format!("customer  {}", text(&shown["customer_id"])),
        format!("total     {}", in_currency("total_cents")),
        format!("captured  {}", in_currency("captured_cents")),
        format!("refunded  {}", in_currency("refunded_cents")),
    ];
    if shown["failure"].is_object() {
        lines.push(format!("failure   {}", shown["failure"]));
    }
    if shown["status"] == "FAILED" {
        let id = text(&shown["order_id"]);
        lines.push(format!(
            "refund    refused for good: `quadrille order retry-compensation {id}` has it tried again"
        ));
    }
    lines
}

async fn timeline(session: &Session, order: OrderId) -> Result<()> {
    let happened = story::timeline(&read(session, order).await?)?;
    let rows: Vec<Value> = happened.iter().map(|one| json!(one)).collect();
    let columns = [
        ("time", "at"),
        ("ms", "elapsed_ms"),
        ("hop ms", "hop_ms"),
        ("service", "service"),
        ("what", "what"),
        ("event", "type"),
        ("again", "duplicates"),
    ];
    session.rows(&columns, &rows, "nothing")
}

async fn events(session: &Session, order: OrderId) -> Result<()> {
    let rows = story::events(&read(session, order).await?)?;
    let columns = [
        ("time", "time"),
        ("service", "service"),
        ("seq", "seq"),
        ("kind", "kind"),
        ("event", "type"),
        ("data", "data"),
    ];
    session.rows(&columns, &rows, "nothing")
}

/// Orders decides, as it does on `POST /orders/{id}/cancel`.
async fn cancel(session: &Session, order: OrderId) -> Result<()> {
    session.confirm(&format!("Cancel order {order} of {}?", session.stage))?;
    let answer = invoke(&session.sdk, &session.name("orders-sweeper"), &json!({ "cancel": order })).await?;
    let status = answer["status"].as_str().with_context(|| unknown(session, order))?;
    if answer["accepted"] != true {
        bail!("order {order} is {status} and can no longer be cancelled");
    }
    let line = format!("order {order} is {status}");
    session.done(&line, &json!({"order_id": order, "status": status}))
}

async fn retry_compensation(session: &Session, order: OrderId) -> Result<()> {
    read(session, order).await?;
    let function = session.name("payments-compensator");
    let answer = invoke(&session.sdk, &function, &json!({"task": "Retry", "order_id": order})).await?;
    let published = answer["published_again"].as_str();
    let recorded = answer["recorded"] == true || published.is_some();
    ensure!(recorded, "no refund of order {order} waits for another try");
    let line = match published {
        Some(event) => format!("nothing is left to undo: payments publishes {event} again"),
        None => format!("requested again; `quadrille order timeline {order}` shows how it ends"),
    };
    session.done(&line, &json!({"order_id": order, "published_again": published}))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: what people read of an order has its money and why it failed.
    #[test]
    fn an_order_is_shown_with_its_money_and_failure() {
        let shown = json!({
            "order_id": "1", "status": "COMPENSATED", "customer_id": "ada", "currency": "USD", "total_cents": 1450,
            "captured_cents": 1450, "refunded_cents": 1450, "failure": {"error": "FULFILLMENT_FAILED"},
        });
        let lines = lines(&shown);
        assert!(lines.contains(&"captured  1450 USD".to_owned()), "{lines:?}");
        assert_eq!(lines.last().unwrap(), r#"failure   {"error":"FULFILLMENT_FAILED"}"#);
    }
}
