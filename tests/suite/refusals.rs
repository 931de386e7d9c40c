//! Refuse, don't ignore: what the local stack does not implement is named by file, resource, property, line.

use crate::platform::{copy, options, root, run, scratch};
use localstack::stack::{Options, Stack};
use localstack::template::{self, Refused, names::Names, resources::Model};
use std::collections::BTreeMap;
use std::fs;

fn names() -> Names {
    Names { endpoint: "http://127.0.0.1:1".into(), api: "http://127.0.0.1:2".into() }
}

fn read(text: &str) -> Result<Model, Refused> {
    let mut model = Model::default();
    template::read("broken.yaml", text, &names(), &BTreeMap::new(), &mut model).map(|_| model)
}

fn refused(text: &str) -> String {
    read(text).expect_err("it was accepted").to_string()
}

const QUEUE: &str = "Resources:\n  Inbox:\n    Type: AWS::SQS::Queue\n    Properties:\n      QueueName: a\n";

#[test]
fn a_typo_in_a_property_names_file_resource_property_and_line() {
    let text = refused(&format!("{QUEUE}      VisibilityTimout: 30\n"));
    assert!(text.starts_with("broken.yaml:6: Inbox.VisibilityTimout: there is no such property"), "{text}");
}

#[test]
fn a_typo_deep_inside_is_found_too() {
    let text = refused(&format!(
        "{QUEUE}      RedrivePolicy:\n        deadLetterTarget: x\n        maxReceiveCount: 3\n"
    ));
    assert!(text.contains("broken.yaml:7: Inbox.RedrivePolicy.deadLetterTarget"), "{text}");
}

#[test]
fn unknown_types_intrinsics_and_references_are_refused() {
    let bucket = refused("Resources:\n  B:\n    Type: AWS::S3::Bucket\n");
    assert!(bucket.contains("B: AWS::S3::Bucket is not implemented"), "{bucket}");
    let import = refused(&QUEUE.replace("QueueName: a", "QueueName: !ImportValue a"));
    assert!(import.contains("!ImportValue in this form is not implemented"), "{import}");
    let missing = refused(&QUEUE.replace("QueueName: a", "QueueName: !Ref Missing"));
    assert!(missing.contains("there is no Missing"), "{missing}");
    let section = refused(&format!("Mappings: {{}}\n{QUEUE}"));
    assert!(section.contains("Mappings: is not implemented"), "{section}");
    let twice = refused(&format!("{QUEUE}      QueueName: b\n"));
    assert!(twice.contains("broken.yaml:6: the key \"QueueName\" stands twice"), "{twice}");
    let circle = refused(&QUEUE.replace("QueueName: a", "QueueName: !Ref Inbox"));
    assert!(circle.contains("circle"), "{circle}");
}

/// A template, what stands in it, what is planted instead, and the refusal.
const BREAKS: &[(&str, &str, &str, &str)] = &[
    (
        "orders.yaml",
        "MaximumRetryAttempts",
        "MaximumRetryAttempt",
        "MaximumRetryAttempt: there is no such property",
    ),
    ("orders.yaml", "exists: false", "sounds-like: x", "not implemented by the local stack"),
    ("inventory.yaml", "<$.data>", "<$.data[0]>", "pipe test-quadrille-inventory"),
    (
        "rewards.yaml",
        "BatchSize: 10\n          Maximum",
        "BatchSize: 11\n          Maximum",
        "1 to 10 records",
    ),
    ("rewards.yaml", "Action: lambda:InvokeFunction", "Action: lambda:Nothing", "lambda:InvokeFunction"),
    (
        "payments.yaml",
        "Action: sqs:SendMessage\n            Resource",
        "Action: sqs:Nothing\n            Resource",
        "no queue policy allows it",
    ),
    (
        "notifications.yaml",
        "Service: sns.amazonaws.com",
        "Service: events.amazonaws.com",
        "topic arn:aws:sns:us-east-1:000000000000:test-quadrille-notifications.fifo may not send to",
    ),
    (
        "notifications.yaml",
        "aws:SourceArn: !Ref Topic",
        "aws:SourceArn: !GetAtt EventsRule.Arn",
        "notifications-messages.fifo: no queue policy allows it",
    ),
    ("notifications.yaml", "Protocol: sqs", "Protocol: email", "only sqs"),
    (
        "notifications.yaml",
        "RawMessageDelivery: true",
        "RawMessageDelivery: false",
        "only RawMessageDelivery: true",
    ),
    (
        "notifications.yaml",
        "KmsMasterKeyId: alias/aws/sns",
        "KmsMasterKeyId: alias/ours",
        "only alias/aws/sns",
    ),
    (
        "notifications.yaml",
        "EventSourceArn: !GetAtt EventsQueue.Arn",
        "EventSourceArn: !GetAtt Messages.Arn",
        "sqs:ReceiveMessage",
    ),
    ("payments.yaml", "- sqs:DeleteMessage", "- sqs:DeleteMessages", "sqs:DeleteMessage"),
    ("bus.yaml", "Name: !Sub \"${Stage}-quadrille\"", "Name: elsewhere", "no template declares the bus"),
    ("statemachines/payment-compensation.asl.json", "\"Pass\"", "\"Parallel\"", "unknown variant `Parallel`"),
    (
        "statemachines/payment-compensation.asl.json",
        "\"ResultPath\": \"$.void\",",
        "\"Assign\": {},",
        "Assign",
    ),
    ("orders.yaml", "Service: lambda.amazonaws.com", "Service: ec2.amazonaws.com", "does not let in lambda"),
    (
        "rewards.yaml",
        ":pipe/${Stage}-quadrille-rewards",
        ":pipe/other",
        "does not let in pipes.amazonaws.com for",
    ),
    ("orders.yaml", "schedule-group/default", "schedule/default/sweep", "does not let in scheduler"),
    ("payments.yaml", "aws:SourceAccount: !Ref AWS::AccountId", "aws:SourceAccount: '1'", "does not let in"),
    ("payments.yaml", "Action: states:StartExecution", "Action: states:Nothing", "states:StartExecution"),
    ("payments.yaml", "Action: lambda:InvokeFunction", "Action: lambda:Nothing", "lambda:InvokeFunction"),
    (
        "api.yaml",
        "function:${Stage}-quadrille-orders-api",
        "function:${Stage}-quadrille-order-api",
        "no template declares the function",
    ),
    ("api.yaml", "${Api}/*", "another/*", "no permission allows it"),
    (
        "api.yaml",
        "Action: lambda:InvokeFunction\n      FunctionName: !Sub \"${Stage}-quadrille-orders-api",
        "Action: lambda:GetFunction\n      FunctionName: !Sub \"${Stage}-quadrille-orders-api",
        "no permission allows it",
    ),
    ("rewards.yaml", "[HasXRay, Active,", "[HasXRay, Passive,", "only Active, PassThrough"),
    ("rewards.yaml", "- xray:PutTraceSegments", "- xray:PutTrace", "xray:PutTraceSegments"),
    ("payments.yaml", "- xray:GetSamplingRules", "- xray:GetSampling", "xray:GetSamplingRules"),
    (
        "orders.yaml",
        "!If [UsesPipe, !Sub \"${Stage}-quadrille-orders\",",
        "!If [UsesPipe, !Sub \"${Stage}-quadrille-order\",",
        "alarm test-quadrille-orders-outbox-failing: no template declares test-quadrille-order",
    ),
    (
        "orders.yaml",
        "MetricName: ApproximateAgeOfOldestMessage",
        "MetricName: AgeOfOldestMessage",
        "alarm test-quadrille-orders-events-waiting: AWS/SQS has no AgeOfOldestMessage",
    ),
    (
        "orders.yaml",
        "Period: 300\n      EvaluationPeriods: 6",
        "Period: 90\n      EvaluationPeriods: 6",
        "a period of 90 s",
    ),
    ("orders.yaml", "DatapointsToAlarm: 3\n", "DatapointsToAlarm: 7\n", "DatapointsToAlarm is 7 of"),
    ("orders.yaml", "FILL(published, 0)", "SUM(published)", "idle: \"SUM\" is not implemented"),
    ("orders.yaml", "FILL(published, 0)", "SEARCH(published, 0)", "idle: an alarm may not use SEARCH"),
    ("orders.yaml", "IF(written > 20", "IF(writes > 20", "idle: there is no series writes"),
    (
        "orders.yaml",
        "- Id: written\n          ReturnData: false",
        "- Id: written",
        "2 of its Metrics have ReturnData",
    ),
    ("orders.yaml", "IF(written > 20", "IF(idle > 20", "idle: it computes with itself"),
    (
        "orders.yaml",
        "Label: written and not published\n        - Id: written\n          ReturnData: false",
        "ReturnData: false\n        - Id: written",
        "idle: ReturnData is not that of the expression",
    ),
    (
        "orders.yaml",
        "- Id: idle\n          Expression: IF(written > 20 AND FILL(published, 0) == 0, 1, 0)\n          Label: written and not published\n        - Id: written\n          ReturnData: false",
        "- Id: written",
        "several metrics need an expression",
    ),
    (
        "orders.yaml",
        "Period: 60\n      EvaluationPeriods: 5",
        "Period: 60\n      EvaluationPeriods: 181",
        "it looks back 10860 s at a queue, of which the local stack knows 10800 s",
    ),
    (
        "observability.yaml",
        "{\"widgets\": [",
        "{\"widgets\": [[",
        "dashboard test-quadrille: its body is not JSON",
    ),
    (
        "observability.yaml",
        "{AWS/Lambda,FunctionName} MetricName=\\\"Duration",
        "{AWS/Lambda,Function} MetricName=\\\"Duration",
        "Duration has the dimensions [\"FunctionName\"]",
    ),
    (
        "observability.yaml",
        "-quadrille-rewards-reactor\"",
        "-quadrille-reward-reactor\"",
        "no template declares the log group /aws/lambda/test-quadrille-reward-reactor",
    ),
    ("observability.yaml", "| sort failures desc", "| order failures desc", "\"order\" is no command"),
];

/// Every planted break of the real templates is refused at start, before anything listens for long.
#[test]
fn the_platform_does_not_start_on_a_broken_template() {
    for (file, from, to, expected) in BREAKS {
        let infra = scratch("broken-infra");
        copy(&root().join("infra"), &infra);
        let path = infra.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} no longer holds {from:?}");
        fs::write(path, text.replace(from, to)).unwrap();
        let mut options = Options { infra, ..options("broken") };
        // Some of what is broken is a pipe's, or what X-Ray needs.
        options.parameters.insert("FanOut".into(), "pipe".into());
        options.parameters.insert("XRay".into(), "yes".into());
        let error = run(Stack::start(&options)).map(drop).expect_err(expected);
        assert!(format!("{error:#}").contains(expected), "{file}: {error:#}");
    }
}

#[test]
fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let options = Options { api_port: port, ..options("port") };
    let error = run(Stack::start(&options)).map(drop).unwrap_err().to_string();
    assert_eq!(error, format!("port {port} for the API is in use; choose another with --api-port PORT"));
}

/// Guards: the lock. Two stacks on one folder would lose what each has acknowledged.
#[test]
fn a_data_folder_in_use_is_refused_before_it_is_emptied() {
    run(async {
        let first = Options { in_memory: false, ..options("locked") };
        let running = Stack::start(&first).await.unwrap();
        let second = Options { fresh: true, ..first.clone() };
        let error = Stack::start(&second).await.map(drop).unwrap_err().to_string();
        assert!(error.ends_with("is in use by another stack; choose another with --data-dir DIR"), "{error}");
        // The logs lie in it also then.
        let third = Options { in_memory: true, ..first.clone() };
        let error = Stack::start(&third).await.map(drop).unwrap_err().to_string();
        assert!(error.contains("is in use by another stack"), "{error}");
        drop(running);
        Stack::start(&second).await.unwrap();
    });
}
