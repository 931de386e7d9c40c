//! What the functions logged under the correlation ids of an order: the local stack's files, or the query for CloudWatch.

use crate::session::Session;
use anyhow::{Result, bail};
use chassis::http::client::{HttpClient, Method};
use serde_json::{Value, json};

/// Prints the lines, in the order of time; on AWS the query, and the command that runs it.
pub async fn trace(session: &Session, correlations: &[String]) -> Result<()> {
    let Some(endpoint) = session.sdk.endpoint_url().filter(|url| url.starts_with("http://")) else {
        let query = query(&session.stage, correlations);
        return session.done(&command(&query), &json!({ "query": query }));
    };
    let client = HttpClient::new("the local stack", &endpoint.parse()?, "none")?;
    let mut rows: Vec<Value> = Vec::new();
    for id in correlations {
        let request = client.request(Method::GET, &format!("/logs?correlation_id={id}"));
        let answer = client.send(request, String::new()).await?;
        match answer.body {
            Value::Array(lines) => rows.extend(lines),
            _ => bail!("{}", answer.described()),
        }
    }
    rows.sort_by(|a, b| a["timestamp"].as_str().cmp(&b["timestamp"].as_str()));
    let columns = [
        ("time", "timestamp"),
        ("function", "function"),
        ("level", "level"),
        ("event", "event"),
        ("verdict", "verdict"),
        ("ms", "duration_ms"),
        ("reason", "reason"),
    ];
    session.rows(&columns, &rows, "nothing was logged")
}

/// The query of CloudWatch Logs Insights; `SOURCE` names the groups, for the CLI and not for the console.
///
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-Source.html>
fn query(stage: &str, correlations: &[String]) -> String {
    let ids: Vec<String> = correlations.iter().map(|id| format!("\"{id}\"")).collect();
    format!(
        "SOURCE logGroups(namePrefix: ['/aws/lambda/{stage}-quadrille-']) \
         | fields @timestamp, service, consumer, event, verdict, duration_ms, reason \
         | filter correlation_id in [{}] | sort @timestamp asc | limit 1000",
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

    /// Guards: the query covers every function of the stage and every correlation id.
    #[test]
    fn the_query_names_the_stage_and_the_ids() {
        let query = query("prod", &["a".into(), "b".into()]);
        assert!(query.contains("'/aws/lambda/prod-quadrille-'"), "{query}");
        assert!(query.contains(r#"correlation_id in ["a", "b"]"#), "{query}");
        assert!(command(&query).contains(r#"in [\"a\", \"b\"]"#));
    }
}
