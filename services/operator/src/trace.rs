//! What the functions logged about an order and under its correlation ids: the local stack's files, or the query for CloudWatch.

use crate::session::Session;
use anyhow::{Result, bail};
use chassis::http::client::{HttpClient, Method};
use events::OrderId;
use serde_json::{Value, json};

/// Prints the lines, in the order of time; on AWS the query, and the command that runs it.
pub async fn trace(session: &Session, order: OrderId, correlations: &[String]) -> Result<()> {
    let Some(endpoint) = session.sdk.endpoint_url().filter(|url| url.starts_with("http://")) else {
        let query = query(&session.stage, order, correlations);
        return session.done(&command(&query), &json!({ "query": query }));
    };
    let client = HttpClient::new("the local stack", &endpoint.parse()?, "none")?;
    let mut rows: Vec<Value> = Vec::new();
    // A request that changed nothing has a correlation id that no event has, and names the order.
    let asked = correlations.iter().map(|id| format!("correlation_id={id}"));
    for asked in asked.chain([format!("order_id={order}")]) {
        let request = client.request(Method::GET, &format!("/logs?{asked}"));
        let answer = client.send(request, String::new()).await?;
        let Value::Array(lines) = answer.body else { bail!("{}", answer.described()) };
        let is_new = |line: &Value| !asked.starts_with("order_id") || !is_among(line, correlations);
        rows.extend(lines.into_iter().filter(is_new));
    }
    rows.sort_by(|a, b| a["timestamp"].as_str().cmp(&b["timestamp"].as_str()));
    let columns = [
        ("time", "timestamp"),
        ("function", "function"),
        ("level", "level"),
        ("event", "event"),
        ("verdict", "verdict"),
        ("status", "status"),
        ("ms", "duration_ms"),
        ("reason", "reason"),
    ];
    session.rows(&columns, &rows, "nothing was logged")
}

/// Whether a line was found under one of these correlation ids.
fn is_among(line: &Value, correlations: &[String]) -> bool {
    line["correlation_id"].as_str().is_some_and(|id| correlations.iter().any(|known| known == id))
}

/// The query of CloudWatch Logs Insights; `SOURCE` names the groups, for the CLI and not for the console.
///
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-Source.html>
fn query(stage: &str, order: OrderId, correlations: &[String]) -> String {
    let ids: Vec<String> = correlations.iter().map(|id| format!("\"{id}\"")).collect();
    format!(
        "SOURCE logGroups(namePrefix: ['/aws/lambda/{stage}-quadrille-']) \
         | fields @timestamp, service, consumer, event, verdict, duration_ms, reason \
         | filter order_id = \"{order}\" or correlation_id in [{}] | sort @timestamp asc | limit 1000",
        ids.join(", ")
    )
}

/// The command of the AWS CLI that runs a query over the last week.
fn command(query: &str) -> String {
    format!(
        "aws logs start-query --start-time $(($(date +%s) - 604800)) --end-time $(date +%s) --query-string \\\n  \"{}\"\n\
         # then, with the queryId that it prints: aws logs get-query-results --query-id …",
        query.replace('"', "\\\"")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    /// Guards: the query covers every function of the stage, the order and every correlation id.
    #[test]
    fn the_query_names_the_stage_and_the_ids() {
        let query = query("prod", OrderId(Uuid::nil()), &["a".into(), "b".into()]);
        assert!(query.contains("'/aws/lambda/prod-quadrille-'"), "{query}");
        let order = r#"order_id = "00000000-0000-0000-0000-000000000000" or "#;
        assert!(query.contains(&format!(r#"{order}correlation_id in ["a", "b"]"#)), "{query}");
        assert!(command(&query).contains(r#"in [\"a\", \"b\"]"#));
    }
}
