//! The stack: from templates to a running platform.

#[cfg(test)]
mod acknowledging;
mod checks;
mod coming_up;
mod data_folder;
mod limits;
pub mod options;
mod parts;
mod ports;
pub mod running;
pub mod watching;

pub use options::{Options, binaries};
pub use running::Stack;
