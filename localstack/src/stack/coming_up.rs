//! How a stack comes up, as the terminal shows it: a line for each service when all its functions have asked for work.

use super::options::Options;
use crate::aws::lambda::{Function, Functions, Mode};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long a function may be on its way until it is said that it is not there.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shows what the functions log from their start on, if the options say so.
pub fn follow(options: &Options, functions: &Functions, logs: &Path) {
    let mut names: Vec<String> = functions.all().map(|function| function.name.clone()).collect();
    names.sort_unstable();
    options.terminal.follow(logs, &names, &format!("{}-quadrille-", options.stage));
}

/// Shows each service as it comes up.
pub async fn show(options: Options, functions: Functions) {
    let mut services: BTreeMap<&str, Vec<&Arc<Function>>> = BTreeMap::new();
    for function in functions.all() {
        services.entry(function.service()).or_default().push(function);
    }
    let (began, options) = (Instant::now(), &options);
    let shown = services.iter().map(|(service, functions)| show_one(options, service, functions, began));
    join_all(shown).await;
}

async fn show_one(options: &Options, service: &str, functions: &[&Arc<Function>], began: Instant) {
    let terminal = &options.terminal;
    if options.lambda == Mode::Classic {
        return terminal.is_up(service, functions.len(), "start when they are called");
    }
    let waiting = functions.iter().map(|function| timeout(PATIENCE, function.is_up()));
    let late: Vec<_> = join_all(waiting).await.iter().map(Result::is_err).collect();
    if !late.contains(&true) {
        let elapsed = began.elapsed();
        let (seconds, hundredths) = (elapsed.as_secs(), elapsed.subsec_millis() / 10);
        return terminal.is_up(service, functions.len(), &format!("up in {seconds}.{hundredths:02} s"));
    }
    for (function, _) in functions.iter().zip(late).filter(|(_, is_late)| *is_late) {
        tracing::error!("function {} is not up after {} s", function.name, PATIENCE.as_secs());
    }
}
