//! API Gateway's HTTP APIs.

pub mod access_log;
pub mod api;
pub mod authorizer;
pub mod cors;
pub mod gateway;
pub mod payload;
pub mod routes;
pub mod throttle;

pub use gateway::Gateway;
