//! The payment provider: declines, lost answers, and refunds that it refuses.

use super::cancelling::cancelled_after_its_charge;
use super::{invariants, paid_with};
use crate::bench::{Bench, Flow, Trouble};
use orders::saga::Status;
use serde_json::json;
use tests::client::{CENTS, order_of};

/// Guards: a decline is remembered. Delivered again, it is not tried with a provider that would now take the money.
pub async fn a_decline_stays_one(bench: &mut impl Bench) {
    let beans = bench.sell("beans", 10).await;
    bench.trouble(Trouble::Repeated(Some("payments"), 3));
    let id = bench.place(&paid_with("pm_sim_declines_once", order_of(&beans, 1))).await;
    let order = bench.ended(&id).await;
    let outcome = (&order["status"], &order["failure_reason"]);
    assert_eq!(outcome, (&json!("COMPENSATED"), &json!("PAYMENT_DECLINED")));
    bench.settle().await;
    assert_eq!(bench.account(&id).captured, 0);
    invariants(bench, &[(beans, 10)], &[id]).await;
}

/// Guards: the committed intent. A charge whose answer was lost is looked up by it: one capture, and the order goes on.
pub async fn a_lost_answer_is_one_capture(bench: &mut impl Bench) {
    let beans = bench.sell("beans", 10).await;
    let id = bench.place(&paid_with("pm_sim_lost_answer", order_of(&beans, 1))).await;
    assert_eq!(bench.ended(&id).await["status"], "FULFILLED");
    bench.settle().await;
    let account = bench.account(&id);
    assert_eq!((account.captures, account.captured), (1, CENTS), "{account:?}");
    invariants(bench, &[(beans, 10)], &[id]).await;
}

/// Guards: I2 and I3. A refused refund is tried again with pauses; each attempt has an idempotency key of its own.
pub async fn a_refund_refused_three_times_is_made_at_the_fourth(bench: &mut impl Bench) {
    let beans = bench.sell("beans", 10).await;
    let order = paid_with("pm_sim_refund_refused_3_times", order_of(&beans, 2));
    let id = cancelled_after_its_charge(bench, &order).await;
    assert_eq!(bench.ended(&id).await["status"], "COMPENSATED");
    bench.settle().await;
    let retried = vec!["RefundRefused".to_owned(); 3];
    assert_eq!(bench.flows(&id), [Flow { retried, succeeded: true }]);
    assert!(bench.account(&id).refunded > 0);
    assert_eq!(bench.kept(&id), 0);
    invariants(bench, &[(beans, 10)], &[id]).await;
}

/// An order whose refund the provider refuses for good: it is FAILED, and says so. Gives its product and its id.
pub async fn refused_for_good<B: Bench>(bench: &mut B) -> (String, String) {
    let beans = bench.sell("beans", 10).await;
    let id =
        cancelled_after_its_charge(bench, &paid_with("pm_sim_refund_refused", order_of(&beans, 2))).await;
    let order = bench.ended(&id).await;
    assert_eq!(order["status"], "FAILED");
    assert!(order["events"].to_string().contains("PAYMENT_REFUND_FAILED"), "{order}");
    bench.settle().await;
    assert_eq!((bench.account(&id).refunded, bench.kept(&id)), (0, 2 * CENTS));
    let step = bench.saga(&id).await["steps"]["payment_compensation"].take();
    assert_eq!((&step["status"], &step["error"]), (&json!("FAILED"), &json!("refund_not_allowed")));
    (beans, id)
}

/// Guards: I3. A refund that is refused for good waits for the operator's verb, which finishes the order.
pub async fn a_refund_refused_for_good_is_made_when_an_operator_asks<B: Bench>(bench: &mut B) {
    let (beans, id) = refused_for_good(bench).await;
    assert!(bench.retry(&id).await);
    let compensated = async |bench: &B| bench.status(&id).await == Status::Compensated;
    bench.until("the compensation", compensated).await;
    bench.settle().await;
    assert!(bench.account(&id).refunded > 0);
    assert_eq!(bench.kept(&id), 0);
    assert_eq!(bench.sorted_notices(&id), ["ORDER_CANCELLED", "ORDER_FAILED", "PAYMENT_REFUNDED"]);
    // Once is enough: the payment refuses to be undone again.
    assert!(!bench.retry(&id).await);
    bench.settle().await;
    invariants(bench, &[(beans, 10)], &[id]).await;
}

/// Guards: I2 and I3 without an answer. The provider never answers a charge, or always fails; the customer cancels, and
/// nothing was captured: the order is over, and no operator is needed.
pub async fn a_charge_that_is_never_answered_is_voided<B: Bench>(bench: &mut B) {
    let beans = bench.sell("beans", 10).await;
    let mut ids = Vec::new();
    for method in ["pm_sim_timeout", "pm_sim_error"] {
        let id = bench.place(&paid_with(method, order_of(&beans, 2))).await;
        bench.until("the charge", async |bench: &B| bench.account(&id).calls > 0).await;
        assert!(bench.cancel(&id).await, "{}", bench.order(&id).await);
        ids.push(id);
    }
    for id in &ids {
        assert_eq!(bench.ended(id).await["status"], "COMPENSATED");
    }
    bench.settle().await;
    for id in &ids {
        let account = bench.account(id);
        assert_eq!((account.captures, account.captured), (0, 0), "{account:?}");
    }
    invariants(bench, &[(beans, 10)], &ids).await;
}
