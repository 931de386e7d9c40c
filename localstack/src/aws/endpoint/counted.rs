//! The calls that a metered stack counts: which, and how many rows they ask DynamoDB to write.

use crate::support::meter::{Meter, Unit};
use serde_json::Value;

/// Counts a call, named as a policy names its action.
pub fn call(meter: &Meter, target: &str, body: &[u8]) {
    let Some((service, operation)) = target.split_once('.').filter(|_| meter.is_on()) else { return };
    let service = match service {
        "DynamoDB_20120810" => "dynamodb",
        "AmazonSQS" => "sqs",
        "AWSEvents" => "events",
        "AWSStepFunctions" => "states",
        other => other,
    };
    meter.count(Unit::Calls, &format!("{service}:{operation}"), 1);
    if service == "dynamodb" {
        rows(meter, operation, body);
    }
}

/// Rows that a call asks to write, whatever becomes of it.
fn rows(meter: &Meter, operation: &str, body: &[u8]) {
    let writes = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"].contains(&operation);
    let Some(body) = writes.then(|| serde_json::from_slice::<Value>(body).ok()).flatten() else { return };
    let single = std::slice::from_ref(&body);
    let parts = body["TransactItems"].as_array().map_or(single, Vec::as_slice);
    for part in parts {
        let of_part = part.as_object().and_then(|part| part.values().next());
        let named = part["TableName"].as_str().or_else(|| of_part?["TableName"].as_str());
        meter.count(Unit::RowsWritten, named.unwrap_or_default(), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Guards: each call is counted under its own name, with each row that it writes.
    #[test]
    fn calls_and_their_rows_are_counted() {
        let meter = Meter::new(true);
        let part = json!({"Put": {"TableName": "a"}});
        let two = json!({"ReturnConsumedCapacity": "TOTAL", "TransactItems": [part, {"Update": {"TableName": "b"}}]});
        for (operation, body) in [
            ("TransactWriteItems", two),
            ("PutItem", json!({"TableName": "a"})),
            ("GetItem", json!({"TableName": "a"})),
        ] {
            call(&meter, &format!("DynamoDB_20120810.{operation}"), body.to_string().as_bytes());
        }
        call(&meter, "sns.PublishBatch", b"");
        let counts = meter.counts().unwrap();
        let seen: Vec<_> = counts.iter().map(|((_, place), count)| (place.as_str(), *count)).collect();
        let calls = [("dynamodb:GetItem", 1), ("dynamodb:PutItem", 1), ("dynamodb:TransactWriteItems", 1)];
        assert_eq!(seen, [&calls[..], &[("sns:PublishBatch", 1), ("a", 2), ("b", 1)]].concat());
    }
}
