//! Orders' part of the HTTP API: placing, cancelling and waiting for orders. What only reads lives in [`read`].

pub mod idempotency;
pub mod openapi;
pub mod place_order;
pub mod prefer_wait;
mod read;
pub mod renewed;
pub mod saga_view;
pub mod view;

use crate::projections::{admission, prices};
use crate::saga::{Message, Saga};
use chassis::aggregate::load;
use chassis::http::access::{Access, Auth, OPERATE, READ, WRITE, require};
use chassis::http::cursor::Cursors;
use chassis::http::{Api, CORRELATION, Problem, Request, Response, fields};
use chassis::keys::AddressKey;
use chassis::outbox::Cause;
use chassis::reaction::{Executed, execute, execute_beside};
use chassis::store::{Item, Write};
use chassis::{AggregateId, Failure, Loaded, Ports, Refusal, Store};
use events::orders::{Address, OrderCreated, SealedAddress};
use events::{CustomerId, Money, OrderId};
use idempotency::Once;
use place_order::Placement;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The first pause between two looks at an order that a client waits for; each pause doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Orders' part of the HTTP API.
pub struct OrdersApi<S> {
    /// The ports.
    pub ports: Ports<S>,
    /// The stage, shown by `GET /health`.
    pub stage: String,
    /// Whether callers were verified by the gateway.
    pub auth: Auth,
    /// Seals the cursors of lists.
    pub cursors: Cursors,
    /// The longest wait for an outcome.
    pub max_wait: Duration,
}

impl<S: Store> Api for OrdersApi<S> {
    const ROUTES: &'static [&'static str] = &[
        "POST /orders",
        "GET /orders",
        "GET /orders/{id}",
        "GET /orders/{id}/events",
        "GET /orders/{id}/saga",
        "POST /orders/{id}/cancel",
        "GET /health",
        "GET /openapi.json",
        "OPTIONS /{proxy+}",
        "$default",
    ];
    const SCOPES: &'static [&'static str] = &[READ, WRITE, OPERATE];

    async fn answer(&self, request: Request) -> Result<Response, Problem> {
        require_scope(self.auth, &request)?;
        match request.route.as_str() {
            "POST /orders" => self.place(&request).await,
            "GET /orders" => self.list(&request).await,
            "GET /orders/{id}" => self.show(&request).await,
            "GET /orders/{id}/events" => self.events(&request).await,
            "GET /orders/{id}/saga" => self.saga(&request).await,
            "POST /orders/{id}/cancel" => self.cancel(&request).await,
            "GET /health" => Ok(self.health()),
            "GET /openapi.json" => openapi::document(),
            "OPTIONS /{proxy+}" => Ok(preflight()),
            _ => Err(openapi::no_such_route(&request)),
        }
    }
}

/// Checks the scope of a route again, as [`require`] says why. What describes the platform is open.
fn require_scope(auth: Auth, request: &Request) -> Result<(), Problem> {
    match request.route.as_str() {
        "GET /health" | "GET /openapi.json" | "OPTIONS /{proxy+}" | "$default" => Ok(()),
        route if route.starts_with("GET ") => require(auth, request, &[READ]),
        _ => require(auth, request, &[WRITE]),
    }
}

/// The answer to a browser that asks what a page of another origin may send. The gateway adds the answer itself as headers; it
/// is the ok status that has to come from here.
fn preflight() -> Response {
    Response { status: 204, headers: Vec::new(), body: Value::Null }
}

/// An order that orders has accepted, now or for an earlier request with the same key.
struct Accepted {
    order_id: OrderId,
    body: Value,
}

impl Accepted {
    fn read(body: Value) -> Result<Self, Failure> {
        let id = body["order_id"].as_str().and_then(|id| id.parse().ok());
        let order_id = id.ok_or_else(|| Failure::Poison("a remembered answer has no order".into()))?;
        Ok(Self { order_id, body })
    }

    /// The answer while the order is underway.
    fn pending(&self) -> Response {
        Response::json(202, self.body.clone()).with("retry-after", "1")
    }

    /// The headers that every answer about this order bears.
    fn head(&self, response: Response) -> Response {
        let correlation_id = self.body["correlation_id"].as_str().unwrap_or_default();
        response.with("location", format!("/orders/{}", self.order_id)).with(CORRELATION, correlation_id)
    }
}

/// What a new order depends on.
struct Found {
    known: Option<Item>,
    prices: Vec<Option<Money>>,
    open_for: Option<u32>,
}

impl<S: Store> OrdersApi<S> {
    fn health(&self) -> Response {
        let (version, stage) = (env!("CARGO_PKG_VERSION"), &self.stage);
        Response::json(
            200,
            json!({"status": "healthy", "service": "orders", "stage": stage, "version": version}),
        )
    }

    async fn place(&self, request: &Request) -> Result<Response, Problem> {
        fields::expect_json(request)?;
        let placement = place_order::read(&request.body)?;
        self.check_customer(request, &placement.customer_id)?;
        let key = idempotency::key(request)?;
        let once = key.map(|key| Once::new(key, &placement.customer_id, &request.body));
        let (cause, left) = (self.cause(request), prefer_wait::time_left(request, self.ports.clock.now()));
        let accepted = timeout(left, self.accept(&placement, once.as_ref(), &cause)).await;
        let accepted = accepted.unwrap_or_else(|_| Err(unknown_outcome(once.is_some(), silent())))?;
        let Some(wait) = prefer_wait::wait(request, self.max_wait, self.ports.clock.now()) else {
            return Ok(accepted.head(accepted.pending()));
        };
        // The order is accepted: no failure of the waiting may look as if it were not.
        let outcome = match self.settled(accepted.order_id, wait).await {
            Ok(loaded) => prefer_wait::outcome(accepted.order_id, &loaded).unwrap_or_else(Response::from),
            Err(failure) => {
                let order_id = accepted.order_id.to_string();
                tracing::warn!(order_id, reason = failure.to_string(), "waiting for an order failed");
                accepted.pending()
            }
        };
        Ok(accepted.head(outcome).with("preference-applied", format!("wait={}", wait.as_secs())))
    }

    fn check_customer(&self, request: &Request, customer: &CustomerId) -> Result<(), Problem> {
        match Access::of(self.auth, request)?.includes(customer) {
            true => Ok(()),
            false => Err(Problem::foreign_customer()),
        }
    }

    fn cause(&self, request: &Request) -> Cause {
        Cause::request(self.ports.ids.fresh(), request.correlation_id, request.trace())
    }

    /// Accepts the order, or finds the answer that the same request got before. Of many at the same time the database
    /// accepts one; its rejection of the others holds the row with the answer.
    async fn accept(
        &self,
        placement: &Placement,
        once: Option<&Once>,
        cause: &Cause,
    ) -> Result<Accepted, Problem> {
        let Found { known, prices, open_for } = self.look_up(placement, once).await?;
        let now = self.ports.clock.now();
        if let (Some(once), Some(row)) = (once, known)
            && let Some(body) = once.answer(&row, now)?
        {
            return Ok(Accepted::read(body)?);
        }
        if let Some(seconds) = open_for {
            return Err(prefer_wait::unavailable(seconds));
        }
        let order_id = OrderId(self.ports.ids.fresh());
        let order = placement.price(order_id, &prices)?;
        let body = view::accepted(&order, &cause.correlation_id().to_string());
        let (sealed, key) = self.seal(order_id, placement.address.as_ref())?.unzip();
        let place = Message::Place { order, address: sealed };
        let claim = once.map(|once| once.claim(&body, now));
        let beside = claim.into_iter().chain(key).collect();
        let id = AggregateId::order(order_id);
        let accepted = Accepted { order_id, body };
        match execute_beside::<Saga, S>(&self.ports, &id, place, cause, beside).await {
            Err(failure) => self.look_again(accepted, failure, once).await,
            // Refused: an earlier attempt of this very request has placed it, and its answer was lost.
            Ok(Ok(_)) => Ok(accepted),
            Ok(Err(rejected)) => {
                let row = rejected.current.zip(once);
                let body = row.map(|(row, once)| once.answer(&row, now)).transpose()?.flatten();
                Ok(Accepted::read(body.ok_or_else(Problem::unavailable)?)?)
            }
        }
    }

    /// The address under a key of its own, and the write that keeps the key.
    fn seal(
        &self,
        order: OrderId,
        address: Option<&Address>,
    ) -> Result<Option<(SealedAddress, Write)>, Failure> {
        let Some(address) = address else { return Ok(None) };
        let ids = self.ports.ids.as_ref();
        let key = AddressKey::fresh(ids);
        Ok(Some((key.seal(order, address, ids)?, key.kept(order))))
    }

    /// Looks whether an order was placed by a commit that failed: one without an answer may have been made. One that only met
    /// conflicts was not made, but perhaps the same request beside it was, which then has the answer.
    async fn look_again(
        &self,
        accepted: Accepted,
        failure: Failure,
        once: Option<&Once>,
    ) -> Result<Accepted, Problem> {
        let order = load::<Saga, S>(&self.ports.store, &AggregateId::order(accepted.order_id)).await;
        if order.is_ok_and(|order| order.version > 0) {
            let (order_id, reason) = (accepted.order_id.to_string(), failure.to_string());
            tracing::warn!(order_id, reason, "an order was placed by a commit that failed");
            return Ok(accepted);
        }
        // A transaction that cannot be made was not made.
        if matches!(failure, Failure::Poison(_)) {
            return Err(failure.into());
        }
        // Not there yet says nothing: the transaction may still be on its way.
        let unknown = unknown_outcome(once.is_some(), failure);
        match once {
            Some(once) => self.placed_under(once).await?.ok_or(unknown),
            None => Err(unknown),
        }
    }

    /// What the same request was answered before; none too when the table does not say.
    async fn placed_under(&self, once: &Once) -> Result<Option<Accepted>, Problem> {
        let Ok(Some(row)) = self.ports.store.load(once.row()).await else { return Ok(None) };
        let body = once.answer(&row, self.ports.clock.now())?;
        Ok(body.map(Accepted::read).transpose()?)
    }

    /// The price of each product, the breaker's view and the row of the key, in one read.
    async fn look_up(&self, placement: &Placement, once: Option<&Once>) -> Result<Found, Failure> {
        let mut keys: Vec<_> = placement.products().iter().map(prices::key).collect();
        keys.push(admission::key());
        keys.extend(once.map(|once| once.row().clone()));
        let mut rows = self.ports.store.load_many(&keys).await?;
        let known = if once.is_some() { rows.pop().flatten() } else { None };
        let now = self.ports.clock.now();
        let open_for = rows.pop().flatten().and_then(|view| admission::open_for(&view, now));
        let prices = rows.iter().map(|row| row.as_ref().map(prices::price).transpose());
        Ok(Found { known, prices: prices.collect::<Result<_, _>>()?, open_for })
    }

    async fn cancel(&self, request: &Request) -> Result<Response, Problem> {
        let cause = self.cause(request);
        let (id, _) = self.find(request).await?;
        let accepted = |status: &str| {
            let body = json!({"order_id": id, "status": status, "correlation_id": cause.correlation_id()});
            Response::json(202, body).with("location", format!("/orders/{id}")).with("retry-after", "1")
        };
        let executed =
            execute::<Saga, S>(&self.ports, &AggregateId::order(id), Message::Cancel, &cause).await?;
        match executed {
            Executed::Done(_) | Executed::Unchanged(_) => Ok(accepted("CANCELLING")),
            // Cancelled twice is cancelled once: the order is on its way out, or already there.
            Executed::Refused(Refusal::Stale(_), order) => Ok(accepted(order.state.status().as_str())),
            Executed::Refused(Refusal::Illegal(_) | Refusal::Contradicted(_), order) => {
                Err(too_late(id, &order))
            }
        }
    }

    /// The order that a request names, if there is one and the caller may see it: for all others it does not exist.
    async fn find(&self, request: &Request) -> Result<(OrderId, Loaded<Saga>), Problem> {
        let access = Access::of(self.auth, request)?;
        let unknown = || Problem::not_found("no such order");
        // An id that is not one of ours is simply not an order.
        let text = request.parameter("id");
        let id: OrderId = text.parse().map_err(|_| unknown())?;
        // One order, one address: other spellings of its id are not it.
        if id.to_string() != text {
            return Err(unknown());
        }
        let order: Loaded<Saga> = load(&self.ports.store, &AggregateId::order(id)).await?;
        let customer = order.state.event().map(|OrderCreated { customer_id, .. }| customer_id);
        if customer.is_some_and(|customer| access.includes(customer)) {
            Ok((id, order))
        } else {
            Err(unknown())
        }
    }

    /// The order once it has an outcome, or as it stands when the wait is over.
    async fn settled(&self, id: OrderId, wait: Duration) -> Result<Loaded<Saga>, Failure> {
        let bounded = timeout(wait.saturating_add(prefer_wait::LAST_LOOK), self.watch(id, wait));
        bounded.await.unwrap_or_else(|_| Err(silent()))
    }

    async fn watch(&self, id: OrderId, wait: Duration) -> Result<Loaded<Saga>, Failure> {
        let (deadline, mut pause) = (Instant::now() + wait, FIRST_PAUSE);
        loop {
            let loaded: Loaded<Saga> = load(&self.ports.store, &AggregateId::order(id)).await?;
            if !prefer_wait::is_underway(&loaded.state) || Instant::now() >= deadline {
                return Ok(loaded);
            }
            sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// The table did not answer in the time that was left.
fn silent() -> Failure {
    Failure::Transient("the table did not answer in time".into())
}

/// The answer when it cannot be found out whether the order was placed.
fn unknown_outcome(has_key: bool, failure: Failure) -> Problem {
    let detail = match has_key {
        true => "the order may have been taken; repeat it under the same Idempotency-Key",
        false => "the order may have been taken; look for it before you repeat it: it has no Idempotency-Key",
    };
    let problem = Problem::new(503, "OUTCOME_UNKNOWN", detail).saying("retry-after", "1");
    Problem { failure: Some(Box::new(failure)), ..problem }
}

fn too_late(id: OrderId, order: &Loaded<Saga>) -> Problem {
    let status = order.state.status().as_str();
    Problem::new(409, "NOT_CANCELLABLE", format!("the order is {status} and can no longer be cancelled"))
        .with("order_id", json!(id))
        .with("order_status", status.into())
}
