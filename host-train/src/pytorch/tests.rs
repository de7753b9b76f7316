//! There and back, and what is refused.

use std::path::Path;

use super::{Exported, Fault, Files, Form, export, import};
use crate::checkpoint::{Checkpoint, save_tensors};
use crate::config::{
    AttentionKind, Cell, CharactersConfig, CharactersKind, Config, ModelConfig, Place, Task, Tokens,
};
use crate::data::frames::Frames;
use crate::error::Error;
use crate::model::Seq2Seq;
use crate::model::tests::{configs, forms};
use crate::nn::params::Tensor;
use crate::vocab::Vocab;

/// A random network with vocabularies of 7 and 6 tokens, whose sources begin with the start mark.
fn checkpoint(config: &ModelConfig) -> Checkpoint {
    let config = ModelConfig { dropout: 0.0, ..config.clone() };
    let (source, target) = ("a b c", "x y");
    let mut whole = Config { model: config, ..Config::default() };
    whole.data.source = Tokens::Words;
    whole.data.source_start = true;
    let mut source_vocab = Vocab::build(Tokens::Words, [source], 1).with_start(true);
    if whole.model.encoder.characters.features() > 0 {
        source_vocab = source_vocab.with_characters(Vocab::build(Tokens::Chars, [source], 1));
    }
    let target_vocab = Vocab::build(Tokens::Words, [target], 1);
    let model = Seq2Seq::new(&whole.model, &source_vocab, target_vocab.len(), 3);
    Checkpoint { config: whole, source_vocab, target_vocab, model }
}

/// The attention tutorial's network, small; every dimension is different, but for those that it has as one.
fn tutorial() -> ModelConfig {
    let mut config = ModelConfig { dropout: 0.0, ..ModelConfig::default() };
    (config.encoder.embedding, config.encoder.hidden) = (3, 4);
    (config.decoder.embedding, config.decoder.hidden, config.attention.size) = (2, 5, 5);
    config
}

fn files(dir: &Path) -> Files {
    let [weights, source_vocab, target_vocab] = Exported::FILES.map(|name| dir.join(name));
    let (source_tokens, target_tokens) = (Tokens::Words, Tokens::Words);
    Files { weights, source_vocab, target_vocab, source_tokens, target_tokens, source_start: true }
}

/// An export of the tutorial's network after its tensors were changed.
fn changed(change: impl FnOnce(&mut Vec<Tensor>)) -> Vec<Fault> {
    let dir = tempfile::tempdir().unwrap();
    let exported = export(&checkpoint(&tutorial()));
    exported.write(dir.path()).unwrap();
    let mut tensors = exported.tensors;
    change(&mut tensors);
    save_tensors(&files(dir.path()).weights, &tensors.iter().collect::<Vec<_>>(), "").unwrap();
    match import(&files(dir.path())) {
        Err(Error::StateDict { faults, .. }) => faults,
        other => panic!("{other:?}"),
    }
}

fn find<'a>(tensors: &'a mut [Tensor], name: &str) -> &'a mut Tensor {
    tensors.iter_mut().find(|t| t.name == name).unwrap()
}

/// Whether names and shapes tell all that a network is.
fn is_read_off(config: &ModelConfig) -> bool {
    let (e, d) = (&config.encoder, &config.decoder);
    let told_apart = [e.cell, d.cell].iter().all(|cell| *cell != Cell::Relu);
    // Attention without weights looks like a fixed context.
    let seen = config.attention.kind != AttentionKind::Dot || config.attention.place == Place::After;
    let plain = seen && !(e.reverse || e.residual || d.residual || config.tie_embeddings);
    config.task == Task::Transduce && e.characters.features() == 0 && told_apart && plain
}

#[test]
fn tied_embeddings_are_written_twice_as_pytorch_has_them() {
    let mut config = tutorial();
    config.attention.kind = AttentionKind::None;
    (config.decoder.embedding, config.tie_embeddings) = (5, true);
    let exported = export(&checkpoint(&config));
    let get = |name: &str| exported.tensors.iter().find(|t| t.name == name).unwrap();
    assert_eq!(get("decoder.embedding.weight").data, get("decoder.fc_out.weight").data);
}

#[test]
fn every_network_comes_back_with_the_same_bits() {
    for config in configs().into_iter().chain([tutorial()]).chain(forms().into_iter().filter(is_read_off)) {
        let dir = tempfile::tempdir().unwrap();
        let before = checkpoint(&config);
        let exported = export(&before);
        let joined = exported.tensors.iter().any(|t| t.name.starts_with("decoder.attention.attn_fc"));
        assert_eq!(exported.form == Form::Tutorial, joined);
        assert_ne!(exported.form, Form::Own);
        exported.write(dir.path()).unwrap();
        let after = import(&files(dir.path())).unwrap();
        let size = |mut model: ModelConfig| {
            // Without attention its size is not in the file, and does not matter.
            model.attention.size = 0;
            // Neither does training's part of the configuration.
            (model.attention.coverage_loss, model.embedding_dropout) = (0.0, None);
            model
        };
        assert_eq!(size(after.config.model), size(before.config.model));
        assert_eq!(after.config.data, before.config.data);
        assert!(config != tutorial() || joined);
        assert_eq!(after.model.params, before.model.params);
        assert_eq!((&after.source_vocab, &after.target_vocab), (&before.source_vocab, &before.target_vocab));
    }
}

#[test]
fn letters_are_written_with_their_ids_and_have_no_way_back() {
    let mut config = tutorial();
    config.encoder.characters =
        CharactersConfig { kind: CharactersKind::Conv, embedding: 2, size: 3, ..CharactersConfig::default() };
    let dir = tempfile::tempdir().unwrap();
    let before = checkpoint(&config);
    let exported = export(&before);
    // It has what the attention tutorial's module has, and more.
    assert_eq!(exported.form, Form::Own);
    exported.write(dir.path()).unwrap();
    let letters = std::fs::read_to_string(dir.path().join(Exported::CHARACTERS)).unwrap();
    assert_eq!(letters, "<unk>\n<pad>\n<sos>\n<eos>\n\\s\na\nb\nc\n");
    let name = "encoder.characters.embedding.weight";
    let theirs = &exported.tensors.iter().find(|t| t.name == name).unwrap().data;
    let own = &before.model.params.get(name).unwrap().data;
    // <unk> is their first row and our fourth; letters stay.
    assert_eq!((&theirs[..2], &theirs[8..]), (&own[6..8], &own[8..]));
    let refused = import(&files(dir.path())).unwrap_err();
    assert!(refused.to_string().contains(name), "{refused}");
}

#[test]
fn frames_are_written_without_a_source_vocabulary() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = checkpoint(&tutorial());
    before.config.data.source = Tokens::Frames;
    before.source_vocab = Vocab::of_frames(Frames::new(vec![1.0; 3]));
    before.model = Seq2Seq::new(&tutorial(), &before.source_vocab, before.target_vocab.len(), 3);
    let exported = export(&before);
    assert_eq!(exported.form, Form::Own);
    exported.write(dir.path()).unwrap();
    let written = files(dir.path());
    assert!(written.weights.exists() && written.target_vocab.exists() && !written.source_vocab.exists());
}

#[test]
fn an_import_is_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let before = checkpoint(&tutorial());
    before.save(dir.path()).unwrap();
    let after = Checkpoint::load(dir.path()).unwrap();
    assert_eq!((after.model.params, after.config), (before.model.params, before.config));
    assert_eq!((after.source_vocab, after.target_vocab), (before.source_vocab, before.target_vocab));
}

#[test]
fn tutorial_names_ids_and_layouts() {
    let checkpoint = checkpoint(&tutorial());
    let exported = export(&checkpoint);
    let get = |name: &str| exported.tensors.iter().find(|t| t.name == name).unwrap();
    let ours = |name: &str| checkpoint.model.params.get(name).unwrap();
    // <unk> is their first row and our fourth; other tokens stay.
    let (theirs, own) = (get("encoder.embedding.weight"), ours("encoder.embedding.weight"));
    assert_eq!((&theirs.data[..3], &theirs.data[12..]), (&own.data[9..12], &own.data[12..]));
    assert_eq!(get("decoder.fc_out.bias").data[3], ours("decoder.fc_out.bias").data[2]);
    let joined = get("decoder.attention.attn_fc.weight");
    assert_eq!(joined.shape, [5, 5 + 8]);
    assert_eq!(joined.data[13..18], ours("decoder.attention.w_q.weight").data[5..10]);
    assert_eq!(joined.data[18..26], ours("decoder.attention.w_k.weight").data[8..16]);
    assert_eq!(get("decoder.attention.attn_fc.bias").data, ours("decoder.attention.w_k.bias").data);
}

#[test]
fn older_notebooks_and_own_checkpoints_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let before = checkpoint(&tutorial());
    let mut exported = export(&before);
    for tensor in &mut exported.tensors {
        tensor.name = tensor.name.replace("attn_fc", "attn").replace("v_fc", "v");
    }
    exported.write(dir.path()).unwrap();
    assert_eq!(import(&files(dir.path())).unwrap().model.params, before.model.params);

    before.save(dir.path()).unwrap();
    let own = Files { weights: dir.path().join("model.safetensors"), ..files(dir.path()) };
    assert_eq!(import(&own).unwrap().model.params, before.model.params);
}

#[test]
fn every_tensor_that_does_not_fit_is_named() {
    let faults = changed(|tensors| {
        tensors.retain(|t| t.name != "decoder.attention.v_fc.weight");
        let bias = find(tensors, "decoder.rnn.bias_ih_l0");
        (bias.shape, bias.data) = (vec![14], vec![0.0; 14]);
        tensors.push(Tensor { name: "decoder.out.weight".into(), shape: vec![1, 2], data: vec![0.0; 2] });
    });
    let name = |name: &str| name.to_owned();
    let expected = [
        Fault::Missing { name: name("decoder.attention.v_fc.weight"), expected: Some(vec![1, 5]) },
        Fault::Shape { name: name("decoder.rnn.bias_ih_l0"), expected: vec![15], found: vec![14] },
        Fault::Unknown { name: name("decoder.out.weight"), found: vec![1, 2] },
    ];
    assert_eq!(faults, expected);
}

#[test]
fn what_sizes_are_read_off_is_named() {
    let faults = changed(|tensors| {
        tensors.retain(|t| t.name != "encoder.embedding.weight");
        find(tensors, "decoder.rnn.weight_hh_l0").shape = vec![75];
    });
    let expected = [
        Fault::Missing { name: "encoder.embedding.weight".into(), expected: None },
        Fault::NoMatrix { name: "decoder.rnn.weight_hh_l0".into(), found: vec![75] },
    ];
    assert_eq!(faults, expected);
    // No cell has two rows a unit.
    let faults = changed(|tensors| {
        let weight = find(tensors, "decoder.rnn.weight_hh_l0");
        (weight.shape, weight.data) = (vec![10, 5], vec![0.0; 50]);
    });
    assert_eq!(faults, [Fault::Cell { name: "decoder.rnn.weight_hh_l0".into(), rows: 10, units: 5 }]);
}

#[test]
fn a_vocabulary_of_another_size_is_refused() {
    let faults = changed(|tensors| {
        let table = find(tensors, "encoder.embedding.weight");
        (table.shape, table.data) = (vec![6, 3], vec![0.0; 18]);
    });
    assert_eq!(faults, [Fault::Vocabulary { side: "source", rows: 6, found: 7 }]);
}

#[test]
fn sizes_beyond_kinglets_are_refused() {
    let mut config = tutorial();
    config.attention.size = 513;
    let dir = tempfile::tempdir().unwrap();
    export(&checkpoint(&config)).write(dir.path()).unwrap();
    let message = import(&files(dir.path())).unwrap_err().to_string();
    assert!(message.contains("model.attention.size must be 1 to 512, found 513"), "{message}");
}
