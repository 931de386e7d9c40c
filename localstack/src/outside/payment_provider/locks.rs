//! The calls that the simulator is still at: their keys are in use, and their intents are locked.
//!
//! <https://docs.stripe.com/rate-limits#object-lock-timeouts>

use super::account::Call;
use tokio::time::Instant;

/// A call whose answer is held back.
#[derive(Debug)]
struct Lock {
    key: Option<String>,
    intent: Option<String>,
    until: Instant,
}

/// The calls whose answers are held back.
#[derive(Debug, Default)]
pub struct Locks(Vec<Lock>);

/// The intent that a call changes.
fn intent<'a>(call: &Call<'a>) -> Option<&'a str> {
    let id = call.path.strip_prefix("/v1/payment_intents/")?.split('/').next()?;
    Some(id).filter(|_| call.method == "POST")
}

impl Locks {
    /// Holds what a call is about until then.
    pub fn hold(&mut self, call: &Call<'_>, until: Instant) {
        let now = Instant::now();
        self.0.retain(|lock| lock.until > now);
        let (key, intent) = (call.idempotency_key.map(str::to_owned), intent(call).map(str::to_owned));
        self.0.push(Lock { key, intent, until });
    }

    fn any(&self, now: Instant, is_meant: impl Fn(&Lock) -> bool) -> bool {
        self.0.iter().any(|lock| lock.until > now && is_meant(lock))
    }

    /// The call's idempotency key, if an earlier call under it is not answered yet.
    #[must_use]
    pub fn key_in_use<'a>(&self, call: &Call<'a>, now: Instant) -> Option<&'a str> {
        call.idempotency_key.filter(|key| self.any(now, |lock| lock.key.as_deref() == Some(*key)))
    }

    /// Whether another call holds what this one changes.
    #[must_use]
    pub fn is_locked(&self, call: &Call<'_>, now: Instant) -> bool {
        intent(call).is_some_and(|id| self.any(now, |lock| lock.intent.as_deref() == Some(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn call<'a>(method: &'a str, path: &'a str, key: &'a str) -> Call<'a> {
        Call { method, path, query: "", idempotency_key: Some(key).filter(|key| !key.is_empty()), form: "" }
    }

    /// Guards: the lock. While an intent is being confirmed it can be read, and not be cancelled; others can.
    #[test]
    fn a_held_call_locks_its_intent_and_its_key() {
        let (mut locks, now) = (Locks::default(), Instant::now());
        let confirm = call("POST", "/v1/payment_intents/pi_1/confirm", "k");
        locks.hold(&confirm, now + Duration::from_secs(10));
        let cancel = call("POST", "/v1/payment_intents/pi_1/cancel", "other");
        assert!(locks.is_locked(&cancel, now));
        assert!(!locks.is_locked(&cancel, now + Duration::from_secs(10)));
        assert!(!locks.is_locked(&call("GET", "/v1/payment_intents/pi_1", ""), now));
        assert!(!locks.is_locked(&call("POST", "/v1/payment_intents/pi_2/cancel", "other"), now));
        assert_eq!((locks.key_in_use(&confirm, now), locks.key_in_use(&cancel, now)), (Some("k"), None));
    }
}
