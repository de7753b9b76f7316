//! Networks of PyTorch's tutorials go the whole way: `state_dict` to checkpoint to integers, and train on.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use kinglet::{Model, Session};
use kinglet_compiler::desktop::{self, Buffer};
use kinglet_compiler::lower::{Plan, Source};
use kinglet_train::checkpoint::Checkpoint;
use kinglet_train::config::{Metric, Tokens};
use kinglet_train::data::Pair;
use kinglet_train::model::SOS;
use kinglet_train::pytorch::{self, Files, Vocabulary};
use kinglet_train::search::{Flavour, Hypothesis, SearchOptions, beam, greedy};
use kinglet_train::trainer::{Run, Start, train_from};
use serde_json::Value;

/// A tutorial's vocabulary of so many tokens.
fn vocabulary(dir: &Path, side: char, size: usize) -> PathBuf {
    let path = dir.join(format!("{side}.txt"));
    let tokens: String = (4..size).map(|id| format!("{side}{id}\n")).collect();
    std::fs::write(&path, format!("<unk>\n<pad>\n<sos>\n<eos>\n{tokens}")).unwrap();
    path
}

/// A golden tutorial, imported, with its cases.
struct Tutorial {
    files: Files,
    cases: Vec<Value>,
    dir: tempfile::TempDir,
}

fn tutorial(name: &str) -> Tutorial {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/pytorch");
    let dir = tempfile::tempdir().unwrap();
    let json: Value =
        serde_json::from_slice(&std::fs::read(golden.join(format!("{name}_cases.json"))).unwrap()).unwrap();
    let size = |key: &str| json["config"][key].as_u64().unwrap() as usize;
    let files = Files {
        weights: golden.join(format!("{name}_model.safetensors")),
        source_vocab: vocabulary(dir.path(), 's', size("vs")),
        target_vocab: vocabulary(dir.path(), 't', size("vt")),
        source_tokens: Tokens::Words,
        target_tokens: Tokens::Words,
        source_start: true,
    };
    Tutorial { files, cases: json["cases"].as_array().unwrap().clone(), dir }
}

/// Tokens of ids without the marks.
fn text(side: char, ids: &Value) -> String {
    let ids = ids.as_array().unwrap().iter().map(|id| id.as_u64().unwrap());
    ids.filter(|&id| id > 3).map(|id| format!("{side}{id}")).collect::<Vec<_>>().join(" ")
}

/// Asks for the ids, and the sums and scores to the tolerance of the golden files.
fn agree(checkpoint: &Checkpoint, found: &[Hypothesis], expected: &Value) {
    let expected = expected.as_array().unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(checkpoint.target_vocab.decode(&found.ids), text('t', &expected["ids"]));
        for (found, key) in [(found.log_prob, "sum_logprob"), (found.score, "score")] {
            let expected = expected[key].as_f64().unwrap();
            assert!((found - expected).abs() <= 1e-5 + 1e-4 * expected.abs(), "{key}: {found} {expected}");
        }
    }
}

#[test]
fn imported_networks_decode_as_in_pytorch() {
    for name in ["tut1", "tut2", "tut3"] {
        let Tutorial { files, cases, dir } = tutorial(name);
        let run = dir.path().join("run");
        pytorch::import(&files).unwrap().save(&run).unwrap();
        let checkpoint = Checkpoint::load(&run).unwrap();
        for case in &cases {
            let source = [checkpoint.source_vocab.sentence(&text('s', &case["src"])).ids];
            let best = &greedy(&checkpoint.model, &source, 25)[0];
            assert_eq!(checkpoint.target_vocab.decode(&best.ids), text('t', &case["greedy"]));
            for (key, flavour) in [("beam3_shrink", Flavour::Shrink), ("beam3_keep", Flavour::Keep)] {
                let (beam_size, num_hypotheses, max_len) = (3, 3, 25);
                let options =
                    SearchOptions { beam_size, flavour, num_hypotheses, max_len, ..SearchOptions::default() };
                agree(&checkpoint, &beam(&checkpoint.model, &source, &options)[0], &case[key]);
            }
        }
    }
}

#[test]
fn imported_networks_compile_and_train_on() {
    for name in ["tut1", "tut3"] {
        let Tutorial { files, cases, dir } = tutorial(name);
        let checkpoint = pytorch::import(&files).unwrap();
        let pairs: Vec<Pair> = cases
            .iter()
            .map(|case| Pair { source: text('s', &case["src"]), target: text('t', &case["greedy"]) })
            .collect();

        let source = Source {
            model: &checkpoint.model,
            source_vocab: &checkpoint.source_vocab,
            target_vocab: &checkpoint.target_vocab,
        };
        let options = kinglet_compiler::Options {
            calibration_pairs: 20,
            evaluation_sources: 0,
            ..kinglet_compiler::Options::new(Plan::new(name, 12, 25), Metric::Wer)
        };
        let blob = kinglet_compiler::compile(source, &pairs, &options).unwrap().blob;
        let model = Model::from_bytes(&blob).unwrap();
        let same = |pair: &&Pair| {
            let answer =
                desktop::decode(&model, &mut Buffer::default(), &pair.source, &kinglet::Options::default());
            desktop::text(&model, &answer.unwrap().hypotheses[0].tokens) == pair.target
        };
        let same = pairs.iter().filter(same).count();
        assert!(same * 10 >= pairs.len() * 9, "{name}: {same} of {} as in floating point", pairs.len());

        // A text is read as what the network was trained on: with both marks.
        let limits = model.limits(1);
        let mut buffer = Buffer::default();
        let ids: Vec<u16> =
            checkpoint.source_vocab.sentence(&pairs[0].source).ids.iter().map(|&id| id as u16).collect();
        assert_eq!((ids[0], model.source().marks()), (SOS as u16, 2));
        let mut session = Session::new(&model, buffer.get(model.ram(&limits)), limits).unwrap();
        assert_eq!(session.read_text(pairs[0].source.as_bytes()).unwrap().tokens, ids.len());
        let read = session.greedy(&kinglet::Options::default()).unwrap().log_prob;
        session.read_ids(&ids).unwrap();
        assert_eq!(session.greedy(&kinglet::Options::default()).unwrap().log_prob, read);

        let mut config = checkpoint.config.clone();
        (config.train.epochs, config.optimizer.learning_rate) = (2, 1e-3);
        let out = dir.path().join("run");
        let run = Run {
            config: &config,
            train: &pairs,
            dev: &pairs,
            out: &out,
            start: Start::Fresh,
            teachers: &[],
        };
        let before = checkpoint.model.clone();
        train_from(&run, Some(checkpoint), &AtomicBool::new(false), &mut |_| ()).unwrap();
        let after = Checkpoint::load(&out).unwrap();
        assert!(after.source_vocab.start());
        let data =
            |c: &Checkpoint| kinglet_train::data::Dataset::whole(&pairs, &c.source_vocab, &c.target_vocab);
        let batch = data(&after).batch(&(0..pairs.len()).collect::<Vec<_>>());
        assert!(after.model.loss(&batch, 1).nll < before.loss(&batch, 1).nll);
    }
}

#[test]
fn vocabularies_of_another_size_are_refused() {
    let Tutorial { mut files, dir, .. } = tutorial("tut3");
    files.source_vocab = vocabulary(dir.path(), 'x', 9);
    let message = pytorch::import(&files).unwrap_err().to_string();
    assert!(
        message.contains("the source vocabulary: expected 20 tokens") && message.contains("found 9"),
        "{message}"
    );
    assert!(Vocabulary::read(Tokens::Words, &dir.path().join("missing")).is_err());
}
