//! The payment provider and the carrier behind one address, with the outages that the fault dial sets.

use super::carrier::{self, Carrier};
use super::payment_provider::Provider;
use crate::faults::Faults;
use crate::support::http::{self, Request, Response};
use crate::support::journal::Journal;
use hyper::StatusCode;

#[derive(Clone)]
pub struct Simulators {
    pub provider: Provider,
    pub carrier: Carrier,
    faults: Faults,
}

impl Simulators {
    /// The simulators with the records that the journal keeps. `time_scale` divides the provider's waits.
    #[must_use]
    pub fn new(journal: &Journal, faults: &Faults, time_scale: u32) -> Self {
        let (provider, carrier) = (Provider::new(journal, time_scale), Carrier::new(journal));
        Self { provider, carrier, faults: faults.clone() }
    }

    /// Answers a request, the carrier's below its path and the provider's elsewhere.
    pub async fn answer(self, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        match path.strip_prefix(carrier::PATH) {
            Some("/book") => self.carrier.answer("/book", request).await,
            Some(_) if self.faults.carrier_fails() => http::empty(StatusCode::SERVICE_UNAVAILABLE),
            Some(path) => self.carrier.answer(path, request).await,
            None if path.starts_with("/v1/") && self.faults.provider_fails() => {
                http::empty(StatusCode::SERVICE_UNAVAILABLE)
            }
            None => self.provider.answer(request).await,
        }
    }
}
