//! A compiled model, mutated and sealed again, is refused or runs to an end: control bytes, then the blob.
#![no_main]

use kinglet_fuzz::{CONTROL, exercise, mutate, sealed};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|input: &[u8]| {
    let Some((control, blob)) = input.split_first_chunk::<CONTROL>() else { return };
    let blob = sealed(blob, control[0]);
    if let Ok(model) = kinglet::Model::from_bytes(&blob) {
        exercise(&model, control);
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    // One mutation in four is the fuzzer's own, which knows what it has seen compared.
    if seed % 4 == 0 { fuzzer_mutate(data, size, max_size) } else { mutate(data, size, max_size, seed) }
});
