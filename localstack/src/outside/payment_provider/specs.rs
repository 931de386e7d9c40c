//! What the simulator refuses, as Stripe does: status, type, code and parameter.

use super::account::{Account, Call, Fate, KEPT_SECONDS, Reply};
use serde_json::{Value, json};

/// A test's account, whose calls have fresh keys where they name none.
#[derive(Default)]
struct Desk {
    account: Account,
    now: i64,
    keys: u32,
}

/// A valid intent's parameters.
const BEANS: &str = "amount=1999&currency=usd&payment_method_types[]=card";

impl Desk {
    fn send(&mut self, method: &str, path: &str, key: Option<&str>, form: &str, fate: Fate) -> Reply {
        self.keys += 1;
        let fresh = format!("key {}", self.keys);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let call = Call { method, path, query, idempotency_key: Some(key.unwrap_or(&fresh)), form };
        self.account.answer(&call, self.now, fate)
    }

    fn post(&mut self, path: &str, form: &str) -> Reply {
        self.send("POST", path, None, form, Fate::Answered)
    }

    fn under(&mut self, key: &str, path: &str, form: &str) -> Reply {
        self.send("POST", path, Some(key), form, Fate::Answered)
    }

    fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, None, "", Fate::Answered)
    }

    /// Makes an object; gives its id.
    fn made(&mut self, path: &str, form: &str) -> String {
        let reply = self.post(path, form);
        assert_eq!(reply.status, 200, "{path} {form}: {}", reply.body);
        reply.body["id"].as_str().unwrap().to_owned()
    }

    fn intent(&mut self, method: &str) -> String {
        self.made("/v1/payment_intents", &format!("{BEANS}&payment_method={method}"))
    }

    /// An intent that has captured.
    fn paid(&mut self, method: &str) -> String {
        let id = self.intent(method);
        self.made(&confirm(&id), "");
        id
    }

    fn customer(&mut self) -> String {
        self.made("/v1/customers", "")
    }

    /// A method that belongs to a customer.
    fn saved(&mut self, customer: &str) -> String {
        self.made("/v1/payment_methods/pm_card_visa/attach", &format!("customer={customer}"))
    }

    fn shown(&mut self, intent: &str) -> Value {
        self.get(&format!("/v1/payment_intents/{intent}")).body
    }
}

fn confirm(intent: &str) -> String {
    format!("/v1/payment_intents/{intent}/confirm")
}

fn cancel(intent: &str) -> String {
    format!("/v1/payment_intents/{intent}/cancel")
}

/// Status, type, code and parameter of a refusal.
fn refusal(reply: &Reply) -> (u16, &str, &str, &str) {
    let text = |name: &str| reply.body["error"][name].as_str().unwrap_or("");
    (reply.status, text("type"), text("code"), text("param"))
}

#[track_caller]
fn refused(reply: &Reply, status: u16, code: &str, parameter: &str) {
    let kind = match status {
        402 => "card_error",
        _ => "invalid_request_error",
    };
    assert_eq!(refusal(reply), (status, kind, code, parameter), "{}", reply.body);
}

/// Guards: parameters. A call with one that is unknown, missing, empty or of another type does nothing.
#[test]
fn parameters_are_those_that_stripe_knows() {
    let mut desk = Desk::default();
    let id = desk.intent("pm_card_visa");
    let refund = format!("payment_intent={id}&reason=x");
    let create = "/v1/payment_intents";
    for (path, form, code, parameter) in [
        (create, &format!("{BEANS}&colour=red"), "parameter_unknown", "colour"),
        (&confirm(&id), &"customer=cus_1".into(), "parameter_unknown", "customer"),
        (&confirm(&id), &"metadata[order_id]=o".into(), "parameter_unknown", "metadata[order_id]"),
        (create, &"currency=usd".into(), "parameter_missing", "amount"),
        (create, &"amount=500".into(), "parameter_missing", "currency"),
        (create, &format!("{BEANS}&customer="), "parameter_invalid_empty", "customer"),
        (create, &"amount=19.99&currency=usd".into(), "parameter_invalid_integer", "amount"),
        (create, &"amount=0&currency=usd".into(), "parameter_invalid_integer", "amount"),
        (create, &"amount=49&currency=usd".into(), "amount_too_small", "amount"),
        (create, &"amount=100000000&currency=usd".into(), "amount_too_large", "amount"),
        (create, &"amount=500&currency=xyz".into(), "", "currency"),
        (create, &format!("{BEANS}&confirm=yes"), "", "confirm"),
        (create, &format!("{BEANS}&payment_method=pm_none"), "resource_missing", "payment_method"),
        (create, &format!("{BEANS}&customer=cus_none"), "resource_missing", "customer"),
        (&cancel(&id), &"cancellation_reason=void".into(), "", "cancellation_reason"),
        ("/v1/refunds", &refund, "", "reason"),
        ("/v1/payment_methods/pm_card_visa/attach", &String::new(), "parameter_missing", ""),
    ] {
        refused(&desk.post(path, form), 400, code, parameter);
    }
    assert_eq!(desk.shown(&id)["status"], "requires_confirmation");
    assert_eq!(desk.account.intents.len(), 1);
}

/// Guards: parameters that contradict each other, or the intent.
#[test]
fn contradictory_parameters() {
    let mut desk = Desk::default();
    for (more, parameter) in [
        ("error_on_requires_action=true", "error_on_requires_action"),
        ("off_session=true", "off_session"),
        ("return_url=https://shop.example", "return_url"),
        ("automatic_payment_methods[enabled]=true", "payment_method_types"),
    ] {
        refused(&desk.post("/v1/payment_intents", &format!("{BEANS}&{more}")), 400, "", parameter);
    }
    let form = "amount=1999&currency=usd&payment_method=pm_card_visa";
    let id = desk.made("/v1/payment_intents", form);
    let no_action = "error_on_requires_action=true";
    refused(&desk.post(&confirm(&id), no_action), 400, "", "error_on_requires_action");
    refused(&desk.post(&confirm(&id), ""), 400, "", "");
    assert_eq!(desk.shown(&id)["amount_received"], 0);
    desk.made(&confirm(&id), "off_session=true");
}

/// Guards: a method is charged only with the customer that it belongs to.
#[test]
fn a_foreign_customers_method() {
    let mut desk = Desk::default();
    let (ann, bob) = (desk.customer(), desk.customer());
    let card = desk.saved(&ann);
    let foreign = format!("{BEANS}&payment_method={card}&customer={bob}");
    refused(&desk.post("/v1/payment_intents", &foreign), 400, "", "payment_method");
    let without = format!("{BEANS}&payment_method={card}");
    refused(&desk.post("/v1/payment_intents", &without), 400, "parameter_missing", "source");
    let of_bob = desk.made("/v1/payment_intents", &format!("{BEANS}&customer={bob}"));
    let reply = desk.post(&confirm(&of_bob), &format!("payment_method={card}"));
    refused(&reply, 400, "", "payment_method");
    assert_eq!(reply.body["error"]["payment_intent"]["payment_method"], Value::Null);
    let attach = format!("/v1/payment_methods/{card}/attach");
    refused(&desk.post(&attach, &format!("customer={bob}")), 400, "", "");
    let own = format!("{BEANS}&payment_method={card}&customer={ann}");
    let own = desk.made("/v1/payment_intents", &own);
    assert_eq!(desk.post(&confirm(&own), "").body["status"], "succeeded");
}

/// Guards: a cancelled intent captures nothing, under whatever key and with whatever method.
#[test]
fn a_cancelled_intent_is_never_confirmed() {
    let mut desk = Desk { now: 77, ..Desk::default() };
    let id = desk.intent("pm_card_visa");
    let cancelled = desk.post(&cancel(&id), "cancellation_reason=abandoned").body;
    assert_eq!((&cancelled["status"], &cancelled["canceled_at"]), (&json!("canceled"), &json!(77)));
    for (path, form) in
        [(confirm(&id), ""), (confirm(&id), "payment_method=pm_card_mastercard"), (cancel(&id), "")]
    {
        let reply = desk.post(&path, form);
        refused(&reply, 400, "payment_intent_unexpected_state", "");
        assert_eq!(reply.body["error"]["payment_intent"]["status"], "canceled");
    }
    let paid = desk.paid("pm_card_visa");
    for path in [cancel(&paid), confirm(&paid)] {
        let reply = desk.post(&path, "");
        refused(&reply, 400, "payment_intent_unexpected_state", "");
        assert_eq!(reply.body["error"]["payment_intent"]["status"], "succeeded");
    }
}

/// Guards: never more goes back than was captured.
#[test]
fn a_refund_over_the_rest() {
    let mut desk = Desk::default();
    let id = desk.paid("pm_card_visa");
    let mut refund = |amount: &str| desk.post("/v1/refunds", &format!("payment_intent={id}{amount}"));
    refused(&refund("&amount=2000"), 400, "", "amount");
    refused(&refund("&amount=0"), 400, "parameter_invalid_integer", "amount");
    assert_eq!(refund("&amount=999").body["amount"], 999);
    let over = refund("&amount=1001");
    refused(&over, 400, "", "amount");
    let message = "Refund amount ($10.01) is greater than unrefunded amount on charge ($10.00)";
    assert_eq!(over.body["error"]["message"], message);
    assert_eq!(refund("").body["amount"], 1000);
    refused(&refund(""), 400, "charge_already_refunded", "");
    refused(&desk.post("/v1/refunds", "amount=5"), 400, "", "");
    refused(&desk.post("/v1/refunds", "charge=ch_none"), 404, "resource_missing", "id");
    let open = desk.intent("pm_card_visa");
    refused(&desk.post("/v1/refunds", &format!("payment_intent={open}")), 400, "", "");
}

/// Guards: a refund that has failed is not given back: the charge can be refunded again.
#[test]
fn a_refund_that_fails_later() {
    let mut desk = Desk::default();
    for (method, first) in
        [("pm_card_refundFail", "succeeded"), ("pm_sim_refund_pending_then_failed", "pending")]
    {
        let id = desk.paid(method);
        let made = desk.post("/v1/refunds", &format!("payment_intent={id}")).body;
        assert_eq!(made["status"], first);
        desk.now += KEPT_SECONDS;
        let expanded = desk.get(&format!("/v1/payment_intents/{id}?expand[]=latest_charge")).body;
        assert_eq!(expanded["latest_charge"]["amount_refunded"], 0);
        let now = desk.get(&format!("/v1/refunds/{}", made["id"].as_str().unwrap())).body;
        assert_eq!(
            (&now["status"], &now["failure_reason"]),
            (&json!("failed"), &json!("expired_or_canceled_card"))
        );
        assert_eq!(desk.made("/v1/refunds", &format!("payment_intent={id}")).split('_').next(), Some("re"));
    }
}

/// Guards: one key, one request. Its answer is given again, and to no other request.
#[test]
fn a_key_is_used_again_with_other_parameters() {
    let mut desk = Desk::default();
    let create = "/v1/payment_intents";
    let first = desk.under("k", create, BEANS);
    let again = desk.under("k", create, BEANS);
    assert_eq!((&again.body, first.is_replayed, again.is_replayed), (&first.body, false, true));
    for (path, form) in [(create, "amount=2000&currency=usd"), ("/v1/customers", BEANS)] {
        let other = desk.under("k", path, form);
        assert_eq!(refusal(&other), (400, "idempotency_error", "", ""), "{path}");
    }
    let long = "k".repeat(256);
    refused(&desk.under(&long, create, BEANS), 400, "", "");
    // What was refused before anything began is not kept.
    refused(&desk.under("l", create, "colour=red"), 400, "parameter_missing", "amount");
    assert_eq!(desk.under("l", create, BEANS).status, 200);
}

/// Guards: a key is forgotten after a day, and what it kept from being made twice is made twice.
#[test]
fn a_key_is_forgotten_after_a_day() {
    let mut desk = Desk::default();
    let refund = |desk: &mut Desk, id: &str| {
        desk.under("k", "/v1/refunds", &format!("payment_intent={id}&amount=500")).body["id"].clone()
    };
    let id = desk.paid("pm_card_visa");
    let first = refund(&mut desk, &id);
    desk.now += KEPT_SECONDS - 1;
    assert_eq!(refund(&mut desk, &id), first);
    desk.now += 1;
    assert_ne!(refund(&mut desk, &id), first);
}

/// Guards: a 500 is kept under its key, and says nothing about what was done.
#[test]
fn a_failure_is_kept() {
    let mut desk = Desk::default();
    let failing = desk.intent("pm_sim_error");
    for is_replayed in [false, true] {
        let reply = desk.under("k", &confirm(&failing), "");
        assert_eq!((refusal(&reply).1, reply.status, reply.is_replayed), ("api_error", 500, is_replayed));
    }
    let id = desk.intent("pm_card_visa");
    for _ in 0..2 {
        let reply = desk.send("POST", &confirm(&id), Some("l"), "", Fate::FailsAfterwards);
        assert_eq!(reply.status, 500);
    }
    assert_eq!(desk.shown(&id)["amount_received"], 1999);
}

/// Guards: a method without a customer is charged once.
#[test]
fn a_method_without_a_customer_is_used_once() {
    let mut desk = Desk::default();
    let id = desk.intent("pm_card_visa");
    let card = desk.post(&confirm(&id), "").body["payment_method"].as_str().unwrap().to_owned();
    refused(&desk.post("/v1/payment_intents", &format!("{BEANS}&payment_method={card}")), 400, "", "");
    let ann = desk.customer();
    let attach = format!("/v1/payment_methods/{card}/attach");
    refused(&desk.post(&attach, &format!("customer={ann}")), 400, "", "");
    let saved = desk.saved(&ann);
    for _ in 0..2 {
        let form = format!("{BEANS}&payment_method={saved}&customer={ann}");
        let id = desk.made("/v1/payment_intents", &form);
        assert_eq!(desk.post(&confirm(&id), "").body["status"], "succeeded");
    }
}

/// Guards: a decline names its code, leaves the intent without a method, and is repeated under its key only.
#[test]
fn a_decline() {
    let mut desk = Desk::default();
    for (method, code, decline_code) in [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
    ] {
        let id = desk.intent(method);
        let declined = desk.under(method, &confirm(&id), "");
        refused(&declined, 402, code, "");
        let error = &declined.body["error"];
        assert_eq!(error["decline_code"], decline_code);
        let intent = &error["payment_intent"];
        assert_eq!(
            (&intent["status"], &intent["payment_method"]),
            (&json!("requires_payment_method"), &Value::Null)
        );
        assert_eq!(error["charge"], intent["latest_charge"]);
        assert_eq!(desk.under(method, &confirm(&id), "").body, declined.body);
        refused(&desk.post(&confirm(&id), ""), 400, "payment_intent_unexpected_state", "");
        assert_eq!(desk.post(&confirm(&id), "payment_method=pm_card_visa").body["status"], "succeeded");
    }
    let ann = desk.customer();
    let attach = "/v1/payment_methods/pm_card_visa_chargeDeclined/attach";
    refused(&desk.post(attach, &format!("customer={ann}")), 402, "card_declined", "");
    desk.made("/v1/payment_methods/pm_card_chargeCustomerFail/attach", &format!("customer={ann}"));
}

/// Guards: a challenge that no one can answer is a refusal where the call says so, and waits where it does not.
#[test]
fn a_challenge() {
    let mut desk = Desk::default();
    for (how, decline_code) in [
        ("error_on_requires_action=true", "authentication_not_handled"),
        ("off_session=true", "authentication_required"),
    ] {
        let id = desk.intent("pm_card_authenticationRequired");
        let reply = desk.post(&confirm(&id), how);
        refused(&reply, 402, "authentication_required", "");
        assert_eq!(reply.body["error"]["decline_code"], decline_code);
        assert_eq!(desk.shown(&id)["status"], "requires_payment_method");
    }
    let id = desk.intent("pm_card_authenticationRequired");
    let waiting = desk.post(&confirm(&id), "").body;
    assert_eq!(
        (&waiting["status"], &waiting["next_action"]["type"]),
        (&json!("requires_action"), &json!("use_stripe_sdk"))
    );
}

/// Guards: an intent that another call holds is left as it is, and the refusal is not kept under the key.
#[test]
fn a_locked_intent() {
    let mut desk = Desk::default();
    let id = desk.intent("pm_card_visa");
    let locked = desk.send("POST", &cancel(&id), Some("k"), "", Fate::Locked);
    refused(&locked, 429, "lock_timeout", "");
    assert_eq!(desk.under("k", &cancel(&id), "").body["status"], "canceled");
}

/// Guards: what names nothing that exists.
#[test]
fn what_does_not_exist() {
    let mut desk = Desk::default();
    for (path, parameter) in [
        ("/v1/payment_intents/pi_none", "intent"),
        ("/v1/refunds/re_none", "refund"),
        ("/v1/customers/cus_none", "id"),
        ("/v1/payment_methods/pm_none", "payment_method"),
    ] {
        refused(&desk.get(path), 404, "resource_missing", parameter);
    }
    refused(&desk.get("/v1/events"), 404, "", "");
    refused(&desk.get("/v1/refunds?payment_intent=pi_none"), 400, "resource_missing", "payment_intent");
}
