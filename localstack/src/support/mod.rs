//! What several parts of the bench need and no AWS service owns.

mod connections;
pub mod depth;
pub mod handles;
pub mod http;
pub mod journal;
pub mod meter;
pub mod printable;
pub mod rarely;
pub mod remembered;
pub mod secret_file;
pub mod storage;
