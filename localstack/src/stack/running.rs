//! A running stack: its tasks, and the parts that tests look at.

use super::coming_up;
use super::data_folder::{Claim, DataFolder};
use super::options::{Options, Urls};
use super::parts::{FanOut, Parts, Plan};
use super::ports::Ports;
use super::watching;
use crate::aws::apigateway::gateway::{self, Gateway};
use crate::aws::dynamodb::Database;
use crate::aws::endpoint;
use crate::aws::eventbridge::Replays;
use crate::aws::lambda::{Functions, Watchdog, runtime_api};
use crate::aws::sns::Topics;
use crate::aws::sqs::{Queue, Queues};
use crate::aws::stepfunctions::StateMachines;
use crate::faults::Faults;
use crate::outside::carrier::Carrier;
use crate::outside::payment_provider::Provider;
use crate::outside::token_issuer::{self, TokenIssuer};
use crate::seed;
use crate::support::handles;
use crate::support::http::{self, Guard};
use crate::support::meter::Meter;
use anyhow::{Result, ensure};
use chrono::Utc;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// How often is deleted what has expired.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);
/// How often the queues are measured: each minute in any case.
const MEASURE_PERIOD: Duration = Duration::from_secs(30);
/// The key under which the journal keeps that the first products are listed.
const SEEDED: &str = "seeded/";
/// How long the first products may be on their way to the price list.
const SEED_TIMEOUT: Duration = Duration::from_secs(60);
/// How often in a row the platform must be found idle to count as settled.
const IDLE_CHECKS: u32 = 3;

/// A running platform. Stops when dropped.
pub struct Stack {
    /// `http://127.0.0.1:3000`
    pub api: String,
    /// `http://127.0.0.1:4566`
    pub endpoint: String,
    /// `http://127.0.0.1:4567`
    pub provider_url: String,
    pub functions: Functions,
    pub queues: Queues,
    pub provider: Provider,
    pub carrier: Carrier,
    pub topics: Topics,
    pub dynamodb: Database,
    pub faults: Faults,
    pub issuer: TokenIssuer,
    pub machines: StateMachines,
    pub meter: Meter,
    replays: Replays,
    fan_out: FanOut,
    /// The queues that feed functions.
    fed: Vec<Arc<Queue>>,
    tasks: JoinSet<()>,
    coming_up: Option<JoinHandle<()>>,
    /// Held, not read.
    _watchdog: Watchdog,
    /// Held, not read.
    _claim: Claim,
}

impl Stack {
    /// Starts everything that the templates declare.
    ///
    /// # Errors
    /// When a template is refused, a port is taken, a binary is missing, or the data cannot be opened. The
    /// text says what to do.
    pub async fn start(options: &Options) -> Result<Self> {
        let ports = Ports::open(options)?;
        let urls = ports.urls()?;
        let model = options.model(&urls)?;
        let data = DataFolder::open(options, &model)?;
        let meter = Meter::new(options.meter);
        let plan = Plan { options, urls: &urls, model: &model, data: &data, meter: &meter };
        let mut parts = Parts::connect(&plan)?;
        // What is watched has been checked by now.
        watching::check(&model)?;
        let fed = parts.pollers.iter().map(|poller| Arc::clone(&poller.queue)).collect();
        let mut tasks = JoinSet::new();
        coming_up::follow(options, &parts.functions, &data.logs);
        run(&mut tasks, &mut parts, &data.database);
        let coming_up = tokio::spawn(coming_up::show(options.clone(), parts.functions.clone()));
        let (gateway, journal) = (Arc::clone(&parts.gateway), data.journal.clone());
        let is_seeded = !journal.records::<bool>(SEEDED).is_empty();
        let api = serve(&mut tasks, &parts, ports);
        parts.machines.resume();
        parts.endpoint.events.replays.resume();
        let mut stack = Self::new(parts, urls, data, (fed, tasks));
        stack.coming_up = Some(coming_up);
        if options.seed && !is_seeded {
            stack.seed(&gateway).await?;
            journal.keep(format!("{SEEDED}products"), &true).await;
        }
        stack.tasks.spawn(answer_api(api, gateway));
        Ok(stack)
    }

    /// Lists the first products, at a port of its own: nobody else calls the API before there is something to buy.
    async fn seed(&self, gateway: &Arc<Gateway>) -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let answering = tokio::spawn(answer_api(listener, Arc::clone(gateway)));
        seed::products(&url, &self.issuer.token("seed", token_issuer::SCOPES)?).await?;
        if let Err(busy) = self.settle(SEED_TIMEOUT).await {
            tracing::warn!("the first products will be on the price list later: {busy}");
        }
        answering.abort();
        Ok(())
    }

    fn new(parts: Parts, urls: Urls, data: DataFolder, (fed, tasks): (Vec<Arc<Queue>>, JoinSet<()>)) -> Self {
        Self {
            api: urls.api,
            endpoint: urls.endpoint,
            provider_url: urls.simulators,
            functions: parts.functions,
            queues: parts.queues,
            provider: parts.simulators.provider,
            carrier: parts.simulators.carrier,
            topics: parts.endpoint.sns.topics.clone(),
            dynamodb: data.database,
            faults: parts.endpoint.faults.clone(),
            issuer: parts.endpoint.issuer.clone(),
            machines: parts.machines,
            meter: parts.endpoint.meter.clone(),
            replays: parts.endpoint.events.replays.clone(),
            fan_out: parts.fan_out,
            fed,
            tasks,
            coming_up: None,
            _watchdog: parts.watchdog,
            _claim: data.claim,
        }
    }

    /// Waits until the platform is idle: every record of every stream is settled, no queue that feeds a function holds a
    /// message, and no function, no execution and no replay is running. What is stopped is at rest. Dead letters and customers' messages do not count.
    ///
    /// # Errors
    /// When the platform is still busy after `timeout`.
    pub async fn settle(&self, timeout: Duration) -> Result<()> {
        let started = Instant::now();
        let mut checks = 0;
        while checks < IDLE_CHECKS {
            ensure!(started.elapsed() < timeout, "the platform is still busy after {timeout:?}");
            checks = if self.is_idle() { checks + 1 } else { 0 };
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.fan_out.is_idle()
            && self.fed.iter().all(|queue| queue.depth() == (0, 0))
            && self.machines.is_idle()
            && self.replays.is_idle()
            && self.functions.all().all(|function| function.is_idle())
    }

    /// Returns when each service's functions are up, or have had their time for that. What is not up is said.
    pub async fn is_up(&mut self) {
        if let Some(coming_up) = self.coming_up.take() {
            // It is never aborted.
            let _ = coming_up.await;
        }
    }

    /// Returns when a part of the platform stops, which none does by itself.
    pub async fn run(&mut self) {
        self.tasks.join_next().await;
    }
}

/// Starts everything that works without being called.
fn run(tasks: &mut JoinSet<()>, parts: &mut Parts, database: &Database) {
    let FanOut { pipes, mappings } = parts.fan_out.clone();
    for pipe in pipes {
        tasks.spawn(async move { pipe.run().await });
    }
    for mapping in mappings {
        tasks.spawn(async move { mapping.run().await });
    }
    for function in parts.functions.all() {
        let function = Arc::clone(function);
        tasks.spawn(function.supervise());
    }
    for poller in parts.pollers.drain(..) {
        tasks.spawn(poller.run());
    }
    for schedule in parts.schedules.drain(..) {
        tasks.spawn(schedule.run());
    }
    let (database, machines) = (database.clone(), parts.machines.clone());
    let cloudwatch = parts.endpoint.cloudwatch.clone();
    tasks.spawn(async move {
        let mut timer = tokio::time::interval(MEASURE_PERIOD);
        loop {
            timer.tick().await;
            cloudwatch.measure(Utc::now().timestamp_millis());
        }
    });
    let (provider, replays) = (parts.simulators.provider.clone(), parts.endpoint.events.replays.clone());
    tasks.spawn(async move {
        let mut timer = tokio::time::interval(SWEEP_PERIOD);
        loop {
            timer.tick().await;
            database.sweep().await;
            machines.forget(Utc::now()).await;
            replays.forget(Utc::now());
            provider.forget().await;
        }
    });
}

/// Answers at every port but the API's, which it returns.
fn serve(tasks: &mut JoinSet<()>, parts: &Parts, ports: Ports) -> TcpListener {
    let (functions, simulators) = (parts.functions.clone(), parts.simulators.clone());
    let (endpoint, secret) = (Arc::clone(&parts.endpoint), ports.secret);
    let runtime_api = move |request| runtime_api::answer(functions.clone(), secret.clone(), request);
    let guard = Guard { pages: false, connections: handles::connections(), bodies: http::BODIES };
    // The functions' own processes, each with a connection for every event that it can work on: how many there are is limited
    // elsewhere.
    let of_functions = Guard { connections: Semaphore::MAX_PERMITS, ..guard };
    tasks.spawn(http::serve(ports.runtime_api, of_functions, runtime_api));
    let answer = move |request| endpoint::answer(Arc::clone(&endpoint), request);
    tasks.spawn(http::serve(ports.aws, guard, answer));
    tasks.spawn(http::serve(ports.simulators, guard, move |request| simulators.clone().answer(request)));
    ports.api
}

/// Answers at the API's port. Which pages may call it is for the gateway to say.
async fn answer_api(listener: TcpListener, gateway: Arc<Gateway>) {
    let guard = Guard { pages: true, connections: handles::connections(), bodies: http::BODIES };
    let answer = move |request| gateway::answer(Arc::clone(&gateway), request);
    http::serve(listener, guard, answer).await;
}
