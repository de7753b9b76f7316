//! Blobs of every released format load and answer to the bit as they did when they were made.
//!
//! `tests/golden/README.md` has the command that made them. Compiled in, so that an interpreter without files runs them.

use kinglet::{Aligned, Arena, Model, Options, Session};

const EXPECTED: &str = include_str!("../../tests/golden/blobs/expected.tsv");

macro_rules! blobs {
    ($($name:literal),* $(,)?) => {
        [$(($name, {
            static BLOB: &Aligned<[u8]> =
                &Aligned(*include_bytes!(concat!("../../tests/golden/blobs/", $name, ".kgl")));
            &BLOB.0
        })),*]
    };
}

#[test]
fn golden_blobs_answer_as_they_did() {
    let blobs: [(&str, &[u8]); 6] = blobs![
        "v2-gru-tiles-int8",
        "v2-lstm-pairs-int8",
        "v2-gru2-blocks-int4",
        "v2-lstm-tiles-int4",
        "v2-gru-pairs-int4-16",
        "v2-lstm2-blocks-int4-16",
    ];
    let mut answered = 0;
    for (name, blob) in blobs {
        let model = Model::from_bytes(blob).expect(name);
        let limits = model.limits(4);
        let mut ram = Arena::<16_384>::new();
        let mut session = Session::new(&model, &mut ram[..model.ram(&limits)], limits).expect(name);
        for line in EXPECTED.lines() {
            let columns: Vec<&str> = line.split('\t').collect();
            let [of, source, beam, bits, ids] = columns[..] else { panic!("five columns: {line}") };
            // Miri takes minutes for what takes a millisecond: there, one source a blob.
            if of != name || (cfg!(miri) && source != "d?") {
                continue;
            }
            session.read_text(source.as_bytes()).unwrap();
            let options = Options { beam_size: beam.parse().unwrap(), ..Options::default() };
            let found = session.beam(&options).unwrap();
            let best = found.best();
            assert_eq!(format!("{:08x}", best.score.to_bits()), bits, "score of {line}");
            let wanted: Vec<u16> = ids.split_whitespace().map(|id| id.parse().unwrap()).collect();
            assert_eq!(best.tokens, wanted, "tokens of {line}");
            answered += 1;
        }
    }
    let lines = EXPECTED.lines().count();
    assert_eq!(answered, if cfg!(miri) { lines / 3 } else { lines }, "every line was asked");
}
