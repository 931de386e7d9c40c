//! The carrier: the port, and its adapter over HTTP. A shipment is made and withdrawn under the order's id, so that each
//! call may be repeated.
//!
//! `PUT /shipments/{reference}` `{lines, address}`: 200 `{carrier, tracking_number}`, 409 for one that was withdrawn,
//! 422 `{error: {code}}` for what is never carried.
//! `DELETE /shipments/{reference}`: 200, and it will never be taken; 409 `{carrier, tracking_number}` when it has been.

use crate::shipment::{Message, Parcel};
use chassis::Failure;
use chassis::http::client::{Answer, HttpClient, Method};
use events::OrderId;
use hyper::{Uri, header};
use serde_json::json;
use std::future::Future;

/// The carrier, as far as fulfillment calls it.
pub trait Carrier: Send + Sync + 'static {
    /// Has a parcel carried; answers [`Message::Taken`], [`Message::Refused`], or [`Message::Withdrawn`] for one that was.
    /// It is known by its order: the call may be repeated and ships once.
    fn ship(&self, parcel: &Parcel) -> impl Future<Output = Result<Message, Failure>> + Send;

    /// Makes sure that the carrier will never take an order's parcel, not even for a call that is still on its way; answers
    /// [`Message::Withdrawn`], or [`Message::Taken`] when it has taken the parcel already.
    fn withdraw(&self, order_id: OrderId) -> impl Future<Output = Result<Message, Failure>> + Send;
}

/// A carrier that speaks the API above.
pub struct HttpCarrier(HttpClient);

impl HttpCarrier {
    /// The carrier at `base`, with its secret key.
    ///
    /// # Errors
    /// As [`HttpClient::new`].
    pub fn new(base: &Uri, secret: &str) -> Result<Self, Failure> {
        HttpClient::new("carrier", base, secret).map(Self)
    }
}

fn path(order_id: OrderId) -> String {
    format!("/shipments/{order_id}")
}

fn taken(answer: &Answer) -> Result<Message, Failure> {
    let text = |pointer| answer.text(pointer).map(str::to_owned).ok_or_else(|| answer.failure());
    Ok(Message::Taken { carrier: text("/carrier")?, tracking_number: text("/tracking_number")? })
}

/// What is neither a clear yes nor a clear no is unknown, and is asked again.
fn shipped(answer: &Answer) -> Result<Message, Failure> {
    match answer.status.as_u16() {
        200 | 201 => taken(answer),
        409 => Ok(Message::Withdrawn),
        422 => Ok(Message::Refused { code: answer.text("/error/code").unwrap_or("refused").to_owned() }),
        _ => Err(answer.failure()),
    }
}

fn withdrawn(answer: &Answer) -> Result<Message, Failure> {
    match answer.status.as_u16() {
        200 => Ok(Message::Withdrawn),
        409 => taken(answer),
        _ => Err(answer.failure()),
    }
}

impl Carrier for HttpCarrier {
    async fn ship(&self, parcel: &Parcel) -> Result<Message, Failure> {
        let request = self.0.request(Method::PUT, &path(parcel.order_id));
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let body = json!({"lines": parcel.lines, "address": parcel.address});
        shipped(&self.0.send(request, body.to_string()).await?)
    }

    async fn withdraw(&self, order_id: OrderId) -> Result<Message, Failure> {
        withdrawn(&self.0.send(self.0.request(Method::DELETE, &path(order_id)), String::new()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::http::client::StatusCode;
    use serde_json::Value;

    fn answer(status: u16, body: Value) -> Answer {
        Answer::new(StatusCode::from_u16(status).unwrap(), body)
    }

    fn refused(code: &str) -> Result<Message, Failure> {
        Ok(Message::Refused { code: code.into() })
    }

    /// Guards: only a clear answer ends a shipment; anything else is asked again.
    #[test]
    fn only_a_clear_answer_counts() {
        let parcel = json!({"carrier": "Parcels", "tracking_number": "P1"});
        let taken = Ok(Message::Taken { carrier: "Parcels".into(), tracking_number: "P1".into() });
        assert_eq!(shipped(&answer(200, parcel.clone())), taken);
        assert_eq!(withdrawn(&answer(409, parcel)), taken);
        assert_eq!(shipped(&answer(422, json!({"error": {"code": "too_heavy"}}))), refused("too_heavy"));
        assert_eq!(shipped(&answer(409, Value::Null)), Ok(Message::Withdrawn));
        assert_eq!(withdrawn(&answer(200, Value::Null)), Ok(Message::Withdrawn));
        for unclear in [200, 202, 401, 404, 429, 500, 503] {
            assert!(matches!(shipped(&answer(unclear, Value::Null)), Err(Failure::Transient(_))));
        }
        for unclear in [202, 404, 409, 422, 503] {
            assert!(withdrawn(&answer(unclear, Value::Null)).is_err());
        }
    }
}
