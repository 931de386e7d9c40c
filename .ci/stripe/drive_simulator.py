#!/usr/bin/env python3
"""Drives a server that claims to speak Stripe's API with Stripe's own SDK as the client.

    drive_simulator.py http://127.0.0.1:9100

Every step is a call of the SDK and what the SDK must make of the answer: the class of the object or of the exception,
and some of its attributes (`error.payment_intent.status`; a type or a function instead of a value asks only for that).
The first difference ends the run with status 1. The server needs two endpoints of its own: `POST /clock` with
{"advance_seconds": N}, and `GET /requests`, which lists the requests it was sent in the form of `check_requests.py`.
"""

import json
import sys
import uuid
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import stripe
from stripe import APIError, AuthenticationError, CardError, IdempotencyError, InvalidRequestError
from stripe.params import PaymentIntentCreateParams

# Stripe's own test methods: https://docs.stripe.com/testing
VISA, DECLINED, NO_FUNDS = "pm_card_visa", "pm_card_visa_chargeDeclined", "pm_card_visa_chargeDeclinedInsufficientFunds"
CHALLENGED, REFUND_FAILS = "pm_card_authenticationRequired", "pm_card_refundFail"
# The simulator's: Stripe has none whose refund is pending first and failed then, and none that answers 500.
REFUND_PENDING_FAILS, ERROR = "pm_sim_refund_pending_then_failed", "pm_sim_error"

DAY, WEEK = 24 * 3600, 7 * 24 * 3600
# Stripe renamed the parameter in 2026-09-30.endive.
CARD_ONLY = next(
    {name: ["card"]}
    for name in ("payment_method_types", "allowed_payment_method_types")
    if name in PaymentIntentCreateParams.__annotations__
)
INTENT, INVALID = stripe.PaymentIntent, InvalidRequestError


def main(base: str) -> int:
    keyless = {"max_network_retries": 0, "base_addresses": {"api": base}}
    sdk = stripe.StripeClient("sk_test_quadrille", **keyless).v1
    thief = stripe.StripeClient("not_a_key", **keyless).v1
    intents, refunds, customers, methods = sdk.payment_intents, sdk.refunds, sdk.customers, sdk.payment_methods
    it = SimpleNamespace()  # what the steps before have made, by its name
    sent = 0

    def step(what: str, call, kind: type, keep: str = "", /, **expected) -> None:
        nonlocal sent
        sent += 1
        try:
            outcome = call()
        except stripe.StripeError as error:
            outcome = error
        differences = list(compare(outcome, kind, expected))
        if differences:
            print(f"step {sent}, {what}:", *differences, "", repr(outcome), sep="\n  ", file=sys.stderr)
            sys.exit(1)
        if keep:
            setattr(it, keep, outcome)

    def refused(what: str, call, code: str | None, /, kind: type = INVALID, status: int = 400, **expected) -> None:
        step(what, call, kind, http_status=status, error__code=code, error__message=str, **expected)

    def create(method: str | None, key: str = "", /, **more):
        """Creates an unconfirmed intent; more parameters may replace the usual ones or, as None, remove them."""
        usual = {"amount": 1999, "currency": "eur", "payment_method": method, "metadata": {"order_id": "o-1"}}
        parameters = {name: value for name, value in (usual | CARD_ONLY | more).items() if value is not None}
        return intents.create(parameters, options(key))

    def confirm(key: str = "", /, **more):
        return intents.confirm(it.intent.id, {"error_on_requires_action": True} | more, options(key))

    def cancel(**more):
        return intents.cancel(it.intent.id, more)

    def expanded():
        return intents.retrieve(it.intent.id, {"expand": ["latest_charge"]})

    def prepare(method: str) -> None:
        step(f"create with {method}", lambda: create(method), INTENT, "intent", status="requires_confirmation")

    def advance(seconds: int) -> None:
        body = json.dumps({"advance_seconds": seconds}).encode()
        urlopen(Request(f"{base}/clock", body, {"Content-Type": "application/json"}), timeout=10).close()

    # Customers and their methods.
    step("create customer", lambda: customers.create({"email": "a@example.com", "metadata": {"id": "u-1"}}),
         stripe.Customer,
         "ann", id=prefix("cus_"), email="a@example.com", metadata__id="u-1", last_response__request_id=prefix("req_"))
    step("create another", lambda: customers.create({}), stripe.Customer, "bob", id=lambda id: id != it.ann.id)
    step("retrieve customer", lambda: customers.retrieve(it.ann.id), stripe.Customer, id=it.ann.id)
    refused("no such customer", lambda: customers.retrieve("cus_none"), "resource_missing", status=404)
    step("attach", lambda: methods.attach(VISA, {"customer": it.ann.id}), stripe.PaymentMethod, "card",
         id=lambda id: id.startswith("pm_") and id != VISA, customer=it.ann.id, type="card", card__last4="4242")
    step("attach the token again", lambda: methods.attach(VISA, {"customer": it.ann.id}), stripe.PaymentMethod,
         id=lambda id: id not in (VISA, it.card.id))
    step("attach the same again", lambda: methods.attach(it.card.id, {"customer": it.ann.id}), stripe.PaymentMethod,
         id=it.card.id)
    step("retrieve method", lambda: methods.retrieve(it.card.id), stripe.PaymentMethod, customer=it.ann.id)
    refused("attach to another customer", lambda: methods.attach(it.card.id, {"customer": it.bob.id}), None)
    refused("attach without a customer", lambda: methods.attach(it.card.id), "parameter_missing")
    refused("attach to an unknown customer", lambda: methods.attach(VISA, {"customer": "cus_none"}),
            "resource_missing", param="customer")
    refused("attach a card that is declined", lambda: methods.attach(DECLINED, {"customer": it.ann.id}),
            "card_declined", CardError, 402, error__decline_code="generic_decline")
    refused("no such method", lambda: methods.retrieve("pm_none"), "resource_missing", status=404,
            param="payment_method")

    # An intent with a saved method, from its creation to its capture.
    step("create", lambda: create(it.card.id, customer=it.ann.id), INTENT, "intent", id=prefix("pi_"),
         status="requires_confirmation",
         amount=1999, amount_received=0, currency="eur", customer=it.ann.id, payment_method=it.card.id,
         latest_charge=None, last_payment_error=None, metadata__order_id="o-1", payment_method_types=["card"])
    step("create without a method", lambda: create(None), INTENT, status="requires_payment_method", payment_method=None)
    refused("another customer's method", lambda: create(it.card.id, customer=it.bob.id), None, param="payment_method")
    refused("its customer left out", lambda: create(it.card.id), "parameter_missing")
    refused("unknown method", lambda: create("pm_none"), "resource_missing", param="payment_method")
    refused("unknown customer", lambda: create(VISA, customer="cus_none"), "resource_missing", param="customer")
    refused("unknown parameter", lambda: create(VISA, colour="red"), "parameter_unknown", param="colour")
    refused("missing parameter", lambda: create(VISA, amount=None), "parameter_missing", param="amount")
    refused("not an integer", lambda: create(VISA, amount="19.99"), "parameter_invalid_integer", param="amount")
    refused("amount too small", lambda: create(VISA, amount=1), "amount_too_small", param="amount")
    step("confirm", confirm, INTENT, id=it.intent.id, status="succeeded", amount_received=1999,
         latest_charge=prefix("ch_"))
    refused("confirm a captured one", confirm, "payment_intent_unexpected_state",
            error__payment_intent__status="succeeded")
    refused("cancel a captured one", cancel, "payment_intent_unexpected_state",
            error__payment_intent__status="succeeded")
    step("retrieve", lambda: intents.retrieve(it.intent.id), INTENT, status="succeeded", latest_charge=prefix("ch_"))
    step("retrieve, expanded", expanded, INTENT, "paid", latest_charge=lambda charge: isinstance(charge, stripe.Charge),
         latest_charge__amount=1999, latest_charge__amount_refunded=0, latest_charge__refunded=False,
         latest_charge__captured=True)
    refused("no such intent", lambda: intents.retrieve("pi_none"), "resource_missing", status=404, param="intent")

    # Its refunds.
    step("refund a part",
         lambda: refunds.create({"charge": it.paid.latest_charge.id, "amount": 999, "metadata": {"n": "1"}}),
         stripe.Refund, "refund", id=prefix("re_"), amount=999, currency="eur", status="succeeded",
         payment_intent=it.intent.id, charge=it.paid.latest_charge.id, metadata__n="1")
    refused("refund over the rest", lambda: refunds.create({"payment_intent": it.intent.id, "amount": 1001}), None,
            param="amount")
    step("refund the rest", lambda: refunds.create({"payment_intent": it.intent.id}), stripe.Refund, amount=1000,
         status="succeeded")
    refused("refund once more", lambda: refunds.create({"payment_intent": it.intent.id}), "charge_already_refunded")
    refused("refund nothing", lambda: refunds.create({"amount": 5}), None)
    refused("refund an unknown charge", lambda: refunds.create({"charge": "ch_none"}), "resource_missing", status=404)
    step("retrieve refund", lambda: refunds.retrieve(it.refund.id), stripe.Refund, id=it.refund.id, status="succeeded",
         amount=999)
    refused("no such refund", lambda: refunds.retrieve("re_none"), "resource_missing", status=404)
    step("retrieve, refunded", expanded, INTENT, latest_charge__amount_refunded=1999, latest_charge__refunded=True)

    # Refunds that fail later.
    for method, first in (REFUND_FAILS, "succeeded"), (REFUND_PENDING_FAILS, "pending"):
        prepare(method)
        step("confirm", confirm, INTENT, status="succeeded")
        step("refund", lambda: refunds.create({"payment_intent": it.intent.id}), stripe.Refund, "refund", status=first)
        advance(WEEK)
        step("retrieve failed refund", lambda: refunds.retrieve(it.refund.id), stripe.Refund, status="failed",
             failure_reason=str)
        step("retrieve, not refunded", expanded, INTENT, latest_charge__amount_refunded=0,
             latest_charge__refunded=False)

    # Declines.
    for method, decline in (DECLINED, "generic_decline"), (NO_FUNDS, "insufficient_funds"):
        prepare(method)
        for what, replayed in ("declined", None), ("the decline again", "true"):
            refused(what, lambda method=method: confirm(f"{RUN}:{method}"), "card_declined", CardError, 402,
                    error__decline_code=decline, error__type="card_error", **{"headers__idempotent-replayed": replayed},
                    error__payment_intent__status="requires_payment_method", error__payment_intent__payment_method=None,
                    error__payment_intent__last_payment_error__decline_code=decline, error__charge=prefix("ch_"))
        step("retrieve declined", expanded, INTENT, status="requires_payment_method", amount_received=0,
             latest_charge__status="failed", last_payment_error__code="card_declined")
        refused("confirm without a method", confirm, "payment_intent_unexpected_state")
        step("confirm with another", lambda: confirm(payment_method=VISA), INTENT, status="succeeded",
             last_payment_error=None)

    # Authentication: no customer is there to answer the challenge.
    prepare(CHALLENGED)
    refused("refused challenge", confirm, "authentication_required", CardError, 402,
            error__decline_code="authentication_not_handled", error__payment_intent__status="requires_payment_method")
    prepare(CHALLENGED)
    refused("off session", lambda: intents.confirm(it.intent.id, {"off_session": True}), "authentication_required",
            CardError, 402)
    prepare(CHALLENGED)
    step("challenge", lambda: intents.confirm(it.intent.id), INTENT, status="requires_action", next_action__type=str,
         amount_received=0)
    step("cancel a challenge", cancel, INTENT, status="canceled")
    none = {name: None for name in CARD_ONLY}
    step("create without types", lambda: create(VISA, **none), INTENT, "intent",
         automatic_payment_methods__enabled=True)
    if "payment_method_types" in CARD_ONLY:
        refused("error_on_requires_action without types", lambda: confirm(return_url="https://example.com"), ANY)
        refused("neither types nor return_url", lambda: intents.confirm(it.intent.id), ANY)

    # Cancelling.
    prepare(VISA)
    step("cancel", lambda: cancel(cancellation_reason="abandoned"), INTENT, status="canceled",
         cancellation_reason="abandoned", canceled_at=int, amount_received=0)
    refused("cancel again", cancel, "payment_intent_unexpected_state", error__payment_intent__status="canceled")
    refused("confirm a cancelled one", confirm, "payment_intent_unexpected_state",
            error__payment_intent__status="canceled")
    refused("unknown reason", lambda: cancel(cancellation_reason="void"), ANY, param="cancellation_reason")
    refused("cancel an unknown one", lambda: intents.cancel("pi_none"), "resource_missing", status=404)

    # Idempotency keys.
    key = f"drive:{RUN}"
    step("create under a key", lambda: create(VISA, key), INTENT, "intent")
    step("again", lambda: create(VISA, key), INTENT, id=it.intent.id, **{REPLAYED: "true"})
    refused("other parameters", lambda: create(VISA, key, amount=2000), None, IdempotencyError,
            error__type="idempotency_error")
    step("another key", lambda: customers.create({}, options(key + ":1")), stripe.Customer)
    refused("other endpoint", lambda: intents.cancel(it.intent.id, {}, options(key + ":1")), None, IdempotencyError)
    refused("refused parameters", lambda: create(VISA, key + ":2", colour="red"), "parameter_unknown")
    step("mended parameters", lambda: create(VISA, key + ":2"), INTENT, **{REPLAYED: None})
    advance(DAY + 1)
    step("a forgotten key", lambda: create(VISA, key, amount=2000), INTENT, id=lambda id: id != it.intent.id,
         amount=2000)
    prepare(ERROR)
    for what, replayed in ("500", None), ("the saved 500", "true"):
        refused(what, lambda: confirm(key + ":3"), ANY, APIError, 500, error__type="api_error",
                **{"headers__idempotent-replayed": replayed})

    # Keys of the account.
    refused("no key of ours", lambda: thief.customers.create({}), ANY, AuthenticationError, 401,
            error__type="invalid_request_error")

    with urlopen(f"{base}/requests", timeout=10) as answer:
        recorded = [json.loads(line) for line in answer.read().splitlines() if line.strip()]
    if len(recorded) < sent or any(set(request) < {"method", "path", "headers", "form"} for request in recorded):
        print(f"GET /requests: {len(recorded)} of {sent}, or not in the form of check_requests.py", file=sys.stderr)
        return 1
    print(f"stripe {stripe.VERSION}, {stripe.api_version}: {sent} calls, all understood")
    return 0


# --- Expectations ----------------------------------------------------------------------------------------------------

RUN = uuid.uuid4().hex
REPLAYED = "last_response__headers__idempotent-replayed"


def ANY(_: Any) -> bool:
    """Stripe documents no value."""
    return True


def prefix(text: str):
    def starts(value: Any) -> bool:
        return isinstance(value, str) and value.startswith(text)

    starts.__name__ = text + "…"
    return starts


def options(key: str) -> dict:
    return {"idempotency_key": key} if key else {}


def compare(outcome: Any, kind: type, expected: dict[str, Any]):
    """What of an outcome differs from what is expected of it."""
    if type(outcome) is not kind:
        yield f"expected a {kind.__name__}, got a {type(outcome).__name__}"
        return
    for path, wanted in expected.items():
        value = outcome
        for name in path.split("__"):
            value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        if isinstance(wanted, type):
            fits = type(value) is wanted
        else:
            fits = wanted(value) if callable(wanted) else value == wanted
        if not fits:
            yield f"{path.replace('__', '.')}: {value!r}, expected {getattr(wanted, '__name__', repr(wanted))}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(sys.argv[1].rstrip("/")))
