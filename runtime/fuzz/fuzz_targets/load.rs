//! Bytes are refused or make a model whose readers cannot fail; the first byte says whether they are sealed.
#![no_main]

use kinglet_fuzz::{look, sealed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((how, bytes)) = input.split_first() else { return };
    // An allocation of its exact size: a read beyond it is seen.
    let bytes = if how & 1 == 0 { bytes.into() } else { sealed(bytes, *how >> 1) };
    if let Ok(model) = kinglet::Model::from_bytes(&bytes) {
        look(&model);
    }
});
