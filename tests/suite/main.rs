//! What is only true of the whole. One binary: linking the SDK once is slow enough.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod access;
mod bad_input;
mod batches;
mod bench;
mod breaker;
mod by_hand;
mod compensation;
mod console;
mod contracts;
mod counting;
mod crashes;
mod dance;
mod description;
mod edge;
mod envelopes;
mod faults;
mod fuzz;
mod layering;
mod model;
mod modules;
mod outside;
mod outward;
mod platform;
mod races;
mod readme;
mod refusals;
mod secrecy;
mod seeded;
mod store_contract;
mod stores;
mod stories;
mod sweeping;
mod topology;
mod undoing;
mod world;
