//! The whole platform on one machine: the templates that are deployed, the binaries that are deployed, and
//! just enough of AWS to run them. One rule holds everywhere: refuse, don't ignore.

pub mod bus;
pub mod carrier;
pub mod cors;
pub mod endpoint;
pub mod engine;
pub mod faults;
pub mod gateway;
pub mod http;
pub mod iam;
pub mod issuer;
pub mod journal;
pub mod lambda;
pub mod machine;
pub mod pipes;
pub mod provider;
pub mod queues;
pub mod schedules;
pub mod secrets;
pub mod seed;
pub mod sqs;
pub mod stack;
pub mod states;
pub mod template;
pub mod throttle;
pub mod topics;
