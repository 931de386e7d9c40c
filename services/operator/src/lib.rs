//! What the people who run the platform do by hand, on the local stack as on AWS.

pub mod audit;
pub mod dead_letters;
pub mod event_log;
pub mod forget;
pub mod mask;
pub mod rebuild;
pub mod redrive;
pub mod replay;
pub mod republish;
pub mod story;
pub mod views;
