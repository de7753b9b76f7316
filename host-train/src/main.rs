//! Command line of the trainer.
fn main() {}
