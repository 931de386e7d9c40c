//! DynamoDB: tables with streams, and their calls, by an engine of our own. What it does not know it refuses; what it knows is
//! compared, call by call, with another implementation (`differential`).

pub mod api;
mod capacity;
pub mod conflicts;
pub mod database;
mod describe;
#[cfg(test)]
mod differential;
mod error;
mod expression;
mod lag;
mod number;
mod read;
mod request;
mod schema;
#[cfg(test)]
mod specs;
mod tables;
mod tokens;
mod value;
mod write;

pub use database::Database;
pub use request::Request;
pub use schema::place;
pub use tables::StreamRecord;
