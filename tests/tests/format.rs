//! A blob is checked before it is believed.

use kinglet::blob::{ALIGN, PREAMBLE, VERSION, checksum};
use kinglet::{Arena, LoadError, Model, Options, RunError, Session};
use kinglet_compiler::lower::Fold;
use kinglet_tests::tiny;
use kinglet_train::config::{AttentionKind, Cell};

fn small() -> Vec<u8> {
    tiny::blob(&tiny::config(Cell::Gru, true, 1, AttentionKind::Additive), Fold::Auto, 1).unwrap()
}

fn seal(blob: &mut [u8]) {
    let crc = checksum(&blob[..16], &blob[PREAMBLE..]);
    blob[16..PREAMBLE].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn every_flipped_bit_is_refused() {
    let mut blob = small();
    assert!(Model::from_bytes(&blob).is_ok());
    for byte in 0..blob.len() {
        for bit in 0..8 {
            blob[byte] ^= 1 << bit;
            assert!(Model::from_bytes(&blob).is_err(), "bit {bit} of byte {byte}");
            blob[byte] ^= 1 << bit;
        }
    }
}

#[test]
fn every_truncation_and_extension_is_refused_with_both_lengths() {
    let mut blob = small();
    let whole = blob.len() as u32;
    for len in 0..blob.len() {
        let needed = if len < PREAMBLE { PREAMBLE as u32 } else { whole };
        let want = LoadError::Truncated { needed, found: len as u32 };
        assert_eq!(Model::from_bytes(&blob[..len]).err(), Some(want));
    }
    blob.push(0);
    let want = LoadError::TooLong { stated: whole, found: whole + 1 };
    assert_eq!(Model::from_bytes(&blob).err(), Some(want));
}

#[test]
fn foreign_and_newer_blobs_are_refused_by_name() {
    let mut blob = small();
    blob[4..6].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let error = Model::from_bytes(&blob).unwrap_err();
    assert_eq!(error, LoadError::Version { found: VERSION + 1, supported: VERSION });
    assert!(error.to_string().contains("newer"), "{error}");
    blob[..4].copy_from_slice(b"TFL3");
    assert_eq!(Model::from_bytes(&blob).err(), Some(LoadError::Magic(*b"TFL3")));
}

#[test]
fn a_data_section_that_cannot_be_is_refused() {
    for start in [0, PREAMBLE as u32 - 4, 21, !(ALIGN as u32 - 1)] {
        let mut blob = small();
        blob[12..16].copy_from_slice(&start.to_le_bytes());
        seal(&mut blob);
        let error = Model::from_bytes(&blob).unwrap_err();
        assert_eq!(error, LoadError::DataStart(start));
    }
}

/// Mutations that a CRC cannot see: whatever loads must run to an end without a panic.
#[test]
fn sealed_nonsense_is_refused_or_runs_harmlessly() {
    let mut state = 7u64;
    let mut random = move |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let mut ram = Arena::<100_000>::new();
    let (mut refused, mut ran) = (0, 0);
    for (cell, attention) in [(Cell::Gru, AttentionKind::Additive), (Cell::Lstm, AttentionKind::None)] {
        let blob = tiny::blob(&tiny::config(cell, true, 1, attention), Fold::Auto, 2).unwrap();
        let start = u32::from_le_bytes(blob[12..16].try_into().unwrap()) as usize;
        for round in 0..15_000 {
            let mut mutant = blob.clone();
            // The description is small against the weights, and where shapes are: most mutations go there.
            let range = if round % 4 == 0 { PREAMBLE..blob.len() } else { PREAMBLE..start };
            for _ in 0..=random(3) {
                let at = range.start + random(range.len());
                mutant[at] = if random(2) == 0 { random(256) as u8 } else { mutant[at] ^ (1 << random(8)) };
            }
            seal(&mut mutant);
            let Ok(model) = Model::from_bytes(&mutant) else {
                refused += 1;
                continue;
            };
            ran += 1;
            let mut limits = model.limits(2);
            limits.source = limits.source.min(12);
            limits.target = limits.target.min(6);
            let mut session = match Session::new(&model, &mut ram, limits) {
                Ok(session) => session,
                Err(RunError::BufferTooSmall { .. }) => continue,
                Err(other) => panic!("{other}"),
            };
            let _ = session.read_text(b"abc");
            let _ = session.greedy(&Options::default());
            let _ = session.beam(&Options { beam_size: 2, ..Options::default() });
        }
    }
    assert!(refused > 1000 && ran > 1000, "{refused} refused, {ran} ran: the mutations test too little");
}
