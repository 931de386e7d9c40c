//! The report over the API, and `quadrille rebuild` against a platform.

use crate::bench::Bench;
use crate::platform::{Platform, run};
use crate::replays::{output, printed, with_orders};
use chassis::Store;
use chassis::store::{Condition, Item, Key, Write};
use chrono::Utc;
use operator::views::PRICES;
use serde_json::{Value, json};
use tests::client::order_of;

/// Today's and tomorrow's report, for the operators: a test may run over midnight.
async fn report(platform: &Platform) -> Value {
    let today = Utc::now().date_naive();
    let days = format!("from={}&to={}", today - chrono::Days::new(1), today + chrono::Days::new(1));
    let operators = platform.bearing("ops", "orders:operate");
    let answer = operators.get(&format!("/reports/sales?{days}")).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

async fn rebuilt(platform: &Platform, arguments: &[&str]) -> Value {
    printed(platform, &[&["rebuild", "--json", "--projection"][..], arguments].concat()).await
}

async fn write(platform: &Platform, service: &str, writes: Vec<Write>) {
    platform.table(&format!("test-quadrille-{service}")).await.commit(writes).await.unwrap();
}

/// Guards: what a report says of orders that ended in every way, that a rebuild while orders keep coming is the same to the byte,
/// and that it mends a spoiled counter. And who may see a report, and what is refused.
#[test]
fn sales_are_reported_and_rebuilt() {
    run(async {
        let (platform, _) = with_orders("rebuild").await;
        let shown = report(&platform).await;
        let totals = &shown["totals"];
        assert_eq!(
            (&totals["orders"], &totals["orders_taken_back"], &totals["cancellations"]),
            (
                &json!(2),
                &json!(1),
                &json!({"FULFILLMENT_FAILED": 1, "INSUFFICIENT_STOCK": 1, "PAYMENT_DECLINED": 1})
            ),
            "{shown}"
        );
        assert_eq!(
            (shown["days"].as_array().unwrap().len(), totals["products"].as_array().unwrap().len()),
            (3, 2)
        );
        refusals(&platform).await;
        let no_change = rebuilt(&platform, &["sales", "--dry-run"]).await;
        assert_eq!(no_change, json!({"differences": []}));

        let beans = platform.product(100).await;
        let order = order_of(&beans, 1);
        let rebuild = rebuilt(&platform, &["sales"]);
        let placing = async {
            for _ in 0..5 {
                let order = platform.api.place(&order).await.unwrap();
                (&platform).ended(&order).await;
            }
        };
        let (first, ()) = tokio::join!(rebuild, placing);
        (&platform).settle().await;
        let beside = report(&platform).await;
        assert_eq!((&first["generation"], &beside["totals"]["orders"]), (&json!(2), &json!(7)));
        assert_eq!(rebuilt(&platform, &["sales", "--dry-run"]).await, json!({"differences": []}));

        let day = Utc::now().date_naive();
        let spoiled = Key::new(format!("day#2#{day}"), "count#0#orders#USD");
        write(&platform, "sales", vec![Write::Count { key: spoiled, by: vec![("cents", 7)] }]).await;
        assert_ne!(report(&platform).await, beside);
        let differences = differing(&platform, "sales").await;
        assert_eq!(differences["differences"].as_array().unwrap().len(), 1, "{differences}");
        assert_eq!(rebuilt(&platform, &["sales"]).await["generation"], 3);
        assert_eq!(report(&platform).await.to_string(), beside.to_string());
        let stray = output(&platform, &["rebuild", "--projection", "sales", "--resume", "--dry-run"]).await;
        assert_eq!(stray.status.code(), Some(2));
        views(&platform).await;
    });
}

/// What a dry run says of a projection that is not as the log says; it ends with 1.
async fn differing(platform: &Platform, projection: &str) -> Value {
    let arguments = ["rebuild", "--json", "--dry-run", "--projection", projection];
    let output = output(platform, &arguments).await;
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn refusals(platform: &Platform) {
    let customer = platform.bearing("ada", "orders:read orders:write");
    let answer = customer.get("/reports/sales?from=2026-11-01&to=2026-11-02").await.unwrap();
    assert_eq!(answer.status, 403);
    let operators = platform.bearing("ops", "orders:operate");
    let answer = operators.get("/reports/sales?from=2026-11-02&to=2026-11-01").await.unwrap();
    assert_eq!((answer.status, &answer.body["errors"][0]["field"]), (400, &json!("to")));
}

/// Guards: a view is put right row by row: one that was changed, one that is gone, and one that no event stands behind.
async fn views(mut platform: &Platform) {
    let table = platform.table("test-quadrille-orders").await;
    let [changed, gone] = [platform.product(1).await, platform.product(1).await];
    platform.settle().await;
    let [changed, gone, invented] =
        [changed, gone, "never-listed".into()].map(|id| Key::new(format!("product#{id}"), "view"));
    let before = [table.load(&changed).await.unwrap().unwrap(), table.load(&gone).await.unwrap().unwrap()];
    let there = || Condition::Matches(Vec::new());
    let spoiled = before[0].clone().with("unit_price", 1).with("seq", 99);
    let stray = Item::new(invented.clone()).with("unit_price", 1).with("seq", 1);
    write(
        platform,
        "orders",
        vec![
            Write::Put { item: spoiled, when: there() },
            Write::Delete { key: gone.clone(), when: there() },
            Write::Put { item: stray, when: Condition::Absent },
        ],
    )
    .await;
    for dry_run in [true, false] {
        let outcome =
            if dry_run { differing(platform, "prices").await } else { rebuilt(platform, &["prices"]).await };
        let named = |what: &str| outcome[what].clone();
        assert_eq!(named("changed"), json!([changed.pk]), "{outcome}");
        assert_eq!((named("added"), named("removed")), (json!([gone.pk]), json!([invented.pk])));
        assert!(outcome["unchanged"].as_u64().unwrap() > 1 && outcome["projection"] == PRICES.name);
    }
    let after = [table.load(&changed).await.unwrap().unwrap(), table.load(&gone).await.unwrap().unwrap()];
    assert_eq!((after, table.load(&invented).await.unwrap()), (before, None));
    other_views(platform).await;
}

/// Guards: a view of which there are no rows, and what no command line may ask for.
async fn other_views(platform: &Platform) {
    let outcome = rebuilt(platform, &["admission"]).await;
    assert_eq!((&outcome["changed"], &outcome["added"]), (&json!([]), &json!([])));
    for arguments in [&["prices", "--resume"][..], &["points"]] {
        let output = output(platform, &[&["rebuild", "--projection"][..], arguments].concat()).await;
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
