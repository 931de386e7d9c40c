//! What the person at the terminal sees of `quadrille dev`: services as they come up, requests, logs, what is wrong; and after
//! Ctrl-C nothing. The program runs as it does there, in a process group of its own.

use crate::platform::{BINARIES, copy, root, run, scratch};
use futures_util::future::join_all;
use hyper::Method;
use registry::SERVICES;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tests::client::{Client, order_of};
use tokio::time::timeout;

/// One of the first products.
const PRODUCT: &str = "espresso-beans";
const TIMEOUT: Duration = Duration::from_secs(60);

type Lines = Arc<Mutex<Vec<String>>>;

/// A program and what it has printed so far. Killed when dropped.
struct Dev {
    child: Child,
    out: Lines,
    errors: Lines,
    data: PathBuf,
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Already dead is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binaries, in a folder in which some can be replaced.
fn binaries(name: &str) -> PathBuf {
    let folder = scratch(name);
    for service in SERVICES {
        symlink(BINARIES.join(service), folder.join(service)).unwrap();
    }
    folder
}

fn command(binaries: &Path, infra: &Path, data: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(BINARIES.join("localstack"));
    command.args(["--in-memory", "--no-auth", "--api-port", "0", "--aws-port", "0", "--provider-port", "0"]);
    command.arg("--bin-dir").arg(binaries).arg("--infra").arg(infra);
    command.arg("--data-dir").arg(data).args(flags).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn collected(from: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let into = Arc::clone(&lines);
    let read = BufReader::new(from).lines().map_while(Result::ok);
    thread::spawn(move || read.for_each(|line| into.lock().unwrap().push(line)));
    lines
}

impl Dev {
    fn start(name: &str, binaries: &Path, flags: &[&str]) -> Self {
        Self::of(name, binaries, &root().join("infra"), flags)
    }

    /// Starts it, and waits for the end of its banner.
    fn of(name: &str, binaries: &Path, infra: &Path, flags: &[&str]) -> Self {
        let data = scratch(name);
        let mut child = command(binaries, infra, &data, flags).spawn().unwrap();
        let (out, errors) =
            (collected(child.stdout.take().unwrap()), collected(child.stderr.take().unwrap()));
        let dev = Self { child, out, errors, data };
        dev.out_has(|line| line.contains("/orders/<order_id>"));
        dev
    }

    fn wait_for(&self, lines: &Lines, is: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            if let Some(line) = lines.lock().unwrap().iter().find(|line| is(line)) {
                return line.clone();
            }
            assert!(began.elapsed() < TIMEOUT, "{:#?}\n{:#?}", self.out, self.errors);
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn out_has(&self, is: impl Fn(&str) -> bool) -> String {
        self.wait_for(&self.out, is)
    }

    /// The first line of standard error that has all of these.
    fn complains(&self, of: &[&str]) -> String {
        self.wait_for(&self.errors, |line| of.iter().all(|part| line.contains(part)))
    }

    fn complaints(&self, of: &str) -> usize {
        self.errors.lock().unwrap().iter().filter(|line| line.contains(of)).count()
    }

    fn api(&self) -> Client {
        let line = self.out_has(|line| line.trim().starts_with("API"));
        Client::new(line.split_whitespace().nth(1).unwrap())
    }

    /// As the terminal does at Ctrl-C: SIGINT to the whole group.
    fn interrupt(&self) {
        assert!(kill("INT", &format!("-{}", self.child.id())));
    }
}

fn kill(signal: &str, target: &str) -> bool {
    Command::new("kill").args(["-s", signal, "--", target]).status().unwrap().success()
}

/// The ids of the processes whose command begins with a path.
fn processes(path: &Path) -> Vec<String> {
    let output = Command::new("ps").args(["-A", "-ww", "-o", "pid=,args="]).output().unwrap();
    let all = String::from_utf8_lossy(&output.stdout).into_owned();
    let here = all.lines().filter_map(|line| line.trim().split_once(' '));
    let path = path.display().to_string();
    here.filter(|(_, args)| args.trim().starts_with(&path)).map(|(pid, _)| pid.to_owned()).collect()
}

async fn placed(api: &Client) -> Option<tests::client::Answer> {
    api.send(Method::POST, "/orders", order_of(PRODUCT, 1).to_string()).await.ok()
}

/// Guards: the long silence of a start, and an order whose id is in no line: a line for each service, the banner, and a line for
/// each request.
#[test]
fn services_and_requests_are_shown() {
    run(async {
        let dev = Dev::start("shown", &BINARIES, &[]);
        for service in SERVICES {
            let line = dev.out_has(|line| line.trim().starts_with(service));
            let parts: Vec<_> = line.split_whitespace().collect();
            assert!(parts[1].parse::<u32>().unwrap() > 0 && parts[2].starts_with("function"), "{line}");
            assert!(line.contains("up in ") && line.ends_with(" s"), "{line}");
        }
        let lines = dev.out.lock().unwrap().clone();
        let at = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap();
        assert!(SERVICES.iter().all(|service| at(&format!("  {service} ")) < at("Quadrille is running.")));
        let answer = placed(&dev.api()).await.unwrap();
        let line = dev.out_has(|line| line.contains(" POST /orders 202 "));
        let id = &answer.headers["x-correlation-id"];
        assert!(line.contains(" ms ") && line.ends_with(id.to_str().unwrap()), "{line}: {id:?}");
        assert!(dev.errors.lock().unwrap().is_empty(), "{:?}", dev.errors);
    });
}

/// Guards: the program has one name.
#[test]
fn the_program_has_one_name() {
    let said = |flag: &str| {
        let output = Command::new(BINARIES.join("localstack")).arg(flag).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let version = format!("quadrille dev {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(said("--version"), (Some(0), version));
    assert!(said("--help").1.contains("\nUsage: quadrille dev [OPTIONS]"), "{}", said("--help").1);
    let (code, refused) = said("--nonsense");
    assert!(code == Some(2) && refused.contains("Usage: quadrille dev "), "{refused}");
}

/// Guards: minutes of silence while it builds. What cargo says of its progress is shown, by the alias and by the program.
#[test]
fn cargos_own_progress_is_shown() {
    let alias = fs::read_to_string(root().join(".cargo/config.toml")).unwrap();
    assert!(alias.contains("dev = \"run -p localstack --\""), "{alias}");
    let folder = scratch("cargo");
    let cargo = folder.join("cargo");
    fs::write(&cargo, "#!/bin/sh\necho \"   Compiling with $*\" >&2\nexit 101\n").unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(BINARIES.join("localstack"));
    let output = command.arg("--infra").arg(root().join("infra")).env("CARGO", cargo).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = errors.lines().collect();
    assert_eq!((output.status.code(), lines.len()), (Some(1), 2), "{errors}");
    assert!(
        lines[0].starts_with("   Compiling with build --bin ") && !lines[0].contains("--quiet"),
        "{errors}"
    );
    assert_eq!(lines[1], "error: the services do not build");
}

/// Guards: with `--logs` an order's id leads through all services; a line that cannot be read is shown too; no colours in a pipe.
#[test]
fn logs_are_followed_with_the_orders_id() {
    run(async {
        let dev = Dev::start("followed", &BINARIES, &["--logs"]);
        let order = placed(&dev.api()).await.unwrap().body["order_id"].as_str().unwrap().to_owned();
        for function in ["orders-reactor", "inventory-reactor", "payments-reactor", "rewards-reactor"] {
            let line =
                dev.out_has(|line| line.contains(function) && line.ends_with(&format!("order={order}")));
            assert!(line.contains(" INFO  delivery "), "{line}");
        }
        let log = dev.data.join("logs/local-quadrille-sales-reactor.log");
        OpenOptions::new().append(true).open(log).unwrap().write_all(b"thread 'main' panicked\n").unwrap();
        let line = dev.out_has(|line| line.ends_with(" thread 'main' panicked"));
        assert!(line.starts_with("sales-reactor "), "{line}");
        let lines = dev.out.lock().unwrap().clone();
        assert!(lines.iter().all(|line| !line.contains('\u{1b}') && !line.contains("_aws")), "{lines:#?}");
    });
}

/// The templates without a permission that rewards needs to write its state.
fn without_a_permission() -> PathBuf {
    let infra = scratch("without-a-permission");
    copy(&root().join("infra"), &infra);
    let template = infra.join("rewards.yaml");
    let text = fs::read_to_string(&template).unwrap();
    let (before, after) = text.split_once("  ReactorRole:").unwrap();
    let after = after.replacen("                  - dynamodb:PutItem\n", "", 1);
    fs::write(&template, format!("{before}  ReactorRole:{after}")).unwrap();
    infra
}

/// Guards: a permission that is missing shows itself only hours later, as a message in a dead-letter queue, and that nowhere.
#[test]
fn what_is_missing_and_what_has_died_is_said_at_once() {
    run(async {
        let dev = Dev::of("missing", &BINARIES, &without_a_permission(), &["--time-scale", "1000"]);
        assert_eq!(placed(&dev.api()).await.unwrap().status, 202);
        let role = "role rewards-ReactorRole may not dynamodb:PutItem";
        dev.complains(&[role, "table/local-quadrille-rewards"]);
        let died = ["queue local-quadrille-rewards-events: message ", "local-quadrille-rewards-events-dlq"];
        dev.complains(&died);
        // It was refused at each receive.
        assert_eq!(dev.complaints(role), 1, "{:#?}", dev.errors);
    });
}

/// Guards: a function that does not start, or ends, is named with what it said last; once a minute while it is tried again.
#[test]
fn a_function_that_does_not_start_or_ends_is_named() {
    run(async {
        let binaries = binaries("broken-binary");
        let sales = binaries.join("sales");
        fs::remove_file(&sales).unwrap();
        fs::write(&sales, "#!/bin/sh\necho 'there is no table' >&2\nexit 3\n").unwrap();
        fs::set_permissions(&sales, fs::Permissions::from_mode(0o755)).unwrap();
        let dev = Dev::start("broken", &binaries, &[]);
        let name = "function local-quadrille-sales-reactor";
        dev.complains(&[name, "does not start (exit status: 3): there is no table; its log is "]);
        dev.complains(&[name, "is not up after"]);
        assert_eq!(dev.complaints("sales-reactor does not start"), 1, "{:#?}", dev.errors);
        assert!(kill("KILL", &processes(&binaries.join("notifications"))[0]));
        dev.complains(&[
            "function local-quadrille-notifications-reactor ended by itself (signal: 9 (SIGKILL))",
        ]);
        assert_eq!(placed(&dev.api()).await.unwrap().status, 202);
    });
}

/// Guards: after Ctrl-C there is one line, exit code 0 and no process, also in the middle of work.
#[test]
fn ctrl_c_is_quiet() {
    run(async {
        let binaries = binaries("interrupted-binaries");
        let mut dev = Dev::start("interrupted", &binaries, &["--logs", "--parameter", "RequestBurst=100000"]);
        assert!(!processes(&binaries).is_empty());
        let api = dev.api();
        let load = tokio::spawn(async move {
            join_all((0..64).map(|_| async { while placed(&api).await.is_some() {} })).await;
        });
        dev.out_has(|line| line.contains("more requests"));
        dev.interrupt();
        let status = dev.child.wait().unwrap();
        load.await.unwrap();
        assert_eq!(status.code(), Some(0), "{status}");
        let began = Instant::now();
        while !processes(&binaries).is_empty() {
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", processes(&binaries));
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(*dev.errors.lock().unwrap(), ["Stopped."]);
    });
}

/// A log of more lines than a pipe and the lines that wait for it hold.
fn log_much(data: &Path) {
    let log = data.join("logs/local-quadrille-sales-reactor.log");
    let line = format!("{{\"level\":\"INFO\",\"message\":\"{}\"}}\n", "much ".repeat(20));
    OpenOptions::new().append(true).open(log).unwrap().write_all(line.repeat(10_000).as_bytes()).unwrap();
}

/// What a pipe holds, and a line more.
const OF_A_PIPE: usize = 80 * 1024;

/// Guards: a terminal that nobody reads, or that is gone, ends nothing and holds nothing up; after Ctrl-C nothing is shown of what
/// has waited for it.
#[test]
fn a_terminal_that_is_gone_or_not_read_holds_nothing_up() {
    run(async {
        for is_gone in [true, false] {
            let (data, flags) = (scratch("unread"), ["--logs", "--parameter", "RequestBurst=100000"]);
            let mut child = command(&BINARIES, &root().join("infra"), &data, &flags).spawn().unwrap();
            let mut out = BufReader::new(child.stdout.take().unwrap());
            let mut errors = child.stderr.take().unwrap();
            let api = out.by_ref().lines().map_while(Result::ok).find(|line| line.trim().starts_with("API"));
            let api = Client::new(api.unwrap().split_whitespace().nth(1).unwrap());
            let mut unread = Some(out);
            if is_gone {
                unread = None;
            }
            let served = async || {
                let answers = timeout(TIMEOUT, join_all((0..30).map(|_| placed(&api)))).await.unwrap();
                assert!(answers.iter().all(|answer| answer.as_ref().is_some_and(|it| it.status == 202)));
            };
            log_much(&data);
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                served().await;
            }
            assert!(kill("INT", &format!("-{}", child.id())));
            // It has heard of it by then; and it waits for its last lines for longer.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let (mut rest, mut complaints) = (Vec::new(), String::new());
            unread.map(|mut out| out.read_to_end(&mut rest).unwrap());
            errors.read_to_string(&mut complaints).unwrap();
            assert!(rest.len() < OF_A_PIPE, "{} bytes after Ctrl-C", rest.len());
            assert_eq!((child.wait().unwrap().code(), complaints.as_str()), (Some(0), "Stopped.\n"));
        }
    });
}
