//! Whole models: the classic tutorials' LSTM encoder-decoder (`tut1`), its GRU with a fixed context (`tut2`) and attention model (`tut3`, `tut4`), as
//! `kinglet-train import` takes them.
//!
//! Their special ids are unk 0, pad 1, sos 2, eos 3; sources begin with sos.

use std::path::Path;

use anyhow::{Context, Result};
use kinglet_train::config::Tokens;
use kinglet_train::model::{Batch, EOS, PAD, Params, Seq2Seq, StepOptions};
use kinglet_train::optim::{Adam, clip_grad_norm};
use kinglet_train::pytorch::{self, Mapping, Vocabulary};
use kinglet_train::search::{Flavour, SearchOptions, beam, greedy};
use kinglet_train::vocab::Vocab;
use serde_json::Value;

use super::{Compare, File};

/// What becomes of the padding behind a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    /// The encoder reads it and attention sees it, as tokens.
    Read,
    /// Nothing sees it.
    Masked,
}

/// A tutorial's network with what its ids are here.
struct Tutorial {
    model: Seq2Seq,
    mapping: Mapping,
    source: Vocabulary,
    target: Vocabulary,
}

impl Tutorial {
    fn of(file: &File) -> Result<Self> {
        let tensors = file.tensors("", "");
        let [source, _] = file.dims("encoder.embedding.weight")?;
        let [target, _] = file.dims("decoder.embedding.weight")?;
        let (source, target) = (vocabulary(source), vocabulary(target));
        let mapping = Mapping::new(&tensors, source.ids.clone(), target.ids.clone())
            .map_err(|faults| anyhow::Error::msg(list(&faults)))?;
        let model = mapping.model(tensors)?;
        Ok(Self { model, mapping, source, target })
    }

    fn open(dir: &Path, name: &str) -> Result<Self> {
        let name = format!("{name}_model.safetensors");
        Self::of(&File::open(&dir.join(&name))?).context(name)
    }

    /// Rows of logits [rows, target vocabulary] in the order of our ids.
    fn logits(&self, theirs: &[f32]) -> Vec<f32> {
        let order = self.target.theirs();
        let row = |row: &[f32]| order.iter().map(|&id| row[id as usize]).collect::<Vec<_>>();
        theirs.chunks_exact(order.len()).flat_map(row).collect()
    }
}

fn list(faults: &[pytorch::Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A vocabulary of so many tokens with the tutorials' ids.
fn vocabulary(size: usize) -> Vocabulary {
    let tokens: Vec<String> = (4..size).map(|id| format!("t{id:05}")).collect();
    Vocabulary::exported(&Vocab::build(Tokens::Words, tokens.iter().map(String::as_str), 1))
}

/// Our ids of theirs.
fn ours(vocabulary: &Vocabulary, theirs: impl IntoIterator<Item = usize>) -> Result<Vec<u32>> {
    let id = |id: usize| vocabulary.ids.get(id).copied().with_context(|| format!("id {id} is no token's"));
    theirs.into_iter().map(id).collect()
}

/// Every tensor finds its place.
pub(super) fn model(file: &File, c: &mut Compare) -> Result<()> {
    let Tutorial { model, mapping, .. } = Tutorial::of(file)?;
    for t in mapping.convert(file.tensors("", "")) {
        c.values(&t.name, &model.params.get(&t.name).context("missing")?.data, &t.data);
    }
    Ok(())
}

/// One teacher-forced batch: logits, losses, gradients, and ten steps of Adam.
pub(super) fn train(dir: &Path, name: &str, file: &File, padding: Padding, c: &mut Compare) -> Result<()> {
    let mut tutorial = Tutorial::open(dir, name)?;
    // [steps, batch] as sentences of our ids.
    let sentences = |name: &str, vocabulary: &Vocabulary| -> Result<Vec<Vec<u32>>> {
        let ([_, batch], ids) = (file.dims(name)?, file.indices(name)?);
        (0..batch).map(|b| ours(vocabulary, ids.iter().skip(b).step_by(batch).copied())).collect()
    };
    let mut sources = sentences("input.src", &tutorial.source)?;
    let mut targets = sentences("input.trg", &tutorial.target)?;
    // The start mark is implied.
    for target in &mut targets {
        target.remove(0);
    }
    let lengths = file.indices("input.src_lengths")?;
    let filled = |source: &Vec<u32>| source.iter().filter(|&&id| id != PAD).count();
    c.equal("input.src_lengths", &sources.iter().map(filled).collect(), &lengths);
    if padding == Padding::Masked {
        sources.iter_mut().zip(lengths).for_each(|(source, length)| source.truncate(length));
    }

    let model = &tutorial.model;
    let (steps, vocab) = (targets.first().map_or(0, Vec::len), model.target_vocab());
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
    c.values("output.logits", &logits, &tutorial.logits(file.get("output.logits")?));

    targets.iter_mut().for_each(|t| t.retain(|&id| id != PAD));
    let batch = Batch { sources: sources.into_iter().map(Into::into).collect(), targets };
    let mut grads = model.params.zeros_like();
    let smooth = StepOptions { label_smoothing: 0.1, ..StepOptions::default() };
    let smoothed = model.loss_and_gradients(&batch, &mut grads, &smooth);
    c.tensor(file, "loss_label_smoothing_0.1", &[(smoothed.loss / smoothed.tokens as f64) as f32]);
    let plain = model.loss_and_gradients(&batch, &mut grads, &StepOptions::default());
    c.tensor(file, "loss", &[(plain.nll / plain.tokens as f64) as f32]);
    let expected = Params::new(tutorial.mapping.convert(file.tensors("grad.", "")))?;
    for found in &grads {
        match expected.get(&found.name) {
            Some(expected) => c.values(&format!("grad.{}", found.name), &found.data, &expected.data),
            None => c.fail(format!("tensor grad.{} is missing", found.name)),
        }
    }

    let model = &mut tutorial.model;
    let mut adam = Adam::new(&model.params, 1e-3);
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for _ in 0..file.get("adam10.losses")?.len() {
        let loss = model.loss_and_gradients(&batch, &mut grads, &StepOptions::default());
        losses.push((loss.loss / loss.tokens as f64) as f32);
        norms.push(clip_grad_norm(&mut grads, 0.1) as f32);
        adam.step(&mut model.params, &grads);
    }
    c.tensor(file, "adam10.losses", &losses);
    c.tensor(file, "adam10.grad_norms", &norms);
    let last = model.loss(&batch, 1);
    c.tensor(file, "adam10.final_loss", &[(last.nll / last.tokens as f64) as f32]);
    let expected = tutorial.mapping.convert(file.tensors("adam10.final.", ""));
    if expected.is_empty() {
        c.fail("tensors adam10.final.* are missing".into());
    }
    for expected in expected {
        let found =
            tutorial.model.params.get(&expected.name).with_context(|| format!("no {}", expected.name))?;
        c.values(&format!("adam10.final.{}", expected.name), &found.data, &expected.data);
    }
    Ok(())
}

/// `{name}_cases.json` with its sources and greedy targets in our ids.
struct Cases {
    json: Value,
    sources: Vec<Vec<u32>>,
    greedy: Vec<Vec<u32>>,
}

impl Cases {
    fn open(dir: &Path, name: &str, tutorial: &Tutorial) -> Result<Self> {
        let path = dir.join(format!("{name}_cases.json"));
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let json: Value = serde_json::from_slice(&bytes).with_context(|| format!("{}", path.display()))?;
        let cases = json["cases"].as_array().context("no cases")?;
        let column = |key: &str, vocabulary: &Vocabulary| -> Result<Vec<Vec<u32>>> {
            cases.iter().map(|case| ids(&case[key], vocabulary)).collect()
        };
        let (sources, greedy) = (column("src", &tutorial.source)?, column("greedy", &tutorial.target)?);
        Ok(Self { json, sources, greedy })
    }
}

fn ids(value: &Value, vocabulary: &Vocabulary) -> Result<Vec<u32>> {
    let list = value.as_array().context("expected a list of ids")?;
    let ids: Option<Vec<usize>> = list.iter().map(|v| Some(v.as_u64()? as usize)).collect();
    ours(vocabulary, ids.context("expected ids")?)
}

/// Greedy and both flavours of beam search.
pub(super) fn cases(dir: &Path, name: &str, c: &mut Compare) -> Result<()> {
    let tutorial = Tutorial::open(dir, name)?;
    let Cases { json, sources, greedy: expected } = Cases::open(dir, name, &tutorial)?;
    let number = |key: &str| json[key].as_u64().with_context(|| format!("no {key}"));
    let (max_len, beam_size) = (number("max_len")? as usize, number("beam")? as usize);
    for (k, (mut found, expected)) in
        greedy(&tutorial.model, &sources, max_len).into_iter().zip(expected).enumerate()
    {
        found.ids.push(EOS);
        c.equal(&format!("case {k} greedy"), &found.ids, &expected);
    }
    for (key, flavour) in [("beam3_shrink", Flavour::Shrink), ("beam3_keep", Flavour::Keep)] {
        let num_hypotheses = beam_size;
        let options =
            SearchOptions { beam_size, flavour, max_len, num_hypotheses, ..SearchOptions::default() };
        for (k, found) in beam(&tutorial.model, &sources, &options).iter().enumerate() {
            let expected = json["cases"][k][key].as_array().with_context(|| format!("case {k}: no {key}"))?;
            c.equal(&format!("case {k} {key}: hypotheses"), &found.len(), &expected.len());
            for (rank, (found, expected)) in found.iter().zip(expected).enumerate() {
                let what = format!("case {k} {key} {rank}");
                let number = |key: &str| expected[key].as_f64().with_context(|| format!("{what}: no {key}"));
                let ended = [&found.ids[..], &[EOS]].concat();
                c.equal(&what, &ended, &ids(&expected["ids"], &tutorial.target)?);
                c.number(&format!("{what} length"), ended.len() as f64, number("length")?);
                c.number(&format!("{what} sum_logprob"), found.log_prob, number("sum_logprob")?);
                c.number(&format!("{what} score"), found.score, number("score")?);
            }
        }
    }
    Ok(())
}

/// Logits along the greedy path, the state handed over, attention weights and encoder outputs.
pub(super) fn case_tensors(dir: &Path, name: &str, file: &File, c: &mut Compare) -> Result<()> {
    let tutorial = Tutorial::open(dir, name)?;
    let Cases { sources, greedy, .. } = Cases::open(dir, name, &tutorial)?;
    let max_len = greedy.iter().map(Vec::len).max().unwrap_or(0);
    let options = SearchOptions { beam_size: 1, max_len, return_attention: true, ..SearchOptions::default() };
    for (k, (source, path)) in sources.iter().zip(&greedy).enumerate() {
        let name = |what: &str| format!("seq{k:02}.{what}");
        let seen = Seen::of(&tutorial.model, source, path);
        let expected = file.get(&name("greedy_logits")).map(|rows| tutorial.logits(rows));
        match expected {
            Ok(expected) => c.values(&name("greedy_logits"), &seen.logits, &expected),
            Err(error) => c.fail(error.to_string()),
        }
        c.tensor(file, &name("encoder_state"), &seen.state);
        if file.has(&name("encoder_outputs")) {
            c.tensor(file, &name("encoder_outputs"), &seen.outputs);
        }
        if file.has(&name("attention")) {
            let found = &beam(&tutorial.model, std::slice::from_ref(source), &options)[0][0];
            c.tensor(file, &name("attention"), &found.attention.concat());
        }
    }
    Ok(())
}

/// What a teacher-forced pass shows.
struct Seen {
    logits: Vec<f32>,
    /// With attention the decoder's first hidden state; else the encoder's final hidden states, layer by layer, and then its
    /// final cell states.
    state: Vec<f32>,
    /// Outputs of the encoder's first layer, both directions side by side.
    outputs: Vec<f32>,
}

impl Seen {
    fn of(model: &Seq2Seq, source: &[u32], target: &[u32]) -> Self {
        let mut rows = std::collections::BTreeMap::<String, Vec<Vec<f32>>>::new();
        model.observe(source, target, &mut |what, row| {
            rows.entry(what.to_owned()).or_default().push(row.to_vec());
        });
        let all = |name: &str| rows.get(name).map_or(&[][..], Vec::as_slice);
        let layers = model.config.encoder.layers;
        let last = |what: &str| -> Vec<f32> {
            let last = |k| all(&format!("encoder.rnn.l{k}.{what}")).last().cloned().unwrap_or_default();
            (0..layers).flat_map(last).collect()
        };
        let directions = all("encoder.rnn.l0.hidden").iter().zip(all("encoder.rnn.l0_reverse.hidden"));
        let state = if model.config.encoder.bidirectional {
            all("decoder.rnn.l0.previous").first().cloned().unwrap_or_default()
        } else {
            [last("hidden"), last("cell")].concat()
        };
        Self {
            logits: all("decoder.logits").concat(),
            state,
            outputs: directions.flat_map(|(forward, reverse)| [&forward[..], reverse].concat()).collect(),
        }
    }
}
