//! The corpus: pairs of text as read from a file, their ids, and the batches of an epoch.

pub mod batch;
pub mod corpus;
mod dataset;
pub mod vectors;

pub use corpus::Pair;
pub use dataset::Dataset;
