//! The part of the HTTP API that only reads: one order, now or as it was, its events, its saga, and the list of a
//! customer's orders.

use super::{OrdersApi, prefer_wait, saga_view, view};
use crate::reactor::BY_CUSTOMER;
use crate::saga::Saga;
use crate::saga::history::{self, Until};
use chassis::aggregate::read_state;
use chassis::http::access::Access;
use chassis::http::fields::{self, Fields};
use chassis::http::{Problem, Request, Response};
use chassis::store::{EVENTS, INBOX, Indexed, Item, every_row};
use chassis::{AggregateId, Failure, Loaded, Store};
use chrono::{DateTime, Utc};
use events::CustomerId;
use events::orders::OrderCreated;
use serde_json::{Value, json};

/// The most entries of one page.
const MAX_LIMIT: u64 = 100;
/// Entries of a page, unless the request says otherwise.
const LIMIT: u64 = 20;

impl<S: Store> OrdersApi<S> {
    pub(super) async fn show(&self, request: &Request) -> Result<Response, Problem> {
        let until = read_until(request)?;
        let (id, order) = self.find(request).await?;
        if let Some(until) = until {
            let past = history::fold(
                &every_row(&self.ports.store, &AggregateId::order(id).pk, EVENTS).await?,
                until,
            )?;
            existed(&past, until, order.seq)?;
            return Ok(Response::json(200, view::order(id, &past.state, past.seq)?));
        }
        let Some(wait) = prefer_wait::wait(request, self.max_wait, self.ports.clock.now()) else {
            return Ok(Response::json(200, view::order(id, &order.state, order.seq)?));
        };
        let loaded = self.settled(id, wait).await?;
        let outcome = prefer_wait::outcome(id, &loaded).unwrap_or_else(Response::from);
        Ok(outcome.with("preference-applied", format!("wait={}", wait.as_secs())))
    }

    pub(super) async fn saga(&self, request: &Request) -> Result<Response, Problem> {
        no_query(request)?;
        let (id, order) = self.find(request).await?;
        let beside = every_row(&self.ports.store, &AggregateId::order(id).pk, INBOX).await?;
        let deliveries = order.inbox.clone().deliveries(&beside)?;
        Ok(Response::json(200, saga_view::saga(id, &order, deliveries.into_values())))
    }

    pub(super) async fn events(&self, request: &Request) -> Result<Response, Problem> {
        let query = fields::query(request);
        let mut fields = Fields::new(&query);
        let list = format!("events#{}", request.parameter("id"));
        let (limit, after) = self.read_page(&mut fields, &list);
        all_right(fields)?;
        let (id, _) = self.find(request).await?;
        let pk = AggregateId::order(id).pk;
        let mut rows = self.ports.store.page(&pk, EVENTS, after.as_deref(), limit + 1).await?;
        let next = cut(&mut rows, limit).map(|last| self.cursors.seal(&list, &last.key.sk));
        let events = rows.iter().map(view::event).collect::<Result<Vec<Value>, _>>()?;
        Ok(Response::json(200, page_of("events", &events, next)))
    }

    pub(super) async fn list(&self, request: &Request) -> Result<Response, Problem> {
        let access = Access::of(self.auth, request)?;
        let query = fields::query(request);
        let mut fields = Fields::new(&query);
        let customer = read_customer(&mut fields, &access);
        let list = format!("orders#{}", customer.as_ref().map(CustomerId::as_str).unwrap_or_default());
        let (limit, before) = self.read_page(&mut fields, &list);
        all_right(fields)?;
        // Without a customer there was an error above.
        let customer = customer.ok_or_else(|| Problem::field("customer_id", "required", "is required"))?;
        if !access.includes(&customer) {
            return Err(Problem::foreign_customer());
        }
        let store = &self.ports.store;
        let mut found = store.newest(BY_CUSTOMER, customer.as_str(), before.as_deref(), limit + 1).await?;
        let next = cut(&mut found, limit).map(|last| self.cursors.seal(&list, &last.at));
        let orders = self.summaries(&found).await?;
        Ok(Response::json(200, page_of("orders", &orders, next)))
    }

    /// The orders that an index found, as they stand now.
    async fn summaries(&self, found: &[Indexed]) -> Result<Vec<Value>, Failure> {
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = found.iter().map(|row| row.key.clone()).collect();
        let rows = self.ports.store.load_many(&keys).await?;
        let summary = |row: &Item| {
            let order: Loaded<Saga> = read_state(row)?;
            let id = AggregateId::of_partition(&row.key.pk).subject.parse();
            let id = id.map_err(|_| Failure::Poison(format!("{} is not an order", row.key)))?;
            view::summary(id, &order.state)
        };
        rows.iter().flatten().map(summary).collect()
    }

    /// How much of a list is asked for, and from where on.
    fn read_page(&self, fields: &mut Fields<'_>, list: &str) -> (u32, Option<String>) {
        let limit = fields.optional_digits("limit", 1..=MAX_LIMIT).unwrap_or(LIMIT);
        let cursor = fields.optional("cursor").and_then(Value::as_str);
        let position = cursor.and_then(|cursor| match self.cursors.open(list, cursor) {
            Ok(position) => Some(position),
            Err(error) => {
                fields.refuse("cursor", "cursor", error.to_string());
                None
            }
        });
        (u32::try_from(limit).unwrap_or(u32::MAX), position)
    }
}

/// Drops what is beyond the page, and gives the page's last entry if something was.
fn cut<T>(found: &mut Vec<T>, limit: u32) -> Option<&T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    found.last().filter(|_| more)
}

fn page_of(name: &str, entries: &[Value], next: Option<String>) -> Value {
    let mut page = json!({ name: entries });
    if let Some(next) = next {
        page["next_cursor"] = next.into();
    }
    page
}

fn all_right(fields: Fields<'_>) -> Result<(), Problem> {
    let errors = fields.finish();
    if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(&errors)) }
}

fn no_query(request: &Request) -> Result<(), Problem> {
    all_right(Fields::new(&fields::query(request)))
}

/// The customer whose orders are asked for: the caller itself, unless it says otherwise.
fn read_customer(fields: &mut Fields<'_>, access: &Access) -> Option<CustomerId> {
    match access.customer() {
        None => fields.parsed("customer_id"),
        Some(own) if fields.optional("customer_id").is_none() => Some(own.clone()),
        Some(_) => fields.parsed("customer_id"),
    }
}

/// The point in time or history that a request wants to see.
fn read_until(request: &Request) -> Result<Option<Until>, Problem> {
    let query = fields::query(request);
    let mut fields = Fields::new(&query);
    let at = fields.optional("at").and_then(Value::as_str);
    let time = at.and_then(|text| match DateTime::parse_from_rfc3339(text) {
        Ok(time) => Some(time.with_timezone(&Utc)),
        Err(_) => {
            fields.refuse("at", "format", "must be a time like 2026-11-20T09:30:00.125Z (RFC 3339)");
            None
        }
    });
    let version = fields.optional_digits("version", 1..=u64::from(u32::MAX));
    all_right(fields)?;
    let until = Until { time, version };
    Ok((until != Until::default()).then_some(until))
}

/// Whether the order was there yet, and ever came so far.
fn existed(past: &Loaded<Saga>, until: Until, newest: u64) -> Result<(), Problem> {
    match until.version {
        Some(version) if version > newest => {
            Err(Problem::not_found(format!("the order has no version {version} yet")))
        }
        _ if !past.state.knows::<OrderCreated>() => {
            Err(Problem::not_found("there was no such order at that time"))
        }
        _ => Ok(()),
    }
}
