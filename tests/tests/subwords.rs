//! Subwords on both sides: learned here, cut alike by trainer and runtime, written as words again.

use std::cell::Cell;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use kinglet::blob::schema::{Tokens as Cut, Vocabulary};
use kinglet::blob::{PREAMBLE, checksum};
use kinglet::{Arena, Fault, Limits, LoadError, Model, RunError, Session};
use kinglet_compiler::desktop;
use kinglet_compiler::lower::{Plan, Source};
use kinglet_tests::tiny;
use kinglet_train::checkpoint::Checkpoint;
use kinglet_train::config::{AttentionKind, Cell as Unit, Metric, ModelConfig, SubwordsConfig, Tokens};
use kinglet_train::search::SearchOptions;
use kinglet_train::tasks::{self, Task};
use kinglet_train::trainer::{Run, Start, decode_groups, train};
use kinglet_train::vocab::Vocab;
use proptest::prelude::*;

/// Real text: this project's, and some that is not of one byte a character.
const TEXTS: [&str; 4] = [
    include_str!("../../README.md"),
    include_str!("../../docs/format.md"),
    "Über die Brücke läuft ein Mann mit grüner Mütze über die Straße\nein Mädchen hört Musik\n",
    "한국어 값 값은 한국\n漢字 漢 漢字漢字 👍 👍👍\n",
];

fn lines() -> impl Iterator<Item = &'static str> {
    TEXTS.iter().flat_map(|text| text.lines())
}

fn sizes() -> ModelConfig {
    tiny::config(Unit::Gru, false, 1, AttentionKind::None)
}

fn blob(vocab: &Vocab) -> Result<Vec<u8>> {
    tiny::of_vocabularies(&sizes(), Plan::new("subwords", 24, 8), 1, (vocab.clone(), vocab.clone()))
}

/// Ids of the runtime, and how many are unknown.
fn here(model: &Model<'_>, text: &str) -> (Vec<u16>, usize) {
    let ids = vec![Cell::new(0); text.chars().count() + text.split(' ').count()];
    let (len, unknown) = model.source().encode(text, &ids).expect("room for marks and characters");
    (ids[..len].iter().map(Cell::get).collect(), unknown)
}

fn words(text: &str) -> String {
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Both sides give the same ids, and the text back but for unknown characters.
fn agree(vocab: &Vocab, model: &Model<'_>, text: &str) {
    let host = vocab.encode(text);
    let (ids, unknown) = here(model, text);
    assert_eq!(
        (ids.iter().map(|&id| u32::from(id)).collect::<Vec<_>>(), unknown),
        (host.ids.clone(), host.unknown.len()),
        "{text:?}"
    );
    let written = desktop::text(model, &ids);
    assert_eq!(written, vocab.decode(&host.ids));
    if unknown == 0 {
        assert_eq!(written, words(text));
        assert_eq!(desktop::parts(model, &ids), vocab.parts_of(&host.ids));
    }
}

#[test]
fn both_sides_cut_real_text_alike() -> Result<()> {
    let alphabet = Vocab::build(Tokens::Subwords, lines(), 1).len();
    for (more, min_count) in [(0, 1), (40, 1), (400, 1), (2000, 1), (300, 4)] {
        let vocab = Vocab::learn(lines(), alphabet + more, min_count)?;
        let blob = blob(&vocab)?;
        let model = Model::from_bytes(&blob)?;
        assert_eq!(model.source().tokens(), Cut::Subwords);
        for line in lines().chain(["", " ", "  two  words ", "strange: ж€ж жж", "<unk> <s> </s>"]) {
            agree(&vocab, &model, line);
        }
        agree(&vocab, &model, &"ab".repeat(300));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Random pieces in a random order, most of which no corpus would teach.
    #[test]
    fn any_list_of_pieces_cuts_alike(
        pieces in proptest::collection::btree_set("[ aé한]{0,1}[aéb한]{1,4}", 1..40),
        order in any::<u64>(),
        texts in proptest::collection::vec("[aéb한x ]{0,24}", 20),
    ) {
        let mut pieces: Vec<String> = pieces.into_iter().collect();
        let len = pieces.len();
        (0..len).for_each(|i| pieces.swap(i, (order.rotate_left(i as u32) % len as u64) as usize));
        let file: String = ["<pad>", "<s>", "</s>", "<unk>", "\\s"].map(|token| format!("{token}\n")).concat()
            + &pieces.iter().map(|piece| piece.replace(' ', "\\s") + "\n").collect::<String>();
        let vocab = Vocab::from_file_text(Tokens::Subwords, &file, std::path::Path::new("v")).unwrap();
        let blob = blob(&vocab).unwrap();
        let model = Model::from_bytes(&blob).unwrap();
        texts.iter().for_each(|text| agree(&vocab, &model, text));
    }
}

/// The example of `docs/format.md`.
#[test]
fn ids_are_ranks() -> Result<()> {
    let file = "<pad>\n<s>\n</s>\n<unk>\n\\s\na\nb\nc\nab\n\\sab\nabc\n";
    let vocab = Vocab::from_file_text(Tokens::Subwords, file, std::path::Path::new("v"))?;
    let blob = blob(&vocab)?;
    let model = Model::from_bytes(&blob)?;
    assert_eq!(here(&model, "abc"), (vec![9, 7], 0));
    assert_eq!(here(&model, " cabc  xab"), (vec![4, 7, 10, 4, 3, 8], 1));
    assert_eq!(desktop::text(&model, &[9, 7, 4, 7, 10]), "abc cabc");
    Ok(())
}

#[test]
fn sessions_read_words_that_fit() -> Result<()> {
    let vocab = Vocab::learn(["abab abab abab"], 20, 1)?;
    let blob = blob(&vocab)?;
    let model = Model::from_bytes(&blob)?;
    let mut ram = Arena::<20_000>::new();
    let mut session =
        Session::new(&model, &mut ram, Limits { source: 8, target: 8, beam: 1, coverage: false })?;
    let read = session.read_text(b" abab  ababx abab")?;
    assert_eq!((read.tokens, read.unknown), (4 + 1, 1));
    assert_eq!(session.read_text(b"   "), Err(RunError::SourceEmpty));
    assert_eq!(session.read_text(b""), Err(RunError::SourceEmpty));
    // A mark and seven characters fill the buffer before they are joined.
    assert_eq!(session.read_text(b"abababa")?.tokens, 2 + 1 + 1);
    let too_long = Err(RunError::SourceTooLong { limit: 8 });
    assert_eq!(session.read_text(b"abababab"), too_long);
    assert_eq!(session.read_text("é".repeat(5000).as_bytes()), too_long);
    assert_eq!(session.read_text(b"a b a b a"), too_long);
    assert!(session.greedy(&kinglet::Options::default()).is_err(), "no source is left");
    Ok(())
}

/// What joins is what is found by binary search: of a table out of order the runtime would make other pieces.
#[test]
fn pieces_out_of_order_are_refused() -> Result<()> {
    let vocab = Vocab::learn(["abab abab abba"], 16, 1)?;
    let good = blob(&vocab)?;
    let model = Model::from_bytes(&good)?;
    let source = Vocabulary::from_bytes(model.description().source).unwrap();
    let sorted = good.len() - model.data().len() + source.sorted as usize;
    let found = vocab.len() - 4;
    for i in 0..found - 1 {
        let mut bad = good.clone();
        bad[sorted + 2 * i..][..4].rotate_left(2);
        let crc = checksum(&bad[..16], &bad[PREAMBLE..]);
        bad[16..PREAMBLE].copy_from_slice(&crc.to_le_bytes());
        let fault = Fault::Vocabulary;
        assert_eq!(Model::from_bytes(&bad).err(), Some(LoadError::Invalid { op: 255, fault }), "{i}");
    }
    Ok(())
}

/// Corpus to blob: the blob reads and writes words, and answers as the trained network does.
#[test]
fn a_task_in_subwords_is_learned_compiled_and_scored_in_words() -> Result<()> {
    let pairs = tasks::generate(Task::Commands, 5000, 5)?;
    let mut config = tasks::config(Task::Commands);
    (config.data.source, config.data.target) = (Tokens::Subwords, Tokens::Subwords);
    config.data.subwords = SubwordsConfig { source_size: 120, target_size: 120, shared: true, dropout: 0.05 };
    config.data.max_target_len = 40;
    config.train.epochs = 10;
    let out = tempfile::tempdir()?;
    let (start, teachers) = (Start::Overwrite, &[][..]);
    let run = Run { config: &config, train: &pairs.train, dev: &pairs.dev, out: out.path(), start, teachers };
    let outcome = train(&run, &AtomicBool::new(false), &mut |_| ())?;
    let Checkpoint { model: network, source_vocab, target_vocab, .. } = Checkpoint::load(out.path())?;
    assert_eq!(source_vocab, target_vocab);
    assert_eq!(source_vocab.len(), 120);

    let source = Source { model: &network, source_vocab: &source_vocab, target_vocab: &target_vocab };
    let options = kinglet_compiler::Options {
        calibration_pairs: 64,
        evaluation_sources: 0,
        threads: 2,
        ..kinglet_compiler::Options::new(Plan::new("commands", 48, 40), Metric::Wer)
    };
    let blob = kinglet_compiler::compile(source, &pairs.dev, &options)?.blob;
    let model = Model::from_bytes(&blob)?;
    let texts: Vec<&str> = pairs.test.iter().map(|pair| &*pair.source).collect();
    let answers = desktop::decode_all(&model, &texts, &kinglet::Options::default(), 2)?;
    let search = SearchOptions { beam_size: 1, max_len: 40, ..SearchOptions::default() };
    let float = decode_groups(&network, &source_vocab, &pairs.test, &search, 2);
    let (mut right, mut same) = (0, 0);
    for ((answer, pair), (_, float)) in answers.iter().zip(&pairs.test).zip(&float) {
        let text = desktop::text(&model, &answer.hypotheses[0].tokens);
        right += usize::from(text == pair.target);
        same += usize::from(text == target_vocab.decode(&float[0].ids));
        assert_eq!(answer.unknown, 0);
    }
    assert!(same * 100 >= texts.len() * 95, "{same} of {} answers are the network's", texts.len());
    assert!(right * 100 >= texts.len() * 60, "{right} of {} answers are right", texts.len());
    let exact = outcome.best.expect("an epoch is the best").score;
    assert!(exact > 60.0, "whole targets, compared by words: {exact}");
    Ok(())
}
