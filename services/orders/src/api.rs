//! `POST /orders`, `GET /orders/{id}` and `GET /health`.

use crate::placing;
use crate::prices;
use crate::reactor::Tracker;
use crate::tracker::{self, Message, Order};
use crate::view;
use chassis::http::{Api, Problem, Request, Response};
use chassis::reaction::{Loaded, load, writes};
use chassis::telling::Cause;
use chassis::{CommitError, Failure, Ports, Store};
use events::orders::OrderCreated;
use events::{Money, OrderId};
use serde_json::json;

/// Orders' part of the HTTP API.
pub struct OrdersApi<S> {
    /// The ports.
    pub ports: Ports<S>,
    /// The stage, shown by `GET /health`.
    pub stage: String,
}

impl<S: Store> Api for OrdersApi<S> {
    const ROUTES: &'static [&'static str] = &["POST /orders", "GET /orders/{id}", "GET /health"];

    async fn answer(&self, request: Request) -> Result<Response, Problem> {
        match request.route.as_str() {
            "POST /orders" => self.place(&request).await,
            "GET /orders/{id}" => self.show(request.parameter("id")).await,
            "GET /health" => Ok(self.health()),
            _ => Err(Problem::not_found("no such route")),
        }
    }
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
        let placement = placing::read(&request.body)?;
        let prices = self.prices(&placement).await?;
        let placed = placement.price(OrderId(self.ports.ids.fresh()), &prices)?;
        let cause = self.cause(request);
        let message = Message::Place { order: placed.clone(), address: placement.address };
        self.commit(&placed, &message, &cause).await?;
        let correlation_id = cause.correlation_id.to_string();
        Ok(Response::json(202, view::accepted(&placed, &correlation_id))
            .with("location", format!("/orders/{}", placed.order_id))
            .with("x-correlation-id", correlation_id)
            .with("retry-after", "1"))
    }

    async fn prices(&self, placement: &placing::Placement) -> Result<Vec<Option<Money>>, Failure> {
        let keys: Vec<_> = placement.products().iter().map(prices::key).collect();
        let rows = self.ports.store.load_many(&keys).await?;
        rows.iter().map(|row| row.as_ref().map(prices::price).transpose()).collect()
    }

    fn cause(&self, request: &Request) -> Cause {
        let traceparent = request.header("traceparent").filter(|text| is_traceparent(text));
        Cause::request(self.ports.ids.fresh(), self.ports.ids.fresh(), traceparent.map(str::to_owned))
    }

    /// The order's row and its first event row, together or not at all.
    async fn commit(&self, placed: &OrderCreated, message: &Message, cause: &Cause) -> Result<(), Problem> {
        let now = self.ports.clock.now();
        let subject = placed.order_id.to_string();
        let pk = format!("order#{subject}");
        let nothing = Loaded::<Order>::default();
        let facts = tracker::decide(&nothing.state, message, now)
            .map_err(|refusal| Failure::Poison(refusal.to_string()))?;
        let (_, writes) = writes::<Tracker>(&nothing, &facts, (&pk, &subject), (cause, now))?;
        self.ports.store.commit(writes).await.map_err(|error| match error {
            CommitError::Failed(failure) => failure.into(),
            // The order's id is fresh: nobody else can be at its rows.
            other => Problem::from(Failure::Transient(other.to_string())),
        })
    }

    async fn show(&self, id: &str) -> Result<Response, Problem> {
        let unknown = || Problem::not_found("no such order");
        // An id that is not one of ours is simply not an order.
        let id: OrderId = id.parse().map_err(|_| unknown())?;
        let pk = format!("order#{id}");
        let order: Loaded<Order> = load(&self.ports.store, &pk).await?;
        if order.state.created.is_none() {
            return Err(unknown());
        }
        Ok(Response::json(200, view::order(id, &order.state)?))
    }
}

/// `00-<32 hex>-<16 hex>-<2 hex>`: <https://www.w3.org/TR/trace-context/#traceparent-header>.
fn is_traceparent(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    let legal = |c: u8| c == b'-' || matches!(c, b'0'..=b'9' | b'a'..=b'f');
    lengths.eq([2, 32, 16, 2]) && text.bytes().all(legal) && text.starts_with("00")
}
