//! The corpus: pairs of text as read from a file, their ids or numbers, and the batches of an epoch.

pub mod batch;
pub mod corpus;
mod dataset;
pub mod frames;
pub mod vectors;

pub use corpus::Pair;
pub use dataset::Dataset;
