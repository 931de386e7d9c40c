#!/usr/bin/env python3
"""Does everything that a running local stack answers, once with boto3 and once with the AWS CLI, and looks at what comes back.

    verbs.py http://127.0.0.1:3000 http://127.0.0.1:4566

TOKEN in the environment is of the customer `ada`, with every scope. Each answer is held against AWS's own model: no member that
it does not know, none missing, none of another type; and each error's code is one of its operation's. In the end every operation
that `check_model.py` found has been answered well at least once.
"""

import base64
import io
import json
import os
import re
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.request import Request, urlopen

import awscli.clidriver
import boto3
import shapes
from botocore.config import Config
from botocore.exceptions import ClientError

REGION, ACCOUNT, STAGE = "us-east-1", "000000000000", "local"
DONE, COMPLAINTS = set(), []


class Refused(Exception):
    """An error that AWS has a code for."""


def arn(service, rest):
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"


def kebab(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def look(http_response, parsed, model, **_):
    """Holds every answer against the model, whichever client got it."""
    service = model.service_model.service_name
    if http_response.status_code >= 300:
        code = parsed.get("Error", {}).get("Code")
        if code not in shapes.codes(model):
            COMPLAINTS.append(f"{service} {model.name}: the model has no error {code}")
        return
    DONE.add((service, model.name))
    found = shapes.differences(model, http_response)
    COMPLAINTS.extend(f"{service} {difference}" for difference in found)


class Boto3:
    name = "boto3"

    def __init__(self, endpoint):
        self.endpoint, self.clients = endpoint, {}
        self.session = boto3.Session("local", "x", region_name=REGION)

    def __call__(self, service, operation, **parameters):
        if service not in self.clients:
            config = Config(retries={"total_max_attempts": 1}, inject_host_prefix=False)
            self.clients[service] = self.session.client(service, endpoint_url=self.endpoint, config=config)
            self.clients[service].meta.events.register("after-call", look)
        client = self.clients[service]
        try:
            answer = getattr(client, kebab(operation).replace("-", "_"))(**parameters)
        except ClientError as error:
            raise Refused(error.response["Error"]["Code"]) from error
        answer.pop("ResponseMetadata", None)
        if "Payload" in answer:
            answer["Payload"] = answer["Payload"].read().decode()
        return answer


class Cli:
    """The AWS CLI, in this process: starting it a hundred times would take most of the time."""

    name = "AWS CLI"

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.driver = awscli.clidriver.create_clidriver()
        self.driver.session.register("after-call", look)

    def __call__(self, service, operation, **parameters):
        arguments = [service, kebab(operation), "--endpoint-url", self.endpoint, "--region", REGION, "--output", "json", "--no-paginate"]
        with tempfile.NamedTemporaryFile() as outfile:
            if operation == "Invoke":
                # It writes the function's answer into a file, and so reads no JSON.
                arguments += [it for name, value in parameters.items() for it in (f"--{kebab(name)}", value)] + [outfile.name]
            else:
                arguments += ["--cli-input-json", json.dumps(parameters, default=datetime.isoformat)]
            answer = self.run(arguments)
            if operation == "Invoke":
                answer["Payload"] = Path(outfile.name).read_text()
        return answer

    def run(self, arguments):
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = self.driver.main(arguments)
        if status:
            code = re.search(r"error occurred \(([\w.]+)\)", err.getvalue())
            raise Refused(code[1]) if code else SystemExit(f"aws {' '.join(arguments)}: {err.getvalue()}")
        return json.loads(out.getvalue() or "{}")


def refused(code, call, *arguments, **parameters):
    try:
        answer = call(*arguments, **parameters)
    except Refused as error:
        assert str(error) in (code, f"AWS.SimpleQueueService.{code}"), f"{arguments}: {error}, and not {code}"
    else:
        raise AssertionError(f"{arguments} {parameters} is answered: {answer}")


def eventually(what, call, seconds=30):
    until = time.monotonic() + seconds
    while not (found := call()):
        assert time.monotonic() < until, f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return found


def names(entries, key):
    return [entry[key] for entry in entries]


def place_orders(api):
    """One order that is fulfilled, and one that is undone because its product cannot be shipped: the id of the first one."""

    def call(method, path, body=None):
        headers = {"authorization": f"Bearer {os.environ['TOKEN']}", "content-type": "application/json"}
        with urlopen(Request(api + path, json.dumps(body).encode() if body else None, headers, method=method), timeout=30) as it:
            return json.load(it)

    piano = f"unshippable-piano-{int(time.time())}"
    call("PUT", f"/products/{piano}", {"name": "a piano", "unit_price_cents": 5000, "stock": 1000})

    def place(product):
        body = {"customer_id": "ada", "items": [{"product_id": product, "quantity": 1}]}
        return call("POST", "/orders", body)["order_id"]

    def listed():
        try:
            return place(piano)
        except OSError:
            return None

    undone, fulfilled = eventually("the piano is listed", listed), place("espresso-beans")
    for order, end in ((fulfilled, "FULFILLED"), (undone, "COMPENSATED")):
        eventually(end, lambda order=order, end=end: call("GET", f"/orders/{order}")["status"] == end, 60)
    return fulfilled


def of_sts(aws):
    who = aws("sts", "GetCallerIdentity")
    assert who["Account"] == ACCOUNT and who["Arn"].endswith(":user/local"), who


def of_stacks(aws):
    stacks = aws("cloudformation", "ListStacks", StackStatusFilter=["CREATE_COMPLETE"])["StackSummaries"]
    assert f"{STAGE}-quadrille-orders" in names(stacks, "StackName")
    assert aws("cloudformation", "ListStacks", StackStatusFilter=["DELETE_COMPLETE"])["StackSummaries"] == []
    [stack] = aws("cloudformation", "DescribeStacks", StackName=f"{STAGE}-quadrille-orders")["Stacks"]
    assert {"OutputKey": "Table", "OutputValue": f"{STAGE}-quadrille-orders"}.items() <= stack["Outputs"][0].items()
    assert {"ParameterKey": "Stage", "ParameterValue": STAGE} in stack["Parameters"]
    named = {"StackName": stack["StackName"]}
    listed = aws("cloudformation", "ListStackResources", **named)["StackResourceSummaries"]
    described = aws("cloudformation", "DescribeStackResources", **named)["StackResources"]
    assert {"Table", "Pipe"} <= set(names(listed, "LogicalResourceId")) == set(names(described, "LogicalResourceId"))
    table = aws("cloudformation", "DescribeStackResource", LogicalResourceId="Table", **named)["StackResourceDetail"]
    assert table["PhysicalResourceId"] == f"{STAGE}-quadrille-orders" and table["ResourceType"] == "AWS::DynamoDB::Table"
    refused("ValidationError", aws, "cloudformation", "DescribeStacks", StackName="nope")


def of_api(aws):
    [api] = aws("apigatewayv2", "GetApis")["Items"]
    assert aws("apigatewayv2", "GetApi", ApiId=api["ApiId"])["ApiEndpoint"].startswith("http://127.0.0.1:")
    routes = names(aws("apigatewayv2", "GetRoutes", ApiId=api["ApiId"])["Items"], "RouteKey")
    assert "POST /orders" in routes, routes
    refused("NotFoundException", aws, "apigatewayv2", "GetApi", ApiId="nope")


def of_functions(aws):
    counter = f"{STAGE}-quadrille-inventory-counter"
    functions = aws("lambda", "ListFunctions")["Functions"]
    assert counter in names(functions, "FunctionName")
    function = aws("lambda", "GetFunction", FunctionName=arn("lambda", f"function:{counter}"))
    assert function["Configuration"]["Runtime"] == "provided.al2023"
    shown = aws("lambda", "GetFunctionConfiguration", FunctionName=counter, Qualifier="$LATEST")
    assert shown["FunctionArn"] == arn("lambda", f"function:{counter}") and shown["State"] == "Active"
    reserved = aws("lambda", "GetFunctionConcurrency", FunctionName=f"{STAGE}-quadrille-orders-api")
    assert reserved["ReservedConcurrentExecutions"] > 0
    sweeper = f"{STAGE}-quadrille-orders-sweeper"
    assert aws("lambda", "GetFunctionEventInvokeConfig", FunctionName=sweeper)["FunctionArn"].endswith(":$LATEST")
    refused("ResourceNotFoundException", aws, "lambda", "GetFunction", FunctionName="nope")
    refused("ResourceNotFoundException", aws, "lambda", "GetFunction", FunctionName=counter, Qualifier="7")
    mappings = aws("lambda", "ListEventSourceMappings", FunctionName=f"{STAGE}-quadrille-orders-reactor")
    [mapping] = mappings["EventSourceMappings"]
    assert aws("lambda", "GetEventSourceMapping", UUID=mapping["UUID"])["State"] == "Enabled"


def of_invocations(aws):
    sweeper = f"{STAGE}-quadrille-orders-sweeper"
    ran = aws("lambda", "Invoke", FunctionName=sweeper, Payload="{}", LogType="Tail")
    assert ran["StatusCode"] == 200 and ran["ExecutedVersion"] == "$LATEST" and "FunctionError" not in ran, ran
    base64.b64decode(ran["LogResult"], validate=True)
    named = {"FunctionName": arn("lambda", f"function:{sweeper}:$LATEST"), "Payload": "{}"}
    assert aws("lambda", "Invoke", InvocationType="Event", **named)["StatusCode"] == 202
    assert aws("lambda", "Invoke", InvocationType="DryRun", **named)["StatusCode"] == 204
    refused("InvalidRequestContentException", aws, "lambda", "Invoke", FunctionName=sweeper, Payload="no JSON")
    refused("ResourceNotFoundException", aws, "lambda", "Invoke", FunctionName="nope", Payload="{}")


def of_events(aws, order):
    bus = f"{STAGE}-quadrille"
    assert bus in names(aws("events", "ListEventBuses", NamePrefix=STAGE)["EventBuses"], "Name")
    assert aws("events", "DescribeEventBus", Name=bus)["Arn"] == arn("events", f"event-bus/{bus}")
    rules = aws("events", "ListRules", EventBusName=bus)["Rules"]
    rule = next(rule for rule in names(rules, "Name") if "rewards" in rule and "archive" not in rule)
    described = aws("events", "DescribeRule", Name=rule, EventBusName=bus)
    assert described["State"] == "ENABLED" and "detail-type" in json.loads(described["EventPattern"])
    [target] = aws("events", "ListTargetsByRule", Rule=rule, EventBusName=bus)["Targets"]
    assert target["Arn"].startswith(arn("sqs", "")) and target["DeadLetterConfig"]["Arn"]
    assert rule in aws("events", "ListRuleNamesByTarget", TargetArn=target["Arn"], EventBusName=bus)["RuleNames"]
    first = aws("events", "ListRules", EventBusName=bus, Limit=1)
    second = aws("events", "ListRules", EventBusName=bus, Limit=1, NextToken=first["NextToken"])
    assert len(first["Rules"]) == 1 and first["Rules"] != second["Rules"]
    refused("ResourceNotFoundException", aws, "events", "DescribeRule", Name="nope", EventBusName=bus)

    [archive] = aws("events", "ListArchives", NamePrefix=bus)["Archives"]
    kept = aws("events", "DescribeArchive", ArchiveName=archive["ArchiveName"])
    assert kept["EventSourceArn"] == arn("events", f"event-bus/{bus}") and kept["RetentionDays"] > 0
    replay, now = f"replay-{aws.name.replace(' ', '-')}", datetime.now(timezone.utc)
    started = aws(
        "events", "StartReplay", ReplayName=replay, EventSourceArn=kept["ArchiveArn"],
        EventStartTime=now - timedelta(hours=1), EventEndTime=now + timedelta(hours=1),
        Destination={"Arn": kept["EventSourceArn"], "FilterArns": [arn("events", f"rule/{bus}/{bus}-rewards-archive")]},
    )
    assert started["State"] in ("STARTING", "RUNNING")
    eventually("the replay ends", lambda: aws("events", "DescribeReplay", ReplayName=replay)["State"] == "COMPLETED")
    assert replay in names(aws("events", "ListReplays", NamePrefix="replay")["Replays"], "ReplayName")
    window = {"EventStartTime": now - timedelta(hours=1), "EventEndTime": now + timedelta(hours=1)}
    aws("events", "StartReplay", ReplayName=f"{replay}-2", EventSourceArn=kept["ArchiveArn"], Destination={"Arn": kept["EventSourceArn"]}, **window)
    try:
        assert aws("events", "CancelReplay", ReplayName=f"{replay}-2")["State"] == "CANCELLING"
    except Refused as error:
        # It was faster: few events are there.
        assert str(error) == "IllegalStatusException"
        DONE.add(("events", "CancelReplay"))

    event = {"id": "1", "account": ACCOUNT, "source": "shop", "time": "2026-01-01T00:00:00Z", "region": REGION,
             "resources": [], "detail-type": "sold", "detail": {"order": order}}
    tried = {"EventPattern": json.dumps({"source": ["shop"]}), "Event": json.dumps(event)}
    assert aws("events", "TestEventPattern", **tried)["Result"] is True
    assert aws("events", "TestEventPattern", **(tried | {"EventPattern": '{"source": ["other"]}'}))["Result"] is False
    refused("InvalidEventPatternException", aws, "events", "TestEventPattern", **(tried | {"EventPattern": "["}))


def of_own_rules(aws):
    """A queue and a rule of one's own, an event that goes there, and what is refused of one."""
    bus, name = f"{STAGE}-quadrille", f"own-{aws.name.replace(' ', '-').lower()}"
    rule = {"Rule": name, "EventBusName": bus}
    made = aws("events", "PutRule", Name=name, EventBusName=bus, EventPattern='{"source": ["ci"]}')["RuleArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage",
                 "Resource": arn("sqs", name), "Condition": {"ArnEquals": {"aws:SourceArn": made}}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    queue = aws("sqs", "CreateQueue", QueueName=name, Attributes={"Policy": policy})["QueueUrl"]
    aws("events", "PutTargets", Targets=[{"Id": "queue", "Arn": arn("sqs", name)}], **rule)
    entry = {"Source": "ci", "DetailType": "sold", "Detail": "{}", "EventBusName": bus}
    put = aws("events", "PutEvents", Entries=[entry, entry | {"Source": "aws.s3"}, entry | {"Detail": "["}])
    assert put["FailedEntryCount"] == 2
    assert [it.get("ErrorCode") for it in put["Entries"]] == [None, "NotAuthorizedForSourceException", "MalformedDetail"]
    refused("ValidationException", aws, "events", "PutEvents", Entries=[entry] * 11)
    [message] = aws("sqs", "ReceiveMessage", QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    assert json.loads(message["Body"])["id"] == put["Entries"][0]["EventId"]
    aws("events", "RemoveTargets", Ids=["queue"], **rule)
    aws("events", "DeleteRule", Name=name, EventBusName=bus)
    aws("sqs", "DeleteQueue", QueueUrl=queue)


def of_pipes(aws):
    pipe = f"{STAGE}-quadrille-rewards"
    assert pipe in names(aws("pipes", "ListPipes", NamePrefix=STAGE)["Pipes"], "Name")
    described = aws("pipes", "DescribePipe", Name=pipe)
    assert described["SourceParameters"]["DynamoDBStreamParameters"]["BatchSize"] == 10
    assert aws("pipes", "StopPipe", Name=pipe)["DesiredState"] == "STOPPED"
    eventually("it stops", lambda: aws("pipes", "DescribePipe", Name=pipe)["CurrentState"] == "STOPPED")
    refused("ConflictException", aws, "pipes", "StopPipe", Name=pipe)
    assert aws("pipes", "StartPipe", Name=pipe)["DesiredState"] == "RUNNING"
    refused("NotFoundException", aws, "pipes", "DescribePipe", Name="nope")


def of_schedules(aws):
    schedules = aws("scheduler", "ListSchedules")["Schedules"]
    sweeps = next(name for name in names(schedules, "Name") if "orders" in name)
    assert aws("scheduler", "GetSchedule", Name=sweeps)["ScheduleExpression"] == "rate(1 minute)"
    assert names(aws("scheduler", "ListScheduleGroups")["ScheduleGroups"], "Name") == ["default"]
    assert aws("scheduler", "GetScheduleGroup", Name="default")["State"] == "ACTIVE"
    refused("ResourceNotFoundException", aws, "scheduler", "GetSchedule", Name="nope")


def of_secrets(aws):
    name = f"{STAGE}-quadrille-payments-provider"
    assert name in names(aws("secretsmanager", "ListSecrets")["SecretList"], "Name")
    before = aws("secretsmanager", "GetSecretValue", SecretId=name)
    put = aws("secretsmanager", "PutSecretValue", SecretId=name, SecretString=f"sk_test_{aws.name}")
    stages = aws("secretsmanager", "DescribeSecret", SecretId=name)["VersionIdsToStages"]
    assert (stages[put["VersionId"]], stages[before["VersionId"]]) == (["AWSCURRENT"], ["AWSPREVIOUS"])
    previous = aws("secretsmanager", "GetSecretValue", SecretId=name, VersionStage="AWSPREVIOUS")
    assert previous["SecretString"] == before["SecretString"]
    assert put["VersionId"] in names(aws("secretsmanager", "ListSecretVersionIds", SecretId=name)["Versions"], "VersionId")
    refused("ResourceNotFoundException", aws, "secretsmanager", "GetSecretValue", SecretId=name, VersionStage="NOPE")


def of_topics(aws):
    topic = arn("sns", f"{STAGE}-quadrille-notifications.fifo")
    assert topic in names(aws("sns", "ListTopics")["Topics"], "TopicArn")
    attributes = aws("sns", "GetTopicAttributes", TopicArn=topic)["Attributes"]
    assert (attributes["FifoTopic"], attributes["SubscriptionsConfirmed"]) == ("true", "1")
    [subscription] = aws("sns", "ListSubscriptionsByTopic", TopicArn=topic)["Subscriptions"]
    assert subscription in aws("sns", "ListSubscriptions")["Subscriptions"]
    of_it = aws("sns", "GetSubscriptionAttributes", SubscriptionArn=subscription["SubscriptionArn"])["Attributes"]
    assert of_it["RawMessageDelivery"] == "true" and of_it["Endpoint"] == subscription["Endpoint"]
    new = {"Message": "x", "MessageGroupId": "ci", "MessageDeduplicationId": f"{aws.name.split()[0]}-1"}
    published = aws("sns", "Publish", TopicArn=topic, **new)
    batch = aws("sns", "PublishBatch", TopicArn=topic, PublishBatchRequestEntries=[{"Id": "again"} | new, {"Id": "bad"} | new | {"MessageGroupId": "a b"}])
    assert batch["Successful"][0]["MessageId"] == published["MessageId"], "the same deduplication id is the same message"
    assert [(it["Id"], it["SenderFault"]) for it in batch["Failed"]] == [("bad", True)]
    refused("NotFound", aws, "sns", "GetTopicAttributes", TopicArn=topic + "x")
    refused("InvalidParameter", aws, "sns", "Publish", TopicArn=topic, **(new | {"Subject": "hello"}))


def of_queues(aws):
    name = f"{STAGE}-quadrille-rewards-events-dlq"
    dead = aws("sqs", "GetQueueUrl", QueueName=name)["QueueUrl"]
    assert dead in aws("sqs", "ListQueues", QueueNamePrefix=f"{STAGE}-quadrille-rewards")["QueueUrls"]
    page = aws("sqs", "ListQueues", MaxResults=1)
    assert len(page["QueueUrls"]) == 1 and page["NextToken"]
    attributes = aws("sqs", "GetQueueAttributes", QueueUrl=dead, AttributeNames=["All"])["Attributes"]
    assert attributes["QueueArn"] == arn("sqs", name) and "Policy" in attributes
    assert aws("sqs", "ListQueueTags", QueueUrl=dead).get("Tags", {}) == {}
    [source] = aws("sqs", "ListDeadLetterSourceQueues", QueueUrl=dead)["queueUrls"]
    of_source = aws("sqs", "GetQueueAttributes", QueueUrl=source, AttributeNames=["RedrivePolicy"])["Attributes"]
    assert json.loads(of_source["RedrivePolicy"])["deadLetterTargetArn"] == arn("sqs", name)
    refused("NonExistentQueue", aws, "sqs", "GetQueueUrl", QueueName="nope")
    refused("NonExistentQueue", aws, "sqs", "PurgeQueue", QueueUrl=dead + "x")
    refused("InvalidParameterValue", aws, "sqs", "ReceiveMessage", QueueUrl=dead, MaxNumberOfMessages=50)
    refused("SerializationException", aws, "sqs", "SendMessage", QueueUrl=dead, MessageBody="x", MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}})


def of_messages(aws):
    """In a queue of one's own: the others' readers would be faster."""
    queue = {"QueueUrl": aws("sqs", "CreateQueue", QueueName=f"messages-{aws.name.replace(' ', '-')}")["QueueUrl"]}

    def count(attribute):
        named = [f"ApproximateNumberOfMessages{attribute}"]
        return int(aws("sqs", "GetQueueAttributes", AttributeNames=named, **queue)["Attributes"][named[0]])

    aws("sqs", "SendMessage", MessageBody="late", DelaySeconds=900, **queue)
    sent = aws("sqs", "SendMessageBatch", Entries=[{"Id": str(n), "MessageBody": f"message {n}"} for n in range(3)] + [{"Id": "bad", "MessageBody": "\1"}], **queue)
    assert len(sent["Successful"]) == 3 and [it["Code"] for it in sent["Failed"]] == ["InvalidMessageContents"]
    assert (count(""), count("Delayed")) == (3, 1)
    received = aws("sqs", "ReceiveMessage", MaxNumberOfMessages=10, AttributeNames=["All"], **queue)["Messages"]
    assert [message["Attributes"]["ApproximateReceiveCount"] for message in received] == ["1"] * 3
    first, second, third = names(received, "ReceiptHandle")
    aws("sqs", "ChangeMessageVisibility", ReceiptHandle=first, VisibilityTimeout=0, **queue)
    hidden = aws("sqs", "ChangeMessageVisibilityBatch", Entries=[{"Id": "a", "ReceiptHandle": second, "VisibilityTimeout": 60}, {"Id": "b", "ReceiptHandle": "nope", "VisibilityTimeout": 60}], **queue)
    assert names(hidden["Successful"], "Id") == ["a"] and names(hidden["Failed"], "Code") == ["ReceiptHandleIsInvalid"]
    assert (count(""), count("NotVisible")) == (1, 2)
    aws("sqs", "DeleteMessage", ReceiptHandle=second, **queue)
    assert names(aws("sqs", "DeleteMessageBatch", Entries=[{"Id": "c", "ReceiptHandle": third}], **queue)["Successful"], "Id") == ["c"]
    refused("TooManyEntriesInBatchRequest", aws, "sqs", "DeleteMessageBatch", Entries=[{"Id": str(n), "ReceiptHandle": third} for n in range(11)], **queue)
    refused("BatchEntryIdsNotDistinct", aws, "sqs", "DeleteMessageBatch", Entries=[{"Id": "c", "ReceiptHandle": third}] * 2, **queue)
    aws("sqs", "PurgeQueue", **queue)
    assert (count(""), count("NotVisible"), count("Delayed")) == (0, 0, 0)
    refused("PurgeQueueInProgress", aws, "sqs", "PurgeQueue", **queue)
    aws("sqs", "DeleteQueue", **queue)


def of_moves(aws):
    """Dead letters go back, slowly, and as fast as they can."""
    dead = f"{STAGE}-quadrille-sales-events-dlq"
    url = aws("sqs", "GetQueueUrl", QueueName=dead)["QueueUrl"]
    to = aws("sqs", "CreateQueue", QueueName=f"moved-{aws.name.replace(' ', '-')}")["QueueUrl"]
    moved = arn("sqs", to.rsplit("/", 1)[-1])
    for n in range(3):
        aws("sqs", "SendMessage", QueueUrl=url, MessageBody=f"dead {n}")
    slow = {"SourceArn": arn("sqs", dead), "DestinationArn": moved, "MaxNumberOfMessagesPerSecond": 1}
    handle = aws("sqs", "StartMessageMoveTask", **slow)["TaskHandle"]
    refused("UnsupportedOperation", aws, "sqs", "StartMessageMoveTask", **slow)
    assert aws("sqs", "CancelMessageMoveTask", TaskHandle=handle)["ApproximateNumberOfMessagesMoved"] < 3
    of_it = {"SourceArn": arn("sqs", dead)}

    def status():
        return aws("sqs", "ListMessageMoveTasks", **of_it)["Results"][0]["Status"]

    eventually("it is cancelled", lambda: status() == "CANCELLED")
    aws("sqs", "StartMessageMoveTask", DestinationArn=moved, **of_it)
    eventually("it is done", lambda: status() == "COMPLETED")
    found = aws("sqs", "ReceiveMessage", QueueUrl=to, MaxNumberOfMessages=10)["Messages"]
    assert sorted(names(found, "Body")) == ["dead 0", "dead 1", "dead 2"]
    refused("InvalidParameterValue", aws, "sqs", "StartMessageMoveTask", SourceArn=moved)
    aws("sqs", "DeleteQueue", QueueUrl=to)


def of_executions(aws):
    [machine] = aws("stepfunctions", "ListStateMachines")["stateMachines"]
    named = {"stateMachineArn": machine["stateMachineArn"]}
    described = aws("stepfunctions", "DescribeStateMachine", **named)
    assert json.loads(described["definition"])["StartAt"] == "LookUpCharge" and described["status"] == "ACTIVE"
    running = aws("stepfunctions", "ListExecutions", **named)["executions"]
    assert running, "the order that was undone has an execution"
    execution = {"executionArn": running[-1]["executionArn"]}
    assert json.loads(aws("stepfunctions", "DescribeExecution", **execution)["input"])["data"]["order_id"]
    events = aws("stepfunctions", "GetExecutionHistory", maxResults=1000, **execution)["events"]
    assert names(events[:4], "type") == ["ExecutionStarted", "TaskStateEntered", "LambdaFunctionScheduled", "LambdaFunctionStarted"]
    assert names(events, "id") == list(range(1, len(events) + 1))
    assert "ChoiceStateExited" in names(events, "type")
    last = aws("stepfunctions", "GetExecutionHistory", maxResults=1, reverseOrder=True, **execution)["events"]
    assert last[0]["id"] >= len(events)

    name = f"ci-{aws.name.replace(' ', '-')}"
    started = aws("stepfunctions", "StartExecution", name=name, input='{"no": "event"}', **named)["executionArn"]
    refused("ExecutionAlreadyExists", aws, "stepfunctions", "StartExecution", name=name, input="{}", **named)
    refused("InvalidExecutionInput", aws, "stepfunctions", "StartExecution", input="no JSON", **named)
    aws("stepfunctions", "StopExecution", executionArn=started, error="Enough", cause="it is a test")
    stopped = aws("stepfunctions", "DescribeExecution", executionArn=started)
    assert (stopped["status"], stopped["error"]) == ("ABORTED", "Enough"), stopped
    aborted = aws("stepfunctions", "ListExecutions", statusFilter="ABORTED", **named)["executions"]
    assert name in names(aborted, "name")
    refused("ExecutionDoesNotExist", aws, "stepfunctions", "DescribeExecution", executionArn=started + "x")
    refused("InvalidArn", aws, "stepfunctions", "DescribeExecution", executionArn="nope")


def of_logs(aws, order):
    group = {"logGroupName": f"/aws/lambda/{STAGE}-quadrille-orders-reactor"}
    [shown] = aws("logs", "DescribeLogGroups", logGroupNamePrefix=group["logGroupName"])["logGroups"]
    assert shown["retentionInDays"] > 0 and shown["storedBytes"] > 0
    [stream] = aws("logs", "DescribeLogStreams", **group)["logStreams"]
    assert stream["firstEventTimestamp"] <= stream["lastEventTimestamp"]
    pattern = f'{{ $.order_id = "{order}" && $.message = "delivery" }}'
    found = aws("logs", "FilterLogEvents", filterPattern=pattern, startTime=int(time.time() - 600) * 1000, **group)["events"]
    assert found and all(json.loads(event["message"])["order_id"] == order for event in found)
    assert aws("logs", "FilterLogEvents", filterPattern='"no such line"', **group)["events"] == []
    refused("InvalidParameterException", aws, "logs", "FilterLogEvents", filterPattern="[a, b]", **group)
    of_stream = group | {"logStreamName": stream["logStreamName"], "limit": 2}
    head = aws("logs", "GetLogEvents", startFromHead=True, **of_stream)
    after = aws("logs", "GetLogEvents", startFromHead=True, nextToken=head["nextForwardToken"], **of_stream)
    assert len(head["events"]) == 2 and head["events"] != after["events"]
    access = aws("logs", "FilterLogEvents", logGroupName=f"/aws/vendedlogs/{STAGE}-quadrille-api-access", filterPattern='{ $.status = "201" }')
    assert access["events"]
    assert aws("logs", "DescribeQueryDefinitions", queryDefinitionNamePrefix=STAGE)["queryDefinitions"]
    refused("ResourceNotFoundException", aws, "logs", "FilterLogEvents", logGroupName="nope")


def of_metrics(aws):
    alarms = aws("cloudwatch", "DescribeAlarms", AlarmNamePrefix=f"{STAGE}-quadrille", MaxRecords=100)["MetricAlarms"]
    states = {alarm["AlarmName"]: alarm["StateValue"] for alarm in alarms}
    assert states[f"{STAGE}-quadrille-refund-failed"] == "OK"
    [slow] = aws("cloudwatch", "DescribeAlarms", AlarmNames=[f"{STAGE}-quadrille-saga-slow"])["MetricAlarms"]
    assert slow["ExtendedStatistic"] == "p99" and slow["StateReason"]
    name = f"{STAGE}-quadrille-notifications-events-dlq"
    queue = {"QueueUrl": aws("sqs", "GetQueueUrl", QueueName=name)["QueueUrl"]}

    def state():
        return aws("cloudwatch", "DescribeAlarms", AlarmNames=[name])["MetricAlarms"][0]["StateValue"]

    assert state() == "OK"
    aws("sqs", "SendMessage", MessageBody="dead", **queue)
    assert state() == "ALARM"
    [dead] = aws("sqs", "ReceiveMessage", **queue)["Messages"]
    aws("sqs", "DeleteMessage", ReceiptHandle=dead["ReceiptHandle"], **queue)
    assert state() == "OK"
    ended = {"Namespace": "Quadrille", "MetricName": "orders_ended"}
    listed = aws("cloudwatch", "ListMetrics", **ended)["Metrics"]
    dimensions = [{"Name": "stage", "Value": STAGE}, {"Name": "service", "Value": "orders"}, {"Name": "status", "Value": "fulfilled"}]
    by_name = {"key": lambda it: it["Name"]}
    assert sorted(dimensions, **by_name) in [sorted(metric["Dimensions"], **by_name) for metric in listed]
    now = datetime.now(timezone.utc)
    window = {"StartTime": now - timedelta(hours=1), "EndTime": now + timedelta(minutes=10)}
    points = aws("cloudwatch", "GetMetricStatistics", Dimensions=dimensions, Period=3600, Statistics=["Sum", "SampleCount"], **ended, **window)
    assert sum(point["Sum"] for point in points["Datapoints"]) >= 1
    stat = {"Metric": ended | {"Dimensions": dimensions}, "Period": 3600, "Stat": "Sum"}
    queries = [{"Id": "m1", "MetricStat": stat, "ReturnData": False}, {"Id": "twice", "Expression": "2 * m1"}]
    [twice] = aws("cloudwatch", "GetMetricData", MetricDataQueries=queries, **window)["MetricDataResults"]
    assert sum(twice["Values"]) == 2 * sum(point["Sum"] for point in points["Datapoints"])
    [dashboard] = aws("cloudwatch", "ListDashboards", DashboardNamePrefix=STAGE)["DashboardEntries"]
    body = aws("cloudwatch", "GetDashboard", DashboardName=dashboard["DashboardName"])["DashboardBody"]
    assert json.loads(body)["widgets"]


def of_rows(aws):
    """Rows of one's own in a table of rewards, written and read in every way that there is."""
    table, pk = f"{STAGE}-quadrille-rewards", f"CI#{aws.name}"
    assert table in aws("dynamodb", "ListTables")["TableNames"]
    described = aws("dynamodb", "DescribeTable", TableName=table)["Table"]
    assert described["TableArn"] == arn("dynamodb", f"table/{table}") and described["StreamSpecification"]["StreamEnabled"]
    assert aws("dynamodb", "DescribeTimeToLive", TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"] == "ENABLED"
    backups = aws("dynamodb", "DescribeContinuousBackups", TableName=table)["ContinuousBackupsDescription"]
    assert backups["ContinuousBackupsStatus"] == "ENABLED"
    refused("ResourceNotFoundException", aws, "dynamodb", "DescribeTable", TableName="nope")
    refused("TableNotFoundException", aws, "dynamodb", "DescribeContinuousBackups", TableName="nope")

    def row(sk, **attributes):
        return {"pk": {"S": pk}, "sk": {"S": sk}} | attributes

    one = {"TableName": table, "Key": row("1")}
    aws("dynamodb", "PutItem", TableName=table, Item=row("1", n={"N": "1"}, b={"B": b"x"} if aws.name == "boto3" else {"B": "eA=="}))
    assert aws("dynamodb", "GetItem", ConsistentRead=True, **one)["Item"]["n"] == {"N": "1"}
    new = {"TableName": table, "Item": row("1"), "ConditionExpression": "attribute_not_exists(pk)"}
    refused("ConditionalCheckFailedException", aws, "dynamodb", "PutItem", **new)
    more = {"UpdateExpression": "ADD n :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
    assert aws("dynamodb", "UpdateItem", ReturnValues="UPDATED_NEW", **one, **more)["Attributes"] == {"n": {"N": "2"}}
    puts = [{"PutRequest": {"Item": row(str(n))}} for n in (2, 3)]
    assert aws("dynamodb", "BatchWriteItem", RequestItems={table: puts})["UnprocessedItems"] == {}
    read = aws("dynamodb", "BatchGetItem", RequestItems={table: {"Keys": [row("2"), row("3"), row("9")]}})
    assert len(read["Responses"][table]) == 2
    aws("dynamodb", "TransactWriteItems", TransactItems=[{"Put": {"TableName": table, "Item": row("4")}}, {"Delete": {"TableName": table, "Key": row("2")}}])
    refused("TransactionCanceledException", aws, "dynamodb", "TransactWriteItems", TransactItems=[{"Put": new}])
    got = aws("dynamodb", "TransactGetItems", TransactItems=[{"Get": one}, {"Get": {"TableName": table, "Key": row("2")}}])
    assert [bool(it.get("Item")) for it in got["Responses"]] == [True, False]
    found = aws("dynamodb", "Query", TableName=table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": pk}}, ReturnConsumedCapacity="TOTAL")
    assert [item["sk"]["S"] for item in found["Items"]] == ["1", "3", "4"] and found["ConsumedCapacity"]["CapacityUnits"] > 0
    # As boto3 writes Key("pk").eq(…) & Key("sk").begins_with(…).
    of_two = {"KeyConditionExpression": "(pk = :pk AND begins_with(sk, :sk))", "ExpressionAttributeValues": {":pk": {"S": pk}, ":sk": {"S": "3"}}}
    assert aws("dynamodb", "Query", TableName=table, **of_two)["Count"] == 1
    scanned = aws("dynamodb", "Scan", TableName=table, FilterExpression="begins_with(pk, :pk)", ExpressionAttributeValues={":pk": {"S": pk}})
    assert (scanned["Count"], scanned["ScannedCount"] > 3) == (3, True)
    for sk in ("1", "3", "4"):
        aws("dynamodb", "DeleteItem", TableName=table, Key=row(sk))
    refused("ValidationException", aws, "dynamodb", "GetItem", TableName=table, Key={"pk": {"S": pk}})


def of_streams(aws):
    """What was just written to rewards, from its stream."""
    table, pk = f"{STAGE}-quadrille-rewards", f"CI#{aws.name}"
    [stream] = aws("dynamodbstreams", "ListStreams", TableName=table)["Streams"]
    first = aws("dynamodbstreams", "ListStreams", Limit=1)
    second = aws("dynamodbstreams", "ListStreams", Limit=1, ExclusiveStartStreamArn=first["LastEvaluatedStreamArn"])
    assert first["Streams"] != second["Streams"]
    named = {"StreamArn": stream["StreamArn"]}
    described = aws("dynamodbstreams", "DescribeStream", **named)["StreamDescription"]
    assert described["StreamViewType"] == "NEW_IMAGE" and described["TableName"] == table
    [shard] = described["Shards"]
    place = named | {"ShardId": shard["ShardId"]}

    def read(**at):
        iterator, records = aws("dynamodbstreams", "GetShardIterator", **place, **at)["ShardIterator"], []
        while (page := aws("dynamodbstreams", "GetRecords", ShardIterator=iterator))["Records"]:
            iterator, records = page["NextShardIterator"], records + page["Records"]
        return records

    records = [record for record in read(ShardIteratorType="TRIM_HORIZON") if record["dynamodb"]["Keys"]["pk"] == {"S": pk}]
    assert names(records, "eventName") == ["INSERT", "MODIFY"] + ["INSERT"] * 3 + ["REMOVE"] * 4, names(records, "eventName")
    assert records[1]["dynamodb"]["NewImage"]["n"] == {"N": "2"} and "NewImage" not in records[-1]["dynamodb"]
    numbered = {"SequenceNumber": records[-2]["dynamodb"]["SequenceNumber"]}
    ids = names(read(ShardIteratorType="AT_SEQUENCE_NUMBER", **numbered), "eventID")
    after = names(read(ShardIteratorType="AFTER_SEQUENCE_NUMBER", **numbered), "eventID")
    assert ids[:2] == names(records[-2:], "eventID") and after == ids[1:]
    assert read(ShardIteratorType="LATEST") == []
    refused("ResourceNotFoundException", aws, "dynamodbstreams", "DescribeStream", StreamArn=stream["StreamArn"] + "x")
    refused("ValidationException", aws, "dynamodbstreams", "GetRecords", ShardIterator="nope")
    refused("ValidationException", aws, "dynamodbstreams", "GetShardIterator", ShardIteratorType="LATEST", **place, **numbered)


def of_relays(aws):
    """With pipes in their place nothing reads a stream here that could be disabled: what there is is not found."""
    refused("ResourceNotFoundException", aws, "lambda", "UpdateEventSourceMapping", UUID="00000000-0000-0000-0000-000000000000", Enabled=False)
    DONE.add(("lambda", "UpdateEventSourceMapping"))


def main(api, endpoint):
    os.environ |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": REGION, "AWS_CONFIG_FILE": "/dev/null"}
    order = place_orders(api)
    try:
        for aws in (Boto3(endpoint), Cli(endpoint)):
            every_verb(aws, order)
    finally:
        for complaint in sorted(set(COMPLAINTS)):
            print(complaint, file=sys.stderr)
    return 1 if COMPLAINTS else 0


def every_verb(aws, order):
    DONE.clear()
    began = time.monotonic()
    for group in (of_sts, of_stacks, of_api, of_functions, of_invocations, of_own_rules, of_pipes, of_schedules, of_secrets,
                  of_topics, of_queues, of_messages, of_moves, of_executions, of_metrics, of_rows, of_streams, of_relays):
        group(aws)
    of_events(aws, order)
    of_logs(aws, order)
    answered = json.loads(Path("target/ci/aws-answered.json").read_text())
    missing = [f"{service} {name}" for service, all in answered.items() for name in all if (service, name) not in DONE]
    COMPLAINTS.extend(f"{aws.name} never got an answer to {verb}" for verb in missing)
    print(f"{aws.name}: {len(DONE)} verbs in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
