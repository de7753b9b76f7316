//! The desktop's own arrangement of the weights gives what the blob gives, bit for bit.

use kinglet::kernels::Layout;
use kinglet::{Model, Options, Session};
use kinglet_compiler::desktop::{Buffer, retile};
use kinglet_compiler::kinds::{Kind, Kinds};
use kinglet_compiler::lower::{Fold, Plan};
use kinglet_tests::tiny;
use kinglet_train::config::{AttentionKind, Cell};

/// Hypotheses with the bits of their scores, and the logits of the best one's tokens.
fn outputs(blob: &[u8]) -> (Vec<(Vec<u16>, u32)>, Vec<i16>) {
    let model = Model::from_bytes(blob).unwrap();
    let (mut buffer, limits) = (Buffer::default(), model.limits(3));
    let mut session = Session::new(&model, buffer.get(model.ram(&limits)), limits).unwrap();
    let (mut found, mut logits) = (Vec::new(), Vec::new());
    for text in ["abcab", "d", "bad cab", "eeedcbaee"] {
        session.read_text(text.as_bytes()).unwrap();
        let hypotheses =
            session.beam(&Options { beam_size: 3, num_hypotheses: 3, ..Options::default() }).unwrap();
        let here: Vec<_> = hypotheses.iter().map(|h| (h.tokens.to_vec(), h.score.to_bits())).collect();
        session.force(&here[0].0, |_, row| logits.extend(row.iter().map(|l| l.get()))).unwrap();
        found.extend(here);
    }
    (found, logits)
}

#[test]
fn retiled_blobs_answer_alike() {
    let networks = [
        (Cell::Gru, true, 1, AttentionKind::Additive),
        (Cell::Gru, false, 2, AttentionKind::None),
        (Cell::Lstm, true, 2, AttentionKind::Additive),
        (Cell::Lstm, false, 1, AttentionKind::None),
    ];
    for (seed, (cell, bidirectional, layers, attention)) in networks.into_iter().enumerate() {
        let mut config = tiny::config(cell, bidirectional, layers, attention);
        for (hidden, decoder) in [(6, 9), (35, 70)] {
            (config.encoder.hidden, config.decoder.hidden, config.attention.size) =
                (hidden, decoder, decoder + 1);
            for layout in [Layout::Tiles, Layout::Pairs, Layout::Blocks] {
                for kind in [Kind::Int8, Kind::Int4, Kind::Int4Groups(16)] {
                    for fold in [Fold::Always, Fold::Never] {
                        let plan = Plan { fold, layout, kinds: Kinds::all(kind), ..Plan::new("tiny", 12, 8) };
                        let blob = tiny::planned(&config, plan, seed as u64).unwrap();
                        let retiled = retile(&blob).unwrap();
                        assert_eq!(Model::from_bytes(&retiled).unwrap().layout(), Layout::Panels);
                        assert_eq!(
                            outputs(&retiled),
                            outputs(&blob),
                            "{config:?} {layout:?} {kind:?} {fold:?}"
                        );
                    }
                }
            }
        }
    }
}
