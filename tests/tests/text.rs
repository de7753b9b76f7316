//! Trainer and runtime cut a text into the same tokens.

use anyhow::Result;
use kinglet::Model;
use kinglet_compiler::lower::{Plan, Source};
use kinglet_compiler::{Options, compile};
use kinglet_train::config::{Metric, ModelConfig, Tokens};
use kinglet_train::data::Pair;
use kinglet_train::model::Seq2Seq;
use kinglet_train::vocab::{Vocab, cut};

const TEXTS: [&str; 6] = ["한국어", "값 a 까", "뷁ᄀ힣", "  two  words ", "é漢", "힢\u{D7A4}가"];

/// The blob of a random network whose sources are cut in this way, and begin with the start mark or do not.
fn blob(tokens: Tokens, start: bool) -> Result<Vec<u8>> {
    let source_vocab = Vocab::build(tokens, TEXTS, 1).with_start(start);
    let target_vocab = Vocab::build(tokens, TEXTS, 1);
    let model = Seq2Seq::new(&ModelConfig::default(), source_vocab.len(), target_vocab.len(), 1);
    let dev = TEXTS.map(|text| Pair { source: text.into(), target: text.into() });
    let options = Options {
        calibration_pairs: 6,
        evaluation_sources: 0,
        ..Options::new(Plan::new("text", 24, 8), Metric::Wer)
    };
    let source = Source { model: &model, source_vocab: &source_vocab, target_vocab: &target_vocab };
    Ok(compile(source, &dev, &options)?.blob)
}

#[test]
fn both_sides_cut_alike() -> Result<()> {
    let cuts = [Tokens::Chars, Tokens::Words, Tokens::Hangul];
    for (tokens, start) in cuts.into_iter().flat_map(|tokens| [(tokens, false), (tokens, true)]) {
        let blob = blob(tokens, start)?;
        let model = Model::from_bytes(&blob)?;
        assert_eq!(model.source().marks(), if start { 2 } else { 1 });
        for text in TEXTS {
            let here: Vec<&str> = model.source().cut(text).collect();
            assert_eq!(here, cut(tokens, text), "{tokens:?} {text}");
            let known = |piece: &str| model.source().id(piece.as_bytes()).is_some();
            assert!(here.iter().all(|piece| known(piece)), "{tokens:?} {here:?}");
        }
    }
    Ok(())
}

#[test]
fn letters_of_hangul_are_few() {
    assert_eq!(cut(Tokens::Hangul, "한 값"), ["ᄒ", "ᅡ", "ᆫ", " ", "ᄀ", "ᅡ", "ᆹ"]);
    let syllables: String = ('가'..='힣').collect();
    // Four marks; 19 leading consonants, 21 vowels, 27 trailing ones.
    assert_eq!(Vocab::build(Tokens::Hangul, [syllables.as_str()], 1).len(), 4 + 19 + 21 + 27);
}
