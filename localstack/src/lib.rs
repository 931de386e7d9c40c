//! The whole platform on one machine: the templates that are deployed, the binaries that are deployed, and
//! just enough of AWS to run them. One rule holds everywhere: refuse, don't ignore.
#![allow(
    missing_docs,
    reason = "a name that says everything needs no comment; other crates read little of this one"
)]

pub mod aws;
pub mod bill;
pub mod faults;
pub mod outside;
pub mod seed;
pub mod stack;
pub mod support;
pub mod template;
pub mod terminal;
