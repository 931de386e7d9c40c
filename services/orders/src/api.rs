//! Orders' part of the HTTP API: taking, cancelling and waiting for orders. What only reads lives in `reading`.

use crate::idempotency::{self, Once};
use crate::placing::{self, Placement};
use crate::reactor::Tracker;
use crate::tracker::{self, Message, Order};
use crate::{admission, prices};
use crate::{view, waiting};
use chassis::access::{Access, Auth};
use chassis::cursor::Cursors;
use chassis::fields;
use chassis::http::{Api, CORRELATION, Problem, Request, Response};
use chassis::reaction::{Loaded, MAX_ATTEMPTS, apply, load, writes};
use chassis::telling::Cause;
use chassis::{CommitError, Failure, Item, Ports, Refusal, Store};
use events::orders::OrderCreated;
use events::{CustomerId, Money, OrderId};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The first and the longest pause between two looks at an order that somebody waits for.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

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
        "$default",
    ];

    async fn answer(&self, request: Request) -> Result<Response, Problem> {
        match request.route.as_str() {
            "POST /orders" => self.place(&request).await,
            "GET /orders" => self.list(&request).await,
            "GET /orders/{id}" => self.show(&request).await,
            "GET /orders/{id}/events" => self.events(&request).await,
            "GET /orders/{id}/saga" => self.saga(&request).await,
            "POST /orders/{id}/cancel" => self.cancel(&request).await,
            "GET /health" => Ok(self.health()),
            "GET /openapi.json" => crate::openapi::document(),
            _ => Err(crate::openapi::no_such_route(&request)),
        }
    }
}

/// An order that was taken, now or by an earlier request with the same key.
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
    closed_for: Option<u32>,
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
        let placement = placing::read(&request.body)?;
        self.check_customer(request, &placement.customer_id)?;
        let key = idempotency::key(request)?;
        let once = key.map(|key| Once::new(key, &placement.customer_id, &request.body));
        let accepted = self.accept(&placement, once.as_ref(), &self.cause(request)).await?;
        let Some(wait) = waiting::wish(request) else {
            return Ok(accepted.head(Response::json(202, accepted.body.clone()).with("retry-after", "1")));
        };
        // The order is taken: whatever happens to the waiting, it must not look as if it were not.
        let outcome = match self.settled(accepted.order_id, wait).await {
            Ok(loaded) => waiting::outcome(accepted.order_id, &loaded).unwrap_or_else(Response::from),
            Err(_) => Response::json(202, accepted.body.clone()).with("retry-after", "1"),
        };
        Ok(accepted.head(outcome).with("preference-applied", format!("wait={}", wait.as_secs())))
    }

    fn check_customer(&self, request: &Request, customer: &CustomerId) -> Result<(), Problem> {
        match Access::of(self.auth, request)?.includes(customer) {
            true => Ok(()),
            false => Err(Problem::new(403, "FORBIDDEN", "the token stands for another customer")),
        }
    }

    fn cause(&self, request: &Request) -> Cause {
        let traceparent = request.header("traceparent").filter(|text| is_traceparent(text));
        Cause::request(self.ports.ids.fresh(), request.correlation_id, traceparent.map(str::to_owned))
    }

    /// Takes the order, or finds the answer that the same request got before. Of many at the same time the
    /// database lets one through; the others come back here and find its answer.
    async fn accept(
        &self,
        placement: &Placement,
        once: Option<&Once>,
        cause: &Cause,
    ) -> Result<Accepted, Problem> {
        let order_id = OrderId(self.ports.ids.fresh());
        for attempt in 0..MAX_ATTEMPTS {
            let Found { known, prices, closed_for } = self.look_up(placement, once).await?;
            if let (Some(once), Some(row)) = (once, known)
                && let Some(body) = once.answer(&row, self.ports.clock.now())?
            {
                return Ok(Accepted::read(body)?);
            }
            if let Some(seconds) = closed_for {
                return Err(waiting::unavailable(seconds));
            }
            let placed = placement.price(order_id, &prices)?;
            let body = view::accepted(&placed, &cause.correlation_id.to_string());
            match self.commit(&placed, placement, (once, &body), cause).await {
                Ok(()) => return Ok(Accepted { order_id, body }),
                Err(CommitError::Rejected(_) | CommitError::Busy(_)) => self.ports.back_off(attempt).await,
                Err(CommitError::Failed(failure)) => return Err(failure.into()),
            }
        }
        Err(Failure::Conflict { attempts: MAX_ATTEMPTS }.into())
    }

    /// The price of each product, the breaker's view and the row of the key, in one read.
    async fn look_up(&self, placement: &Placement, once: Option<&Once>) -> Result<Found, Failure> {
        let mut keys: Vec<_> = placement.products().iter().map(prices::key).collect();
        keys.push(admission::key());
        keys.extend(once.map(|once| once.row().clone()));
        let mut rows = self.ports.store.load_many(&keys).await?;
        let known = if once.is_some() { rows.pop().flatten() } else { None };
        let now = self.ports.clock.now();
        let closed_for = rows.pop().flatten().and_then(|view| admission::closed_for(&view, now));
        let prices = rows.iter().map(|row| row.as_ref().map(prices::price).transpose());
        Ok(Found { known, prices: prices.collect::<Result<_, _>>()?, closed_for })
    }

    /// The order's row, its first event rows and the key's row, together or not at all.
    async fn commit(
        &self,
        placed: &OrderCreated,
        placement: &Placement,
        (once, answer): (Option<&Once>, &Value),
        cause: &Cause,
    ) -> Result<(), CommitError> {
        let message = Message::Place { order: placed.clone(), address: placement.address.clone() };
        let (nothing, now) = (Loaded::<Order>::default(), self.ports.clock.now());
        // An order that is made of nothing can always be placed.
        let facts = tracker::decide(&nothing.state, &message, now)
            .map_err(|refusal| Failure::Poison(refusal.to_string()))?;
        let (pk, subject) = (partition(placed.order_id), placed.order_id.to_string());
        let (_, mut all) = writes::<Tracker>(&nothing, &facts, (&pk, &subject), (cause, now))?;
        all.extend(once.map(|once| once.claim(answer, now)));
        self.ports.store.commit(all).await
    }

    async fn cancel(&self, request: &Request) -> Result<Response, Problem> {
        let cause = self.cause(request);
        let (id, _) = self.find(request).await?;
        let accepted = |status: &str| {
            let body = json!({"order_id": id, "status": status, "correlation_id": cause.correlation_id});
            Response::json(202, body).with("location", format!("/orders/{id}")).with("retry-after", "1")
        };
        let (pk, subject) = (partition(id), id.to_string());
        let applied = apply::<Tracker, S>(&self.ports, (&pk, &subject), &Message::Cancel, &cause).await?;
        let Err(refusal) = applied else { return Ok(accepted("CANCELLING")) };
        // Why not is a matter of how it stands now, which may be another than before.
        let (_, order) = self.find(request).await?;
        match refusal {
            // Asked for twice is asked for once: the order is on its way out, or already there.
            Refusal::Stale(_) => Ok(accepted(order.state.status().as_str())),
            Refusal::Illegal(_) => Err(too_late(id, &order)),
        }
    }

    /// The order that a request names, if there is one and the caller may see it: to everybody else it does not
    /// exist.
    pub(crate) async fn find(&self, request: &Request) -> Result<(OrderId, Loaded<Order>), Problem> {
        let access = Access::of(self.auth, request)?;
        let unknown = || Problem::not_found("no such order");
        // An id that is not one of ours is simply not an order.
        let text = request.parameter("id");
        let id: OrderId = text.parse().map_err(|_| unknown())?;
        // One order, one address: other spellings of its id are not it.
        if id.to_string() != text {
            return Err(unknown());
        }
        let order: Loaded<Order> = load(&self.ports.store, &partition(id)).await?;
        let customer = order.state.created.as_ref().map(|created| &created.what.customer_id);
        if customer.is_some_and(|customer| access.includes(customer)) {
            Ok((id, order))
        } else {
            Err(unknown())
        }
    }

    /// The order once it has an outcome, or as it stands when the wait is over.
    pub(crate) async fn settled(&self, id: OrderId, wait: Duration) -> Result<Loaded<Order>, Failure> {
        let deadline = Instant::now() + wait;
        let (mut pause, longest) = PAUSES;
        loop {
            let loaded: Loaded<Order> = load(&self.ports.store, &partition(id)).await?;
            if !waiting::is_underway(&loaded.state) || Instant::now() >= deadline {
                return Ok(loaded);
            }
            sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
            pause = (pause * 2).min(longest);
        }
    }
}

/// Where an order's rows lie.
pub(crate) fn partition(id: OrderId) -> String {
    format!("order#{id}")
}

fn too_late(id: OrderId, order: &Loaded<Order>) -> Problem {
    let status = order.state.status().as_str();
    Problem::new(409, "NOT_CANCELLABLE", format!("the order is {status} and can no longer be cancelled"))
        .with("order_id", json!(id))
        .with("order_status", status.into())
}

/// `00-<32 hex>-<16 hex>-<2 hex>`: <https://www.w3.org/TR/trace-context/#traceparent-header>.
fn is_traceparent(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    let legal = |c: u8| c == b'-' || matches!(c, b'0'..=b'9' | b'a'..=b'f');
    lengths.eq([2, 32, 16, 2]) && text.bytes().all(legal) && text.starts_with("00")
}
