//! Shared helpers of the promises between crates.

pub mod golden;
pub mod tiny;
