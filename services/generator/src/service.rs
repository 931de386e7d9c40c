//! A service as it is asked for, with every name checked.

use crate::answer::{Answer, answers};
use crate::catalogue::{self, Known, check_new, known};
use crate::names::{check_event, check_service};
use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::path::Path;

/// A new service.
pub struct Service {
    /// `fraud`
    pub name: String,
    /// What it knows something about.
    pub subject: Subject,
    /// What it consumes, in the order of the dance.
    pub consumed: Vec<Known>,
    /// What it publishes, as it was asked for.
    pub produced: Vec<String>,
    /// What it does with each event that it consumes.
    pub answers: Vec<Answer>,
}

/// What a service's events are about.
pub struct Subject {
    /// `order`
    pub noun: String,
    /// The field that names it, `order_id`.
    pub id: String,
    /// The field's type, `OrderId`.
    pub id_type: &'static str,
    /// One for specs.
    pub sample: &'static str,
}

impl Subject {
    fn named_by(id: &str) -> Self {
        let (id_type, sample) = match id {
            "order_id" => ("OrderId", "OrderId(Uuid::from_u128(1))"),
            "payment_id" => ("PaymentId", "PaymentId(Uuid::from_u128(1))"),
            "product_id" => ("ProductId", "\"beans\".parse().unwrap()"),
            "customer_id" => ("CustomerId", "\"ada\".parse().unwrap()"),
            _ => ("String", "\"one\".to_owned()"),
        };
        let noun = id.strip_suffix("_id").unwrap_or(id).to_owned();
        Self { noun, id: id.to_owned(), id_type, sample }
    }

    /// Whether an id is as small as a number, and copied like one.
    pub fn is_uuid(&self) -> bool {
        ["OrderId", "PaymentId"].contains(&self.id_type)
    }
}

impl Service {
    /// The service of these names.
    ///
    /// # Errors
    /// A line that says which name does not do, and why.
    pub fn of(root: &Path, name: &str, consumes: &[String], produces: &[String]) -> Result<Self> {
        check_service(root, name)?;
        for kind in consumes.iter().chain(produces) {
            let times = consumes.iter().chain(produces).filter(|other| *other == kind).count();
            ensure!(times == 1, "{kind}: is named {times} times");
        }
        let consumed: Vec<Known> = consumes.iter().map(|kind| known(root, kind)).collect::<Result<_>>()?;
        for kind in produces {
            check_event(name, kind)?;
            check_new(kind)?;
        }
        let ids: BTreeSet<&str> = consumed.iter().map(|event| event.id.as_str()).collect();
        let about: Vec<String> = consumed.iter().map(|e| format!("{} has {}", e.kind, e.id)).collect();
        ensure!(
            ids.len() == 1,
            "what a service consumes is all about one thing, for one row of its table: {}; consume the others in a \
             service of their own",
            about.join(", ")
        );
        let subject = Subject::named_by(ids.first().copied().unwrap_or_default());
        let answers = answers(consumed.clone(), produces);
        let consumed = answers.iter().map(|answer| answer.event.clone()).collect();
        Ok(Self { name: name.to_owned(), subject, consumed, produced: produces.to_vec(), answers })
    }

    /// Whether any event is its own: one that has none needs no way out of its table.
    pub fn publishes(&self) -> bool {
        !self.produced.is_empty()
    }

    /// `consumes order.created, publishes fraud.cleared`
    pub fn summary(&self) -> String {
        let consumed: Vec<&str> = self.consumed.iter().map(|event| event.kind.as_str()).collect();
        let produced = if self.publishes() { self.produced.join(" and ") } else { "nothing".to_owned() };
        format!("consumes {}, publishes {produced}", consumed.join(" and "))
    }

    /// What its author is to do next.
    pub fn what_is_left(&self) -> String {
        let (name, Subject { noun, id, .. }) = (&self.name, &self.subject);
        let first = self.produced.first().map(String::as_str).unwrap_or_default();
        let mut files = vec![
            (format!("services/{name}/src/subscriptions.rs"), "what it reads of the others' events".into()),
            (format!("services/{name}/src/{noun}.rs"), "what it knows and decides, with its specs".into()),
        ];
        if self.publishes() {
            let events = format!("what its events say, beside the {id}");
            files.insert(0, (format!("events/src/{name}.rs"), events));
            let audience = "who its events are for, instead of \"nobody yet\"";
            files.push((catalogue::CATALOGUE.into(), audience.into()));
            files.push((format!("contracts/{first}/v1.examples.json"), "better examples".into()));
        }
        let width = files.iter().map(|(file, _)| file.len()).max().unwrap_or_default();
        let lines = files.iter().map(|(file, what)| format!("  {file:width$}  {what}\n"));
        format!(
            "\n{name} {}. It builds, passes every test, and runs under `cargo dev`. Fill in:\n\n{}\n\
             Then: cargo test -p {name}, just bless, cargo test, cargo dev\n",
            self.summary(),
            lines.collect::<String>()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, consumes: &[&str], produces: &[&str]) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let owned = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        match Service::of(&root, name, &owned(consumes), &owned(produces)) {
            Ok(service) => panic!("{} was accepted", service.name),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_does_not_do_is_said_in_a_line() {
        for (said, why) in [
            (refused("rewards", &["order.created"], &["rewards.given"]), "rewards: there is a service"),
            (refused("nobody", &["order.creatd"], &["nobody.seen"]), "order.creatd: no service publishes it"),
            (refused("nobody", &["order.created"], &["nobody.see"]), "nobody.<past tense>"),
            (refused("payment", &["order.created"], &["payment.charged"]), "payments publishes it already"),
            (refused("nobody", &["order.created", "order.created"], &["nobody.seen"]), "is named 2 times"),
            (refused("nobody", &["order.created", "product.listed"], &["nobody.seen"]), "has product_id"),
        ] {
            assert!(said.contains(why) && !said.contains('\n'), "{said}");
        }
    }
}
