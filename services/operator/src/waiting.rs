//! The command `waiting`: the orders that wait for an operator, or for a step that is overdue.

use crate::session::Session;
use anyhow::Result;
use chrono::Utc;
use serde_json::{Value, json};

/// Prints the list.
pub async fn run(session: &Session) -> Result<()> {
    let waiting = session.stage().waiting(Utc::now()).await?;
    let rows: Vec<Value> = waiting.iter().map(|one| json!(one)).collect();
    let columns = [("status", "status"), ("order", "order_id"), ("overdue", "overdue"), ("since", "since")];
    session.rows(&columns, &rows, "nothing waits")
}
