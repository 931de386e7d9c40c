#!/usr/bin/env python3
"""Holds a running local stack against AWS's own service models.

    check_model.py http://127.0.0.1:4566 localstack/README.md

It sends every operation of every model. One that is not implemented has to say so with UnknownOperationException; the others
have to be those that the README lists. Then it asks each of those for what there is not, and sends each member of each request that is answered, wrong in type, and one that
no model has: each has to be refused by name. A member that is not refused would have been ignored; one that the stack's request
types know is read, because the compiler refuses a field that nothing reads. Every code has to be one that the model has.
"""

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen
from xml.etree import ElementTree

import shapes

SIGNED = {"authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/x/aws4_request, SignedHeaders=host, Signature=x"}
UNKNOWN = "UnknownOperationException"
NO_MEMBER = "QuadrilleHasNone"
# What stands for a label of a path: a function that there is, because Invoke looks for it first.
LABEL = "local-quadrille-inventory-counter"
# How deep members of members are sent.
DEPTH = 4
# DynamoDB's errors name no member. There one member at a time is wrong in a request that is right but for its table, which is not
# there: what says so has read over the member.
TABLE, ROW = "no-such-table", {"pk": {"S": "p"}, "sk": {"S": "s"}}
OF_ROW, OF_KEY = {"TableName": TABLE, "Item": ROW}, {"TableName": TABLE, "Key": ROW}
RIGHT = {
    "BatchGetItem": {"RequestItems": {TABLE: {"Keys": [ROW]}}},
    "BatchWriteItem": {"RequestItems": {TABLE: [{"PutRequest": {"Item": ROW}}, {"DeleteRequest": {"Key": ROW | {"sk": {"S": "t"}}}}]}},
    "DeleteItem": OF_KEY,
    "DescribeContinuousBackups": {"TableName": TABLE},
    "DescribeTable": {"TableName": TABLE},
    "DescribeTimeToLive": {"TableName": TABLE},
    "GetItem": OF_KEY,
    "ListTables": {},
    "PutItem": OF_ROW,
    "Query": {"TableName": TABLE, "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "p"}}},
    "Scan": {"TableName": TABLE},
    "TransactGetItems": {"TransactItems": [{"Get": OF_KEY}]},
    "TransactWriteItems": {"TransactItems": [{"Put": OF_ROW}]},
    "UpdateItem": OF_KEY,
}
PARTS = {
    "Delete": OF_KEY,
    "ConditionCheck": OF_KEY | {"ConditionExpression": "attribute_exists(pk)"},
    "Update": OF_KEY | {"UpdateExpression": "SET a = :a", "ExpressionAttributeValues": {":a": {"S": "x"}}},
}


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.body = status, body
        self.code, self.message = "", ""
        if status >= 300:
            self.code, self.message = self._xml() if body.startswith(b"<") else self._json(headers)

    def _json(self, headers):
        body = json.loads(self.body or b"{}")
        code = headers.get("x-amzn-errortype") or body.get("__type", "")
        return code.rsplit("#")[-1], body.get("message") or body.get("Message") or ""

    def _xml(self):
        error = next(part for part in ElementTree.fromstring(self.body) if part.tag.endswith("Error"))
        texts = {part.tag.rsplit("}", 1)[-1]: part.text or "" for part in error}
        return texts["Code"], texts["Message"]


def send(method, url, headers, body):
    try:
        with urlopen(Request(url, body, SIGNED | headers, method=method), timeout=30) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except HTTPError as error:
        return Answer(error.code, error.headers, error.read())


def ask(base, operation, members, query=()):
    """Sends an operation with members of its body as JSON, or a form's pairs, and further pairs of its query."""
    metadata = operation.service_model.metadata
    if metadata["protocol"] == "query":
        form = [("Action", operation.name), ("Version", metadata["apiVersion"]), *members]
        return send("POST", base, {"content-type": "application/x-www-form-urlencoded"}, urlencode(form).encode())
    if metadata.get("targetPrefix") and not metadata["protocol"].startswith("rest"):
        headers = {"x-amz-target": f"{metadata['targetPrefix']}.{operation.name}", "content-type": "application/x-amz-json-1.0"}
        return send("POST", base, headers, json.dumps(members).encode())
    path, _, fixed = operation.http["requestUri"].partition("?")
    path = re.sub(r"\{[^}]*\}", quote(LABEL, safe=""), path)
    headers, body = {"content-type": "application/json"}, dict(members)
    for name in [name for name in body if name.startswith("header:")]:
        headers[name.removeprefix("header:")] = body.pop(name)
    pairs = ([fixed] if fixed else []) + [urlencode(query)]
    url = f"{base}{path}?{'&'.join(pairs)}" if any(pairs) else f"{base}{path}"
    return send(operation.http["method"], url, headers, json.dumps(body).encode() if body else None)


def wrong(shape):
    """A value of another type than the shape's."""
    return "wrong" if shape.type_name in ("structure", "list", "map") else {"wrong": 1}


def plausible(shape):
    """A value with every member that is required, which names nothing that there is."""
    if shape.type_name == "structure":
        members = {name: shape.members[name] for name in shape.required_members}
        body = {name: member for name, member in members.items() if not member.serialization.get("location")}
        return {shapes.wire_name(name, member): plausible(member) for name, member in body.items()}
    if shape.type_name == "list":
        return [plausible(shape.member)]
    if shape.type_name == "map":
        return {}
    if shape.type_name in ("string", "blob"):
        return (getattr(shape, "enum", None) or ["no-such-thing"])[0]
    return shape.type_name != "boolean" and 1


def pairs(prefix, value):
    """The same as a form has it."""
    if isinstance(value, dict):
        return [pair for name, inner in value.items() for pair in pairs(f"{prefix}.{name}".lstrip("."), inner)]
    if isinstance(value, list):
        return [pair for n, inner in enumerate(value, 1) for pair in pairs(f"{prefix}.member.{n}", inner)]
    return [(prefix, value)]


def within(shape, inner):
    """The structure that a shape is, or is a list of, and how a value gets there; None where there is nothing to look into."""
    while shape.type_name == "list":
        shape, inner = shape.member, (lambda wrapped: lambda value: wrapped([value]))(inner)
    return (shape, inner) if shape.type_name == "structure" else None


def form_pairs(prefix, member):
    """A pair of a form in which a member is wrong."""
    return [(prefix, "wrong")] if member.type_name in ("structure", "list", "map") else [(f"{prefix}.wrong", "1")]


class Check:
    def __init__(self, base):
        self.base, self.complaints, self.answered, self.sent, self.members = base, [], {}, 0, 0

    def ask(self, operation, members, query=()):
        self.sent += 1
        answer = ask(self.base, operation, members, query)
        service = operation.service_model.service_name
        if answer.status >= 500 or (answer.code and answer.code not in shapes.codes(operation)):
            self.complaints.append(f"{service} {operation.name}: {answer.status} {answer.code} is not in the model: {answer.message}")
        return answer

    def is_answered(self, operation):
        is_form = operation.service_model.metadata["protocol"] == "query"
        answer = self.ask(operation, [] if is_form else {})
        return answer.code != UNKNOWN

    def refused(self, operation, what, name, members, query=()):
        self.members += 1
        answer = self.ask(operation, members, query)
        if answer.code == UNKNOWN or answer.status < 300 or not re.search(rf"\b{re.escape(name)}\b", answer.message):
            service = operation.service_model.service_name
            self.complaints.append(f"{service} {what} is neither read nor refused: {answer.status} {answer.code} {answer.message}")
        return answer

    def operation(self, operation):
        """A request for what there is not, every member of its request, and one that it has not."""
        shape = operation.input_shape
        protocol = operation.service_model.metadata["protocol"]
        if shape and not shape.serialization.get("payload"):
            body = plausible(shape)
            self.ask(operation, pairs("", body) if protocol == "query" else body)
        if protocol == "query":
            self.refused(operation, f"{operation.name}.{NO_MEMBER}", NO_MEMBER, [(NO_MEMBER, "1")])
            for name, member in shape.members.items() if shape else ():
                self.form(operation, f"{operation.name}.{name}", name, member)
            return
        rest = protocol.startswith("rest")
        if rest:
            self.refused(operation, f"{operation.name}.{NO_MEMBER}", NO_MEMBER, {}, [(NO_MEMBER, "1")])
            for name, member in shape.members.items() if shape else ():
                if member.serialization.get("location") == "header":
                    self.refused(operation, f"{operation.name}.{name}", name, {f"header:{member.serialization['name']}": "wrong"})
        else:
            self.refused(operation, f"{operation.name}.{NO_MEMBER}", NO_MEMBER, {NO_MEMBER: 1})
        if shape and not shape.serialization.get("payload"):
            self.body(operation, shape, lambda value: value, operation.name)

    def body(self, operation, shape, wrap, path, depth=0):
        for name, member in shape.members.items():
            if member.serialization.get("location"):
                continue
            wire = shapes.wire_name(name, member)
            place = (lambda wire: lambda value: wrap({wire: value}))(wire)
            answer = self.refused(operation, f"{path}.{name}", wire, place(wrong(member)))
            inside = within(member, place)
            # What is unknown has no members either.
            if inside and depth < DEPTH and f"unknown field `{wire}`" not in answer.message:
                self.body(operation, inside[0], inside[1], f"{path}.{name}", depth + 1)

    def form(self, operation, path, prefix, member, depth=0):
        name = prefix.split(".")[-1]
        answer = self.refused(operation, path, name, form_pairs(prefix, member))
        while member.type_name == "list":
            member, prefix = member.member, f"{prefix}.member.1"
        if member.type_name == "structure" and depth < DEPTH and f"unknown field `{name}`" not in answer.message:
            for inner, shape in member.members.items():
                self.form(operation, f"{path}.{inner}", f"{prefix}.{inner}", shape, depth + 1)

    def row(self, operation, shape, value, put, path):
        """Every member of every structure of a request in DynamoDB's own protocol, and one that it has not."""
        if shape.type_name == "structure" and shape.name != "AttributeValue":
            for name, member in [*shape.members.items(), (NO_MEMBER, None)]:
                self.rejected(operation, f"{path}.{name}", put(value | {name: wrong(member) if member else 1}))
                if name in value:
                    self.row(operation, member, value[name], lambda inner: put(value | {name: inner}), f"{path}.{name}")
        elif shape.type_name == "list":
            for n, item in enumerate(value):
                self.row(operation, shape.member, item, lambda inner: put([*value[:n], inner, *value[n + 1 :]]), path)
        elif shape.type_name == "map":
            for key, item in value.items():
                self.row(operation, shape.value, item, lambda inner: put(value | {key: inner}), path)

    def rejected(self, operation, what, body):
        self.members += 1
        answer = self.ask(operation, body)
        if answer.code not in ("SerializationException", "ValidationException"):
            self.complaints.append(f"dynamodb {what} is neither read nor refused: {answer.status} {answer.code} {answer.message}")

    def rows(self, operation):
        right = [RIGHT[operation.name]]
        if operation.name == "TransactWriteItems":
            right += [{"TransactItems": [{kind: part}]} for kind, part in PARTS.items()]
        for body in right:
            answer = self.ask(operation, body)
            is_right = answer.status < 300 or "not found" in answer.message or "ResourceNotFound" in answer.message
            if not is_right:
                self.complaints.append(f"dynamodb {operation.name}: {body} is not right but for its table: {answer.message}")
            self.row(operation, operation.input_shape, body, lambda inner: inner, operation.name)

    def service(self, service):
        model = shapes.model(service)
        operations = [model.operation_model(name) for name in model.operation_names]
        answered = [operation for operation in operations if self.is_answered(operation)]
        self.answered[service] = sorted(operation.name for operation in answered)
        for operation in answered:
            (self.rows if service == "dynamodb" else self.operation)(operation)


def listed(readme):
    """The operations that the README lists: `| sqs | \\`A\\`, \\`B\\` |`."""
    table = {}
    for row in Path(readme).read_text().splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if row.startswith("| ") and len(cells) == 2 and cells[0].strip("`") in shapes.SERVICES:
            table[cells[0].strip("`")] = sorted(re.findall(r"`(\w+)`", cells[1]))
    return table


def main(base, readme):
    check = Check(base)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check.service, shapes.SERVICES))
    documented = listed(readme)
    for service, answered in check.answered.items():
        if documented.get(service) != answered:
            check.complaints.append(f"{readme} lists for {service} {documented.get(service)}, answered are {answered}")
    for complaint in check.complaints:
        print(complaint, file=sys.stderr)
    answered = sum(map(len, check.answered.values()))
    print(f"{check.sent} requests: {answered} operations are answered, with {check.members} members read or refused")
    Path("target/ci/aws-answered.json").write_text(json.dumps(check.answered))
    return 1 if check.complaints else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
