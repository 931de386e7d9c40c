//! Breaks to plant in the contracts and templates.

/// A file, what stands in it, what is planted instead, and the breach that this is.
pub type Drift = (&'static str, &'static str, &'static str, &'static str);

/// In groups, for each of which the gate is asked once. No break of a group leads to the breach of another one of it: each
/// line has one cause.
pub const DRIFTS: &[&[Drift]] = &[
    // Files that are generated: nothing is made of them.
    &[
        (
            "contracts/messages/v1.schema.json",
            "A sentence for people",
            "A text for people",
            "contracts/messages/v1.schema.json differs from the code; run `just bless`",
        ),
        ("contracts/order.created/v1.schema.json", "uuid", "guid", "order.created/v1.schema.json differs"),
        ("contracts/consumers/payments.v1.json", "total", "sum", "consumers/payments.v1.json differs"),
        ("contracts/README.md", "The dance", "The march", "contracts/README.md differs"),
        (
            "infra/README.md",
            "| `Currency` | inventory",
            "| `Currency` | orders",
            "infra/README.md: parameters differ",
        ),
        ("infra/README.md", "| `TABLE` |", "| `ROW` |", "infra/README.md: variables differ"),
        ("contracts/asyncapi.yaml", "send", "receive", "contracts/asyncapi.yaml differs"),
    ],
    &[
        (
            "contracts/messages/v1.examples.json",
            "\"kind\": \"ORDER_CONFIRMED\"",
            "\"kind\": \"ORDER_LOST\"",
            "messages v1: example 0 in contracts/messages/v1.examples.json is not valid",
        ),
        (
            "contracts/payment.charged/v1.examples.json",
            "\"order_id\": \"018f",
            "\"order_id\": \"x18f",
            "payment.charged v1: example 0 in contracts/payment.charged/v1.examples.json is not valid",
        ),
        (
            "contracts/released/0.1.0/payment.charged/v1.examples.json",
            "\"amount\"",
            "\"sum\"",
            "payment.charged v1: release 0.1.0 is broken: its event is not read: missing field `amount`",
        ),
        (
            "infra/payments.yaml",
            "Arn: !GetAtt EventsQueue.Arn",
            "Arn: !GetAtt EventsDeadLetters.Arn",
            "infra/payments.yaml: the rule events has to lead to dev-quadrille-payments-events and nowhere else",
        ),
        (
            "infra/rewards.yaml",
            "      Name: !Sub \"${Stage}-quadrille-rewards-events\"",
            "      Name: !Sub \"${Stage}-quadrille-rewards-others\"",
            "infra/rewards.yaml: there is no rule dev-quadrille-rewards-events",
        ),
        (
            "infra/orders.yaml",
            "- exists: false",
            "- exists: true",
            "infra/orders.yaml: beside source and type, the rule events has to match",
        ),
        (
            "contracts/openapi.yaml",
            "  /orders/{id}/cancel:",
            "  /orders/{id}/stop:",
            "contracts/openapi.yaml: POST /orders/{id}/cancel: release 0.1.0 is broken: there is no such call any more",
        ),
    ],
    &[
        (
            "contracts/messages/v1.examples.json",
            " is confirmed.",
            " will come.",
            "messages v1: the examples in contracts/messages/v1.examples.json do not come back from the type in \
         services/notifications/src/notification.rs as the bytes that they were",
        ),
        (
            "contracts/payment.charged/v1.examples.json",
            "\"order_id\"",
            "\"colour\": \"red\",\n    \"order_id\"",
            "payment.charged v1: the examples in contracts/payment.charged/v1.examples.json do not come back from the type in \
         events/src/payments.rs as the bytes that they were",
        ),
        (
            "infra/payments.yaml",
            "Source: !GetAtt Table.StreamArn",
            "Source: arn:aws:dynamodb:eu:1:table/dev-quadrille-orders/stream/x",
            "infra/payments.yaml: the pipe starts at",
        ),
        (
            "infra/rewards.yaml",
            "      Name: !Sub \"${Stage}-quadrille-rewards\"\n",
            "      Name: !Sub \"${Stage}-quadrille-others\"\n",
            "infra/rewards.yaml: there is no pipe dev-quadrille-rewards",
        ),
        (
            "infra/orders.yaml",
            "\"data\": <$.data>",
            "\"data\": <$.metadata>",
            "infra/orders.yaml: the pipe: order.created v1: it does not yield the envelope of the row",
        ),
    ],
    &[
        (
            "contracts/payment.charged/v1.examples.json",
            "  {\n    \"amount\"",
            "  {\n   \"amount\"",
            "do not come back from the type in events/src/payments.rs as the bytes",
        ),
        (
            "infra/payments.yaml",
            "EventSourceArn: !GetAtt EventsQueue.Arn",
            "EventSourceArn: !GetAtt EventsDeadLetters.Arn",
            "infra/payments.yaml: dev-quadrille-payments-events does not feed dev-quadrille-payments-reactor",
        ),
        (
            "infra/rewards.yaml",
            "QueueName: !Sub \"${Stage}-quadrille-rewards-events\"\n",
            "QueueName: !Sub \"${Stage}-quadrille-rewards-others\"\n",
            "infra/rewards.yaml: there is no queue dev-quadrille-rewards-events",
        ),
        (
            "infra/orders.yaml",
            "{\"kind\": {\"S\": [\"published\"]}}",
            "{\"type\": {\"S\": [{\"prefix\": \"o\"}]}}",
            "infra/orders.yaml: the pipe: order.created v1: it lets out what was only recorded",
        ),
        (
            "contracts/openapi.yaml",
            "required: [customer_id, items]",
            "required: [customer_id, items, payment_method]",
            "contracts/openapi.yaml: POST /orders: release 0.1.0 is broken: request: payment_method: is required",
        ),
    ],
    // No other break of these changes the catalogue's page.
    &[
        (
            "contracts/released/0.1.0/payment.charged/v1.schema.json",
            "\"provider_charge_id\": {",
            "\"provider_charge_id\": {\n      \"maxLength\": 3,",
            "payment.charged v1: release 0.1.0 is broken: its reader refuses today's event",
        ),
        (
            "infra/payments.yaml",
            "EventBusName: !Sub \"${Stage}-quadrille\"",
            "EventBusName: default",
            "infra/payments.yaml: the rule events listens to the bus default",
        ),
        (
            "infra/orders.yaml",
            "DetailType: $.dynamodb.NewImage.type.S",
            "DetailType: $.dynamodb.NewImage.source.S",
            "infra/orders.yaml: the pipe: order.created v1: its detail-type is",
        ),
        (
            "infra/rewards.yaml",
            "          metadata:\n            replay:",
            "          metadata:\n            version:\n              - 2\n            replay:",
            "infra/rewards.yaml: beside source and type, the rule events has to match",
        ),
        (
            "contracts/openapi.yaml",
            "      required: [order_id, status, total_cents,",
            "      required: [order_id, total_cents,",
            "contracts/openapi.yaml: POST /orders: release 0.1.0 is broken: 202: the data: one of the alternatives",
        ),
        (
            "infra/notifications.yaml",
            "VisibilityTimeout: 300",
            "VisibilityTimeout: 600",
            "contracts/README.md differs from the code; run `just bless`",
        ),
    ],
    // No other break of these changes the API's description.
    &[
        (
            "infra/payments.yaml",
            "          - order.created\n",
            "",
            "infra/payments.yaml: the rule events does not let in the detail-type order.created",
        ),
        ("contracts/openapi.yaml", "Place an order", "Buy", "contracts/openapi.json differs"),
        (
            "infra/orders.yaml",
            "DetailType: $.dynamodb.NewImage.type.S",
            "DetailType: $.metadata.type",
            "infra/orders.yaml: the pipe: order.created v1: /metadata/type is not the same in the record and in what its \
         function returns",
        ),
        (
            "infra/rewards.yaml",
            "                - rewards\n",
            "                - payments\n",
            "infra/rewards.yaml: beside source and type, the rule replays has to match",
        ),
    ],
    &[
        (
            "infra/payments.yaml",
            "          - order.created\n",
            "          - order.created\n          - order.confirmed\n",
            "infra/payments.yaml: the rule events lets in the detail-type order.confirmed, which no subscription in \
         services/payments/src/subscriptions.rs needs",
        ),
        (
            "infra/rewards.yaml",
            "-rewards-archive",
            "-rewards-archives",
            "infra/rewards.yaml: there is no rule dev-quadrille-rewards-archive",
        ),
        (
            "infra/orders.yaml",
            "Enrichment: !GetAtt Outbox.Arn",
            "Enrichment: !GetAtt Api.Arn",
            "infra/orders.yaml: the pipe's enrichment is",
        ),
        (
            "infra/orders.yaml",
            "              \"NewImage\": {\"kind\": {\"S\": [\"published\"]}}}}\n\n  RelayLogs",
            "              \"NewImage\": {\"kind\": {\"S\": [\"recorded\"]}}}}\n\n  RelayLogs",
            "infra/orders.yaml: the relay does not get the records that the pipe carries",
        ),
        (
            "infra/orders.yaml",
            "Handler: relay",
            "Handler: outbox",
            "infra/orders.yaml: the relay does not publish on dev-quadrille",
        ),
    ],
];
