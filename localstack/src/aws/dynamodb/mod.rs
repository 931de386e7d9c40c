//! DynamoDB: tables with streams, and their calls.

pub mod api;
mod capacity;
pub mod conflicts;
pub mod database;
pub mod operations;
mod tables;
mod tokens;

pub use database::Database;
pub use operations::StreamRecord;
