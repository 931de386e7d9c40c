//! A stage's throttling: token buckets, each `burst` tokens deep and filled at `rate` a second. A route with settings of its
//! own has a bucket of its own; all others share the stage's. (AWS documents no more than that the stage's settings hold for
//! every route; should each route have a bucket of its own there, AWS lets more pass than the local stack.)
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html>

use crate::template::resources::{RouteSettings, Stage};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One token, in the bucket's unit: a rate a second fills in nanoseconds, without fractions.
const TOKEN: u128 = 1_000_000_000;

/// The buckets of a stage.
pub struct Throttles {
    stage: Option<Throttle>,
    /// By route key.
    routes: BTreeMap<String, Throttle>,
}

impl Throttles {
    /// Starts with full buckets.
    #[must_use]
    pub fn new(stage: Option<&Stage>, now: Instant) -> Self {
        let of_routes = stage.and_then(|stage| stage.route_settings.as_ref()).into_iter().flatten();
        Self {
            stage: stage.and_then(|s| s.default_route_settings.as_ref()).map(|s| Throttle::new(s, now)),
            routes: of_routes.map(|(key, settings)| (key.clone(), Throttle::new(settings, now))).collect(),
        }
    }

    /// The route keys with a bucket of their own.
    pub fn routes(&self) -> impl Iterator<Item = &String> {
        self.routes.keys()
    }

    /// # Errors
    /// The time until the next token, when the bucket of this route is empty.
    pub fn take(&self, route: Option<&str>, now: Instant) -> Result<(), Duration> {
        let own = route.and_then(|route| self.routes.get(route));
        own.or(self.stage.as_ref()).map_or(Ok(()), |throttle| throttle.take(now))
    }
}

pub struct Throttle {
    rate: u128,
    burst: u128,
    level: Mutex<(u128, Instant)>,
}

impl Throttle {
    /// Starts with a full bucket.
    #[must_use]
    pub fn new(settings: &RouteSettings, now: Instant) -> Self {
        let burst = u128::from(settings.throttling_burst_limit) * TOKEN;
        Self { rate: settings.throttling_rate_limit.into(), burst, level: Mutex::new((burst, now)) }
    }

    /// # Errors
    /// The time until the next token, when the bucket is empty.
    pub fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, filled) = *level;
        let gained = now.saturating_duration_since(filled).as_nanos().saturating_mul(self.rate);
        let tokens = tokens.saturating_add(gained).min(self.burst);
        let rest = tokens.checked_sub(TOKEN);
        *level = (rest.unwrap_or(tokens), filled.max(now));
        let missing = TOKEN.saturating_sub(tokens).div_ceil(self.rate.max(1));
        rest.map(drop).ok_or_else(|| Duration::from_nanos(u64::try_from(missing).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: the burst passes, then one request per 1/rate; an idle time fills the bucket and not more.
    #[test]
    fn a_burst_passes_and_then_the_rate_counts() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let settings = RouteSettings { throttling_rate_limit: 10, throttling_burst_limit: 3 };
        let throttle = Throttle::new(&settings, start);
        assert!((0..3).all(|_| throttle.take(at(0)).is_ok()));
        assert_eq!(throttle.take(at(0)), Err(Duration::from_millis(100)));
        assert_eq!(throttle.take(at(50)), Err(Duration::from_millis(50)));
        assert!(throttle.take(at(100)).is_ok());
        assert!(throttle.take(at(100)).is_err());
        assert_eq!((0..10).filter(|_| throttle.take(at(9000)).is_ok()).count(), 3);
    }
}
