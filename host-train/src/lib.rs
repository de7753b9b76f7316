//! Trains small sequence-to-sequence models on the CPU.

pub mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod data;
pub mod ensemble;
pub mod error;
mod label;
pub mod metrics;
pub mod model;
pub mod nn;
pub mod optim;
pub mod pytorch;
pub mod quant;
#[cfg(feature = "cli")]
pub mod report;
pub mod rng;
pub mod sample;
pub mod schedule;
pub mod search;
pub mod sweep;
pub mod tasks;
pub mod threads;
pub mod trainer;
pub mod vocab;

pub use error::Error;
