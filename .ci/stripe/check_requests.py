#!/usr/bin/env python3
"""Checks recorded Stripe requests against the parameter types of the installed `stripe` package.

    check_requests.py REQUESTS.jsonl   a request a line: {"method", "path", "headers": {}, "form": [[name, value], ...]}
    check_requests.py --self-test      plants violations and expects every one of them to be found

The SDK's service methods name the path of every call and the TypedDict of its parameters. Both are read out of the
SDK's source, so a new SDK version needs no change here. The types are applied as Stripe applies them: an unknown,
missing, empty or ill-typed parameter is a violation; of an enum that the SDK leaves open (`Literal[...] | str`) only
the listed values pass. A path that the SDK does not know, another Stripe-Version than the SDK's and a POST without an
Idempotency-Key are violations too.

Exit status: 0 no violation, 1 at least one, 2 input that cannot be read (no request at all included).
"""

import ast
import importlib
import inspect
import json
import re
import sys
import types
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, Dict, List, Literal, Union, get_args, get_origin
from urllib.parse import parse_qsl

import stripe
from stripe._request_options import RequestOptions
from typing_extensions import get_type_hints, is_typeddict

VERSION = stripe.api_version
NUMBER = r"-?\d+(\.\d+)?"
SCALARS = {int: r"-?\d+", float: NUMBER, Decimal: NUMBER, bool: r"true|false", str: r"(?s).+"}


# --- What the SDK knows: the calls and the types of their parameters -------------------------------------------------


class Call:
    """One call of the API, for instance POST /v1/payment_intents/{intent}/confirm."""

    def __init__(self, method: str, template: str, module: str | None, name: str | None):
        self.method, self.template, self.module, self.name = method, template, module, name
        parts = re.split(r"\{\w+\}", template)
        self.pattern = re.compile("[^/?]+".join(map(re.escape, parts)))
        self.literal_chars = sum(map(len, parts))

    def params(self) -> type | None:
        """The TypedDict of the call's parameters; None when it has none."""
        return self.name and getattr(importlib.import_module(self.module), self.name)

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


def sdk_calls() -> list[Call]:
    """Every v1 call, the one with the most literal path first (`/search` before `/{intent}`)."""
    files = Path(stripe.__file__).parent.rglob("*_service.py")
    calls = [call for file in files if "v2" not in file.parts for call in calls_of(ast.parse(file.read_text("utf-8")))]
    return sorted(calls, key=lambda call: -call.literal_chars)


def calls_of(service: ast.Module):
    """The calls of one service: `def name(self, ..., params: "XParams")` around `self._request("post", path, ...)`."""
    imports = {
        alias.name: node.module
        for node in ast.walk(service)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for function in (node for node in ast.walk(service) if isinstance(node, ast.FunctionDef)):
        annotations = [arg.annotation for arg in function.args.args if arg.arg == "params" and arg.annotation]
        found = re.search(r"\w+Params", ast.unparse(annotations[0])) if annotations else None
        name = found and found.group()
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("_request", "_request_stream"):
                method, path = node.args[0].value, node.args[1]
                # Either "/v1/refunds" or "/v1/refunds/{refund}".format(refund=...).
                template = path.value if isinstance(path, ast.Constant) else path.func.value.value
                yield Call(method.upper(), template, imports.get(name), name)


def fields(typed_dict: type) -> dict[str, Any]:
    """Name → type of a TypedDict, without the options that the SDK takes beside the parameters."""
    own = {k: v for k, v in typed_dict.__annotations__.items() if k not in RequestOptions.__annotations__}
    holder = types.SimpleNamespace(__annotations__=own)
    return get_type_hints(holder, vars(sys.modules[typed_dict.__module__]))


# --- The form: a[b]=1&c[]=2 as a tree of dicts and strings -----------------------------------------------------------


def tree_of(form: list[list[str]]) -> tuple[dict, list[str]]:
    """The form's tree, and what is wrong with its names. An array is a dict whose keys are its indices."""
    tree: dict = {}
    wrong = []
    for name, value in form:
        if not re.fullmatch(r"[^\[\]]+(\[[^\[\]]*\])*", name):
            wrong.append(f"{name}: not a parameter's name")
            continue
        *parents, leaf = re.split(r"\]?\[", name.removesuffix("]"))
        node = tree
        for key in parents:
            node = node.setdefault(key or str(len(node)), {})
            if isinstance(node, str):
                break
        leaf = leaf or (str(len(node)) if isinstance(node, dict) else "")
        if isinstance(node, str) or leaf in node:
            wrong.append(f"{name}: given twice")
        else:
            node[leaf] = value
    return tree, wrong


# --- The check -------------------------------------------------------------------------------------------------------


def check(value: Any, kind: Any, name: str) -> list[str]:
    """What is wrong with a value of the parameter `name`, whose type is `kind`."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return check_union(value, list(args), name)
    if origin is Literal:
        return [] if value in args else [f"{name}: {value!r} is not one of {', '.join(map(repr, args))}"]
    if origin in (list, List):
        if not isinstance(value, dict) or any(not key.isdigit() for key in value):
            return [f"{name}: not an array; write {name}[]"]
        return [wrong for item in value.values() for wrong in check(item, args[0], f"{name}[]")]
    if origin in (dict, Dict):
        if not isinstance(value, dict):
            return [f"{name}: not a map; write {name}[key]"]
        return [wrong for key, item in value.items() for wrong in check(item, args[1], f"{name}[{key}]")]
    if is_typeddict(kind):
        return check_fields(value, kind, name)
    if kind not in SCALARS:
        return [f"{name}: the SDK's type {kind} is not understood"]
    if not isinstance(value, str):
        return [f"{name}: not a single value"]
    return [] if re.fullmatch(SCALARS[kind], value) else [f"{name}: {value!r} is no {kind.__name__}"]


def check_union(value: Any, kinds: list, name: str) -> list[str]:
    """A value may be of any of the types, except the `str` that leaves an enum open and the SDK's own objects."""
    if any(get_origin(kind) is Literal and any(get_args(kind)) for kind in kinds):
        kinds = [kind for kind in kinds if kind is not str]
    kinds = [kind for kind in kinds if not is_sdk_object(get_origin(kind) or kind)]
    attempts = [check(value, kind, name) for kind in kinds]
    # Of several refusals, the one of the last type: the first is the `Literal['']` that unsets a value.
    return [] if [] in attempts else attempts[-1]


def is_sdk_object(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, stripe.StripeObject)


def check_fields(value: Any, kind: type, name: str = "") -> list[str]:
    """A hash, or the whole form: its unknown, missing and ill-typed members."""
    if not isinstance(value, dict):
        return [f"{name}: not a hash; write {name}[key]"]
    full = (lambda key: f"{name}[{key}]") if name else (lambda key: key)
    known = fields(kind)
    wrong = [f"{full(key)}: unknown parameter" for key in value if key not in known]
    wrong += [
        f"{full(key)}: required, but missing" for key in known if key in kind.__required_keys__ and key not in value
    ]
    return wrong + [found for key in value if key in known for found in check(value[key], known[key], full(key))]


def check_headers(method: str, headers: dict[str, str]) -> list[str]:
    headers = {name.lower(): value for name, value in headers.items()}
    version, key = headers.get("stripe-version"), headers.get("idempotency-key", "")
    wrong = [] if version == VERSION else [f"Stripe-Version: {version}, but the SDK's is {VERSION}"]
    if method == "POST" and not 0 < len(key) <= 255:
        wrong.append("Idempotency-Key: missing, or longer than 255 characters")
    return wrong


def check_request(request: dict, calls: list[Call]) -> tuple[str, list[str]]:
    """The call that a request makes, and its violations."""
    path, _, query = request["path"].partition("?")
    form = parse_qsl(query, keep_blank_values=True) + [tuple(pair) for pair in request["form"]]
    method = request["method"].upper()
    call = next((call for call in calls if call.method == method and call.pattern.fullmatch(path)), None)
    wrong = check_headers(method, request["headers"])
    if call is None:
        return f"{method} {path}", wrong + ["the SDK knows no such call"]
    tree, misnamed = tree_of(form)
    kind = call.params()
    return str(call), wrong + misnamed + (
        check_fields(tree, kind) if kind else [f"{key}: unknown parameter" for key in tree]
    )


# --- Command line ----------------------------------------------------------------------------------------------------


def read(file: str) -> list[dict]:
    """The recorded requests.

    Raises ValueError where a line is not a request, or when there is none.
    """
    requests = []
    for number, line in enumerate(Path(file).read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            request = json.loads(line)
            pairs = [tuple(pair) for pair in request["form"]] + [*request["headers"].items()]
            texts = [request["method"], request["path"], *(text for name, value in pairs for text in (name, value))]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file}:{number}: not a recorded request: {error!r}") from None
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{file}:{number}: not a recorded request: something in it is not a string")
        requests.append(request)
    if not requests:
        raise ValueError(f"{file}: no request in it")
    return requests


def run(file: str) -> int:
    try:
        requests = read(file)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    calls, counts, violations = sdk_calls(), Counter(), 0
    for number, request in enumerate(requests, 1):
        call, wrong = check_request(request, calls)
        counts[call] += 1
        violations += len(wrong)
        for text in wrong:
            print(f"request {number}, {call}: {text}")
    for call, count in sorted(counts.items()):
        print(f"{count:6}  {call}")
    print(f"stripe {stripe.VERSION}, {VERSION}: {len(requests)} requests, {violations} violations")
    return 1 if violations else 0


def self_test() -> int:
    calls = sdk_calls()
    create, intent = "/v1/payment_intents", "/v1/payment_intents/pi_1"
    # Renamed by Stripe in 2026-09-30.endive.
    known = fields(next(call for call in calls if call.template == create and call.method == "POST").params())
    kinds = "payment_method_types" if "payment_method_types" in known else "allowed_payment_method_types"
    good = {"amount": "1999", "currency": "eur", f"{kinds}[]": "card", "metadata[order_id]": "o-1", "customer": "cus_1"}
    headers = {"stripe-version": VERSION, "idempotency-key": "k"}

    # What is planted, and what must be said of it; None: nothing.
    plan = [
        ("POST", create, good, headers, None),
        ("POST", intent + "/confirm", {"error_on_requires_action": "true", "off_session": "one_off"}, headers, None),
        ("POST", intent + "/cancel", {"cancellation_reason": "abandoned"}, headers, None),
        ("POST", intent + "/cancel", {}, headers, None),
        ("GET", intent + "?expand[]=latest_charge", {}, headers, None),
        ("POST", "/v1/refunds", {"payment_intent": "pi_1", "amount": "5", "metadata": ""}, headers, None),
        ("GET", "/v1/refunds/re_1", {}, headers, None),
        ("GET", "/v1/payment_intents/search?query=x", {}, headers, None),
        ("POST", "/v1/customers", {"email": "a@example.com", "address[city]": "Bonn"}, headers, None),
        ("POST", "/v1/payment_methods/pm_1/attach", {"customer": "cus_1"}, headers, None),
        ("POST", create, good | {"colour": "red"}, headers, "colour: unknown parameter"),
        ("POST", create, good | {"idempotency_key": "k"}, headers, "idempotency_key: unknown parameter"),
        ("POST", create, {"currency": "eur"}, headers, "amount: required, but missing"),
        ("POST", create, good | {"amount": "19.99"}, headers, "amount: '19.99' is no int"),
        ("POST", create, good | {"amount[]": "1"}, headers, "amount[]: given twice"),
        ("POST", create, good | {"confirm": "yes"}, headers, "confirm: 'yes' is no bool"),
        ("POST", create, good | {"customer": ""}, headers, "customer: '' is no str"),
        ("POST", create, good | {"capture_method": "later"}, headers, "capture_method: 'later' is not one of"),
        ("POST", "/v1/refunds", {"metadata": "o-1"}, headers, "metadata: not a map"),
        ("POST", create, good | {"metadata[a][b]": "1"}, headers, "metadata[a]: not a single value"),
        ("POST", create, good | {"expand": "latest_charge"}, headers, "expand: not an array"),
        ("POST", create, good | {"shipping[nmae]": "Ann"}, headers, "shipping[nmae]: unknown parameter"),
        ("POST", create, good | {"shipping[phone]": "1"}, headers, "shipping[name]: required, but missing"),
        ("POST", create, good | {"met]a[": "1"}, headers, "met]a[: not a parameter's name"),
        ("POST", intent + "/confirm", {"customer": "cus_1"}, headers, "customer: unknown parameter"),
        ("POST", intent + "/cancel", {"cancellation_reason": "void"}, headers, "cancellation_reason: 'void' is not"),
        ("GET", intent + "?include=charge", {}, headers, "include: unknown parameter"),
        ("POST", "/v1/payment_intent", good, headers, "the SDK knows no such call"),
        ("PUT", create, good, headers, "the SDK knows no such call"),
        ("POST", create, good, {"idempotency-key": "k"}, "Stripe-Version: None"),
        ("POST", create, good, headers | {"stripe-version": "2019-01-01"}, "Stripe-Version: 2019-01-01"),
        ("POST", create, good, {"Stripe-Version": VERSION}, "Idempotency-Key: missing"),
    ]
    failures = 0
    for method, path, form, sent, expected in plan:
        request = {"method": method, "path": path, "headers": sent, "form": [list(pair) for pair in form.items()]}
        _, wrong = check_request(request, calls)
        if (wrong != []) if expected is None else not any(text.startswith(expected) for text in wrong):
            failures += 1
            print(f"{method} {path} {form}: expected {expected!r}, found {wrong}")
    print(f"stripe {stripe.VERSION}, {VERSION}, {len(calls)} calls: {len(plan) - failures} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(self_test() if sys.argv[1] == "--self-test" else run(sys.argv[1]))
