"""AWS's own service models, as botocore ships them, and what an answer has to be under them."""

import json
from xml.etree import ElementTree

import botocore.session

# What the local stack answers.
SERVICES = (
    "apigatewayv2 cloudformation cloudwatch dynamodb dynamodbstreams events lambda logs pipes scheduler secretsmanager sns sqs "
    "stepfunctions sts"
).split()

# Codes that AWS's protocols and IAM have for every operation, in no model:
# https://docs.aws.amazon.com/awssupport/latest/APIReference/CommonErrors.html
COMMON = set(
    """AccessDeniedException InvalidAction InvalidParameterCombination InvalidParameterValue MalformedQueryString
    MissingAuthenticationTokenException MissingParameter SerializationException UnknownOperationException
    UnrecognizedClientException ValidationError ValidationException InvalidParameter NotFound""".split()
)

_session = botocore.session.get_session()


def model(service):
    return _session.get_service_model(service)


def codes(operation):
    """The codes of an operation's errors: an error has its shape's name, its older code, or the one that SQS's header names."""
    known = set(COMMON)
    for shape in operation.error_shapes:
        known |= {shape.name, shape.error_code, shape.name.removesuffix("Exception")}
        known |= {f"AWS.SimpleQueueService.{shape.name}", "AWS.SimpleQueueService.NonExistentQueue", "QueueAlreadyExists"}
    return known


def wire_name(member, shape):
    return shape.serialization.get("name", member)


def differences(operation, response):
    """What of an answer's body the model does not know, or misses. A body that is a function's own is left alone."""
    shape = operation.output_shape
    if shape is None or shape.serialization.get("payload"):
        return []
    if operation.service_model.metadata["protocol"] == "query":
        root = ElementTree.fromstring(response.content)
        result = next((child for child in root if _tag(child).endswith("Result")), None)
        return [] if result is None else list(_xml(shape, result, operation.name))
    return list(_json(shape, json.loads(response.content or b"{}"), operation.name))


def _json(shape, value, path):
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            yield f"{path} is no object"
            return
        members = {wire_name(name, member): (name, member) for name, member in shape.members.items()}
        for name, inner in value.items():
            if name not in members:
                yield f"{path}.{name} is not in the model"
            else:
                yield from _json(members[name][1], inner, f"{path}.{name}")
        for name, (member, _) in members.items():
            if member in shape.required_members and value.get(name) is None:
                yield f"{path}.{name} is missing"
    elif kind == "list":
        if not isinstance(value, list):
            yield f"{path} is no list"
            return
        for place, inner in enumerate(value):
            yield from _json(shape.member, inner, f"{path}[{place}]")
    elif kind == "map":
        if not isinstance(value, dict):
            yield f"{path} is no map"
            return
        for key, inner in value.items():
            yield from _json(shape.value, inner, f"{path}[{key!r}]")
    else:
        yield from _scalar(shape, value, path)


TYPES = {
    "string": str, "blob": str, "boolean": bool, "integer": int, "long": int, "double": (int, float),
    "float": (int, float), "timestamp": (int, float, str),
}


def _scalar(shape, value, path):
    expected = TYPES[shape.type_name]
    if not isinstance(value, expected) or (isinstance(value, bool) and shape.type_name != "boolean"):
        yield f"{path}: {value!r} is no {shape.type_name}"
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{path}: {value!r} is none of {shape.enum}"


def _tag(element):
    return element.tag.rsplit("}", 1)[-1]


def _xml(shape, element, path):
    if shape.type_name == "structure":
        members = {wire_name(name, member): (name, member) for name, member in shape.members.items()}
        there = set()
        for child in element:
            there.add(_tag(child))
            if _tag(child) not in members:
                yield f"{path}.{_tag(child)} is not in the model"
            else:
                yield from _xml(members[_tag(child)][1], child, f"{path}.{_tag(child)}")
        for name, (member, _) in members.items():
            if member in shape.required_members and name not in there:
                yield f"{path}.{name} is missing"
    elif shape.type_name == "list":
        for child in element:
            if _tag(child) != shape.member.serialization.get("name", "member"):
                yield f"{path} has a {_tag(child)}"
            yield from _xml(shape.member, child, f"{path}[]")
    elif shape.type_name == "map":
        for entry in element:
            if [_tag(part) for part in entry] != ["key", "value"]:
                yield f"{path} has no key and value"
    elif len(element):
        yield f"{path} is no {shape.type_name}"
