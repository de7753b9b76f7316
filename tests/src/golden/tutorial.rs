//! Whole models: the classic tutorials' LSTM encoder-decoder (`tut1`) and attention model (`tut3`, `tut4`).
//!
//! Their special ids are unk 0, pad 1, sos 2, eos 3; rows of embeddings and outputs move to ours.

use std::path::Path;

use anyhow::{Context, Result};
use kinglet_train::config::{AttentionKind, Bridge, Cell, ModelConfig};
use kinglet_train::model::{Batch, EOS, PAD, Params, SOS, Seq2Seq, StepOptions, Tensor, UNK};
use kinglet_train::optim::{Adam, clip_grad_norm};
use kinglet_train::search::{SearchOptions, beam, greedy};
use serde_json::Value;

use super::layers::split_attention;
use super::{Compare, File};

/// Our id for one of theirs.
fn id(theirs: usize) -> u32 {
    match theirs {
        0 => UNK,
        1 => PAD,
        2 => SOS,
        3 => EOS,
        other => other as u32,
    }
}

/// Moves rows of a `[vocab, width]` matrix (or `[vocab]` vector) to our ids.
fn move_rows(data: &[f32], width: usize) -> Vec<f32> {
    let mut out = data.to_vec();
    for (theirs, row) in data.chunks_exact(width).enumerate() {
        let ours = id(theirs) as usize;
        out[ours * width..(ours + 1) * width].copy_from_slice(row);
    }
    out
}

/// The tensors that begin with `prefix` under our names and ids.
fn tensors(file: &File, prefix: &str) -> Result<Vec<Tensor>> {
    let mut tensors = file.tensors(prefix, "");
    for t in &mut tensors {
        if t.name.contains("embedding.") || t.name.contains("fc_out.") {
            t.data = move_rows(&t.data, t.shape.get(1).copied().unwrap_or(1));
        }
    }
    let query = tensors.iter().find(|t| t.name == "decoder.rnn.weight_hh_l0").map_or(0, |t| t.shape[1]);
    split_attention(tensors, query)
}

fn load(dir: &Path, name: &str) -> Result<Seq2Seq> {
    let file = File::open(&dir.join(format!("{name}_model.safetensors")))?;
    let columns = |tensor: &str| Ok::<_, anyhow::Error>(file.shape(tensor)?[1]);
    let mut config = ModelConfig { dropout: 0.0, ..ModelConfig::default() };
    let attends = name != "tut1";
    let cell = if attends { Cell::Gru } else { Cell::Lstm };
    (config.encoder.cell, config.decoder.cell) = (cell, cell);
    config.encoder.embedding = columns("encoder.embedding.weight")?;
    config.encoder.hidden = columns("encoder.rnn.weight_hh_l0")?;
    config.encoder.bidirectional = attends;
    config.decoder.embedding = columns("decoder.embedding.weight")?;
    config.decoder.hidden = columns("decoder.rnn.weight_hh_l0")?;
    let layers = |side: &str| (0..).take_while(|k| file.has(&format!("{side}.rnn.weight_hh_l{k}"))).count();
    (config.encoder.layers, config.decoder.layers) = (layers("encoder"), layers("decoder"));
    if attends {
        config.attention.size = file.shape("decoder.attention.attn_fc.weight")?[0];
    } else {
        config.attention.kind = AttentionKind::None;
        config.bridge = Bridge::Copy;
    }
    let source_vocab = file.shape("encoder.embedding.weight")?[0];
    let target_vocab = file.shape("decoder.embedding.weight")?[0];
    let params = Params::new(tensors(&file, "")?)?;
    Ok(Seq2Seq::from_params(&config, source_vocab, target_vocab, params)?)
}

/// Every tensor of the model finds its place.
pub(super) fn model(dir: &Path, name: &str, c: &mut Compare) -> Result<()> {
    let (model, file) = (load(dir, name)?, File::open(&dir.join(format!("{name}_model.safetensors")))?);
    for t in tensors(&file, "")? {
        c.values(&t.name, &model.params.get(&t.name).context("missing")?.data, &t.data);
    }
    Ok(())
}

/// One teacher-forced batch: logits, losses, gradients, and ten steps of Adam.
pub(super) fn train(dir: &Path, name: &str, model: &str, c: &mut Compare) -> Result<()> {
    let mut model = load(dir, model)?;
    let file = File::open(&dir.join(format!("{name}_train.safetensors")))?;
    // [steps, batch] as sentences of our ids.
    let sentences = |name: &str| -> Result<Vec<Vec<u32>>> {
        let (shape, ids) = (file.shape(name)?, file.indices(name)?);
        Ok((0..shape[1]).map(|b| ids.iter().skip(b).step_by(shape[1]).map(|&i| id(i)).collect()).collect())
    };
    let (mut sources, mut targets) = (sentences("input.src")?, sentences("input.trg")?);
    // The start mark is implied.
    for target in &mut targets {
        target.remove(0);
    }
    if name == "tut4" {
        for (source, length) in sources.iter_mut().zip(file.indices("input.src_lengths")?) {
            source.truncate(length);
        }
    }

    let (steps, vocab) = (targets[0].len(), model.target_vocab());
    let mut logits = vec![0.0; steps * targets.len() * vocab];
    for (b, (source, target)) in sources.iter().zip(&targets).enumerate() {
        let mut t = 0;
        model.observe(source, target, &mut |what, row| {
            if what == "decoder.logits" {
                logits[(t * targets.len() + b) * vocab..][..vocab].copy_from_slice(row);
                t += 1;
            }
        });
    }
    let expected: Vec<f32> =
        file.get("output.logits")?.chunks_exact(vocab).flat_map(|row| move_rows(row, 1)).collect();
    c.values("logits", &logits, &expected);

    targets.iter_mut().for_each(|t| t.retain(|&id| id != PAD));
    let batch = Batch { sources, targets };
    let mut grads = model.params.zeros_like();
    let smooth = StepOptions { label_smoothing: 0.1, ..StepOptions::default() };
    let smoothed = model.loss_and_gradients(&batch, &mut grads, &smooth);
    let expected = file.scalar("loss_label_smoothing_0.1")?;
    c.number("loss_label_smoothing_0.1", smoothed.loss / smoothed.tokens as f64, f64::from(expected));
    let plain = model.loss_and_gradients(&batch, &mut grads, &StepOptions::default());
    c.number("loss", plain.nll / plain.tokens as f64, f64::from(file.scalar("loss")?));
    for expected in tensors(&file, "grad.")? {
        let found = grads.get(&expected.name).with_context(|| format!("no {}", expected.name))?;
        c.values(&format!("grad.{}", expected.name), &found.data, &expected.data);
    }

    let mut adam = Adam::new(&model.params, 1e-3);
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for _ in 0..file.get("adam10.losses")?.len() {
        let loss = model.loss_and_gradients(&batch, &mut grads, &StepOptions::default());
        losses.push((loss.loss / loss.tokens as f64) as f32);
        norms.push(clip_grad_norm(&mut grads, 0.1) as f32);
        adam.step(&mut model.params, &grads);
    }
    c.values("adam10.losses", &losses, file.get("adam10.losses")?);
    c.values("adam10.grad_norms", &norms, file.get("adam10.grad_norms")?);
    let last = model.loss(&batch, 1);
    c.number(
        "adam10.final_loss",
        last.nll / last.tokens as f64,
        f64::from(file.scalar("adam10.final_loss")?),
    );
    for expected in tensors(&file, "adam10.final.")? {
        let found = model.params.get(&expected.name).with_context(|| format!("no {}", expected.name))?;
        c.values(&format!("adam10.final.{}", expected.name), &found.data, &expected.data);
    }
    Ok(())
}

/// The cases of `{name}_cases.json` with their sources in our ids.
fn read_cases(dir: &Path, name: &str) -> Result<(Value, Vec<Vec<u32>>)> {
    let path = dir.join(format!("{name}_cases.json"));
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let json: Value = serde_json::from_slice(&bytes).with_context(|| format!("{}", path.display()))?;
    let cases = json["cases"].as_array().context("no cases")?;
    let sources = cases.iter().map(|case| ids(&case["src"])).collect::<Result<_>>()?;
    Ok((json, sources))
}

fn ids(value: &Value) -> Result<Vec<u32>> {
    let list = value.as_array().context("expected a list of ids")?;
    list.iter().map(|v| Ok(id(v.as_u64().context("expected an id")? as usize))).collect()
}

/// Greedy and beam search.
pub(super) fn cases(dir: &Path, name: &str, c: &mut Compare) -> Result<()> {
    let model = load(dir, name)?;
    let (json, sources) = read_cases(dir, name)?;
    let max_len = json["max_len"].as_u64().context("no max_len")? as usize;
    let beam_size = json["beam"].as_u64().context("no beam")? as usize;
    let options = SearchOptions { beam_size, max_len, num_hypotheses: beam_size, ..SearchOptions::default() };
    let greedy = greedy(&model, &sources, max_len);
    let beams = beam(&model, &sources, &options);
    let cases = json["cases"].as_array().context("no cases")?;
    for (k, case) in cases.iter().enumerate() {
        let mut found = greedy[k].ids.clone();
        found.push(EOS);
        c.equal(&format!("case {k} greedy"), &found, &ids(&case["greedy"])?);
        let expected = case["beam3_keep"].as_array().context("no beam3_keep")?;
        c.equal(&format!("case {k} hypotheses"), &beams[k].len(), &expected.len());
        for (rank, (found, expected)) in beams[k].iter().zip(expected).enumerate() {
            let what = format!("case {k} beam {rank}");
            let mut with_end = found.ids.clone();
            with_end.push(EOS);
            c.equal(&what, &with_end, &ids(&expected["ids"])?);
            let number = |key: &str| expected[key].as_f64().with_context(|| format!("{what}: no {key}"));
            c.number(&format!("{what} log_prob"), found.log_prob, number("sum_logprob")?);
            c.number(&format!("{what} score"), found.score, number("score")?);
        }
    }
    c.unsupported("beam3_shrink");
    Ok(())
}

/// Logits along the greedy path, attention weights and encoder outputs.
pub(super) fn case_tensors(dir: &Path, name: &str, c: &mut Compare) -> Result<()> {
    let model = load(dir, name)?;
    let file = File::open(&dir.join(format!("{name}_cases.safetensors")))?;
    let (json, sources) = read_cases(dir, name)?;
    let options =
        SearchOptions { beam_size: 1, max_len: 1000, return_attention: true, ..SearchOptions::default() };
    for (k, source) in sources.iter().enumerate() {
        let path = ids(&json["cases"][k]["greedy"])?;
        let (mut logits, mut forward, mut backward) = (Vec::new(), Vec::new(), Vec::new());
        model.observe(source, &path, &mut |what, row| match what {
            "decoder.logits" => logits.extend_from_slice(row),
            "encoder.rnn.l0.hidden" => forward.push(row.to_vec()),
            "encoder.rnn.l0_reverse.hidden" => backward.push(row.to_vec()),
            _ => {}
        });
        let vocab = model.target_vocab();
        let tensor = format!("seq{k:02}.greedy_logits");
        let expected: Vec<f32> =
            file.get(&tensor)?.chunks_exact(vocab).flat_map(|row| move_rows(row, 1)).collect();
        c.values(&tensor, &logits, &expected);
        let tensor = format!("seq{k:02}.encoder_outputs");
        if file.has(&tensor) {
            let joined: Vec<f32> =
                forward.iter().zip(&backward).flat_map(|(f, b)| [&f[..], b].concat()).collect();
            c.values(&tensor, &joined, file.get(&tensor)?);
        }
        let tensor = format!("seq{k:02}.attention");
        if file.has(&tensor) {
            let found = &beam(&model, std::slice::from_ref(source), &options)[0][0];
            c.values(&tensor, &found.attention.concat(), file.get(&tensor)?);
        }
    }
    Ok(())
}
