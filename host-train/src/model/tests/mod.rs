//! Properties of whole networks.

use crate::config::{AttentionKind, Cell, ModelConfig, Place, Task};
use crate::model::{Batch, Choice, EOS, Feed, LossSum, Seq2Seq, StepOptions};
use crate::nn::loss::cross_entropy;
use crate::optim::{Adam, clip_grad_norm};
use crate::vocab::Encoded;

mod forms;
mod gradients;

pub(crate) use forms::{all, batch, configs, forms, model, words};

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
            sources: [vec![4, 5, 6, EOS], vec![6, 5, EOS], vec![5, EOS]].map(Encoded::from).into(),
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
        Batch { sources: vec![Encoded::default()], targets: vec![vec![]] },
        Batch { sources: vec![Encoded::default(), vec![4, EOS].into()], targets: vec![vec![4, EOS], vec![]] },
        Batch { sources: vec![vec![u32::MAX].into()], targets: vec![vec![1 << 30, EOS]] },
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
                        expected.push((format!("encoder.rnn.l{k}{reverse}.{what}"), source.ids.len()));
                    }
                }
            }
            if e.residual {
                expected.extend(sums(
                    "encoder.residual",
                    source.ids.len(),
                    e.layers,
                    e.embedding == 2 * e.hidden,
                ));
            }
            if e.norm {
                expected.extend(sums("encoder.norm", source.ids.len(), e.layers, true));
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
                expected.push(("decoder.attention.key".into(), source.ids.len()));
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
        let mut decoding = crate::model::Decoding::new(&model, &sources);
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
