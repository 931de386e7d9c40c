//! Forgetting: an address is in the clear nowhere, and without its key nothing that is left opens it.

use crate::bench::Bench;
use crate::outside::MemoryCarrier;
use crate::platform::{BINARIES, Platform, options, run, sdk_at};
use aws::dynamodb::DynamoStore;
use base64::{Engine, engine::general_purpose::STANDARD};
use chassis::keys::{self, AddressKey, Keys};
use chassis::ports::RandomIds;
use chassis::store::{Item, Key, MemoryStore, Scan, Store};
use chassis::{Attempt, Effects, Failure, Live};
use events::OrderId;
use events::orders::{Address, Destination, SealedAddress};
use fulfillment::reactor::{Call, Shipping};
use fulfillment::shipment::{Message, Parcel};
use hyper::Method;
use localstack::faults::Fault;
use localstack::stack::Options;
use operator::redrive::Meant;
use registry::SERVICES;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(60);
/// What must not be found.
const SECRETS: [&str; 3] = ["Zenobia Quibblefax", "4711 Quibbleworth Lane", "Oblivionville"];

fn address() -> Address {
    let [name, line1, city] = SECRETS.map(str::to_owned);
    Address { name, line1, line2: None, city, postal_code: "OB1".into(), country: "GB".into() }
}

/// A text as it is, and the part of its base64 that is the same wherever in the encoded text it begins.
fn spellings(text: &str) -> Vec<String> {
    let encoded = (0..3).map(|shift| {
        let padded = STANDARD.encode([&vec![b'x'; shift], text.as_bytes()].concat());
        padded[4..padded.len() - 4].to_owned()
    });
    encoded.chain([text.to_owned()]).collect()
}

/// Every file below a folder: tables, journal and logs.
fn files(folder: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else {
            all.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

async fn rows(platform: &Platform, name: &str) -> Vec<Item> {
    let table = platform.table(&format!("test-quadrille-{name}")).await;
    let scanned = table.scan("", None, 1000).await.unwrap();
    assert_eq!(scanned.last, None);
    scanned.rows
}

/// Everything that the platform and the world outside keep. The carrier's simulator keeps of an address that there was one; a
/// real carrier has it, because the parcel went there.
async fn everything(platform: &Platform, folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    files(folder, &mut all);
    for table in SERVICES.iter().chain(&["keys"]) {
        all.push(((*table).to_owned(), format!("{:?}", rows(platform, table).await).into_bytes()));
    }
    for book in ["/book", "/carrier/book"] {
        let book = platform.provider.get(book).await.unwrap().body;
        all.push(("a book".into(), book.to_string().into_bytes()));
    }
    let messages = platform.stack.topics.published("test-quadrille-notifications.fifo").unwrap();
    all.extend(messages.into_iter().map(|message| ("the topic".into(), message.message.into_bytes())));
    all
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The places that hold a text.
fn places<'a>(all: &'a [(String, Vec<u8>)], text: &str) -> Vec<&'a str> {
    all.iter().filter(|(_, bytes)| holds(bytes, text)).map(|(name, _)| name.as_str()).collect()
}

async fn nothing_is_in_the_clear(platform: &Platform, folder: &Path, sealed: &[(OrderId, SealedAddress)]) {
    let all = everything(platform, folder).await;
    for spelling in SECRETS.iter().flat_map(|secret| spellings(secret)) {
        assert_eq!(places(&all, &spelling), Vec::<&str>::new(), "{spelling}");
    }
    // What was looked through is what there is: the sealed text lies in tables and in the store, with its archive and its dead
    // letter; the order in the logs.
    for (order, sealed) in sealed {
        let sealed = places(&all, &sealed.0);
        assert!(sealed.contains(&"orders") && sealed.len() >= 2, "{sealed:?}");
        assert!(sealed.iter().any(|place| place.contains("/store/")), "{sealed:?}");
        assert!(places(&all, &order.to_string()).iter().any(|place| place.contains("/logs/")));
    }
}

/// How many of these addresses some text in some table opens.
async fn opened(platform: &Platform, sealed: &[(OrderId, SealedAddress)]) -> usize {
    let mut texts = Vec::new();
    for table in SERVICES.iter().chain(&["keys"]) {
        let rows = format!("{:?}", rows(platform, table).await);
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
        texts.extend(rows.split(|c| !is_base64(c)).filter(|text| text.len() == 44).map(str::to_owned));
    }
    let mut opened = 0;
    for (order, sealed) in sealed {
        for text in &texts {
            let row = Item::new(keys::row(*order)).with("key", text.as_str());
            let key = Keys(MemoryStore::of([row])).of(*order).await;
            opened += usize::from(key.is_ok_and(|key| key.unwrap().open(*order, sealed) == Ok(address())));
        }
    }
    opened
}

async fn forget(platform: &Platform, flags: &[&str]) -> Output {
    forget_one(platform, &platform.customer("ada"), flags).await
}

async fn forget_one(platform: &Platform, customer: &str, flags: &[&str]) -> Output {
    let mut command = Command::new(BINARIES.join("quadrille"));
    command.args(["--stage", "test", "forget", "--customer", customer]).args(flags).stdin(Stdio::null());
    command.env("AWS_ENDPOINT_URL", &platform.stack.endpoint).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// What it prints as JSON: how many were forgotten now, and before.
async fn forgotten(platform: &Platform, flags: &[&str]) -> [u64; 2] {
    let output = forget(platform, &[flags, &["--json"]].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["orders"], 2, "{report}");
    ["forgotten", "forgotten_before"].map(|name| report[name].as_u64().unwrap())
}

/// Places an order with the address, under a key, so that its answer is remembered too.
async fn place(platform: &Platform, product: &str) -> OrderId {
    let mut order = platform.order_of(product, 1);
    order["shipping_address"] = json!(address());
    let headers = [("content-type", "application/json"), ("idempotency-key", product)];
    let answer = platform.api.send_with(Method::POST, "/orders", &headers, order.to_string()).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.body["order_id"].as_str().unwrap().parse().unwrap()
}

/// The sealed address in the log of an order.
async fn sealed(platform: &Platform, order: OrderId) -> SealedAddress {
    let orders = platform.table("test-quadrille-orders").await;
    let row = orders.load(&Key::event(&format!("order#{order}"), 2)).await.unwrap().unwrap();
    let data: Destination = serde_json::from_str(row.text("data").unwrap()).unwrap();
    let Destination::Sealed { sealed_address } = data else { panic!("{data:?}") };
    sealed_address
}

/// A platform on disk with an order that was shipped, and one whose confirmation is a dead letter of fulfillment.
async fn with_a_dead_letter(options: &Options) -> (Platform, [OrderId; 2]) {
    let platform = Platform::start(options).await.unwrap();
    let shipped = place(&platform, &platform.product(9).await).await;
    platform.api.ended(&shipped.to_string(), TIMEOUT).await.unwrap();
    (&platform).settle().await;
    let function = Some("test-quadrille-fulfillment-reactor".to_owned());
    platform.stack.faults.set(Fault::Throttle { function, times: 100_000 }).unwrap();
    let waiting = place(&platform, &platform.product(9).await).await;
    let deadline = Instant::now() + TIMEOUT;
    while !platform.dead_letters().iter().any(|(queue, _)| queue == DEAD_LETTERS) {
        assert!(Instant::now() < deadline, "{:?}", platform.dead_letters());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (platform, [shipped, waiting])
}

const DEAD_LETTERS: &str = "test-quadrille-fulfillment-events-dlq";

/// Guards: an address is sealed before anything is written, and opens with its key only; that the command deletes the key, asks,
/// and leaves orders alone that have not left yet. A shipment without an address ends the order well for everyone.
#[test]
fn a_forgotten_address_is_readable_nowhere() {
    run(async {
        let options = Options { in_memory: false, fresh: true, ..options("forgetting") };
        let (platform, orders) = with_a_dead_letter(&options).await;
        let mut addresses = Vec::new();
        for order in orders {
            addresses.push((order, sealed(&platform, order).await));
        }
        nothing_is_in_the_clear(&platform, &options.data, &addresses).await;
        let refused = forget(&platform, &["--yes"]).await;
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(&orders[1].to_string()) && !said.contains(&orders[0].to_string()), "{said}");
        assert_eq!(forget(&platform, &["--also-open"]).await.status.code(), Some(2));
        assert_eq!(
            forget_one(&platform, "adda", &["--yes"]).await.status.code(),
            Some(2),
            "no such customer"
        );
        assert_eq!(opened(&platform, &addresses).await, 2);
        assert_eq!(forgotten(&platform, &["--also-open", "--yes"]).await, [2, 0]);
        assert_eq!(opened(&platform, &addresses).await, 0);
        assert_eq!(forgotten(&platform, &[]).await, [0, 2]);
        nothing_is_in_the_clear(&platform, &options.data, &addresses).await;
        ends_without_an_address(&platform, orders).await;
    });
}

/// The dead letter is sent back: the order that waited is cancelled, and the carrier was asked for the other one only.
async fn ends_without_an_address(platform: &Platform, [shipped, waiting]: [OrderId; 2]) {
    platform.stack.faults.clear();
    let (stage, bus) = platform.operated().await;
    stage.redrive(&Meant::Of(DEAD_LETTERS.to_owned(), None), &bus, |_| {}).await.unwrap();
    let ended = platform.api.ended(&waiting.to_string(), TIMEOUT).await.unwrap();
    assert_eq!(ended["status"], "COMPENSATED", "{ended}");
    assert_eq!(ended["failure"], json!({"error": "FULFILLMENT_FAILED", "carrier_code": "address_forgotten"}));
    let shipments = platform.stack.carrier.shipments();
    let addressed = shipments.iter().filter(|(_, shipment)| shipment.addressed);
    assert_eq!(addressed.map(|(order, _)| order.clone()).collect::<Vec<_>>(), [shipped.to_string()]);
}

async fn ship<S: Store>(shipping: &Shipping<MemoryCarrier, S>, parcel: &Parcel) -> Result<Message, Failure> {
    shipping.perform(Call::Ship(parcel.clone()), Attempt::First, Live::command()).await
}

/// Guards: the carrier gets the address in the clear; a key that is gone is a "no" without a call; a table of keys that does not
/// answer is tried again, and one order's sealed address is no other's.
#[test]
fn an_address_is_opened_for_the_carrier_alone() {
    run(async {
        let (order_id, store) = (OrderId(uuid::Uuid::now_v7()), MemoryStore::default());
        let key = AddressKey::fresh(&RandomIds);
        let sealed_address = key.seal(order_id, &address(), &RandomIds).unwrap();
        store.commit(vec![key.kept(order_id)]).await.unwrap();
        let address_of_parcel = Some(Destination::Sealed { sealed_address: sealed_address.clone() });
        let parcel = Parcel { order_id, lines: Vec::new(), address: address_of_parcel };
        let shipping = Shipping { carrier: MemoryCarrier::default(), keys: Keys(store.keys()) };
        assert!(matches!(ship(&shipping, &parcel).await, Ok(Message::Taken { .. })));
        assert_eq!(shipping.carrier.address(order_id), Some(address()));
        let moved = Parcel { order_id: OrderId(uuid::Uuid::now_v7()), ..parcel.clone() };
        store.commit(vec![AddressKey::fresh(&RandomIds).kept(moved.order_id)]).await.unwrap();
        assert!(matches!(ship(&shipping, &moved).await, Err(Failure::Poison(_))));
        store.keys().expire(&keys::row(order_id));
        let carrier = MemoryCarrier::default();
        let forgotten = Shipping { carrier: carrier.clone(), keys: shipping.keys.clone() };
        let code = fulfillment::shipment::ADDRESS_FORGOTTEN.to_owned();
        assert_eq!(ship(&forgotten, &parcel).await, Ok(Message::Refused { code }));
        let nowhere = DynamoStore::new(&sdk_at("http://127.0.0.1:1").await, "keys");
        let silent = Shipping { carrier: carrier.clone(), keys: Keys(nowhere) };
        assert!(matches!(ship(&silent, &parcel).await, Err(Failure::Transient(_))));
        assert_eq!(carrier.parcel(&order_id.to_string()).calls, 0);
    });
}
