//! Embedding, linear map, cross-entropy, additive attention.

use anyhow::{Context, Result};
use kinglet_train::model::Tensor;
use kinglet_train::nn::attention::{Additive, AttentionTrace};
use kinglet_train::nn::embedding::Embedding;
use kinglet_train::nn::linear::Linear;
use kinglet_train::nn::loss::{cross_entropy as loss_of, cross_entropy_backward, log_softmax};
use kinglet_train::nn::params::{Layout, Params};

use super::{Compare, File};

pub(super) fn embedding(file: &File, config: &serde_json::Value, c: &mut Compare) -> Result<()> {
    let pad = config["embedding"]["pad"].as_u64().context("config.json: embedding.pad")? as u32;
    let &[vocab, width] = file.shape("param.weight")? else { anyhow::bail!("weight is no matrix") };
    let mut layout = Layout::default();
    let embedding = Embedding::declare(&mut layout, "e", vocab, width);
    let params = file.params("param.", "e.", &layout)?;
    for (variant, padding) in [("nopad", None), ("pad", Some(pad))] {
        let ids: Vec<u32> =
            file.indices(&format!("{variant}.input.ids"))?.iter().map(|&i| i as u32).collect();
        let r = file.get(&format!("{variant}.r.output"))?;
        let output = embedding.forward(&params, &ids);
        c.values(&format!("{variant}.output"), &output, file.get(&format!("{variant}.output.output"))?);
        // A padding index has no gradient: in the packed layout padding is not there at all.
        let mut grads = params.zeros_like();
        for (&id, dy) in ids.iter().zip(r.chunks_exact(width)) {
            if Some(id) != padding {
                embedding.backward(&mut grads, &[id], dy);
            }
        }
        compare_gradients(file, &format!("{variant}.grad.param."), "e.", &grads, c)?;
    }
    Ok(())
}

pub(super) fn linear(file: &File, c: &mut Compare) -> Result<()> {
    let &[outputs, inputs] = file.shape("param.weight")? else { anyhow::bail!("weight is no matrix") };
    for (variant, bias) in [("bias", true), ("nobias", false)] {
        let mut layout = Layout::default();
        let linear = Linear::declare(&mut layout, "fc", inputs, outputs, bias);
        let mut tensors = file.tensors("param.", "fc.");
        tensors.retain(|t| bias || t.name != "fc.bias");
        let params = layout.arrange(Params::new(tensors)?)?;
        let x = file.get(&format!("{variant}.input.x"))?;
        let y = linear.forward(&params, x);
        c.values(&format!("{variant}.output"), &y, file.get(&format!("{variant}.output.output"))?);
        let mut grads = params.zeros_like();
        let dx = linear.backward(&params, &mut grads, x, file.get(&format!("{variant}.r.output"))?);
        c.values(&format!("{variant}.grad.x"), &dx, file.get(&format!("{variant}.grad.input.x"))?);
        compare_gradients(file, &format!("{variant}.grad.param."), "fc.", &grads, c)?;
    }
    Ok(())
}

pub(super) fn cross_entropy(file: &File, config: &serde_json::Value, c: &mut Compare) -> Result<()> {
    let ignore = config["ce"]["ignore_index"].as_u64().context("config.json: ce.ignore_index")? as usize;
    let targets = file.indices("input.target")?;
    let vocab = file.shape("input.logits")?[1];
    // What PyTorch ignores is not in our batches: the rows that count, and what they are called.
    let kept: Vec<usize> = (0..targets.len()).filter(|&i| targets[i] != ignore).collect();
    let kept_targets: Vec<u32> = kept.iter().map(|&i| targets[i] as u32).collect();
    for prefix in ["", "stress."] {
        let logits = file.get(&format!("{prefix}input.logits"))?;
        let mut log_probs = logits.to_vec();
        log_probs.chunks_exact_mut(vocab).for_each(log_softmax);
        let name = format!("{prefix}output.log_softmax");
        c.values(&name, &log_probs, file.get(&name)?);
        let row = |i: usize| &logits[i * vocab..(i + 1) * vocab];
        for (variant, smoothing) in [("plain", 0.0), ("smooth", 0.1)] {
            for (reduction, scale) in [("mean", 1.0 / kept.len() as f32), ("sum", 1.0)] {
                let name = format!("{prefix}{variant}.{reduction}");
                let mut gradients: Vec<f32> = kept.iter().flat_map(|&i| row(i)).copied().collect();
                let total =
                    cross_entropy_backward(&mut gradients, &kept_targets, vocab, smoothing, scale).loss;
                let expected = file.scalar(&format!("{name}.loss"))?;
                c.number(&format!("{name}.loss"), total * f64::from(scale), f64::from(expected));
                let mut all = vec![0.0; logits.len()];
                for (&i, g) in kept.iter().zip(gradients.chunks_exact(vocab)) {
                    all[i * vocab..(i + 1) * vocab].copy_from_slice(g);
                }
                c.values(&format!("{name}.grad"), &all, file.get(&format!("{name}.grad.input.logits"))?);
            }
            let name = format!("{prefix}{variant}.none.loss");
            let one = |i: usize| match targets[i] {
                t if t == ignore => 0.0,
                t => loss_of(row(i), &[t as u32], vocab, smoothing).loss as f32,
            };
            let each: Vec<f32> = (0..targets.len()).map(one).collect();
            c.values(&name, &each, file.get(&name)?);
        }
    }
    Ok(())
}

/// Both spellings: `w_q`, `w_k`, `v`, and `attn_fc` = [w_q w_k] with `v_fc`.
pub(super) fn attention(file: &File, c: &mut Compare) -> Result<()> {
    let &[source_len, batch, width] = file.shape("input.encoder_outputs")? else {
        anyhow::bail!("encoder_outputs must have 3 dimensions");
    };
    let query = file.shape("input.hidden")?[1];
    let tensors = split_attention(file.tensors("param.", "a."), query)?;
    let size = tensors.iter().find(|t| t.name == "a.v.weight").context("no v.weight")?.data.len();
    let mut layout = Layout::default();
    let attention = Additive::declare(&mut layout, "a", query, width, size);
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
    c.values("score_unmasked", unmasked.scores(), file.get("output.score_unmasked")?);

    let (memory, trace, contexts) = run(&lengths);
    c.values("context", &contexts, file.get("output.context")?);
    let padded: Vec<f32> = (0..batch)
        .flat_map(|b| {
            let mut row = trace.weights(b).to_vec();
            row.resize(source_len, 0.0);
            row
        })
        .collect();
    c.values("attention", &padded, file.get("output.attention")?);

    let mut grads = params.zeros_like();
    let mut d_memory = attention.memory_gradient(&memory);
    let mut d_queries = vec![0.0; batch * size];
    let rw = file.get("r.attention")?;
    let valid = |b: usize| &rw[b * source_len..b * source_len + lengths[b]];
    let d_weights: Vec<f32> = (0..batch).flat_map(valid).copied().collect();
    attention.step_backward(
        &params,
        &mut grads,
        &memory,
        &sentences,
        (&trace, 0),
        file.get("r.context")?,
        Some(&d_weights),
        &mut d_memory,
        &mut d_queries,
    );
    let mut d_states = vec![0.0; states.len()];
    attention.add_state_gradient(&params, &d_queries, &mut d_states);
    c.values("grad.hidden", &d_states, file.get("grad.input.hidden")?);
    let d_values = attention.finish(&params, &mut grads, &memory, states, &d_queries, d_memory);
    let mut d_outputs = vec![0.0; outputs.len()];
    let mut rows = d_values.chunks_exact(width);
    for (b, &length) in lengths.iter().enumerate() {
        for (t, d) in (0..length).zip(&mut rows) {
            d_outputs[(t * batch + b) * width..][..width].copy_from_slice(d);
        }
    }
    c.values("grad.encoder_outputs", &d_outputs, file.get("grad.input.encoder_outputs")?);
    for expected in split_attention(file.tensors("grad.param.", "a."), query)? {
        let found = grads.get(&expected.name).with_context(|| format!("no {}", expected.name))?;
        c.values(&format!("grad.{}", expected.name), &found.data, &expected.data);
    }
    Ok(())
}

/// Cuts `attn_fc` [size, query + memory] into `w_q` and `w_k`, renames `v_fc` to `v`; the rest stays.
pub(super) fn split_attention(tensors: Vec<Tensor>, query: usize) -> Result<Vec<Tensor>> {
    let mut out = Vec::with_capacity(tensors.len() + 1);
    for mut t in tensors {
        if let Some(prefix) = t.name.strip_suffix("attn_fc.weight") {
            let width = *t.shape.get(1).context("attn_fc.weight is no matrix")?;
            anyhow::ensure!(query < width, "attn_fc.weight has {width} columns, expected more than {query}");
            let part = |columns: std::ops::Range<usize>| -> Vec<f32> {
                t.data.chunks_exact(width).flat_map(|row| &row[columns.clone()]).copied().collect()
            };
            let tensor = |name: &str, columns: std::ops::Range<usize>| Tensor {
                name: format!("{prefix}{name}.weight"),
                shape: vec![t.shape[0], columns.len()],
                data: part(columns),
            };
            out.push(tensor("w_q", 0..query));
            out.push(tensor("w_k", query..width));
            continue;
        }
        t.name = t.name.replace("attn_fc.bias", "w_k.bias").replace("v_fc.weight", "v.weight");
        out.push(t);
    }
    Ok(out)
}

/// Compares all tensors `{expected}*` of the file with the gradients `{found}*`.
pub(super) fn compare_gradients(
    file: &File,
    expected: &str,
    found: &str,
    grads: &Params,
    c: &mut Compare,
) -> Result<()> {
    for name in file.names(expected) {
        let gradient = grads.get(&format!("{found}{name}")).with_context(|| format!("no {found}{name}"))?;
        c.values(&format!("{expected}{name}"), &gradient.data, file.get(&format!("{expected}{name}"))?);
    }
    Ok(())
}
