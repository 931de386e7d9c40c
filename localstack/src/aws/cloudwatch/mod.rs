//! CloudWatch: the metrics that the functions log, the alarms of the templates over them, and the dashboards.

mod alarms;
mod alarms_api;
pub mod api;
mod dashboards_api;
pub mod depths;
pub mod math;
mod metrics_api;
mod samples;
mod service;
mod states;
pub mod statistics;

pub use service::{Service, Watched};
