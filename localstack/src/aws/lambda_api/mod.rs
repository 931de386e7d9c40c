//! Lambda's calls: functions, their invocations, and the mappings of queues and streams to them.

pub mod api;
mod functions;
pub mod invoke;
mod mappings;
mod names_of_functions;
mod service;
#[cfg(test)]
mod specs;

pub use mappings::Mappings;
pub use service::Service;
