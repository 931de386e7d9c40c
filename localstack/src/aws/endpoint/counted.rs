//! The calls that a metered stack counts: which, and how many rows they ask DynamoDB to write.

use crate::aws::dynamodb::Request;
use crate::support::meter::{Meter, Unit};

/// Counts a call, named as a policy names its action.
pub fn call(meter: &Meter, target: &str) {
    let Some((service, operation)) = target.split_once('.').filter(|_| meter.is_on()) else { return };
    let service = match service {
        "DynamoDB_20120810" => "dynamodb",
        "AmazonSQS" => "sqs",
        "AWSEvents" => "events",
        "AWSStepFunctions" => "states",
        other => other,
    };
    meter.count(Unit::Calls, &format!("{service}:{operation}"), 1);
}

/// Counts the rows that a request asks to write, whatever becomes of it.
pub fn rows(meter: &Meter, request: &Request) {
    if meter.is_on() {
        request.rows().into_iter().for_each(|(table, number)| meter.count(Unit::RowsWritten, table, number));
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
        let (row, key) = (json!({"pk": {"S": "1"}}), json!({"pk": {"S": "2"}}));
        let part = json!({"Put": {"TableName": "a", "Item": row}});
        let two = json!({"ReturnConsumedCapacity": "TOTAL", "TransactItems": [part, {"Update": {"TableName": "b", "Key": key}}]});
        for (operation, body) in [
            ("TransactWriteItems", two),
            ("PutItem", json!({"TableName": "a", "Item": row})),
            ("GetItem", json!({"TableName": "a", "Key": key})),
        ] {
            call(&meter, &format!("DynamoDB_20120810.{operation}"));
            rows(&meter, &Request::read(operation, body.to_string().as_bytes()).unwrap());
        }
        call(&meter, "sns.PublishBatch");
        let counts = meter.counts().unwrap();
        let seen: Vec<_> = counts.iter().map(|((_, place), count)| (place.as_str(), *count)).collect();
        let calls = [("dynamodb:GetItem", 1), ("dynamodb:PutItem", 1), ("dynamodb:TransactWriteItems", 1)];
        assert_eq!(seen, [&calls[..], &[("sns:PublishBatch", 1), ("a", 2), ("b", 1)]].concat());
    }
}
