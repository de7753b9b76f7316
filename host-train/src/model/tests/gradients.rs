//! Gradients of whole networks.

use super::forms::{batch, configs, forms, labelers, labelled, model, spelled};
use crate::config::ModelConfig;
use crate::model::sentences::Masks;
use crate::model::{Batch, EOS, Feed, Seq2Seq, StepOptions, UNK};
use crate::nn::check::GradientCheck;
use crate::nn::loss::cross_entropy;
use crate::vocab::Encoded;

/// Compares the gradients of every parameter with differences of the loss.
fn check_gradients(config: &ModelConfig, batch: &Batch) {
    let sides = (&batch.sources[..], &batch.targets[..]);
    let start = model(config);
    let options = StepOptions { label_smoothing: 0.1, dropout_seed: Some(4), threads: 1 };
    let tokens = batch.targets.iter().map(Vec::len).sum::<usize>() as f64;
    let normed = config.encoder.norm || config.decoder.norm;
    // A step so short that it changes no maximum.
    let spelled = config.encoder.characters.features() > 0;
    let check = GradientCheck::new(start.params.clone(), vec![]);
    check
        .step(if spelled {
            2e-3
        } else if normed {
            4e-3
        } else {
            1e-2
        })
        .run(
            |p, _| {
                // In one piece: the masks must not depend on the shards.
                let masks = Masks::new(config, 4);
                let pass = start.network.forward(p.into(), sides, &[0, 1, 2], masks, Feed::Teacher);
                let loss = cross_entropy(pass.trace.logits(), &pass.targets.ids, 6, 0.1).loss;
                (loss + f64::from(config.attention.coverage_loss) * pass.trace.coverage_loss()) / tokens
            },
            |p, g, _| {
                let model = Seq2Seq { params: p.clone(), ..start.clone() };
                model.loss_and_gradients(batch, g, &options);
                vec![]
            },
        );
}

#[test]
fn gradients_of_every_parameter() {
    configs().iter().for_each(|config| check_gradients(config, &batch(3, 5)));
}

#[test]
fn gradients_of_every_form() {
    forms().iter().for_each(|config| check_gradients(config, &batch(3, 5)));
}

#[test]
fn gradients_of_labels() {
    labelers().iter().for_each(|config| check_gradients(config, &labelled(3, 5)));
}

#[test]
fn gradients_of_letters() {
    let source = |ids: &[u32], unknown: &[&str]| {
        let unknown = unknown.iter().map(|word| (*word).into()).collect();
        Encoded { ids: ids.into(), unknown }
    };
    // The first word is not of the vocabulary, but spelled.
    let batch = Batch {
        sources: vec![
            source(&[UNK, 5, 4, EOS], &["cab"]),
            source(&[5, UNK, UNK, EOS], &["ba", "cab"]),
            source(&[6, EOS], &[]),
        ],
        targets: vec![vec![4, 5, 1], vec![2, 5, 5], vec![3]],
    };
    for embedding_dropout in [None, Some(0.0)] {
        let mut config = ModelConfig { embedding_dropout, ..labelers()[0].clone() };
        spelled(&mut config);
        check_gradients(&config, &batch);
        // Every word is read by its own letters, whatever is read beside it; without any it is a mark.
        let model = model(&config);
        let alone = |ids: &[u32], unknown: &[&str]| model.label_logits(&[source(ids, unknown)]).remove(0);
        let both = [source(&[UNK, EOS], &["cab"]), source(&[UNK, EOS], &["bca"])];
        let words = ["cab", "bca"].map(|word| alone(&[UNK, EOS], &[word]));
        assert_eq!(model.label_logits(&both), words);
        assert_ne!(words[0], words[1]);
        assert_eq!(alone(&[u32::MAX, EOS], &[]), alone(&[UNK, EOS], &[]));
    }
}

#[test]
fn the_coverage_loss_is_that_of_its_formula() {
    let mut config = configs()[9].clone();
    let batch = batch(3, 5);
    let run = |config: &ModelConfig| {
        let model = model(config);
        let loss = model.loss_and_gradients(&batch, &mut model.params.zeros_like(), &StepOptions::default());
        (loss, model)
    };
    let (plain, model) = run(&config);
    let mut expected = 0.0;
    for (source, target) in batch.sources.iter().zip(&batch.targets) {
        let mut decoding = crate::model::Decoding::new(&model, &[source]);
        let (mut sums, mut token) = (vec![0.0; source.ids.len()], decoding.start());
        for &next in target {
            let stepped = decoding.step(&token);
            sums.iter_mut().zip(stepped.weights(0)).for_each(|(sum, w)| *sum += w);
            token = vec![next];
        }
        expected += sums.iter().map(|sum| f64::from(1.0 - sum).powi(2)).sum::<f64>();
    }
    config.attention.coverage_loss = 0.5;
    let (with, _) = run(&config);
    assert!((with.loss - plain.loss - 0.5 * expected).abs() < 1e-4, "{with:?} {plain:?} {expected}");
    assert_eq!(with.nll, plain.nll);
}
