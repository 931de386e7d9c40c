//! Plain HTTP/1.1 on loopback: an accept loop, bodies with a limit, and answers. Everything here talks to
//! clients that keep their connections, so one service per connection and nothing else is the fastest way.
//!
//! Loopback keeps other machines out, and not the pages that a browser shows on this one. [`Guard`] does.

use super::connections::{CONNECTION, Connection, Connections};
use super::rarely::Rarely;
use bytes::{Bytes, BytesMut};
use futures_util::future::Either;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::OwnedSemaphorePermit;

pub type Request = hyper::Request<Incoming>;
pub type Response = hyper::Response<Full<Bytes>>;

/// How long a client may take over its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

const USUAL_PORT: u16 = 80;

/// Room for 32 of the largest bodies that the endpoint takes.
pub const BODIES: usize = 256 * 1024 * 1024;

/// Answers every request on `listener` that `guard` lets in with `answer`, for as long as the process lives.
pub async fn serve<F, Fut>(listener: TcpListener, guard: Guard, answer: F)
where
    F: Fn(Request) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response> + Send + 'static,
{
    let (connections, guard) = (Connections::new(guard.connections, guard.bodies), guard.at(&listener));
    let refusals = Rarely::default();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Most likely the process is out of file handles, and gets some back in a moment.
                if refusals.is_due(error.kind(), Instant::now()) {
                    tracing::warn!("cannot accept a connection: {error}");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Nagle's algorithm would hold back small answers; a socket that refuses the option is merely slower.
        let _ = stream.set_nodelay(true);
        let connection = connections.place().await;
        let (answer, guard) = (answer.clone(), Arc::clone(&guard));
        tokio::spawn(async move {
            let place = Arc::clone(&connection);
            let service = service_fn(move |request: Request| {
                place.answers();
                let answered = match guard.refusal(&request) {
                    Some(refused) => Either::Left(ready(refused)),
                    None => Either::Right(answer(request)),
                };
                let place = Arc::clone(&place);
                async move {
                    let answer = answered.await;
                    place.waits();
                    Ok::<_, Infallible>(answer)
                }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            let served = server
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // A client that closes its connection in the middle loses nothing but its answer.
                _ = CONNECTION.scope(Arc::clone(&connection), served) => {}
                () = connection.makes_room() => {}
            }
        });
    }
}

/// Who may call a listener, and how many at a time.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// Whether pages of other origins may: their requests carry an `Origin`.
    pub pages: bool,
    /// The most connections. For one more, the one that has waited longest for its client is closed; while all are being answered, it
    /// waits. An idle one is closed after [`HEADER_TIMEOUT`] anyway.
    pub connections: usize,
    /// The most bytes of bodies that are being read at a time. A request that brings more gets 503.
    pub bodies: usize,
}

impl Guard {
    fn at(self, listener: &TcpListener) -> Arc<Guarded> {
        let port = listener.local_addr().map_or(0, |address| address.port());
        let names = ["127.0.0.1", "localhost", "[::1]"];
        // Clients leave the usual port out.
        let bare = names.iter().filter(|_| port == USUAL_PORT).map(|name| (*name).to_owned());
        let names = names.iter().map(|name| format!("{name}:{port}")).chain(bare).collect();
        Arc::new(Guarded { pages: self.pages, names })
    }
}

/// A guard at a port.
struct Guarded {
    pages: bool,
    names: Vec<String>,
}

impl Guarded {
    /// The answer to a request that is kept out. A page that reached this machine under a name of its own (DNS rebinding)
    /// names that in `Host`; any other page is given away by its `Origin`, which browsers send with whatever changes
    /// something or is read.
    fn refusal(&self, request: &Request) -> Option<Response> {
        let is_ours = |host: &HeaderValue| {
            host.to_str().is_ok_and(|host| self.names.iter().any(|name| name.eq_ignore_ascii_case(host)))
        };
        if request.headers().get(HOST).is_some_and(|host| !is_ours(host)) {
            return Some(refused(StatusCode::MISDIRECTED_REQUEST, "Host is not a name of this machine"));
        }
        let is_page = !self.pages && request.headers().contains_key(ORIGIN);
        is_page.then(|| refused(StatusCode::FORBIDDEN, "pages of other origins may call the API only"))
    }
}

fn refused(status: StatusCode, why: &str) -> Response {
    json(status.as_u16(), "application/json", serde_json::json!({ "message": why }).to_string())
}

/// How long a client may take over its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads a body of at most `max` bytes.
///
/// # Errors
/// The status that says what is wrong: 413 too large, 408 too slow, 400 broken, 503 when the listener has no room for it.
pub async fn body(incoming: Incoming, max: usize) -> Result<Bytes, StatusCode> {
    // While the client sends, its connection may have to make room. A body is read by the task of its connection.
    let connection = CONNECTION.try_with(Arc::clone).ok();
    connection.iter().for_each(|connection| connection.waits());
    let whole = collected(Limited::new(incoming, max), connection.as_deref());
    let read = tokio::time::timeout(BODY_TIMEOUT, whole).await;
    connection.iter().for_each(|connection| connection.answers());
    read.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
}

/// Most bodies are one frame, which is not copied.
async fn collected(
    mut incoming: Limited<Incoming>,
    connection: Option<&Connection>,
) -> Result<Bytes, StatusCode> {
    let (mut first, mut rest, mut held) = (Bytes::new(), BytesMut::new(), None::<OwnedSemaphorePermit>);
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(|error| status_of(&*error))?.into_data() else { continue };
        if let Some(connection) = connection {
            let room = connection.room(data.len()).ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
            match &mut held {
                Some(held) => held.merge(room),
                None => held = Some(room),
            }
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { [first, rest.freeze()].concat().into() })
}

fn status_of(error: &(dyn Error + Send + Sync + 'static)) -> StatusCode {
    if error.is::<LengthLimitError>() { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST }
}

/// An answer with a body of this content type.
#[must_use]
pub fn json(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The key that `?after=` names: a page begins behind it.
#[must_use]
pub fn after(query: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "after").map(|(_, key)| key.into_owned())
}

#[must_use]
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::Semaphore;
    use tokio::time::timeout;

    /// A listener with two places, and room for ten bytes of bodies. A request for `/slow` is answered after the permit that it has to wait for.
    async fn of_two_places(permits: Arc<Semaphore>) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let guard = Guard { pages: false, connections: 2, bodies: 10 };
        tokio::spawn(serve(listener, guard, move |request: Request| {
            let permits = Arc::clone(&permits);
            async move {
                if request.uri().path() == "/slow" {
                    permits.acquire().await.unwrap().forget();
                }
                match body(request.into_body(), 100).await {
                    Ok(_) => empty(StatusCode::NO_CONTENT),
                    Err(status) => empty(status),
                }
            }
        }));
        address
    }

    async fn sends(address: std::net::SocketAddr, text: &str) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(text.as_bytes()).await.unwrap();
        // The next one comes after it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        client
    }

    async fn answered(client: &mut TcpStream) -> String {
        let mut answer = [0; 12];
        match timeout(Duration::from_millis(500), client.read_exact(&mut answer)).await {
            Ok(Ok(_)) => String::from_utf8_lossy(&answer).into_owned(),
            Ok(Err(_)) => "closed".into(),
            Err(_) => "waits".into(),
        }
    }

    /// Guards: the cap on connections. One more waits while all are being answered, and is answered then.
    #[tokio::test]
    async fn a_connection_too_many_waits() {
        let permits = Arc::new(Semaphore::new(0));
        let address = of_two_places(Arc::clone(&permits)).await;
        let slow = "GET /slow HTTP/1.0\r\n\r\n";
        let mut slow = [sends(address, slow).await, sends(address, slow).await];
        let mut third = sends(address, "GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(answered(&mut third).await, "waits");
        permits.add_permits(1);
        assert_eq!(answered(&mut third).await, "HTTP/1.0 204");
        permits.add_permits(1);
        for slow in &mut slow {
            assert_eq!(answered(slow).await, "HTTP/1.0 204");
        }
    }

    /// Guards: clients that send half of a head or of a body, or nothing more. The one that has let the listener wait longest makes room.
    #[tokio::test]
    async fn who_waits_for_nothing_makes_room() {
        let address = of_two_places(Arc::new(Semaphore::new(0))).await;
        let whole = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".replace("localhost", &address.to_string());
        let mut idle = sends(address, &whole).await;
        assert_eq!(answered(&mut idle).await, "HTTP/1.1 204");
        let half = "POST / HTTP/1.0\r\ncontent-length: 9\r\n\r\nhalf";
        let mut half_body = sends(address, half).await;
        let mut half_head = sends(address, "GET / HT").await;
        let mut rest = Vec::new();
        assert!(timeout(Duration::from_secs(1), idle.read_to_end(&mut rest)).await.unwrap().is_ok());
        assert_eq!(answered(&mut half_body).await, "waits");
        for _ in 0..3 {
            let mut client = sends(address, "GET / HTTP/1.0\r\n\r\n").await;
            assert_eq!(answered(&mut client).await, "HTTP/1.0 204");
        }
        assert_eq!(answered(&mut half_body).await, "closed");
        assert_eq!(answered(&mut half_head).await, "waits");
    }

    /// Guards: the room that bodies have together, and that it comes back when a client goes.
    #[tokio::test]
    async fn a_body_without_room_is_refused() {
        let address = of_two_places(Arc::new(Semaphore::new(0))).await;
        let half = |sent: &str| format!("POST / HTTP/1.0\r\ncontent-length: 9\r\n\r\n{sent}");
        let mut first = sends(address, &half("12345")).await;
        let mut second = sends(address, &half("123456")).await;
        assert_eq!(answered(&mut second).await, "HTTP/1.0 503");
        first.write_all(b"678").await.unwrap();
        drop(second);
        assert_eq!(answered(&mut first).await, "waits");
        let mut third = sends(address, &half("123")).await;
        assert_eq!(answered(&mut third).await, "HTTP/1.0 503");
        first.write_all(b"9").await.unwrap();
        assert_eq!(answered(&mut first).await, "HTTP/1.0 204");
        for sent in ["123456789", "123456789"] {
            assert_eq!(answered(&mut sends(address, &half(sent)).await).await, "HTTP/1.0 204");
        }
    }
}
