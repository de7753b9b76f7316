//! Properties of whole networks.

use crate::config::{AttentionKind, Bridge, Cell, ModelConfig, Place, Task};
use crate::model::sentences::Masks;
use crate::model::{Batch, Choice, EOS, Feed, LossSum, Seq2Seq, StepOptions};
use crate::nn::check::{GradientCheck, away_from_zero};
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

/// A small network for each form beyond those.
pub(crate) fn forms() -> Vec<ModelConfig> {
    let mut base = configs()[9].clone();
    // As wide as what a decoder attends to, so that every kind fits.
    (base.encoder.hidden, base.decoder.hidden, base.decoder.embedding) = (2, 4, 3);
    let form = |change: &dyn Fn(&mut ModelConfig)| {
        let mut config = base.clone();
        change(&mut config);
        config
    };
    let mut forms = Vec::new();
    for cell in [Cell::Rnn, Cell::Relu, Cell::Peephole] {
        forms.push(form(&|c| (c.encoder.cell, c.decoder.cell) = (cell, cell)));
    }
    for kind in AttentionKind::ALL {
        forms.push(form(&|c| c.attention.kind = kind));
        let after = form(&|c| (c.attention.kind, c.attention.place) = (kind, Place::After));
        let mut fed = after.clone();
        fed.attention.input_feeding = true;
        forms.extend([after, fed]);
    }
    let plain = form(&|c| c.attention.kind = AttentionKind::None);
    let of_plain = |change: &dyn Fn(&mut ModelConfig)| {
        let mut config = plain.clone();
        change(&mut config);
        config
    };
    forms.extend([
        of_plain(&|c| c.decoder.context = true),
        of_plain(&|c| (c.decoder.context, c.decoder.layers, c.embedding_dropout) = (true, 2, Some(0.0))),
        of_plain(&|c| (c.encoder.bidirectional, c.encoder.reverse) = (false, true)),
        // Another width, depth and cell.
        of_plain(&|c| (c.encoder.cell, c.encoder.layers, c.decoder.cell) = (Cell::Relu, 2, Cell::Peephole)),
        of_plain(&|c| (c.decoder.embedding, c.decoder.residual, c.decoder.norm) = (4, true, true)),
        form(&|c| {
            (c.encoder.embedding, c.encoder.layers, c.decoder.layers) = (4, 2, 2);
            (c.encoder.residual, c.encoder.norm, c.decoder.residual, c.decoder.norm) =
                (true, true, true, true);
        }),
        form(&|c| c.tie_embeddings = true),
        of_plain(&|c| (c.decoder.embedding, c.tie_embeddings) = (4, true)),
        form(&|c| c.attention.coverage_loss = 0.7),
        form(&|c| (c.attention.place, c.attention.coverage_loss) = (Place::After, 0.7)),
        of_plain(&|c| c.task = Task::Generate),
        of_plain(&|c| (c.task, c.decoder.layers, c.decoder.residual) = (Task::Generate, 2, true)),
    ]);
    forms
}

/// Networks that label.
fn labelers() -> Vec<ModelConfig> {
    let label = |mut config: ModelConfig| {
        config.task = Task::Label;
        config
    };
    [0, 2, 5].map(|i| label(configs()[i].clone())).into()
}

/// All networks that go from token to token.
pub(crate) fn all() -> Vec<ModelConfig> {
    configs().into_iter().chain(forms()).collect()
}

/// A batch with a label for each source token but the end mark.
fn labelled(pairs: usize, seed: u64) -> Batch {
    let mut batch = batch(pairs, seed);
    let label = |source: &Vec<u32>| source[..source.len() - 1].iter().map(|id| id % 6).collect();
    batch.targets = batch.sources.iter().map(label).collect();
    batch
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
    for (side, cell) in [("encoder", config.encoder.cell), ("decoder", config.decoder.cell)] {
        if cell == Cell::Relu {
            away_from_zero(&mut model.params, &format!("{side}.rnn."));
        }
    }
    model
}

/// Compares the gradients of every parameter with differences of the loss.
fn check_gradients(config: &ModelConfig, batch: &Batch) {
    let sides = (&batch.sources[..], &batch.targets[..]);
    let start = model(config);
    let options = StepOptions { label_smoothing: 0.1, dropout_seed: Some(4), threads: 1 };
    let tokens = batch.targets.iter().map(Vec::len).sum::<usize>() as f64;
    GradientCheck::new(start.params.clone(), vec![]).run(
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
    for config in forms() {
        check_gradients(&config, &batch(3, 5));
    }
}

#[test]
fn gradients_of_labels() {
    labelers().iter().for_each(|config| check_gradients(config, &labelled(3, 5)));
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
        let (mut sums, mut token) = (vec![0.0; source.len()], decoding.start());
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

#[test]
fn threads_and_stale_gradients_change_no_bit() {
    let batch = batch(9, 6);
    for config in all() {
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
    for config in all() {
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
    for config in all() {
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
    for config in all() {
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
            let generates = config.task == Task::Generate;
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
            let extra = |cell| match cell {
                Cell::Gru => Some("candidate"),
                Cell::Lstm | Cell::Peephole => Some("cell"),
                Cell::Rnn | Cell::Relu => None,
            };
            let sums = |name: &'static str, count, layers, lowest: bool| {
                (0..layers).filter(move |k| lowest || *k > 0).map(move |k| (format!("{name}_l{k}"), count))
            };
            let (e, d) = (&config.encoder, &config.decoder);
            for k in 0..if generates { 0 } else { e.layers } {
                for reverse in if e.bidirectional { &["", "_reverse"][..] } else { &[""] } {
                    for what in ["hidden"].into_iter().chain(extra(e.cell)) {
                        expected.push((format!("encoder.rnn.l{k}{reverse}.{what}"), source.len()));
                    }
                }
            }
            if e.residual {
                expected.extend(sums(
                    "encoder.residual",
                    source.len(),
                    e.layers,
                    e.embedding == 2 * e.hidden,
                ));
            }
            if e.norm {
                expected.extend(sums("encoder.norm", source.len(), e.layers, true));
            }
            for k in 0..d.layers {
                for what in ["hidden"].into_iter().chain(extra(d.cell)) {
                    expected.push((format!("decoder.rnn.l{k}.{what}"), target.len()));
                }
            }
            if d.residual {
                let lowest = d.embedding == d.hidden && config.cell_reads().len() == 1;
                expected.extend(sums("decoder.residual", target.len(), d.layers, lowest));
            }
            if d.norm {
                expected.extend(sums("decoder.norm", target.len(), d.layers, true));
            }
            if config.attends() {
                expected.push(("decoder.attention.key".into(), source.len()));
                for what in ["query", "score", "context"] {
                    expected.push((format!("decoder.attention.{what}"), target.len()));
                }
                if config.attention.place == Place::After {
                    expected.push(("decoder.attended".into(), target.len()));
                }
            }
            if config.projection().is_some() {
                expected.push(("decoder.projected".into(), target.len()));
            }
            expected.sort();
            let inputs: Vec<String> =
                crate::quant::products(&config).into_iter().map(|name| format!("{name}.input")).collect();
            // Beside these, what enters each product: whoever corrects biases asks for that.
            let entering = |name: &str| name.ends_with(".input") || name.ends_with(".previous");
            let (products, counts): (Vec<_>, Vec<_>) =
                counts.into_iter().partition(|(name, _)| entering(name));
            assert_eq!(counts, expected, "{config:?}");
            let shown = products.iter().map(|(name, _)| name).filter(|name| name.ends_with(".input"));
            let mut missing = inputs.iter().filter(|name| !shown.clone().any(|shown| shown == *name));
            assert_eq!(missing.next(), None, "{config:?}");
            let quantities = crate::quant::quantities(&config);
            for (name, _) in quantities {
                assert!(counts.iter().any(|(shown, _)| *shown == name), "{name}: {config:?}");
            }
            assert!(products.contains(&("decoder.fc_out.input".to_owned(), target.len())));
        }
    }
}

#[test]
fn choosing_the_reference_is_teacher_forcing() {
    let batch = batch(5, 9);
    for config in all() {
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
    for config in all() {
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
