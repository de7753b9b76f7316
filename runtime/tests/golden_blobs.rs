//! Blobs of every released format load and answer to the bit as they did when they were made.
//!
//! `tests/golden/README.md` has the command that made them. Compiled in, so that an interpreter without files runs them.

use kinglet::{Aligned, Arena, Feature, LoadError, Model, Options, Sampling, Session, Task};

/// What blobs of a format answer: blob, source, beam (0: labels, or what seed 1 draws), bits, target ids.
const EXPECTED: [&str; 2] =
    [include_str!("../../tests/golden/blobs/v2.tsv"), include_str!("../../tests/golden/blobs/v3.tsv")];

/// Whether this is the whole runtime.
const ALL: bool = cfg!(all(
    feature = "add",
    feature = "characters",
    feature = "dot",
    feature = "frames",
    feature = "generate",
    feature = "label",
    feature = "norm",
    feature = "peephole"
));

/// What a runtime without features names first, of each model of the family.
const REFUSED: [(Feature, &str); 6] = [
    (Feature::Add, "luong"),
    (Feature::Norm, "cosine"),
    (Feature::Label, "tagger"),
    (Feature::Frames, "frames"),
    (Feature::Generate, "writer"),
    (Feature::Characters, "speller"),
];

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
    let blobs: [(&str, &[u8]); 18] = blobs![
        "v2-gru-tiles-int8",
        "v2-lstm-pairs-int8",
        "v2-gru2-blocks-int4",
        "v2-lstm-tiles-int4",
        "v2-gru-pairs-int4-16",
        "v2-lstm2-blocks-int4-16",
        "v3-gru-tiles-int8",
        "v3-lstm-pairs-int8",
        "v3-gru2-blocks-int4",
        "v3-lstm-tiles-int4",
        "v3-gru-pairs-int4-16",
        "v3-lstm2-blocks-int4-16",
        "v3-luong-tiles-int4",
        "v3-cosine-pairs-int4-16",
        "v3-tagger-blocks-int8",
        "v3-frames-tiles-int4",
        "v3-writer-pairs-int4-16",
        "v3-speller-blocks-int8",
    ];
    let mut answered = 0;
    for (name, blob) in blobs {
        let model = match Model::from_bytes(blob) {
            // What this build does without is named, and is not there.
            Err(LoadError::Feature(feature)) => {
                assert_eq!(
                    name.contains(REFUSED.iter().find(|(f, _)| *f == feature).unwrap().1),
                    !ALL,
                    "{feature}"
                );
                answered +=
                    EXPECTED.iter().flat_map(|lines| lines.lines()).filter(|l| l.starts_with(name)).count();
                continue;
            }
            loaded => loaded.expect(name),
        };
        let limits = model.limits(4);
        let mut ram = Arena::<16_384>::new();
        let mut session = Session::new(&model, &mut ram[..model.ram(&limits)], limits).expect(name);
        for line in EXPECTED.iter().flat_map(|lines| lines.lines()) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [of, source, beam, bits, ids] = columns[..] else { panic!("five columns: {line}") };
            if of != name {
                continue;
            }
            answered += 1;
            // Miri takes minutes for what takes a millisecond: there, one source a blob.
            if cfg!(miri) && source != "d?" && beam != "0" {
                continue;
            }
            match model.features() {
                0 => drop(session.read_text(source.as_bytes()).unwrap()),
                _ => session.read_frames(&source.bytes().map(i16::from).collect::<Vec<_>>()).unwrap(),
            }
            let beam_size: u8 = beam.parse().unwrap();
            let (tokens, found) = match (model.task(), beam_size) {
                (Task::Label, _) => {
                    let labels = session.label().unwrap();
                    (labels.tokens.to_vec(), labels.log_prob)
                }
                (_, 0) => {
                    let drawn = session.sample(&Sampling::default(), 1).unwrap();
                    (drawn.tokens.to_vec(), drawn.score)
                }
                _ => {
                    let found = session
                        .beam(&Options { beam_size, num_hypotheses: beam_size, ..Options::default() })
                        .unwrap();
                    (found.best().tokens.to_vec(), found.best().score)
                }
            };
            assert_eq!(format!("{:08x}", found.to_bits()), bits, "score of {line}");
            let wanted: Vec<u16> = ids.split_whitespace().map(|id| id.parse().unwrap()).collect();
            assert_eq!(tokens, wanted, "tokens of {line}");
        }
    }
    let lines: usize = EXPECTED.iter().map(|lines| lines.lines().count()).sum();
    assert_eq!(answered, lines, "every line was asked");
}
