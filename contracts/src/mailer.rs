//! What a shop's own mailer needs to know of the messages to customers: their page, and the queue in the AsyncAPI
//! description.

use crate::notice::KIND;
use crate::{Contracts, examples_path, fields, named, schema_path, wiring};
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The queue from which a mailer reads, after the stage's name.
const QUEUE: &str = "quadrille-notifications-messages.fifo";

/// The kinds that a schema of the messages names.
fn kinds(schema: &Value) -> BTreeSet<String> {
    let alternatives = schema["oneOf"].as_array().into_iter().flatten();
    alternatives.filter_map(|one| one["properties"]["kind"]["const"].as_str()).map(str::to_owned).collect()
}

/// A breach for each kind of message that the examples do not show.
pub(crate) fn kinds_without_an_example(contracts: &Contracts) -> Vec<String> {
    let entry = &contracts.message;
    let mut kinds = kinds(&(entry.schema)());
    for example in contracts.examples(entry).unwrap_or_default() {
        kinds.remove(example["kind"].as_str().unwrap_or_default());
    }
    let (name, file) = (named(entry), examples_path(entry));
    kinds.iter().map(|kind| format!("{name}: contracts/{file} has no example of the kind {kind}")).collect()
}

/// The messages' part of `contracts/README.md`.
///
/// # Errors
/// When there are no examples.
pub(crate) fn page(contracts: &Contracts) -> Result<String> {
    let schema = (contracts.message.schema)();
    let mut page = head(contracts)?;
    page.push_str("| field | type | | meaning |\n|---|---|---|---|\n");
    fields::rows("", &schema, &schema, &mut page);
    for one in schema["oneOf"].as_array().into_iter().flatten() {
        let kind = one["properties"]["kind"]["const"].as_str().context("a message has no kind")?;
        let about = one["description"].as_str().unwrap_or_default();
        let _ = writeln!(page, "| `kind` = `{kind}` | | | {about} |");
        let mut own = one.clone();
        own["properties"].as_object_mut().context("a kind has no fields")?.remove("kind");
        fields::rows("", &own, &schema, &mut page);
    }
    let examples = contracts.examples(&contracts.message)?;
    let _ = write!(page, "\n```json\n{:#}\n```\n{MAILER}", Value::Array(examples));
    Ok(page.replace("DELIVERED", QUEUE))
}

/// What a mailer has to know, with the limits that the template sets.
fn head(contracts: &Contracts) -> Result<String> {
    let queue = wiring::model(contracts)?.queues.into_iter().find(|queue| queue.queue_name.ends_with(QUEUE));
    let queue = queue.with_context(|| format!("infra/notifications.yaml: there is no queue …-{QUEUE}"))?;
    let unset = || format!("infra/notifications.yaml: a limit of {QUEUE} is not set");
    let receives = queue.redrive_policy.with_context(unset)?.max_receive_count;
    let minutes = queue.visibility_timeout.with_context(unset)? / 60;
    let days = queue.message_retention_period.with_context(unset)? / (24 * 3600);
    let limits = [("MINUTES", minutes), ("RECEIVES", receives), ("DAYS", days)];
    Ok(limits.iter().fold(HEAD.to_owned(), |text, (name, limit)| text.replace(name, &limit.to_string())))
}

/// The queue in the AsyncAPI description.
pub(crate) fn channel() -> Value {
    json!({
        "address": format!("{{stage}}-{QUEUE}"),
        "messages": {KIND: {"$ref": format!("#/components/messages/{KIND}")}},
        "parameters": {"stage": {"description": "The stage, dev."}},
        "description": "An SQS FIFO queue behind an SNS FIFO topic, raw: a body is a message. The group is the order's id, the \
            deduplication id the event's. At least once, in the order of publication for one order.",
    })
}

/// What is done on the queue, in the AsyncAPI description.
pub(crate) fn operations() -> Map<String, Value> {
    let operation = |action: &str, summary: &str| {
        json!({"action": action, "channel": {"$ref": format!("#/channels/{KIND}")}, "summary": summary,
            "messages": [{"$ref": format!("#/channels/{KIND}/messages/{KIND}")}]})
    };
    let sends = operation("send", "What notifications publishes for customers.");
    let receives = operation("receive", "What a shop's own mailer reads, sends and deletes.");
    [("notifications-publishes-messages".to_owned(), sends), ("mailer-reads".to_owned(), receives)]
        .into_iter()
        .collect()
}

/// The message in the AsyncAPI description.
pub(crate) fn described(contracts: &Contracts) -> Value {
    let entry = &contracts.message;
    json!({
        "name": KIND,
        "title": format!("Messages v{}", entry.version),
        "summary": (entry.schema)()["description"],
        "payload": fields::schema_of(&schema_path(entry)),
    })
}

const HEAD: &str = r#"
## Messages to customers

Notifications makes a message when an order is confirmed, is on its way, is cancelled or has failed, and when money was given
back. It sends nothing to anyone: it publishes the message on an SNS FIFO topic, which delivers it to the SQS FIFO queue
`<stage>-DELIVERED`. **A shop's own mailer reads there.** Published means
that the queue has the message. Whether the customer got it, only the mailer knows.

- **At least once.** Remember `event_id` of what you have sent, and let a repeat pass. SNS and SQS recognise a repeat for five
  minutes only.
- **In order for one order.** The group is the order's id: the messages of one order come as they were published, and while you
  hold one, the order's others wait; one receive of several messages may bring more than one of them, in order. The bus keeps no order, so in rare cases `ORDER_FULFILLED` is published before
  `ORDER_CONFIRMED`; then let the latter pass.
- **Addresses are not kept here.** Look them up by `customer_id`, the customer's name at your identity provider. A refund whose
  event names no customer comes without it: the order's other messages have it.
- **Delete a message when you have sent it.** Otherwise it comes back after MINUTES minutes (`ChangeMessageVisibility` extends
  them). Received RECEIVES times and not deleted, it goes to the dead-letter queue, with an alarm, and the order's next message
  comes. `just dlq redrive` puts it back, behind that one. The queue keeps a message for DAYS days; when one has waited for an
  hour, an alarm says that the queue is not read.
- **The queue is the version.** It holds version 1 for as long as it exists. Within a version only optional fields are added:
  ignore those that you do not know. A breaking change, and that is also a new `kind`, comes as version 2 through a topic and
  a queue of its own, beside this one.
- The mailer's role needs `sqs:ReceiveMessage`, `sqs:DeleteMessage` and `sqs:ChangeMessageVisibility` on the queue.

"#;

const MAILER: &str = r#"
This is a mailer, for the local stack, with the AWS CLI set up as [its page](../localstack/README.md) says. It prints instead of
sending, and keeps the ids in a variable instead of a database:

```sh needs aws
QUEUE=http://127.0.0.1:4566/000000000000/local-DELIVERED
sent=""
mailer() {
    while message=$(aws sqs receive-message --endpoint-url $AWS_ENDPOINT_URL --queue-url $QUEUE --wait-time-seconds 5) &&
            message=$(jq -c '.Messages[0] // empty' <<<"$message") && test -n "$message"; do
        body=$(jq -r .Body <<<"$message")
        event=$(jq -r .event_id <<<"$body")
        case $sent in
            *$event*) ;;
            *) jq -r '"to the address of " + .customer_id + ": " + .text' <<<"$body"; sent="$sent $event" ;;
        esac
        aws sqs delete-message --endpoint-url $AWS_ENDPOINT_URL --queue-url $QUEUE \
            --receipt-handle "$(jq -r .ReceiptHandle <<<"$message")"
    done
}
```

```console needs aws
$ TOKEN=$(curl -s 'localhost:4566/issuer/token?subject=ada')
$ curl -s -o /dev/null -w '%{http_code}\n' localhost:3000/orders -H "authorization: Bearer $TOKEN" \
    -H 'content-type: application/json' -H 'prefer: wait=10' \
    -d '{"customer_id": "ada", "items": [{"product_id": "espresso-beans", "quantity": 1}]}'
201

$ mailer
to the address of ada: Your order 01a1fc44-6f06-7215-9d35-6c0f92039c72 is confirmed.
to the address of ada: Your order 01a1fc44-6f06-7215-9d35-6c0f92039c72 is on its way with Local Parcels, LP01A1FC446F0672159D356C0F92039C72.
```
"#;
