//! Who calls the services from outside: customers, the shop's clerk, and the operator.

use super::{Table, World};
use crate::outside::{MemoryBus, MemoryProvider};
use chassis::http::access::Auth;
use chassis::http::cursor::Cursors;
use chassis::http::{Api, Request, Response};
use chassis::task::Task;
use events::Currency;
use inventory::api::ProductsApi;
use orders::http::OrdersApi;
use orders::sweeper::{Input, Sweeper};
use payments::api::CustomersApi;
use serde_json::{Value, json};
use std::time::Duration;

impl World {
    /// Inventory's HTTP API.
    pub fn products(&self) -> ProductsApi<Table> {
        ProductsApi { ports: self.of("inventory").clone(), currency: Currency::USD, auth: Auth::Off }
    }

    /// Payments' HTTP API, open to everybody.
    pub fn customers(&self) -> CustomersApi<MemoryProvider, Table> {
        CustomersApi { ports: self.of("payments").clone(), circuit: self.circuit(), auth: Auth::Off }
    }

    /// Orders' HTTP API, open to everybody.
    pub fn api(&self) -> OrdersApi<Table> {
        let cursors = Cursors::new("test").unwrap();
        let (stage, max_wait) = ("test".to_owned(), Duration::from_secs(10));
        OrdersApi { ports: self.of("orders").clone(), stage, auth: Auth::Off, cursors, max_wait }
    }

    /// Calls a route of either API.
    pub(super) async fn answer(&self, route: &str, id: &str, body: &Value) -> Response {
        self.answer_with(route, id, body, None).await
    }

    async fn answer_with(&self, route: &str, id: &str, body: &Value, etag: Option<&str>) -> Response {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let path = [("id".to_owned(), id.to_owned())].into();
        let headers = etag.map(|etag| ("if-match".to_owned(), etag.to_owned())).into_iter().collect();
        let correlation_id = self.of("orders").ids.fresh();
        let request =
            Request { route: route.to_owned(), path, headers, body, correlation_id, ..Request::default() };
        let answer = match route.contains("products") {
            true => self.products().answer(request).await,
            false => self.api().answer(request).await,
        };
        answer.unwrap_or_else(Response::from)
    }

    /// Lists a product, or counts one that is listed; its events are on their way.
    pub async fn put(&mut self, id: &str, stock: u64, cents: u64) {
        let shown = self.answer("GET /products/{id}", id, &Value::Null).await;
        let etag = shown.headers.iter().find(|(name, _)| *name == "etag").map(|(_, tag)| tag.as_str());
        let body = json!({"name": id, "unit_price_cents": cents, "stock": stock});
        let answer = self.answer_with("PUT /products/{id}", id, &body, etag).await;
        assert!(answer.status < 300, "listing {id}: {} {}", answer.status, answer.body);
        self.publish();
    }

    /// Lists a product at 100, and delivers its price.
    pub async fn list(&mut self, id: &str, stock: u64) {
        self.put(id, stock, 100).await;
        while let Some((service, envelope)) = self.pending.pop() {
            self.deliver(service, &envelope).await.unwrap();
        }
    }

    /// Reminds every step that is overdue.
    pub async fn remind(&mut self) -> Value {
        self.remind_ahead(0).await
    }

    /// Reminds every step that will be overdue in so many seconds.
    pub async fn remind_ahead(&mut self, ahead_seconds: u32) -> Value {
        let swept = self.sweeper().run(Input { ahead_seconds, cancel: None }).await.unwrap();
        self.publish();
        swept
    }

    /// Whether a sweep fails.
    pub async fn sweep_fails(&mut self) -> bool {
        let swept = self.sweeper().run(Input::default()).await;
        self.publish();
        swept.is_err()
    }

    fn sweeper(&self) -> Sweeper<Table, MemoryBus> {
        Sweeper { ports: self.of("orders").clone(), bus: self.bus.clone() }
    }
}
