//! Puts the parts together: from templates to a running platform.

use crate::aws::apigateway::{self as gateway, Gateway};
use crate::aws::dynamodb::Engine;
use crate::aws::endpoint::{self, Endpoint};
use crate::aws::eventbridge::bus::Buses;
use crate::aws::eventbridge::pipes::{Pipe, PipeData, Plumbing};
use crate::aws::iam::{self, Iam};
use crate::aws::lambda::{Function, Functions, Poller, Surroundings};
use crate::aws::scheduler as schedules;
use crate::aws::secretsmanager as secrets;
use crate::aws::sns::Topics;
use crate::aws::sqs::Queues;
use crate::aws::stepfunctions::Machines;
use crate::faults::{self, Fault, Faults};
use crate::outside::carrier::{self, Carrier};
use crate::outside::payment_provider::Provider;
use crate::outside::token_issuer::{self as issuer, Issuer};
use crate::support::http;
use crate::support::journal::{Journal, Past};
use crate::template::names::{self, Names};
use crate::template::{self, resources::Model};
use anyhow::{Context, Result};
use hyper::StatusCode;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder with the templates.
    pub infra: PathBuf,
    /// The folder with the service binaries.
    pub binaries: PathBuf,
    /// Where tables, queues and logs are kept.
    pub data: PathBuf,
    /// Keep tables and queues in memory only; logs still go to `data`.
    pub in_memory: bool,
    /// Forget what `data` holds.
    pub fresh: bool,
    /// The API's port; 0 for any.
    pub api_port: u16,
    /// The AWS endpoint's port; 0 for any.
    pub aws_port: u16,
    /// The payment simulator's port; 0 for any.
    pub provider_port: u16,
    /// The stage to run.
    pub stage: String,
    /// How pipes place unquoted texts.
    pub pipe_data: PipeData,
    /// Let everybody do everything: the templates' parameter `Auth` is `none`.
    pub no_auth: bool,
    /// Divides the waits of state machines, schedules, and messages whose function reported a failure: for whoever
    /// cannot wait.
    pub hurry: u32,
    /// Values of the templates' parameters, by name.
    pub parameters: BTreeMap<String, String>,
    /// What goes wrong on purpose, from the start.
    pub faults: Vec<Fault>,
}

/// A running platform. Stops when dropped.
pub struct Stack {
    /// `http://127.0.0.1:3000`
    pub api: String,
    /// `http://127.0.0.1:4566`
    pub endpoint: String,
    /// `http://127.0.0.1:4567`
    pub provider_url: String,
    /// Whether it started without any data.
    pub is_new: bool,
    /// The functions.
    pub functions: Functions,
    /// The queues.
    pub queues: Queues,
    /// The payment simulator.
    pub provider: Provider,
    /// The carrier simulator.
    pub carrier: Carrier,
    /// What was published.
    pub topics: Topics,
    /// The tables.
    pub engine: Engine,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// Makes tokens.
    pub issuer: Issuer,
    /// The state machines.
    pub machines: Machines,
    pipes: Vec<Arc<Pipe>>,
    tasks: JoinSet<()>,
    /// Held, not read.
    _lock: Option<File>,
}

async fn listen(port: u16, what: &str, flag: &str) -> Result<(TcpListener, SocketAddr)> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("port {port} for {what} is in use; choose another with {flag} PORT")
        }
        _ => anyhow::anyhow!("cannot listen on {address} for {what}: {error}"),
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The API's, the AWS endpoint's, the simulators' and the Runtime API's.
async fn listeners(options: &Options) -> Result<([TcpListener; 4], [SocketAddr; 4])> {
    let api = listen(options.api_port, "the API", "--api-port").await?;
    let aws = listen(options.aws_port, "the AWS endpoint", "--aws-port").await?;
    let outside = listen(options.provider_port, "the simulators", "--provider-port").await?;
    let runtime = listen(0, "the Lambda Runtime API", "").await?;
    Ok(([api.0, aws.0, outside.0, runtime.0], [api.1, aws.1, outside.1, runtime.1]))
}

/// Answers at every listener.
fn serve(
    tasks: &mut JoinSet<()>,
    [api, aws, outside, runtime]: [TcpListener; 4],
    (functions, endpoint, simulators, gateway): (Functions, Arc<Endpoint>, Simulators, Arc<Gateway>),
) {
    tasks.spawn(http::serve(runtime, move |request| functions.clone().answer(request)));
    tasks.spawn(http::serve(aws, move |request| endpoint::answer(Arc::clone(&endpoint), request)));
    tasks.spawn(http::serve(outside, move |request| simulators.clone().answer(request)));
    tasks.spawn(http::serve(api, move |request| gateway::answer(Arc::clone(&gateway), request)));
}

impl Stack {
    /// Starts everything that the templates declare.
    ///
    /// # Errors
    /// When a template is refused, a port is taken, a binary is missing, or the data cannot be opened. The
    /// text says what to do.
    pub async fn start(options: &Options) -> Result<Self> {
        let (listeners, [api, aws, provider_at, runtime]) = listeners(options).await?;
        let names = Names { endpoint: format!("http://{aws}"), api: format!("http://{api}") };
        let provider_url = format!("http://{provider_at}");
        let issuer_url = format!("{}{}", names.endpoint, issuer::PATH);
        let model = template::load(&options.infra, &names, &parameters(options, &provider_url, &issuer_url))?;
        let around = surroundings(options, &names, runtime)?;
        let lock = lock(options)?;
        let is_new = prepare(options)?;
        let (engine, journal, Past { messages, positions, book }) = open(options, &model)?;
        let queues = Queues::start(&model.queues, messages, &journal)?;
        let iam = Iam::new(&model.roles)?;
        check(&model, &iam)?;
        let functions = functions(&model, &iam, &around)?;
        let schedules = schedules::schedules(&model, (&functions, &queues), (&iam, options.hurry))?;
        let pace = (options.infra.as_path(), options.hurry);
        let machines = Machines::new(&model.machines, &functions, pace, (&journal, &book))?;
        check_machines(&model, &iam, &machines)?;
        let faults = dial(&model, &options.faults)?;
        let buses = Buses::start(&model, (&queues, &machines), (&journal, &faults))?;
        let simulators = Simulators::new((&journal, &book), &faults)?;
        let topics = Topics::start(&model.topics, &book, &journal)?;
        let wires = (&engine, &buses, &queues, &journal, &faults);
        let pipes = pipes(&model, wires, options.pipe_data)?;
        let kept = (!options.in_memory).then_some(options.data.as_path());
        let issuer = Issuer::open(kept, issuer_url)?;
        let gateway = Arc::new(Gateway::new(&model, &functions, issuer.clone())?);
        let endpoint = Arc::new(Endpoint {
            engine: engine.clone(),
            queues: queues.clone(),
            buses,
            secrets: secrets::secrets(&model, kept)?,
            iam,
            journal,
            issuer: issuer.clone(),
            functions: functions.clone(),
            machines: machines.clone(),
            topics: topics.clone(),
            faults: faults.clone(),
            url: names.endpoint.clone(),
        });
        let mut tasks = JoinSet::new();
        run_pipes(&mut tasks, &pipes, &positions);
        run_functions(&mut tasks, &model, (&functions, &queues), options.hurry)?;
        let outside = simulators.clone();
        serve(&mut tasks, listeners, (functions.clone(), endpoint, outside, gateway));
        schedules.into_iter().for_each(|schedule| drop(tasks.spawn(schedule.run())));
        sweep(&mut tasks, engine.clone());
        machines.resume();
        let Simulators { provider, carrier, faults } = simulators;
        let (api, endpoint) = (names.api, names.endpoint);
        Ok(Self {
            api,
            endpoint,
            provider_url,
            is_new,
            functions,
            queues,
            provider,
            carrier,
            topics,
            faults,
            engine,
            issuer,
            machines,
            pipes,
            tasks,
            _lock: lock,
        })
    }

    /// Waits until nothing moves any more: every pipe has carried everything, no inbox holds a message, no
    /// function works. Dead-letter queues do not count.
    ///
    /// # Errors
    /// When something still moves after `patience`.
    pub async fn settle(&self, patience: Duration) -> Result<()> {
        let started = Instant::now();
        let mut calm = 0;
        while calm < 3 {
            anyhow::ensure!(started.elapsed() < patience, "the platform is still busy after {patience:?}");
            calm = if self.is_calm() { calm + 1 } else { 0 };
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    fn is_calm(&self) -> bool {
        let inboxes = self.queues.all();
        let mut inboxes = inboxes.iter().filter(|queue| !queue.name.ends_with("-dlq"));
        self.pipes.iter().all(|pipe| pipe.is_idle())
            && inboxes.all(|queue| queue.depth() == (0, 0))
            && self.machines.is_idle()
            && self.functions.all().all(|function| function.is_idle())
    }

    /// Waits until a part of the platform stops, which none does by itself.
    pub async fn run(&mut self) {
        self.tasks.join_next().await;
    }
}

/// Everybody outside, at one address.
#[derive(Clone)]
struct Simulators {
    provider: Provider,
    carrier: Carrier,
    faults: Faults,
}

impl Simulators {
    fn new((journal, book): (&Journal, &[(String, String)]), faults: &Faults) -> Result<Self> {
        let (provider, carrier) = (Provider::new(journal, book)?, Carrier::new(journal, book)?);
        Ok(Self { provider, carrier, faults: faults.clone() })
    }

    /// Answers for whoever is meant.
    async fn answer(self, request: http::Incame) -> http::Response {
        let path = request.uri().path().to_owned();
        match path.strip_prefix(carrier::PATH) {
            Some("/book") => self.carrier.answer("/book", request).await,
            Some(_) if self.faults.carrier_fails() => http::empty(StatusCode::SERVICE_UNAVAILABLE),
            Some(path) => self.carrier.answer(path, request).await,
            None if path.starts_with("/v1/") && self.faults.provider_fails() => {
                http::empty(StatusCode::SERVICE_UNAVAILABLE)
            }
            None => self.provider.answer(request).await,
        }
    }
}

/// The fault dial, with what is set from the start.
fn dial(model: &Model, set: &[Fault]) -> Result<Faults> {
    let events = model.rules.iter().filter_map(|rule| rule.event_pattern["detail-type"].as_array()).flatten();
    let dial = Faults::new(faults::Known {
        queues: model.queues.iter().map(|queue| queue.queue_name.clone()).collect(),
        functions: model.functions.iter().map(|function| function.function_name.clone()).collect(),
        pipes: model.pipes.iter().map(|pipe| pipe.name.clone()).collect(),
        events: events.filter_map(|kind| kind.as_str().map(str::to_owned)).collect(),
    });
    set.iter().try_for_each(|fault| dial.set(fault.clone()))?;
    Ok(dial)
}

/// What surrounds every function; its logs get a folder.
fn surroundings(options: &Options, names: &Names, runtime: SocketAddr) -> Result<Surroundings> {
    let logs = options.data.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
    Ok(Surroundings {
        runtime_api: runtime.to_string(),
        endpoint: names.endpoint.clone(),
        binaries: options.binaries.clone(),
        logs,
    })
}

/// The service binaries that the templates name: the last part of each function's code.
///
/// # Errors
/// When a template is refused.
pub fn binaries(options: &Options) -> Result<BTreeSet<String>> {
    let nowhere = Names { endpoint: String::new(), api: String::new() };
    let model = template::load(&options.infra, &nowhere, &parameters(options, "", ""))?;
    Ok(model.functions.iter().map(|function| names::last_part(&function.code).to_owned()).collect())
}

/// What the templates are told locally.
fn parameters(options: &Options, provider: &str, issuer: &str) -> BTreeMap<String, String> {
    let carrier_url = format!("{provider}{}", carrier::PATH);
    let pairs = [
        ("CarrierUrl", carrier_url.as_str()),
        ("CarrierKey", "ck_test_simulator"),
        ("Stage", options.stage.as_str()),
        ("ProviderUrl", provider),
        ("ProviderKey", "sk_test_simulator"),
        ("Auth", if options.no_auth { "none" } else { "jwt" }),
        ("TokenIssuer", issuer),
    ];
    let mut parameters: BTreeMap<_, _> =
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    parameters.extend(options.parameters.clone());
    parameters
}

/// Claims the data folder for as long as the stack runs: two on one folder would lose what each acknowledged.
fn lock(options: &Options) -> Result<Option<File>> {
    if options.in_memory {
        return Ok(None);
    }
    let path = options.data.join("lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    file.try_lock().map_err(|_| {
        let data = options.data.display();
        anyhow::anyhow!(
            "the data folder {data} is in use by another stack; choose another with --data-dir DIR"
        )
    })?;
    Ok(Some(file))
}

/// Forgets what is to be forgotten; says whether there is nothing yet.
fn prepare(options: &Options) -> Result<bool> {
    let tables = options.data.join("tables.db");
    if options.fresh && options.data.exists() {
        // Only what this program writes: the folder is the user's choice.
        for name in
            ["tables.db", "tables.db-wal", "tables.db-shm", "journal.db", "journal.db-wal", "journal.db-shm"]
        {
            remove(&options.data.join(name))?;
        }
    }
    Ok(options.in_memory || !tables.exists())
}

/// The tables and the journal, with what the journal remembers.
fn open(options: &Options, model: &Model) -> Result<(Engine, Journal, Past)> {
    let path = |name: &str| (!options.in_memory).then(|| options.data.join(name));
    let engine = Engine::start(path("tables.db").as_deref(), &model.tables)?;
    let (journal, past) = Journal::open(path("journal.db").as_deref())?;
    Ok((engine, journal, past))
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}

/// What AWS would only show at run time as a silence: permissions that are missing between resources.
fn check(model: &Model, iam: &Iam) -> Result<()> {
    iam::require_delivery(model)?;
    check_alarms(model)?;
    for pipe in &model.pipes {
        let stream = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"];
        iam.require(&pipe.role_arn, &stream, &pipe.source)?;
        iam.require(&pipe.role_arn, &["events:PutEvents"], &pipe.target)?;
        if let Some(dead) = &pipe.source_parameters.stream.dead_letter_config {
            iam.require(&pipe.role_arn, &["sqs:SendMessage"], &dead.arn)?;
        }
    }
    for mapping in &model.mappings {
        let name = names::last_part(&mapping.function_name);
        let function = model.functions.iter().find(|function| function.function_name == name);
        let function = function.with_context(|| format!("no template declares the function {name}"))?;
        let queue = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
        iam.require(&function.role, &queue, &mapping.event_source_arn)?;
    }
    Ok(())
}

/// An alarm on a queue that nobody declared would never ring.
fn check_alarms(model: &Model) -> Result<()> {
    for alarm in model.alarms.iter().filter(|alarm| alarm.namespace == "AWS/SQS") {
        let queue = alarm.dimensions.iter().find(|dimension| dimension.name == "QueueName");
        let queue = queue.with_context(|| format!("alarm {}: no QueueName", alarm.alarm_name))?;
        let is_declared = model.queues.iter().any(|declared| declared.queue_name == queue.value);
        anyhow::ensure!(is_declared, "alarm {}: no template declares {}", alarm.alarm_name, queue.value);
    }
    Ok(())
}

/// A rule has to be allowed to start its state machine, and that to invoke its functions.
fn check_machines(model: &Model, iam: &Iam, machines: &Machines) -> Result<()> {
    for target in model.rules.iter().flat_map(|rule| &rule.targets) {
        if target.arn.contains(":stateMachine:") {
            let role = target.role_arn.as_deref().context("a state machine target needs a RoleArn")?;
            iam.require(role, &["states:StartExecution"], &target.arn)?;
        }
    }
    for machine in &model.machines {
        for function in machines.tasks(&machine.state_machine_name) {
            iam.require(&machine.role_arn, &["lambda:InvokeFunction"], function)?;
        }
    }
    Ok(())
}

fn pipes(
    model: &Model,
    (engine, buses, queues, journal, faults): (&Engine, &Buses, &Queues, &Journal, &Faults),
    mode: PipeData,
) -> Result<Vec<Arc<Pipe>>> {
    let plumbing = Plumbing { engine, buses, queues, journal, mode, faults };
    let pipe = |declared| Pipe::new(declared, &plumbing).map(Arc::new);
    let named = |(declared, pipe): (&template::resources::Pipe, Result<_>)| {
        pipe.with_context(|| format!("pipe {}", declared.name))
    };
    model.pipes.iter().map(|declared| (declared, pipe(declared))).map(named).collect()
}

fn functions(model: &Model, iam: &Iam, around: &Surroundings) -> Result<Functions> {
    let function = |declared: &template::resources::Function| {
        Function::new(declared, &iam.issue_key(&declared.role), around)
    };
    Ok(model.functions.iter().map(function).collect::<Result<Vec<_>>>()?.into_iter().collect())
}

fn run_pipes(tasks: &mut JoinSet<()>, pipes: &[Arc<Pipe>], positions: &[(String, i64)]) {
    let positions: HashMap<&str, i64> = positions.iter().map(|(pipe, at)| (pipe.as_str(), *at)).collect();
    for pipe in pipes {
        let position = positions.get(pipe.name.as_str()).copied().unwrap_or(0);
        let pipe = Arc::clone(pipe);
        tasks.spawn(async move { pipe.run(position).await });
    }
}

fn run_functions(
    tasks: &mut JoinSet<()>,
    model: &Model,
    (functions, queues): (&Functions, &Queues),
    hurry: u32,
) -> Result<()> {
    for function in functions.all() {
        let function = Arc::clone(function);
        tasks.spawn(async move { function.supervise().await });
    }
    for mapping in &model.mappings {
        let queue = queues.by_arn(&mapping.event_source_arn)?;
        let function = functions.get(&mapping.function_name)?;
        let batch = usize::try_from(mapping.batch_size.unwrap_or(10))?;
        let partial = mapping.function_response_types.as_ref().is_some_and(|types| !types.is_empty());
        let poller = Poller { queue, function, batch, partial, hurry };
        tasks.spawn(poller.run(queues.clone()));
    }
    Ok(())
}

/// TTL and stream retention, as AWS's background work does it: now and then.
fn sweep(tasks: &mut JoinSet<()>, engine: Engine) {
    tasks.spawn(async move {
        let mut timer = tokio::time::interval(Duration::from_secs(60));
        loop {
            timer.tick().await;
            engine.sweep();
        }
    });
}
