//! vocab.
