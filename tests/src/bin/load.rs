//! Load on a platform of its own or a running one: open loop by rate or closed loop by concurrency, then I1 and I2 over all orders.

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tests::client::{Client, order_for};
use tests::invariants;
use tests::process::Process;
use tests::profile::{self, Profile};

/// Places orders, follows each to its end, and checks that no money and no stock is lost.
///
/// "confirmed" is when the order's own ORDER_CONFIRMED says it was, on the clock of this machine; "seen" is when
/// the polling client learned of it. A long run has a line for each minute, with p50, p95 and p99 of POST to confirmed. Exits
/// with 1 when an order does not end or an invariant does not hold.
#[derive(Parser)]
#[command(name = "load", version)]
struct Arguments {
    /// Start a platform of its own that keeps its tables here
    #[arg(long, value_enum, default_value_t)]
    on: On,
    /// Use the running platform with this API instead
    #[arg(long, requires = "provider")]
    api: Option<String>,
    /// The running platform's payment simulator, whose book is checked
    #[arg(long, requires = "api")]
    provider: Option<String>,
    /// A token of the running platform, with every scope
    #[arg(long, requires = "api")]
    token: Option<String>,
    /// Closed loop: this many clients, each placing its next order when the last one has ended
    #[arg(long, default_value_t = 8, conflicts_with = "rate", value_parser = count())]
    concurrency: usize,
    /// Open loop: this many orders per second, however they end
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: Option<u32>,
    /// Seconds during which orders are placed
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How many products the orders are spread over
    #[arg(long, default_value_t = 20, value_parser = count())]
    products: usize,
    /// How many customers the orders are spread over; a token without the scope orders:operate has only one
    #[arg(long, default_value_t = 100, value_parser = count())]
    customers: usize,
    /// Show the CPU of each process and the calls of AWS per order, of a platform of its own on Linux
    #[arg(long, conflicts_with = "api")]
    profile: bool,
}

/// Where a platform keeps its tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum On {
    /// In memory
    #[default]
    Memory,
    /// On disk, synced before anything is acknowledged
    Disk,
}

/// Stock of each product: enough for every run.
const STOCK: u64 = 1_000_000;
/// How long an order may take to end.
const TIMEOUT: Duration = Duration::from_secs(60);
/// A long run says this often how it goes: what grows with the tables shows as minutes that become worse.
const MINUTE: Duration = Duration::from_secs(60);

/// What the run has seen.
struct Seen {
    post: Mutex<Vec<Duration>>,
    confirmed: Mutex<Vec<Duration>>,
    end: Mutex<Vec<Duration>>,
    orders: Mutex<Vec<String>>,
    errors: Mutex<Vec<String>>,
    next: AtomicUsize,
    /// The typical time to the confirmation in microseconds: when a first look at an order makes sense.
    typical: AtomicU64,
    bar: ProgressBar,
}

struct Run {
    api: Client,
    provider: Client,
    products: Vec<String>,
    customers: usize,
    seen: Seen,
}

fn push<T>(list: &Mutex<Vec<T>>, value: T) {
    list.lock().unwrap_or_else(PoisonError::into_inner).push(value);
}

fn taken<T>(list: &Mutex<Vec<T>>) -> Vec<T> {
    std::mem::take(&mut *list.lock().unwrap_or_else(PoisonError::into_inner))
}

/// When the order was confirmed, by its own account.
fn confirmed_at(order: &Value) -> Result<DateTime<Utc>> {
    let events = order["events"].as_array().context("no events")?;
    let event = events.iter().find(|event| event["type"] == "ORDER_CONFIRMED").context("not confirmed")?;
    Ok(DateTime::parse_from_rfc3339(event["timestamp"].as_str().unwrap_or_default())?.to_utc())
}

impl Run {
    async fn one(&self) {
        if let Err(error) = self.order().await {
            push(&self.seen.errors, format!("{error:#}"));
        }
        self.seen.bar.inc(1);
    }

    async fn order(&self) -> Result<()> {
        let n = self.seen.next.fetch_add(1, Ordering::Relaxed);
        let product = self.products.get(n % self.products.len()).context("no product")?;
        let (started, wall) = (Instant::now(), Utc::now());
        let customer = format!("load-{}", n % self.customers);
        let id = self.api.place(&order_for(&customer, product, 1)).await?;
        push(&self.seen.post, started.elapsed());
        push(&self.seen.orders, id.clone());
        self.follow(&id, started, wall).await
    }

    /// Looks at the order first when orders usually end, then at a tenth of that time, at least each millisecond.
    async fn follow(&self, id: &str, started: Instant, wall: DateTime<Utc>) -> Result<()> {
        let typical = Duration::from_micros(self.seen.typical.load(Ordering::Relaxed));
        tokio::time::sleep(typical.saturating_sub(started.elapsed())).await;
        let pause = (typical / 10).max(Duration::from_millis(1));
        loop {
            let order = self.api.order(id).await?;
            let status = order["status"].as_str().unwrap_or_default();
            if !matches!(status, "PENDING" | "CANCELLING") {
                ensure!(matches!(status, "CONFIRMED" | "FULFILLED"), "order {id} ended {status}");
                let took = started.elapsed();
                let confirmed = (confirmed_at(&order)? - wall).to_std().unwrap_or_default();
                push(&self.seen.confirmed, confirmed);
                push(&self.seen.end, took);
                let confirmed = u64::try_from(confirmed.as_micros()).unwrap_or(u64::MAX);
                let before = self.seen.typical.load(Ordering::Relaxed);
                self.seen.typical.store((before * 7 + confirmed) / 8, Ordering::Relaxed);
                return Ok(());
            }
            ensure!(started.elapsed() < TIMEOUT, "order {id} is still {status} after {TIMEOUT:?}");
            tokio::time::sleep(pause).await;
        }
    }

    async fn closed_loop(self: &Arc<Self>, clients: usize, until: Instant) {
        let client = |_| {
            let run = Arc::clone(self);
            tokio::spawn(async move {
                while Instant::now() < until {
                    run.one().await;
                }
            })
        };
        let clients: Vec<_> = (0..clients).map(client).collect();
        for client in clients {
            // A client that panicked has not placed its orders: the count shows it.
            let _ = client.await;
        }
    }

    async fn open_loop(self: &Arc<Self>, rate: u32, until: Instant) {
        let mut timer = tokio::time::interval(Duration::from_secs(1) / rate);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let mut orders = tokio::task::JoinSet::new();
        while Instant::now() < until {
            timer.tick().await;
            let run = Arc::clone(self);
            orders.spawn(async move { run.one().await });
        }
        while orders.join_next().await.is_some() {}
    }

    /// A line for each full minute, until the task is aborted.
    async fn minutes(self: Arc<Self>) {
        let mut timer = tokio::time::interval(MINUTE);
        timer.tick().await;
        let mut shown = 0;
        for minute in 1_u64.. {
            timer.tick().await;
            let times = self.seen.confirmed_after(shown);
            shown += times.len();
            let line = format!("  minute {minute:>3}  {:>7} confirmed  {}", times.len(), percentiles(times));
            // A reader that has gone misses the line; the run is not about it.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
}

// One thread: the client must not take more of the machine than it has to.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The platform to load: the one named, or one of its own that ends with this program.
fn platform(arguments: &Arguments) -> Result<(Client, Client, Option<Process>)> {
    if let (Some(api), Some(provider)) = (&arguments.api, &arguments.provider) {
        let api = Client::new(api);
        let api = arguments.token.as_ref().map_or(api.clone(), |token| api.bearing(token));
        return Ok((api, Client::new(provider), None));
    }
    let binaries = std::env::current_exe()?.parent().context("this program lies nowhere")?.to_path_buf();
    let data = binaries.join("quadrille-load");
    let mut more = vec!["--parameter", "RequestRate=1000000", "--parameter", "RequestBurst=1000000"];
    more.push(if arguments.on == On::Memory { "--in-memory" } else { "--fresh" });
    more.extend(arguments.profile.then_some("--meter"));
    let process = Process::start(&binaries, Path::new("infra"), &data, &more)?;
    Ok((process.api.clone(), process.provider.clone(), Some(process)))
}

/// At least one, and no more than one machine can work on.
fn count() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=10_000)
}

async fn run(arguments: &Arguments) -> Result<bool> {
    let (api, provider, process) = platform(arguments)?;
    let products = products(&api, arguments.products).await?;
    let customers = arguments.customers;
    let run = Arc::new(Run { products, customers, api, provider, seen: Seen::new()? });
    let profiled = process.as_ref().filter(|_| arguments.profile);
    let before = match profiled {
        Some(process) => Some(Used::until_now(process).await?),
        None => None,
    };
    let started = Instant::now();
    let until = started + Duration::from_secs(arguments.seconds);
    let minutes = tokio::spawn(Arc::clone(&run).minutes());
    match arguments.rate {
        Some(rate) => run.open_loop(rate, until).await,
        None => run.closed_loop(arguments.concurrency, until).await,
    }
    minutes.abort();
    let took = started.elapsed();
    run.seen.bar.finish_and_clear();
    let used = match (profiled, before) {
        (Some(process), Some(before)) => Some(before.since(process).await?),
        _ => None,
    };
    let good = report(&run, took, arguments).await?;
    used.map_or(Ok(()), |used| used.report(run.seen.next.load(Ordering::Relaxed)))?;
    Ok(good)
}

/// CPU milliseconds by process, and calls by operation.
struct Used {
    profile: Profile,
    millis: BTreeMap<String, u64>,
    calls: BTreeMap<String, u64>,
}

impl Used {
    async fn until_now(process: &Process) -> Result<Self> {
        let profile = Profile::watch(process.id())?;
        let (millis, calls) = (profile.millis(), profile::calls(&process.endpoint).await?);
        Ok(Self { profile, millis, calls })
    }

    async fn since(self, process: &Process) -> Result<Self> {
        self.profile.sample(process.id())?;
        let mut millis = profile::added(&self.millis, &self.profile.millis());
        millis.insert("all".into(), millis.values().sum());
        let calls = profile::added(&self.calls, &profile::calls(&process.endpoint).await?);
        Ok(Self { millis, calls, ..self })
    }

    /// Shown per order, the most first; what rounds to nothing is left out.
    #[allow(clippy::float_arithmetic, reason = "milliseconds for people")]
    fn report(&self, orders: usize) -> Result<()> {
        let mut out = std::io::stdout().lock();
        for (title, counts) in [("ms of CPU", &self.millis), ("calls", &self.calls)] {
            let mut counts: Vec<_> =
                counts.iter().map(|(name, n)| (name, *n as f64 / orders.max(1) as f64)).collect();
            counts.sort_by(|(_, one), (_, two)| two.total_cmp(one));
            writeln!(out, "  {title} per order")?;
            for (name, count) in counts.iter().filter(|(_, count)| *count >= 0.005) {
                writeln!(out, "    {name:<32} {count:>7.2}")?;
            }
        }
        Ok(())
    }
}

/// Lists this run's own products and waits until orders knows their prices.
async fn products(api: &Client, count: usize) -> Result<Vec<String>> {
    let tag = uuid::Uuid::new_v4().simple().to_string();
    let tag = tag.get(..8).unwrap_or_default();
    let ids: Vec<String> = (0..count.max(1)).map(|n| format!("load-{tag}-{n}")).collect();
    for id in &ids {
        api.sell(id, STOCK, TIMEOUT).await?;
    }
    Ok(ids)
}

impl Seen {
    fn new() -> Result<Self> {
        let style = ProgressStyle::with_template("{spinner} {elapsed_precise}  {pos} orders  {per_sec}")?;
        Ok(Self {
            post: Mutex::default(),
            confirmed: Mutex::default(),
            end: Mutex::default(),
            orders: Mutex::default(),
            errors: Mutex::default(),
            next: AtomicUsize::new(0),
            typical: AtomicU64::new(0),
            bar: ProgressBar::new_spinner().with_style(style),
        })
    }

    /// The times to confirmation beyond the first `shown`.
    fn confirmed_after(&self, shown: usize) -> Vec<Duration> {
        let times = self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        times.get(shown..).unwrap_or_default().to_vec()
    }
}

/// `p50 / p95 / p99` in milliseconds.
fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| {
        let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        let micros = times.get(index).map(Duration::as_micros);
        micros.map_or_else(|| "-".into(), |us| format!("{}.{}", us / 1000, us % 1000 / 100))
    };
    format!("{:>9} {:>9} {:>9}", at(50), at(95), at(99))
}

#[allow(clippy::float_arithmetic, reason = "rates and milliseconds for people")]
async fn report(run: &Run, took: Duration, arguments: &Arguments) -> Result<bool> {
    let (posts, ends, orders) = (taken(&run.seen.post), taken(&run.seen.end), taken(&run.seen.orders));
    let errors = taken(&run.seen.errors);
    let rate = |count: usize| format!("{:.1}", count as f64 / took.as_secs_f64());
    let mode = match arguments.rate {
        Some(rate) => format!("open loop, {rate} orders/s"),
        None => format!("closed loop, {} clients", arguments.concurrency),
    };
    let mode = match (&arguments.api, arguments.on) {
        (Some(api), _) => format!("{mode}, on {api}"),
        (None, On::Memory) => format!("{mode}, in memory"),
        (None, On::Disk) => format!("{mode}, on disk"),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{mode}, {:.1} s, {} products", took.as_secs_f64(), run.products.len())?;
    writeln!(out, "  accepted   {:>7}  {:>8}/s", posts.len(), rate(posts.len()))?;
    writeln!(out, "  confirmed  {:>7}  {:>8}/s", ends.len(), rate(ends.len()))?;
    writeln!(out, "  ms                       p50       p95       p99")?;
    writeln!(out, "  POST               {}", percentiles(posts))?;
    writeln!(out, "  POST to confirmed  {}", percentiles(taken(&run.seen.confirmed)))?;
    writeln!(out, "  POST to seen       {}", percentiles(ends))?;
    drop(out);
    let violations = check(run, &orders).await?;
    let mut out = std::io::stdout().lock();
    for line in errors.iter().chain(&violations).take(20) {
        writeln!(out, "  FAILED  {line}")?;
    }
    let good = errors.is_empty() && violations.is_empty();
    let verdict = if good { "I1 and I2 hold" } else { "FAILED" };
    writeln!(out, "  {verdict} over {} orders, {} errors", orders.len(), errors.len())?;
    Ok(good)
}

async fn check(run: &Run, orders: &[String]) -> Result<Vec<String>> {
    let stock: Vec<(String, u64)> = run.products.iter().map(|id| (id.clone(), STOCK)).collect();
    Ok(invariants::check(&run.api, &run.provider, &stock, orders).await?.violations)
}
