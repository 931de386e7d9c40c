//! The audit: whether the tables of a stage agree with the events, and with each other. It only reads.
//!
//! Each subject (an order, a product, a customer) is read as a whole, from every table that knows it, and is forgotten again;
//! only sums of products stay. What differs is read once more after a pause, so that work in progress is no difference.

mod dead;
mod delivery;
mod gathered;
mod orders;
mod rows;
mod stock;
mod subject;
mod walk;

use chassis::Failure;
use chassis::audit::{Audited, Kind};
use chassis::ports::{Clock, SystemClock};
use chassis::store::{AggregateId, Key, Scan};
use chrono::{DateTime, TimeDelta, Utc};
use events::{EventId, OrderId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

pub use dead::DeadEvents;

/// How long to wait before what differs is read again.
const PAUSE: Duration = Duration::from_secs(2);

macro_rules! audited {
    ($($service:ident,)*) => {
        /// What each service lets an audit see.
        const AUDITED: &[(&str, &Audited)] =
            &[$((stringify!($service), &registry::$service::reactor::AUDITED)),*];
    };
}

registry::for_each_service!(audited);

/// Whose table has every subject of a kind: the others learned of it by events.
const OWNERS: &[(&str, &str)] = &[("order", "orders"), ("product", "inventory"), ("breaker", "payments")];

/// A service's table.
pub struct Table<S> {
    /// Its service.
    pub service: &'static str,
    audited: &'static Audited,
    store: S,
}

impl<S> Table<S> {
    fn kind(&self, pk: &str) -> Option<&'static Kind> {
        self.audited.kinds.iter().find(|kind| kind.name == kind_of(pk))
    }

    /// Whether it has rows about this kind of subject.
    fn knows(&self, kind: &str) -> bool {
        self.audited.kinds.iter().any(|known| known.name == kind)
            || self.audited.views.iter().any(|view| view.name == kind)
    }
}

/// `order` of `order#018f…`
fn kind_of(pk: &str) -> &str {
    pk.split_once('#').map_or(pk, |(kind, _)| kind)
}

/// The audit of a stage.
pub struct Audit<S> {
    tables: Vec<Table<S>>,
    /// How old an event has to be to count as one that should have arrived.
    grace: TimeDelta,
    /// None: the provider was not asked.
    book: Option<Book>,
    clock: Arc<dyn Clock>,
}

/// What the provider captured and gave back, by order.
#[derive(Clone, Debug)]
pub struct Book {
    /// What it says of each order.
    pub orders: BTreeMap<String, Money>,
    /// When it was read: of orders that went on afterwards it says too little.
    pub read_at: DateTime<Utc>,
}

/// What the provider's book says of an order, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Money {
    /// How often it captured.
    pub captures: u32,
    /// What it captured.
    pub captured: u64,
    /// What it gave back.
    pub refunded: u64,
}

/// What is audited.
#[derive(Clone, Copy, Debug)]
pub enum Scope {
    /// Everything; or the subjects whose state changed since, and then no sums.
    All(Option<DateTime<Utc>>),
    /// One order.
    Order(OrderId),
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// The service whose table it is in.
    pub table: &'static str,
    /// The row.
    pub key: String,
    /// Both sides of it.
    pub what: String,
    /// The command that mends it, or why a person is needed.
    pub mend: String,
    /// The event that a consumer never got.
    #[serde(skip)]
    lost: Option<Lost>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lost {
    consumer: &'static str,
    event: EventId,
    subject: String,
}

/// What only a person can decide.
const BACKUP: &str = "needs a person: compare the row with a backup of the table";

impl Difference {
    fn new(table: &'static str, key: &Key, what: impl Into<String>) -> Self {
        Self { table, key: key.to_string(), what: what.into(), mend: BACKUP.into(), lost: None }
    }

    fn mended_by(self, mend: impl Into<String>) -> Self {
        Self { mend: mend.into(), ..self }
    }
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Orders, products, customers, messages.
    pub subjects: u64,
    /// Events that services published about them.
    pub events: u64,
    /// State and event rows without a digest: written before rows had one.
    pub without_digest: u64,
    /// Deliveries that failed a moment ago, and will be tried again.
    pub being_tried: u64,
    /// Products that moved while they were added up, and so were not compared.
    pub moving_products: u64,
}

/// What an audit found.
#[derive(Debug, Default)]
pub struct Found {
    /// How much was read.
    pub counts: Counts,
    /// What differs.
    pub differences: BTreeSet<Difference>,
}

/// What differs at first sight, and has to be looked at again.
type Suspects = BTreeMap<(usize, String), BTreeSet<Difference>>;

impl<S: Scan> Audit<S> {
    /// An audit of a stage whose tables are opened by the names of their services.
    pub fn new(open: impl Fn(&str) -> S, grace: TimeDelta) -> Self {
        let tables =
            AUDITED.iter().map(|(service, audited)| Table { service, audited, store: open(service) });
        Self { tables: tables.collect(), grace, book: None, clock: Arc::new(SystemClock) }
    }

    /// Compares with the provider's book too.
    #[must_use]
    pub fn with_book(self, book: Book) -> Self {
        Self { book: Some(book), ..self }
    }

    /// Goes by this clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Audits; `progress` hears how far it has come.
    ///
    /// # Errors
    /// A [`Failure`] when a table does not answer.
    pub async fn run(&self, scope: Scope, progress: impl Fn(&Counts)) -> Result<Found, Failure> {
        let mut found = Found::default();
        let suspects = match scope {
            Scope::Order(order) => {
                let pk = AggregateId::order(order).pk;
                let differences = self.subject(&pk, &mut found.counts).await?;
                Suspects::from([((self.place_of(&pk), pk), differences)])
            }
            Scope::All(since) => self.walk(since, &mut found.counts, progress).await?,
        };
        self.look_again(suspects, &mut found).await?;
        if matches!(scope, Scope::All(None)) {
            let (differences, moving) = self.stock(self.pause()).await?;
            found.differences.extend(differences);
            found.counts.moving_products = moving;
        }
        Ok(found)
    }

    /// Without a grace period nothing is expected to be underway.
    fn pause(&self) -> Duration {
        if self.grace.is_zero() { Duration::ZERO } else { PAUSE }
    }

    /// Keeps of what differs what differs in the same way after a pause.
    async fn look_again(&self, suspects: Suspects, found: &mut Found) -> Result<(), Failure> {
        if suspects.values().any(|differences| !differences.is_empty()) {
            sleep(self.pause()).await;
        }
        for ((place, pk), before) in suspects.into_iter().filter(|(_, before)| !before.is_empty()) {
            let again = self.at(place, &pk, &mut Counts::default()).await?;
            found.differences.extend(before.intersection(&again).cloned());
        }
        Ok(())
    }

    /// What differs in a subject, from the table that it was met in.
    async fn at(&self, place: usize, pk: &str, counts: &mut Counts) -> Result<BTreeSet<Difference>, Failure> {
        match self.tables.get(place) {
            Some(table) if owner(pk).is_none() => {
                let rows = chassis::store::every_row(&table.store, pk, "").await?;
                self.alone(table, &[(pk.to_owned(), rows)], counts)
                    .await
                    .map(|mut found| found.remove(pk).unwrap_or_default())
            }
            _ => self.subject(pk, counts).await,
        }
    }

    fn table(&self, service: &str) -> Option<&Table<S>> {
        self.tables.iter().find(|table| table.service == service)
    }

    /// The place of the table that owns a subject.
    fn place_of(&self, pk: &str) -> usize {
        let owner = owner(pk).unwrap_or_default();
        self.tables.iter().position(|table| table.service == owner).unwrap_or_default()
    }
}

fn owner(pk: &str) -> Option<&'static str> {
    OWNERS.iter().find(|(kind, _)| *kind == kind_of(pk)).map(|(_, owner)| *owner)
}
