//! The model in flash, as `build.rs` found it.

use core::hint::black_box;

use kinglet::Aligned;

static BLOB: Aligned<[u8; include_bytes!(concat!(env!("OUT_DIR"), "/model.kgl")).len()]> =
    Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/model.kgl")));

/// The blob, read in place. The optimizer does not see its bytes, so that what is proved about this firmware holds for
/// any blob.
pub fn blob() -> &'static [u8] {
    black_box(&*BLOB)
}

/// What the desktop made of a handful of words with this blob: the output of `desktop`. Empty when there is none.
pub fn self_test() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/model.selftest"))
}
