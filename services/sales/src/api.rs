//! `GET /reports/sales`.

use crate::report::{Period, Report};
use chassis::http::access::{Auth, OPERATE, require};
use chassis::http::fields::{self, Fields};
use chassis::http::{Api, Problem, Request, Response};
use chassis::{Ports, Store};
use chrono::NaiveDate;
use events::Currency;
use std::str::FromStr;

/// The most days of one report.
pub const MAX_DAYS: i64 = 92;
/// The most products that the days of one report may name together: an answer is at most 6 MB.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const MAX_PRODUCTS: usize = 10_000;

/// The API of sales.
pub struct ReportsApi<S> {
    pub ports: Ports<S>,
    /// The stage's currency: the report's, unless the request names another.
    pub currency: Currency,
    /// Whether callers were verified by the gateway.
    pub auth: Auth,
}

impl<S: Store> Api for ReportsApi<S> {
    const ROUTES: &'static [&'static str] = &["GET /reports/sales"];
    const SCOPES: &'static [&'static str] = &[OPERATE];

    async fn answer(&self, request: Request) -> Result<Response, Problem> {
        match request.route.as_str() {
            "GET /reports/sales" => self.sales(&request).await,
            _ => Err(Problem::not_found("no such route")),
        }
    }
}

impl<S: Store> ReportsApi<S> {
    async fn sales(&self, request: &Request) -> Result<Response, Problem> {
        require(self.auth, request, &[OPERATE])?;
        let report = Report::read(&self.ports, self.period(request)?).await?;
        if report.products() > MAX_PRODUCTS {
            let rule = format!("the days name more than {MAX_PRODUCTS} products; ask for fewer");
            return Err(Problem::field("to", "size", rule));
        }
        Ok(Response::json(200, report.json()?))
    }

    fn period(&self, request: &Request) -> Result<Period, Problem> {
        let query = fields::query(request);
        let mut fields = Fields::new(&query);
        let from = fields.parsed::<Day>("from");
        let to = fields.parsed::<Day>("to");
        let currency = match fields.optional("currency") {
            Some(_) => fields.parsed("currency"),
            None => Some(self.currency),
        };
        if let (Some(Day(from)), Some(Day(to))) = (&from, &to) {
            match (*to - *from).num_days() + 1 {
                ..=0 => fields.refuse("to", "range", "must not be before from"),
                1..=MAX_DAYS => {}
                _ => {
                    fields.refuse("to", "range", format!("must be at most {} days after from", MAX_DAYS - 1));
                }
            }
        }
        match (from, to, currency, fields.finish()) {
            (Some(Day(from)), Some(Day(to)), Some(currency), errors) if errors.is_empty() => {
                Ok(Period { from, to, currency })
            }
            (.., errors) => Err(Problem::invalid(&errors)),
        }
    }
}

/// A day in a query, `2026-11-22`.
struct Day(NaiveDate);

impl FromStr for Day {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let day = text.parse::<NaiveDate>().ok().filter(|day| day.to_string() == text);
        day.map(Self).ok_or("must be a day like 2026-11-22")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::http::Caller;
    use chassis::store::MemoryStore;
    use futures_util::FutureExt;

    fn asked(query: &[(&str, &str)], scopes: &[&'static str]) -> Response {
        let api = ReportsApi {
            ports: Ports::system(MemoryStore::default()),
            currency: Currency::USD,
            auth: Auth::Jwt,
        };
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let caller = Some(Caller { customer: "ops".into(), scopes: scopes.to_vec() });
        let request = Request { route: "GET /reports/sales".into(), query, caller, ..Request::default() };
        api.answer(request).now_or_never().unwrap().unwrap_or_else(Response::from)
    }

    /// Guards: each wrong parameter is named with its rule, and a report is bounded.
    #[test]
    fn a_wrong_parameter_is_named() {
        let to = ("to", "2026-11-30");
        for (query, field, rule) in [
            (vec![to], "from", "required"),
            (vec![("from", "2026-11-01")], "to", "required"),
            (vec![("from", "2026-11-1"), to], "from", "format"),
            (vec![("from", "2026-02-30"), to], "from", "format"),
            (vec![("from", "2026-11-01T00:00:00Z"), to], "from", "format"),
            (vec![("from", "2026-12-01"), to], "to", "range"),
            (vec![("from", "2026-08-30"), to], "to", "range"),
            (vec![("from", "2026-11-01"), to, ("currency", "usd")], "currency", "format"),
            (vec![("from", "2026-11-01"), to, ("until", "x")], "until", "unknown"),
        ] {
            let answer = asked(&query, &[OPERATE]);
            let errors = answer.body["errors"].as_array().unwrap();
            assert_eq!((answer.status, errors.len()), (400, 1), "{query:?}");
            assert_eq!((errors[0]["field"].as_str(), errors[0]["rule"].as_str()), (Some(field), Some(rule)));
        }
        for from in ["2026-08-31", "2026-11-30"] {
            assert_eq!(asked(&[("from", from), to], &[OPERATE]).status, 200, "{from}");
        }
    }

    /// Guards: a customer's token shows no report, also where the request came around the gateway.
    #[test]
    fn only_operators_see_it() {
        let query = [("from", "2026-11-01"), ("to", "2026-11-01")];
        assert_eq!(asked(&query, &["orders:read", "orders:write"]).status, 403);
    }
}
