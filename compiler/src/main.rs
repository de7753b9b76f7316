//! Compiler command line.
fn main() {}
