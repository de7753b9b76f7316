//! Shared helpers of the promises between crates.
