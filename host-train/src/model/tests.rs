//! Properties of whole networks.

use crate::config::{AttentionKind, Bridge, Cell, ModelConfig};
use crate::model::sentences::Masks;
use crate::model::{Batch, Choice, EOS, Feed, LossSum, Seq2Seq, StepOptions};
use crate::nn::check::GradientCheck;
use crate::nn::dropout::Dropout;
use crate::nn::loss::cross_entropy;
use crate::nn::random::Random;
use crate::optim::{Adam, clip_grad_norm};

/// A small network for each way that the parts fit together.
pub(crate) fn configs() -> Vec<ModelConfig> {
    let mut configs = Vec::new();
    for attention in [AttentionKind::None, AttentionKind::Additive] {
        for (encoder, decoder) in [(Cell::Gru, Cell::Gru), (Cell::Lstm, Cell::Lstm), (Cell::Gru, Cell::Lstm)]
        {
            for (layers, bidirectional) in [(1, true), (2, true), (2, false)] {
                let mut config = ModelConfig { dropout: 0.3, ..ModelConfig::default() };
                config.encoder.cell = encoder;
                config.decoder.cell = decoder;
                (config.encoder.embedding, config.encoder.hidden) = (3, 4);
                (config.decoder.embedding, config.decoder.hidden) = (2, if bidirectional { 3 } else { 4 });
                (config.encoder.layers, config.decoder.layers) = (layers, layers);
                config.encoder.bidirectional = bidirectional;
                config.attention.kind = attention;
                config.attention.size = 3;
                let copies = !bidirectional && encoder == decoder;
                config.bridge = if copies { Bridge::Copy } else { Bridge::Linear };
                configs.push(config);
            }
        }
    }
    configs
}

pub(crate) fn batch(pairs: usize, seed: u64) -> Batch {
    let mut random = Random::new(seed);
    let mut sentence = |vocab: u64| {
        let length = random.below(4);
        let mut ids: Vec<u32> = (0..length).map(|_| 4 + random.below(vocab - 4) as u32).collect();
        ids.push(EOS);
        ids
    };
    let sources = (0..pairs).map(|_| sentence(7)).collect();
    Batch { sources, targets: (0..pairs).map(|_| sentence(6)).collect() }
}

pub(crate) fn model(config: &ModelConfig) -> Seq2Seq {
    let mut model = Seq2Seq::new(config, 7, 6, 3);
    // Larger than initial weights: gradients of every part should be far from zero.
    model.params.iter_mut().for_each(|t| t.data.iter_mut().for_each(|v| *v *= 2.0));
    model
}

#[test]
fn gradients_of_every_parameter() {
    let batch = batch(3, 5);
    let sources: Vec<&[u32]> = batch.sources.iter().map(|s| &s[..]).collect();
    let targets: Vec<&[u32]> = batch.targets.iter().map(|s| &s[..]).collect();
    for config in configs() {
        let start = model(&config);
        let options = StepOptions { label_smoothing: 0.1, dropout_seed: Some(4), threads: 1 };
        let tokens = batch.targets.iter().map(Vec::len).sum::<usize>() as f64;
        GradientCheck::new(start.params.clone(), vec![]).run(
            |p, _| {
                // In one piece: the masks must not depend on the shards.
                let (network, dropout) = (&start.network, Dropout::new(config.dropout, 4));
                let masks = Masks(Some(&dropout));
                let pass = network.forward(p.into(), &sources, &targets, &[0, 1, 2], masks, Feed::Teacher);
                cross_entropy(&pass.decoder.logits, &pass.targets.ids, 6, 0.1).loss / tokens
            },
            |p, g, _| {
                let model = Seq2Seq { params: p.clone(), ..start.clone() };
                model.loss_and_gradients(&batch, g, &options);
                vec![]
            },
        );
    }
}

#[test]
fn threads_and_stale_gradients_change_no_bit() {
    let batch = batch(9, 6);
    for config in configs() {
        let model = model(&config);
        let run = |threads, dirt| {
            let mut grads = model.params.zeros_like();
            grads.iter_mut().for_each(|t| t.data.fill(dirt));
            let options = StepOptions { dropout_seed: Some(1), threads, ..StepOptions::default() };
            let loss = model.loss_and_gradients(&batch, &mut grads, &options);
            (loss, grads, model.loss(&batch, threads))
        };
        let one = run(1, 0.0);
        assert_eq!(one, run(2, 0.0));
        assert_eq!(one, run(7, 1.0));
    }
}

#[test]
fn a_batch_is_the_sum_of_its_pairs() {
    let batch = batch(7, 7);
    for config in configs() {
        let model = model(&config);
        let whole = model.loss(&batch, 1);
        let pairs = batch.sources.iter().zip(&batch.targets).map(|(source, target)| {
            model.loss(&Batch { sources: vec![source.clone()], targets: vec![target.clone()] }, 1)
        });
        let parts = pairs.fold(LossSum::default(), LossSum::plus);
        assert!((whole.nll - parts.nll).abs() < 1e-4, "{} {}", whole.nll, parts.nll);
        assert_eq!(whole.tokens, parts.tokens);
    }
}

#[test]
fn learns_a_handful_of_pairs() {
    for (attention, cell) in [(AttentionKind::None, Cell::Lstm), (AttentionKind::Additive, Cell::Gru)] {
        let mut config = ModelConfig { dropout: 0.0, ..ModelConfig::default() };
        (config.encoder.cell, config.decoder.cell) = (cell, cell);
        (config.encoder.hidden, config.decoder.hidden, config.attention.size) = (16, 16, 16);
        config.attention.kind = attention;
        let mut model = Seq2Seq::new(&config, 7, 6, 1);
        let batch = Batch {
            sources: vec![vec![4, 5, 6, EOS], vec![6, 5, EOS], vec![5, EOS]],
            targets: vec![vec![5, 4, 4, 5, EOS], vec![4, EOS], vec![5, 5, EOS]],
        };
        let (mut adam, mut grads) = (Adam::new(&model.params, 1e-2), model.params.zeros_like());
        for _ in 0..150 {
            model.loss_and_gradients(&batch, &mut grads, &StepOptions::default());
            clip_grad_norm(&mut grads, 1.0);
            adam.step(&mut model.params, &grads);
        }
        let decoded = crate::search::greedy(&model, &batch.sources, 10);
        for (hypothesis, target) in decoded.iter().zip(&batch.targets) {
            assert_eq!(hypothesis.ids, target[..target.len() - 1]);
        }
    }
}

#[test]
fn same_seed_same_parameters() {
    let config = ModelConfig::default();
    assert_eq!(Seq2Seq::new(&config, 9, 8, 1).params, Seq2Seq::new(&config, 9, 8, 1).params);
    assert_ne!(Seq2Seq::new(&config, 9, 8, 1).params, Seq2Seq::new(&config, 9, 8, 2).params);
}

#[test]
fn foreign_parameters_are_named() {
    let config = ModelConfig::default();
    let params = Seq2Seq::new(&config, 9, 8, 1).params;
    assert!(Seq2Seq::from_params(&config, 9, 8, params.clone()).is_ok());
    let error = Seq2Seq::from_params(&config, 9, 7, params.clone()).unwrap_err().to_string();
    assert!(error.contains("decoder.embedding.weight"), "{error}");
    assert!(error.contains("[7, 64]") && error.contains("[8, 64]"), "{error}");
    assert!(Seq2Seq::from_params(&config, 9, 3, params).is_err());
}

#[test]
fn odd_input_does_not_panic() {
    let batches = [
        Batch::default(),
        Batch { sources: vec![vec![]], targets: vec![vec![]] },
        Batch { sources: vec![vec![], vec![4, EOS]], targets: vec![vec![4, EOS], vec![]] },
        Batch { sources: vec![vec![u32::MAX]], targets: vec![vec![1 << 30, EOS]] },
    ];
    for config in configs() {
        let model = model(&config);
        for batch in &batches {
            let mut grads = model.params.zeros_like();
            let loss = model.loss_and_gradients(batch, &mut grads, &StepOptions::default());
            assert!(loss.nll.is_finite());
            assert!(grads.iter().all(|t| t.data.iter().all(|g| g.is_finite())));
            crate::search::greedy(&model, &batch.sources, 3);
        }
    }
}

#[test]
fn observed_logits_are_those_of_the_batched_path() {
    let batch = batch(4, 8);
    for config in configs() {
        let model = model(&config);
        for (source, target) in batch.sources.iter().zip(&batch.targets) {
            let (mut logits, mut counts) = (Vec::new(), std::collections::BTreeMap::new());
            model.observe(source, target, &mut |name, values| {
                *counts.entry(name.to_owned()).or_insert(0) += 1;
                if name == "decoder.logits" {
                    logits.extend_from_slice(values);
                }
            });
            let observed = cross_entropy(&logits, target, 6, 0.0).nll;
            let pair = Batch { sources: vec![source.clone()], targets: vec![target.clone()] };
            assert!((observed - model.loss(&pair, 1).nll).abs() < 1e-9);

            // Step by step, as search runs, every logit is the same too.
            let mut decoding = crate::model::Decoding::new(&model, &[source]);
            let mut token = decoding.start();
            for (t, row) in logits.chunks_exact(6).enumerate() {
                let stepped = decoding.step(&token).logits;
                stepped.iter().zip(row).for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{t}: {a} {b}"));
                token = vec![target[t]];
            }

            let mut expected = vec![("decoder.logits".to_owned(), target.len())];
            let extra = |cell| if cell == Cell::Gru { "candidate" } else { "cell" };
            for k in 0..config.encoder.layers {
                for reverse in if config.encoder.bidirectional { &["", "_reverse"][..] } else { &[""] } {
                    for what in ["hidden", extra(config.encoder.cell)] {
                        expected.push((format!("encoder.rnn.l{k}{reverse}.{what}"), source.len()));
                    }
                }
            }
            for k in 0..config.decoder.layers {
                for what in ["hidden", extra(config.decoder.cell)] {
                    expected.push((format!("decoder.rnn.l{k}.{what}"), target.len()));
                }
            }
            if config.attention.kind == AttentionKind::Additive {
                expected.push(("decoder.attention.key".into(), source.len()));
                for what in ["query", "score", "context"] {
                    expected.push((format!("decoder.attention.{what}"), target.len()));
                }
            }
            expected.sort();
            // Beside these, what enters each product: whoever corrects biases asks for that.
            let entering = |name: &str| name.ends_with(".input") || name.ends_with(".previous");
            let (products, counts): (Vec<_>, Vec<_>) =
                counts.into_iter().partition(|(name, _)| entering(name));
            assert_eq!(counts, expected);
            assert!(products.contains(&("decoder.fc_out.input".to_owned(), target.len())));
        }
    }
}

#[test]
fn choosing_the_reference_is_teacher_forcing() {
    let batch = batch(5, 9);
    for config in configs() {
        let model = model(&config);
        let options = StepOptions { dropout_seed: Some(2), ..StepOptions::default() };
        let (mut taught, mut chosen) = (model.params.zeros_like(), model.params.zeros_like());
        let teacher = model.loss_and_gradients(&batch, &mut taught, &options);
        let reference = |choice: &Choice<'_>| {
            assert_eq!(choice.reference, batch.targets[choice.pair][choice.step - 1]);
            choice.reference
        };
        let fed = model.loss_and_gradients_fed(&batch, &mut chosen, &options, Feed::Chosen(&reference));
        assert!((teacher.nll - fed.nll).abs() < 1e-5, "{} {}", teacher.nll, fed.nll);
        for (a, b) in taught.iter().zip(&chosen) {
            a.data.iter().zip(&b.data).for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{a} {b}"));
        }
    }
}

#[test]
fn choices_see_the_logits_of_the_step_before() {
    // Free running: the greedy hypothesis is what a decoder reads that chooses its own best token.
    let sources = batch(4, 10).sources;
    for config in configs() {
        let model = model(&config);
        let best =
            |logits: &[f32]| (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        let mut decoding =
            crate::model::Decoding::new(&model, &sources.iter().map(|s| &s[..]).collect::<Vec<_>>());
        let (mut tokens, mut expected) = (decoding.start(), Vec::new());
        for _ in 0..4 {
            tokens = decoding.step(&tokens).logits.chunks_exact(6).map(|row| best(row) as u32).collect();
            expected.push(tokens.clone());
        }
        let batch = Batch { sources: sources.clone(), targets: vec![vec![5, 5, 5, 5, EOS]; 4] };
        let own = |choice: &Choice<'_>| {
            assert_eq!(best(choice.logits) as u32, expected[choice.step - 1][choice.pair]);
            expected[choice.step - 1][choice.pair]
        };
        model.loss_fed(&batch, 2, Feed::Chosen(&own));
    }
}
