//! The command that starts the platform.
#![allow(missing_docs, reason = "the documentation of a flag is the text that `--help` shows")]

mod report;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use localstack::aws::iam::ADMINISTRATOR_KEY;
use localstack::aws::lambda::Mode;
use localstack::faults::Fault;
use localstack::outside::token_issuer::{self, Dialect};
use localstack::stack::{self, Options, Stack};
use localstack::support::handles;
use localstack::template;
use localstack::terminal::{Colours, Outlet, Terminal};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode, Stdio};
use std::time::Duration;
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the whole platform on this machine, from the templates and binaries that are deployed.
///
/// No account, no containers. Everything listens on 127.0.0.1. Ctrl-C stops it; what was acknowledged is
/// there at the next start. `cargo dev` builds it and runs it.
#[derive(Parser)]
#[command(
    name = "quadrille dev",
    bin_name = "quadrille dev",
    version,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Port of the HTTP API
    #[arg(long, default_value_t = 3000)]
    api_port: u16,
    /// Port of the AWS endpoint
    #[arg(long, default_value_t = 4566)]
    aws_port: u16,
    /// Port of the payment provider simulator
    #[arg(long, default_value_t = 4567)]
    provider_port: u16,
    /// Where tables, queues and logs are kept [default: <target>/quadrille]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Forget what the data folder holds
    #[arg(long)]
    fresh: bool,
    /// Keep tables and queues in memory only
    #[arg(long)]
    in_memory: bool,
    /// The folder with the templates
    #[arg(long, global = true, default_value = "infra")]
    infra: PathBuf,
    /// A folder with built service binaries; without it they are built first
    #[arg(long, global = true)]
    bin_dir: Option<PathBuf>,
    /// Do not list the first products on an empty stack
    #[arg(long)]
    no_seed: bool,
    /// The stage to run
    #[arg(long, default_value = "local")]
    stage: String,
    /// Allow every request without a token, for a first look
    #[arg(long)]
    no_auth: bool,
    /// Whose access tokens the local issuer writes, and so which parameters the templates get
    #[arg(long, value_enum, default_value_t)]
    issuer: Dialect,
    /// Divide the waits of state machines, schedules, and failed messages, records and events, and the age of records, by this;
    /// not timeouts, orders' deadlines, delays, the payment circuit (CircuitOpenSeconds): localstack/README.md lists all
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    time_scale: u32,
    /// How functions are run
    #[arg(long, value_enum, default_value_t)]
    lambda: Mode,
    /// How many invocations may run at a time, of all functions together; 10 is what a new AWS account may have
    #[arg(long, value_name = "N", default_value_t = 1000)]
    account_concurrency: u32,
    /// Set a parameter of the templates, NAME=VALUE (repeatable): RequestRate=50, AllowedOrigins=http://localhost:5173
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// Let something go wrong (repeatable): '{"fault": "duplicate", "times": 1}'; localstack/README.md lists what can
    #[arg(long = "fault", value_name = "JSON", value_parser = fault)]
    faults: Vec<Fault>,
    /// Show what the functions log, too, with each order's id; in colour on a terminal unless NO_COLOR is set
    #[arg(long)]
    logs: bool,
    /// Count what AWS would bill; /report at the AWS endpoint shows it
    #[arg(long)]
    meter: bool,
}

#[derive(Subcommand)]
enum Command {
    Report(report::Arguments),
}

impl Arguments {
    /// The options of the stack; `built` is the folder with this program.
    fn options(&self, built: &Path) -> Options {
        let target = built.parent().unwrap_or(built);
        Options {
            infra: self.infra.clone(),
            binaries: self.bin_dir.clone().unwrap_or_else(|| built.to_path_buf()),
            data: self.data_dir.clone().unwrap_or_else(|| target.join("quadrille")),
            in_memory: self.in_memory,
            fresh: self.fresh,
            seed: !self.no_seed,
            api_port: self.api_port,
            aws_port: self.aws_port,
            provider_port: self.provider_port,
            stage: self.stage.clone(),
            no_auth: self.no_auth,
            issuer: self.issuer,
            time_scale: self.time_scale,
            lambda: self.lambda,
            account_concurrency: self.account_concurrency,
            parameters: self.parameters.iter().cloned().collect(),
            faults: self.faults.clone(),
            meter: self.meter,
            terminal: Terminal::default(),
        }
    }
}

fn fault(text: &str) -> serde_json::Result<Fault> {
    serde_json::from_str(text)
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The workers of a stack on disk beyond one for each core: a worker that waits for the store's log keeps its thread. Each further
/// one is more switches between threads, and memory of its own.
const WAITING_WORKERS: usize = 2;

/// The number of worker threads.
fn workers(in_memory: bool) -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    if in_memory { cores } else { cores + WAITING_WORKERS }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = start(&arguments);
    match ended {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Stopped) => {
            // The one line after Ctrl-C. A closed standard error has no need of it.
            let _ = writeln!(std::io::stderr(), "Stopped.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let refused = error.downcast_ref::<template::Refused>().is_some();
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(if refused { 2 } else { 1 })
        }
    }
}

/// How this program has ended without an error.
enum Ended {
    Done,
    /// By Ctrl-C or SIGTERM.
    Stopped,
}

/// How long what was said last may be on its way to the terminal.
const LAST_LINES: Duration = Duration::from_secs(1);

fn start(arguments: &Arguments) -> Result<Ended> {
    let errors = Outlet::new(std::io::stderr()).context("no thread")?;
    let level = tracing_subscriber::EnvFilter::try_from_default_env();
    let level = level.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt().with_env_filter(level).with_writer(errors.clone());
    log.without_time().with_target(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers(arguments.in_memory))
        .enable_all()
        .build();
    let ended = runtime.context("no runtime")?.block_on(run(arguments, &errors));
    errors.flush(LAST_LINES);
    ended
}

async fn run(arguments: &Arguments, errors: &Outlet) -> Result<Ended> {
    let handles = handles::raise();
    if handles < handles::NEEDED {
        let needed = handles::NEEDED;
        bail!(
            "this shell allows {handles} open files, and the stack needs {needed}: raise the hard limit, `ulimit -Hn {needed}` as root"
        );
    }
    if handles < handles::ENOUGH {
        let enough = handles::ENOUGH;
        errors.say(format!(
            "warning: this shell allows {handles} open files; `ulimit -Hn {enough}` as root allows more"
        ));
    }
    let here = std::env::current_exe()?;
    let built = here.parent().context("this program lies nowhere")?.to_path_buf();
    let options = arguments.options(&built);
    if arguments.bin_dir.is_none() {
        build(&built, &stack::binaries(&options)?)?;
    }
    if let Some(Command::Report(report)) = &arguments.command {
        let data = options.data.join("report");
        return report::run(report, Options { data, ..options }).await.map(|()| Ended::Done);
    }
    let out = Outlet::new(std::io::stdout()).context("no thread")?;
    let terminal = Terminal::new(out, Colours::of_stdout(), arguments.logs);
    let stopped = stopped((terminal.clone(), errors.clone()))?;
    let ended = tokio::select! {
        ended = dev(Options { terminal: terminal.clone(), ..options }) => ended,
        stopped = stopped => stopped?,
    };
    terminal.flush(LAST_LINES);
    ended.map(|()| Ended::Stopped)
}

/// Runs the stack until a part of it stops.
async fn dev(options: Options) -> Result<()> {
    let mut stack = Stack::start(&options).await?;
    stack.is_up().await;
    options.terminal.say(&banner(&stack, &options)?);
    stack.run().await;
    anyhow::bail!("a part of the platform stopped; its error stands above")
}

/// Answers at Ctrl-C or SIGTERM, when nothing is shown any more: what fails from then on fails because everything ends. A thread
/// of its own waits for it, because a busy stack would look after signals later.
fn stopped((terminal, errors): (Terminal, Outlet)) -> Result<oneshot::Receiver<Result<()>>> {
    let (stops, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let waits = move || {
        let stop = runtime.block_on(signalled());
        terminal.close();
        errors.close();
        // The stack may have ended by itself.
        let _ = stops.send(stop);
    };
    std::thread::Builder::new().name("signals".into()).spawn(waits)?;
    Ok(stopped)
}

async fn signalled() -> Result<()> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
    }
    Ok(())
}

/// Builds the service binaries in the profile of this program.
fn build(folder: &Path, binaries: &BTreeSet<String>) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = process::Command::new(cargo);
    command.arg("build");
    for binary in binaries {
        command.args(["--bin", binary]);
    }
    if folder.ends_with("release") {
        command.arg("--release");
    }
    let status = command.stdin(Stdio::null()).status().context("cannot run cargo to build the services")?;
    anyhow::ensure!(status.success(), "the services do not build");
    Ok(())
}

/// How the banner's commands show who calls.
struct Credentials {
    token: String,
    /// The command that fetches the token.
    fetch: String,
    /// The header that sends it.
    header: &'static str,
}

impl Credentials {
    fn new(stack: &Stack, options: &Options) -> Result<Self> {
        if options.no_auth {
            return Ok(Self { token: "not needed (--no-auth)".into(), fetch: String::new(), header: "" });
        }
        let endpoint = &stack.endpoint;
        Ok(Self {
            token: stack.issuer.token(CUSTOMER, token_issuer::SCOPES)?,
            fetch: format!(
                "\n  TOKEN=$(curl -s '{endpoint}{}/token?subject={CUSTOMER}')",
                token_issuer::PATH
            ),
            header: " -H \"authorization: Bearer $TOKEN\"",
        })
    }
}

/// What the terminal says when everything is up.
fn banner(stack: &Stack, options: &Options) -> Result<String> {
    let kept = if options.in_memory { "in memory only".into() } else { options.data.display().to_string() };
    let (api, endpoint, provider) = (&stack.api, &stack.endpoint, &stack.provider_url);
    let Credentials { token, fetch, header } = Credentials::new(stack, options)?;
    let customer = stack.issuer.customer(CUSTOMER);
    Ok(format!(
        r#"
Quadrille is running. Ctrl-C stops it.

  API            {api}
  AWS endpoint   {endpoint}   (access key "{ADMINISTRATOR_KEY}", any secret)
  Payments book  {provider}/book
  Carrier's book {provider}/carrier/book
  Messages       {endpoint}/topics/{stage}-quadrille-notifications.fifo
  Data           {kept}
  Logs           {logs}
  Token          {token}

Place an order and see what becomes of it:
{fetch}
  curl -s {api}/orders{header} -H 'content-type: application/json' -H 'prefer: wait=5' \
    -d '{{"customer_id": "{customer}", "items": [{{"product_id": "espresso-beans", "quantity": 2}}]}}'

and look at it again with the order_id of the answer:

  curl -s {api}/orders/<order_id>{header}
"#,
        stage = options.stage,
        logs = options.data.join("logs").display()
    ))
}

/// The customer of the first order.
const CUSTOMER: &str = "ada";
