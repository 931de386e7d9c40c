#!/usr/bin/env python3
"""Places an order of every kind that makes payments call its provider, and waits until each has ended as it has to,
with no money kept of one that came to nothing.

    TOKEN=… place_orders.py API AWS_ENDPOINT PROVIDER

The platform has to run with its first products and a scale of time: some orders end after minutes of retries. Exit status:
0 all have ended as expected, 1 at least one has not.
"""

import json
import os
import sys
import time
from typing import Any, Callable
from urllib.request import Request, urlopen

TIMEOUT_SECONDS = 90
BEANS, ANVIL = "espresso-beans", "unshippable-anvil"  # No carrier takes the second: its charge is given back.

# Product, payment method (None: the customer's own, or the stage's fallback), and how the order ends.
ORDERS = [
    (BEANS, None, "FULFILLED"),
    (BEANS, "pm_card_visa", "FULFILLED"),
    (BEANS, "pm_card_visa_chargeDeclined", "COMPENSATED"),
    (BEANS, "pm_card_visa_chargeDeclinedInsufficientFunds", "COMPENSATED"),
    (BEANS, "pm_card_authenticationRequired", "COMPENSATED"),
    (BEANS, "pm_no_such_method", "COMPENSATED"),
    (BEANS, "pm_sim_lost_answer", "FULFILLED"),
    (ANVIL, "pm_card_visa", "COMPENSATED"),
    (ANVIL, "pm_card_pendingRefund", "COMPENSATED"),
    (ANVIL, "pm_sim_refund_refused_3_times", "COMPENSATED"),
]
# Cancelled once the provider was asked to capture: it never answers, fails, or has captured.
CANCELLED = ["pm_sim_timeout", "pm_sim_error", "pm_card_visa"]


def send(method: str, url: str, body: Any = None) -> Any:
    """The answer's JSON, if it has any."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['TOKEN']}"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data, headers, method=method), timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def until(what: str, found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not found():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {TIMEOUT_SECONDS} s")
        time.sleep(0.1)


def main(api: str, endpoint: str, provider: str) -> None:
    def place(product: str, method: str | None) -> str:
        order = {"customer_id": "ada", "items": [{"product_id": product, "quantity": 1}]}
        if method:
            order["payment_method"] = method
        return send("POST", f"{api}/orders", order)["order_id"]

    def status(order: str) -> str:
        return send("GET", f"{api}/orders/{order}")["status"]

    def is_asked(order: str) -> bool:
        payments = send("GET", f"{provider}/book").values()
        return any(payment["order_id"] == order and payment["calls"] > 0 for payment in payments)

    def kept(order: str) -> int:
        payments = [payment for payment in send("GET", f"{provider}/book").values() if payment["order_id"] == order]
        return sum(payment["captured"] - payment["refunded"] for payment in payments)

    expected = {place(product, method): (method, ends) for product, method, ends in ORDERS}
    # From here on the customer has a payment method of its own: orders are charged to it, unnamed or by its id.
    saved = send("PUT", f"{api}/customers/ada/payment-method", {"payment_method": "pm_card_visa"})["payment_method"]
    expected |= {place(BEANS, method): (f"saved, named {method}", "FULFILLED") for method in (None, saved)}
    # Orders learns of a charge late enough to let the customer cancel.
    send("POST", f"{endpoint}/faults", {"fault": "delay", "queue": "local-quadrille-orders-events", "millis": 3000})
    for method in CANCELLED:
        order = place(BEANS, method)
        until(f"{method}: the charge", lambda order=order: is_asked(order))
        send("POST", f"{api}/orders/{order}/cancel")
        expected[order] = (method, "COMPENSATED")
    send("DELETE", f"{endpoint}/faults")

    for order, (method, ends) in expected.items():
        final = {"FULFILLED", "CANCELLED", "COMPENSATED", "FAILED"}
        until(f"{method}: the end", lambda order=order: status(order) in final)
        if status(order) != ends:
            sys.exit(f"{method}: {status(order)}, expected {ends}")
        if ends == "COMPENSATED" and kept(order):
            sys.exit(f"{method}: {kept(order)} cents kept")
    print(f"{len(expected)} orders, all ended as expected")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
