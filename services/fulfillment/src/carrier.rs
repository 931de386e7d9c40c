//! The carrier: the port, and its adapter over HTTP. A shipment is made and withdrawn under the order's id, so that each
//! call may be repeated.
//!
//! `PUT /shipments/{reference}` `{lines, address}`: 200 `{carrier, tracking_number}`, 409 for one that was withdrawn,
//! 422 `{error: {code}}` for what is never carried.
//! `DELETE /shipments/{reference}`: 200, and it will never be taken; 409 `{carrier, tracking_number}` when it has been.

use crate::shipment::{Message, Parcel};
use chassis::Failure;
use chassis::http::client::{Answer, HttpClient, Method};
use chassis::ports::Secret;
use events::OrderId;
use events::orders::Address;
use hyper::{Uri, header};
use serde_json::json;
use std::future::Future;

/// The carrier, as far as fulfillment calls it.
pub trait Carrier: Send + Sync + 'static {
    /// Has a parcel carried, to its address as it is in the clear; answers [`Message::Taken`], [`Message::Refused`], or [`Message::Withdrawn`] for one that was.
    /// It is known by its order: the call may be repeated and ships once.
    fn ship(
        &self,
        parcel: &Parcel,
        address: Option<&Address>,
    ) -> impl Future<Output = Result<Message, Failure>> + Send;

    /// Makes sure that the carrier will never take an order's parcel, not even for a call that is still on its way; answers
    /// [`Message::Withdrawn`], or [`Message::Taken`] when it has taken the parcel already.
    fn withdraw(&self, order_id: OrderId) -> impl Future<Output = Result<Message, Failure>> + Send;
}

/// A carrier that speaks the API above.
pub struct HttpCarrier<K> {
    client: HttpClient,
    key: K,
}

impl<K: Secret> HttpCarrier<K> {
    /// The carrier at `base`, with its secret key.
    ///
    /// # Errors
    /// Those of reading the key, and of [`HttpClient::new`].
    pub async fn new(base: &Uri, key: K) -> Result<Self, Failure> {
        Ok(Self { client: HttpClient::new("carrier", base, &key.read().await?)?, key })
    }

    /// Calls the carrier; once more when it refuses the key and there is another one now.
    async fn call(&self, method: Method, order_id: OrderId, body: &str) -> Result<Answer, Failure> {
        let answer = self.once(method.clone(), order_id, body).await?;
        if matches!(answer.status.as_u16(), 401 | 403) && self.client.authorize(&self.key.read().await?)? {
            return self.once(method, order_id, body).await;
        }
        Ok(answer)
    }

    async fn once(&self, method: Method, order_id: OrderId, body: &str) -> Result<Answer, Failure> {
        let request = self.client.request(method, &format!("/shipments/{order_id}"));
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.client.send(request, body.to_owned()).await
    }
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

impl<K: Secret> Carrier for HttpCarrier<K> {
    async fn ship(&self, parcel: &Parcel, address: Option<&Address>) -> Result<Message, Failure> {
        let body = json!({"lines": parcel.lines, "address": address});
        shipped(&self.call(Method::PUT, parcel.order_id, &body.to_string()).await?)
    }

    async fn withdraw(&self, order_id: OrderId) -> Result<Message, Failure> {
        withdrawn(&self.call(Method::DELETE, order_id, "").await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::http::client::StatusCode;
    use serde_json::Value;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

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

    /// The key as Secrets Manager has it; clones share it.
    #[derive(Clone)]
    struct Kept(Arc<Mutex<&'static str>>);

    impl Secret for Kept {
        async fn read(&self) -> Result<String, Failure> {
            Ok((*self.0.lock().unwrap()).to_owned())
        }
    }

    /// A carrier that knows the key `new` only; gives its address, and how often it is asked.
    async fn carrier() -> (Uri, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut connection, mut head) = (listener.accept().await.unwrap().0, [0; 1024]);
                let length = connection.read(&mut head).await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let knows = String::from_utf8_lossy(&head[..length]).contains("Bearer new");
                let status = if knows { "200 OK" } else { "401 Unauthorized" };
                let text = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                connection.write_all(text.as_bytes()).await.unwrap();
            }
        });
        (format!("http://{address}").parse().unwrap(), asked)
    }

    /// Guards: a key that was rotated works in a warm function, at once and from then on; one that is refused is not asked
    /// about twice.
    #[tokio::test]
    async fn a_rotated_key_works_in_a_warm_function() {
        let ((base, asked), kept) = (carrier().await, Kept(Arc::new(Mutex::new("old"))));
        let carrier = HttpCarrier::new(&base, kept.clone()).await.unwrap();
        let withdrawn = async || carrier.withdraw(OrderId(uuid::Uuid::nil())).await;
        assert!(withdrawn().await.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        *kept.0.lock().unwrap() = "new";
        for calls in [3, 4] {
            assert_eq!(withdrawn().await, Ok(Message::Withdrawn));
            assert_eq!(asked.load(Ordering::SeqCst), calls);
        }
    }
}
