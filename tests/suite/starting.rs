//! How the local stack starts: after a start that failed, under traffic from the first moment, on spoiled files, and with few file
//! handles.

use crate::platform::{BINARIES, Platform, copy, options, root, run, scratch};
use futures_util::future::join_all;
use hyper::Method;
use localstack::stack::{Options, Stack};
use serde_json::json;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tests::client::{Client, order_of};
use tests::process::Process;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// One of the first products.
const PRODUCT: &str = "espresso-beans";
const TIMEOUT: Duration = Duration::from_secs(60);

fn on_disk(name: &str) -> Options {
    Options { in_memory: false, seed: true, ..options(name) }
}

async fn placed(api: &Client) -> u16 {
    api.send(Method::POST, "/orders", order_of(PRODUCT, 1).to_string()).await.unwrap().status
}

/// Guards: the journal's mark that the first products are listed. A folder with tables and without products is filled.
#[test]
fn a_first_start_that_failed_leaves_no_empty_shop() {
    run(async {
        let options = on_disk("first-start");
        let without_binaries = Options { binaries: options.data.clone(), ..options.clone() };
        assert!(Stack::start(&without_binaries).await.is_err());
        assert!(options.data.join("store").exists());
        // As far as a start comes that is killed after it has listed one of them, and before it has noted that.
        let killed = Platform::start(&Options { seed: false, ..options.clone() }).await.unwrap();
        let listed = json!({"name": "Hand grinder", "unit_price_cents": 8900, "stock": 1}).to_string();
        let listed = killed.api.send(Method::PUT, "/products/last-grinder", listed).await.unwrap();
        assert_eq!(listed.status, 201);
        drop(killed);
        let platform = Platform::start(&options).await.unwrap();
        assert_eq!(placed(&platform.api).await, 202);
    });
}

/// Guards: the API's port answers once there is something to buy, and traffic from the first moment does not end the start.
#[test]
fn a_first_start_bears_traffic() {
    run(async {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options = Options { seed: true, no_auth: true, api_port: port, ..options("traffic") };
        let api = Client::new(format!("http://127.0.0.1:{port}"));
        let calling = tokio::spawn(async move {
            let mut statuses = Vec::new();
            while statuses.len() < 20 {
                match api.send(Method::POST, "/orders", order_of(PRODUCT, 1).to_string()).await {
                    Ok(answer) => statuses.push(answer.status),
                    // The port is not open yet.
                    Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
            statuses
        });
        let _platform = Platform::start(&options).await.unwrap();
        assert_eq!(timeout(TIMEOUT, calling).await.unwrap().unwrap(), [202; 20]);
    });
}

/// What a start on a copy of a folder says, after `spoil`.
async fn refused(options: &Options, name: &str, spoil: impl FnOnce(&Path)) -> String {
    let data = scratch("spoiled");
    copy(&options.data, &data);
    spoil(&data.join(name));
    let spoiled = Options { data, ..options.clone() };
    let Err(error) = Stack::start(&spoiled).await else {
        panic!("{name} in {} is believed", spoiled.data.display())
    };
    let fresh = Options { fresh: true, ..spoiled };
    assert!(Stack::start(&fresh).await.is_ok(), "{name} survives --fresh");
    format!("{error:#}")
}

/// Guards: a function whose log cannot be opened would never run, so the start says which file is in the way.
#[test]
fn a_log_that_cannot_be_opened_stops_the_start() {
    run(async {
        let options = on_disk("no-log");
        let log = options.data.join("logs/test-quadrille-orders-api.log");
        fs::create_dir_all(&log).unwrap();
        let error = format!("{:#}", Stack::start(&options).await.err().unwrap());
        assert!(error.contains(log.to_str().unwrap()) && error.contains("delete"), "{error}");
    });
}

/// The log of a store, below the data folder.
fn newest_log(store: &Path) -> String {
    let names = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let newest = names.filter(|name| name.ends_with(".jnl")).max_by_key(String::len).unwrap();
    format!("store/{newest}")
}

/// Guards: what cannot be read, what was acknowledged and is gone, and what an earlier version left, stop the start with a file and
/// a way out.
#[test]
fn what_is_spoiled_is_named_with_a_way_out() {
    run(async {
        let options = on_disk("to-be-spoiled");
        let platform = Platform::start(&options).await.unwrap();
        platform.stack.settle(TIMEOUT).await.unwrap();
        drop(platform);
        let garble = |path: &Path| fs::write(path, [b'x'; 5000]).unwrap();
        let empty = |path: &Path| fs::write(path, "").unwrap();
        let gone = |path: &Path| fs::remove_file(path).unwrap();
        let all_gone = |path: &Path| fs::remove_dir_all(path).unwrap();
        let log = newest_log(&options.data.join("store"));
        let (fresh, log) = ("start with --fresh", log.as_str());
        for (name, way_out, error) in [
            ("store", fresh, refused(&options, log, garble).await),
            ("store", fresh, refused(&options, log, empty).await),
            ("store", fresh, refused(&options, log, gone).await),
            ("store", fresh, refused(&options, "store/version", gone).await),
            ("store", fresh, refused(&options, "store/keyspaces", all_gone).await),
            ("tables.db", fresh, refused(&options, "tables.db", empty).await),
            ("issuer.der", "delete it", refused(&options, "issuer.der", empty).await),
            ("secrets.json", "delete it", refused(&options, "secrets.json", empty).await),
        ] {
            assert!(error.contains(name) && error.contains(way_out), "{name}: {error}");
        }
    });
}

/// The service binaries, and the platform's own in a shell that allows 256 open files, as that of macOS does.
fn with_few_handles(limit: &str) -> std::path::PathBuf {
    let folder = scratch("few-handles");
    for binary in fs::read_dir(&*BINARIES).unwrap().map(|entry| entry.unwrap().path()) {
        if binary.is_file() && binary.extension().is_none() && !binary.ends_with("localstack") {
            symlink(&binary, folder.join(binary.file_name().unwrap())).unwrap();
        }
    }
    let script =
        format!("#!/bin/sh\nulimit {limit}\nexec '{}' \"$@\"\n", BINARIES.join("localstack").display());
    fs::write(folder.join("localstack"), script).unwrap();
    fs::set_permissions(folder.join("localstack"), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Guards: what a stack needs. Where the hard limit allows fewer handles than the functions' connections take, nothing is started.
#[test]
fn a_hard_limit_that_is_too_low_is_said_at_once() {
    let stack = BINARIES.join("localstack");
    let script =
        format!("ulimit -n 256; exec '{}' --in-memory --bin-dir '{}'", stack.display(), BINARIES.display());
    let output = Command::new("sh").args(["-c", &script]).current_dir(root()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("error: this shell allows 256 open files") && said.lines().count() == 1,
        "{said}"
    );
    assert!(output.stdout.is_empty());
}

/// Guards: the stack raises its limit of open files. 64 clients are served beside 150 that only keep a connection.
#[test]
fn a_shell_of_256_handles_is_enough_for_64_clients() {
    run(async {
        let folder = with_few_handles("-Sn 256");
        let flags = ["--in-memory", "--no-auth"];
        let platform = Process::start(&folder, &root().join("infra"), &folder.join("data"), &flags).unwrap();
        platform.api.sell(PRODUCT, 1000, TIMEOUT).await.unwrap();
        let port = platform.api.base().rsplit(':').next().unwrap().to_owned();
        let idle = join_all((0..150).map(|_| TcpStream::connect(format!("127.0.0.1:{port}")))).await;
        let idle: Vec<_> = idle.into_iter().map(Result::unwrap).collect();
        let clients: Vec<_> = (0..64).map(|_| Client::new(platform.api.base())).collect();
        let served = timeout(Duration::from_secs(25), join_all(clients.iter().map(placed))).await.unwrap();
        assert_eq!(served, [202; 64]);
        drop(idle);
    });
}

/// Guards: a stack of few handles. Whoever opens connections and sends half of a request, more often than there are handles, keeps no
/// client out: the one that has let the stack wait longest makes room.
#[test]
fn half_sent_requests_keep_nobody_out() {
    run(async {
        let folder = with_few_handles("-n 512");
        let flags = ["--in-memory", "--no-auth"];
        let platform = Process::start(&folder, &root().join("infra"), &folder.join("data"), &flags).unwrap();
        platform.api.sell(PRODUCT, 1000, TIMEOUT).await.unwrap();
        let address = platform.api.base().trim_start_matches("http://").to_owned();
        let half_sent = async |number: usize| {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            let half: &[u8] =
                if number.is_multiple_of(2) { b"POST /ord" } else { b"POST /orders HTTP/1.1\r\nhost: x\r\n" };
            stream.write_all(half).await.unwrap();
            stream
        };
        let half_sent = join_all((0..600).map(half_sent)).await;
        let clients: Vec<_> = (0..64).map(|_| Client::new(platform.api.base())).collect();
        let served = timeout(Duration::from_secs(10), join_all(clients.iter().map(placed))).await.unwrap();
        assert_eq!(served, [202; 64]);
        drop(half_sent);
    });
}
