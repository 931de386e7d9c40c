//! Plain HTTP/1.1 on loopback: an accept loop, bodies with a limit, and answers. Everything here talks to
//! clients that keep their connections, so one service per connection and nothing else is the fastest way.
//!
//! Loopback keeps other machines out, and not the pages that a browser shows on this one. [`Guard`] does.

use super::rarely::Rarely;
use bytes::Bytes;
use futures_util::future::Either;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub type Request = hyper::Request<Incoming>;
pub type Response = hyper::Response<Full<Bytes>>;

/// How long a client may take over its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Answers every request on `listener` that `guard` lets in with `answer`, for as long as the process lives.
pub async fn serve<F, Fut>(listener: TcpListener, guard: Guard, answer: F)
where
    F: Fn(Request) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response> + Send + 'static,
{
    let (places, guard) = (Arc::new(Semaphore::new(guard.connections)), guard.at(&listener));
    let refusals = Rarely::default();
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
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
        let (answer, guard) = (answer.clone(), Arc::clone(&guard));
        tokio::spawn(async move {
            let service = service_fn(move |request: Request| {
                let answered = match guard.refusal(&request) {
                    Some(refused) => Either::Left(ready(refused)),
                    None => Either::Right(answer(request)),
                };
                async move { Ok::<_, Infallible>(answered.await) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            let connection = server
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // A client that closes its connection in the middle loses nothing but its answer.
            let _ = connection.await;
            drop(place);
        });
    }
}

/// Who may call a listener, and how many at a time.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// Whether pages of other origins may: their requests carry an `Origin`.
    pub pages: bool,
    /// The most connections. More wait until one of these is closed, as an idle one is after [`HEADER_TIMEOUT`].
    pub connections: usize,
}

impl Guard {
    fn at(self, listener: &TcpListener) -> Arc<Guarded> {
        let port = listener.local_addr().map_or(0, |address| address.port());
        let names = ["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{port}"));
        Arc::new(Guarded { pages: self.pages, names })
    }
}

/// A guard at a port.
struct Guarded {
    pages: bool,
    names: [String; 3],
}

impl Guarded {
    /// The answer to a request that is kept out. A page that reached this machine under a name of its own (DNS rebinding)
    /// names that in `Host`; any other page is given away by its `Origin`, which browsers send with whatever changes
    /// something or is read.
    fn refusal(&self, request: &Request) -> Option<Response> {
        let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        if named.is_some_and(|host| !self.names.iter().any(|name| name.eq_ignore_ascii_case(host))) {
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
/// The status that says what is wrong: 413 too large, 408 too slow, 400 broken.
pub async fn body(incoming: Incoming, max: usize) -> Result<Bytes, StatusCode> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(incoming, max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
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
    use tokio::time::timeout;

    /// Guards: the cap on connections. One more waits until a place is free, and is answered then.
    #[tokio::test]
    async fn a_connection_too_many_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let guard = Guard { pages: false, connections: 1 };
        tokio::spawn(serve(listener, guard, |_| async { empty(StatusCode::NO_CONTENT) }));
        let first = TcpStream::connect(address).await.unwrap();
        // As long as nobody has come after it, the first one may still be on its way in.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        assert!(timeout(Duration::from_millis(200), second.read_exact(&mut answer)).await.is_err());
        drop(first);
        timeout(Duration::from_secs(5), second.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"HTTP/1.0 204");
    }
}
