//! Embedding, linear map, layer normalisation, cross-entropy, attention.

use anyhow::{Context, Result};
use kinglet_train::config::AttentionKind;
use kinglet_train::nn::attention::{Attended, Attention, AttentionTrace, Shape};
use kinglet_train::nn::embedding::Embedding;
use kinglet_train::nn::linear::Linear;
use kinglet_train::nn::loss::{cross_entropy as loss_of, cross_entropy_backward, log_softmax};
use kinglet_train::nn::norm::{LayerNorm, NormTrace};
use kinglet_train::nn::params::{Layout, Params};
use kinglet_train::pytorch::split_attention;

use super::{Compare, File};

pub(super) fn embedding(file: &File, config: &serde_json::Value, c: &mut Compare) -> Result<()> {
    let pad = config["embedding"]["pad"].as_i64().context("config.json: embedding.pad")? as u32;
    let [vocab, width] = file.dims("param.weight")?;
    let mut layout = Layout::default();
    let embedding = Embedding::declare(&mut layout, "e", vocab, width);
    let params = file.params("param.", "e.", &layout)?;
    for (variant, padding) in [("nopad", None), ("pad", Some(pad))] {
        let ids: Vec<u32> =
            file.indices(&format!("{variant}.input.ids"))?.iter().map(|&i| i as u32).collect();
        let r = file.get(&format!("{variant}.r.output"))?;
        let output = embedding.forward(&params, &ids);
        c.tensor(file, &format!("{variant}.output.output"), &output);
        c.loss(file, &format!("{variant}.loss"), &[(&format!("{variant}.r.output"), &output)]);
        // A padding index has no gradient: in the packed layout padding is not there at all.
        let mut grads = params.zeros_like();
        for (&id, dy) in ids.iter().zip(r.chunks_exact(width)) {
            if Some(id) != padding {
                embedding.backward(&mut grads, &[id], dy);
            }
        }
        c.tensors(file, &format!("{variant}.grad.param."), "e.", &grads);
    }
    Ok(())
}

pub(super) fn linear(file: &File, c: &mut Compare) -> Result<()> {
    let [outputs, inputs] = file.dims("param.weight")?;
    for (variant, bias) in [("bias", true), ("nobias", false)] {
        let mut layout = Layout::default();
        let linear = Linear::declare(&mut layout, "fc", inputs, outputs, bias);
        let mut tensors = file.tensors("param.", "fc.");
        tensors.retain(|t| bias || t.name != "fc.bias");
        let params = layout.arrange(Params::new(tensors)?)?;
        let x = file.get(&format!("{variant}.input.x"))?;
        let y = linear.forward(&params, x);
        c.tensor(file, &format!("{variant}.output.output"), &y);
        c.loss(file, &format!("{variant}.loss"), &[(&format!("{variant}.r.output"), &y)]);
        let mut grads = params.zeros_like();
        let dx = linear.backward(&params, &mut grads, x, file.get(&format!("{variant}.r.output"))?);
        c.tensor(file, &format!("{variant}.grad.input.x"), &dx);
        c.tensors(file, &format!("{variant}.grad.param."), "fc.", &grads);
    }
    Ok(())
}

pub(super) fn cross_entropy(file: &File, config: &serde_json::Value, c: &mut Compare) -> Result<()> {
    let ignore = config["ce"]["ignore_index"].as_i64().context("config.json: ce.ignore_index")?;
    let targets = file.integers("input.target")?;
    let [_, vocab] = file.dims("input.logits")?;
    // What PyTorch ignores is not in our batches: the rows that count, and what they are called.
    let kept: Vec<usize> = (0..targets.len()).filter(|&i| targets[i] != ignore).collect();
    let kept_targets: Vec<u32> = kept.iter().map(|&i| targets[i] as u32).collect();
    for prefix in ["", "stress."] {
        let logits = file.get(&format!("{prefix}input.logits"))?;
        let mut log_probs = logits.to_vec();
        log_probs.chunks_exact_mut(vocab).for_each(log_softmax);
        let name = format!("{prefix}output.log_softmax");
        c.tensor(file, &name, &log_probs);
        let row = |i: usize| &logits[i * vocab..(i + 1) * vocab];
        for (variant, smoothing) in [("plain", 0.0), ("smooth", 0.1)] {
            for (reduction, scale) in [("mean", 1.0 / kept.len() as f32), ("sum", 1.0)] {
                let name = format!("{prefix}{variant}.{reduction}");
                let mut gradients: Vec<f32> = kept.iter().flat_map(|&i| row(i)).copied().collect();
                let total =
                    cross_entropy_backward(&mut gradients, &kept_targets, vocab, smoothing, scale).loss;
                c.tensor(file, &format!("{name}.loss"), &[(total * f64::from(scale)) as f32]);
                let mut all = vec![0.0; logits.len()];
                for (&i, g) in kept.iter().zip(gradients.chunks_exact(vocab)) {
                    all[i * vocab..(i + 1) * vocab].copy_from_slice(g);
                }
                c.tensor(file, &format!("{name}.grad.input.logits"), &all);
            }
            let name = format!("{prefix}{variant}.none.loss");
            let one = |i: usize| match targets[i] {
                t if t == ignore => 0.0,
                t => loss_of(row(i), &[t as u32], vocab, smoothing).loss as f32,
            };
            let each: Vec<f32> = (0..targets.len()).map(one).collect();
            c.tensor(file, &name, &each);
        }
    }
    Ok(())
}

/// Where attention is in a model.
const ATTENTION: &str = "decoder.attention";

/// Any kind, additive in both spellings: `w_q`, `w_k`, `v`, and `attn_fc` = [w_q w_k] with `v_fc`. A file with `w_c` has what an
/// output layer reads behind it, too.
pub(super) fn attention(file: &File, kind: AttentionKind, c: &mut Compare) -> Result<()> {
    let [source_len, batch, width] = file.dims("input.encoder_outputs")?;
    let [_, query] = file.dims("input.hidden")?;
    let ours = |prefix: &str| split_attention(file.tensors(prefix, &format!("{ATTENTION}.")), query);
    let tensors = ours("param.");
    let energies = ["v.weight", "v_a.weight"].map(|name| format!("{ATTENTION}.{name}"));
    let size = tensors.iter().find(|t| energies.contains(&t.name)).map_or(0, |t| t.data.len());
    let mut layout = Layout::default();
    let shape = Shape { kind, query, memory: width, size };
    let attention = Attention::declare(&mut layout, ATTENTION, shape).context("a kind that attends")?;
    let after = file.has("param.w_c.weight").then(|| Attended::declare(&mut layout, ATTENTION, width, query));
    let params = layout.arrange(Params::new(tensors)?)?;

    let (outputs, states) = (file.get("input.encoder_outputs")?, file.get("input.hidden")?);
    let lengths = file.indices("input.lengths")?;
    let sentences: Vec<usize> = (0..batch).collect();
    let run = |lengths: &[usize]| {
        let token = |b: usize, t: usize| &outputs[(t * batch + b) * width..][..width];
        let values: Vec<f32> =
            (0..batch).flat_map(|b| (0..lengths[b]).flat_map(move |t| token(b, t))).copied().collect();
        let memory = attention.memory(&params, lengths.to_vec(), values);
        let (mut trace, mut contexts) = (AttentionTrace::default(), vec![0.0; batch * width]);
        attention.step(&params, &memory, &sentences, states, &mut contexts, &mut trace);
        (memory, trace, contexts)
    };
    let (_, unmasked, _) = run(&vec![source_len; batch]);
    c.tensor(file, "output.score_unmasked", unmasked.scores());
    let within = |&length: &usize| (0..source_len).map(move |t| i64::from(t < length));
    let mask: Vec<i64> = lengths.iter().flat_map(within).collect();
    c.equal("input.mask", &&mask[..], &file.integers("input.mask")?);

    let (memory, trace, contexts) = run(&lengths);
    c.tensor(file, "output.context", &contexts);
    let padded: Vec<f32> = (0..batch)
        .flat_map(|b| {
            let mut row = trace.weights(b).to_vec();
            row.resize(source_len, 0.0);
            row
        })
        .collect();
    c.tensor(file, "output.attention", &padded);

    let mut grads = params.zeros_like();
    let (mut d_contexts, mut d_states) = (file.get("r.context")?.to_vec(), vec![0.0; states.len()]);
    let mut weighed = vec![("r.attention", &padded[..]), ("r.context", &contexts)];
    let mut h_tilde = vec![0.0; states.len()];
    if let Some(after) = &after {
        let mut joined = vec![0.0; batch * after.inputs()];
        after.forward(&params, (&contexts, states), &mut joined, &mut h_tilde);
        c.tensor(file, "output.h_tilde", &h_tilde);
        weighed.push(("r.h_tilde", &h_tilde));
        let mut d = file.get("r.h_tilde")?.to_vec();
        Attended::reverse_tanh(&h_tilde, &mut d);
        after.weight_gradient(&mut grads, &joined, &d);
        let mut d_joined = vec![0.0; joined.len()];
        after.input_gradient(&params, &d, &mut d_joined);
        let each = d_contexts.chunks_exact_mut(width).zip(d_states.chunks_exact_mut(query));
        for (row, (context, state)) in d_joined.chunks_exact(width + query).zip(each) {
            context.iter_mut().zip(row).for_each(|(d, more)| *d += more);
            state.copy_from_slice(&row[width..]);
        }
    }
    c.loss(file, "loss", &weighed);

    let mut d_memory = attention.memory_gradient(&memory);
    let mut d_queries = vec![0.0; batch * attention.size()];
    let rw = file.get("r.attention")?;
    let valid = |b: usize| &rw[b * source_len..b * source_len + lengths[b]];
    let d_weights: Vec<f32> = (0..batch).flat_map(valid).copied().collect();
    attention.step_backward(
        &params,
        &mut grads,
        &memory,
        &sentences,
        (&trace, 0),
        &d_contexts,
        Some(&d_weights),
        &mut d_memory,
        &mut d_queries,
    );
    attention.add_state_gradient(&params, &d_queries, &mut d_states);
    c.tensor(file, "grad.input.hidden", &d_states);
    let d_values = attention.finish(&params, &mut grads, &memory, states, &d_queries, d_memory);
    let mut d_outputs = vec![0.0; outputs.len()];
    let mut rows = d_values.chunks_exact(width);
    for (b, &length) in lengths.iter().enumerate() {
        for (t, d) in (0..length).zip(&mut rows) {
            d_outputs[(t * batch + b) * width..][..width].copy_from_slice(d);
        }
    }
    c.tensor(file, "grad.input.encoder_outputs", &d_outputs);
    let expected = layout.arrange(Params::new(ours("grad.param."))?)?;
    for (found, expected) in grads.iter().zip(&expected) {
        c.values(&format!("grad.{}", expected.name), &found.data, &expected.data);
    }
    Ok(())
}

/// Rows of ordinary values, and of values far from zero.
pub(super) fn layer_norm(file: &File, c: &mut Compare) -> Result<()> {
    let [width] = file.dims("param.weight")?;
    let mut layout = Layout::default();
    let norm = LayerNorm::declare(&mut layout, "norm", width);
    let params = file.params("param.", "norm.", &layout)?;
    for variant in ["base.", "big."] {
        let name = |what: &str| format!("{variant}{what}");
        let mut y = file.get(&name("input.x"))?.to_vec();
        let mut trace = NormTrace::new(y.len() / width, width);
        norm.forward(&params, &mut y, 0, &mut trace);
        c.tensor(file, &name("output.output"), &y);
        c.loss(file, &name("loss"), &[(&name("r.output"), &y)]);
        let (mut d, mut grads) = (file.get(&name("r.output"))?.to_vec(), params.zeros_like());
        norm.backward(&params, &mut grads, &mut d, 0, &trace);
        c.tensor(file, &name("grad.input.x"), &d);
        c.tensors(file, &name("grad.param."), "norm.", &grads);
    }
    Ok(())
}
