//! Shared helpers of the promises between crates.

pub mod architectures;
pub mod family;
pub mod golden;
pub mod handmade;
pub mod tiny;
