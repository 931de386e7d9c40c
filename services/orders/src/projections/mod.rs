//! What orders keeps of others in its own table: the price list, and whether payments can charge at all.

pub mod admission;
pub mod prices;
