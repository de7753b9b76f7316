//! Networks on the grid against a transcription of the chip's formulas, a vector and an integer at a time.

use kinglet::fixed::{q15_to_i8, saturate_i8, saturate_i16, shift_round};
use kinglet::tables::{exp2_neg, sigmoid, tanh};

use crate::config::{AttentionKind, Bridge, Cell, Fold, QatConfig};
use crate::model::tests::{batch, configs, model};
use crate::model::{Batch, EOS, SOS, Seq2Seq, StepOptions};
use crate::quant::{ACTIVATION, GATE, Kind, Records, Scheme, Width, power_of_two, row, table, vector};

/// A product's input: int8 integers and the scale that they count.
type Part = (Vec<i8>, f64);

/// The chip, slowly: weights are quantized whenever they are read.
struct Chip<'a> {
    model: &'a Seq2Seq,
    scheme: &'a Scheme,
}

#[derive(Clone)]
struct State {
    h: Vec<i16>,
    c: Vec<i16>,
}

impl Chip<'_> {
    fn tensor(&self, name: &str) -> &[f32] {
        &self.model.params.get(name).unwrap_or_else(|| panic!("{name}")).data
    }

    fn bits(&self, name: &str) -> u32 {
        self.scheme.bits[name].into()
    }

    /// Row `index` over some columns of matrices and their inputs: (matrix, first column, input) by part.
    fn quantized(
        &self,
        kind: Kind,
        parts: &[Vec<(&str, usize, &Part)>],
        index: usize,
        bias: f64,
    ) -> (super::Row, i32) {
        let mut columns: Vec<Vec<f64>> = Vec::new();
        for part in parts {
            let mut values = Vec::new();
            for (matrix, start, (input, scale)) in part {
                let tensor = self.model.params.get(matrix).unwrap();
                let weights = &tensor.data[index * tensor.shape[1] + start..][..input.len()];
                values.extend(weights.iter().map(|&w| f64::from(w) * (scale / ACTIVATION)));
            }
            columns.push(values);
        }
        let row = row(&columns.iter().map(|c| &c[..]).collect::<Vec<_>>(), bias, kind);
        let (mut sum, mut group, mut at) = (0i32, 0, 0);
        for part in parts {
            let inputs: Vec<i8> = part.iter().flat_map(|(_, _, (input, _))| input).copied().collect();
            let size = if kind.group() > 0 { kind.group() } else { inputs.len().max(1) };
            for chunk in inputs.chunks(size) {
                let products =
                    chunk.iter().zip(&row.weights[at..]).map(|(&x, &w)| i32::from(x) * i32::from(w));
                let multiplier = if kind.group() > 0 { row.multipliers[group].into() } else { 1 };
                sum += products.sum::<i32>() * multiplier;
                at += chunk.len();
                group += 1;
            }
        }
        (row, sum)
    }

    /// A token as a product's input, or its entries of the product's table.
    fn token(
        &self,
        product: &str,
        matrix: &str,
        start: usize,
        bias: &[f64],
        unit: f64,
        id: u32,
    ) -> (Part, Vec<i32>) {
        let side = &product[..product.find('.').unwrap()];
        let embedding = self.model.params.get(&format!("{side}.embedding.weight")).unwrap();
        let width = embedding.shape[1];
        if !self.scheme.fold[product] {
            let (integers, scale) = vector(&embedding.data);
            return ((integers[id as usize * width..][..width].to_vec(), scale), vec![0; bias.len()]);
        }
        let tensor = self.model.params.get(matrix).unwrap();
        let mut values = Vec::new();
        for e in embedding.data.chunks(width) {
            for (w, b) in tensor.data.chunks(tensor.shape[1]).zip(bias) {
                let product =
                    w[start..start + width].iter().zip(e).map(|(&w, &e)| f64::from(w) * f64::from(e));
                values.push(product.sum::<f64>() + b);
            }
        }
        let (entries, shift) = table(&values, unit);
        let entries = entries[id as usize * bias.len()..][..bias.len()].iter();
        ((Vec::new(), ACTIVATION), entries.map(|&e| i32::from(e) << shift).collect())
    }

    /// One step of a cell; `token` is (side, id) of a first layer.
    fn cell(&self, name: &str, cell: Cell, token: Option<(&str, u32)>, x: &Part, state: &mut State) {
        let (prefix, suffix) = name.rsplit_once('.').unwrap();
        let tensor = |part: &str| format!("{prefix}.{part}_{suffix}");
        let (w_ih, w_hh) = (tensor("weight_ih"), tensor("weight_hh"));
        let (b_ih, b_hh) = (reals(self.tensor(&tensor("bias_ih"))), reals(self.tensor(&tensor("bias_hh"))));
        let n = state.h.len();
        let mut bias: Vec<f64> = b_ih.iter().zip(&b_hh).map(|(a, b)| a + b).collect();
        if cell == Cell::Gru {
            bias[2 * n..].copy_from_slice(&b_ih[2 * n..]);
        }
        let mut embedded: Part = (Vec::new(), ACTIVATION);
        let mut entries = vec![0; bias.len()];
        let mut after = 0;
        if let Some((side, id)) = token {
            let width = self.model.params.get(&format!("{side}.embedding.weight")).unwrap().shape[1];
            (embedded, entries) = self.token(name, &w_ih, 0, &bias, GATE, id);
            after = width;
            if embedded.0.is_empty() {
                bias.fill(0.0);
            }
        }
        let kind = self.scheme.products[name];
        let h: Part = (state.h.iter().map(|&h| q15_to_i8(h)).collect(), ACTIVATION);
        let columns = vec![(&w_ih[..], 0, &embedded), (&w_ih[..], after, x)];
        let recurrent = vec![(&w_hh[..], 0, &h)];
        let both = |i: usize| self.quantized(kind, &[columns.clone(), recurrent.clone()], i, bias[i]);
        let mut rows = Vec::new();
        let bits = self.bits(&format!("{name}.{}", if cell == Cell::Gru { "candidate" } else { "cell" }));
        if cell == Cell::Gru {
            rows.extend((0..2 * n).map(|i| (both(i), GATE)));
            rows.extend(
                (2 * n..3 * n)
                    .map(|i| (self.quantized(kind, std::slice::from_ref(&columns), i, bias[i]), GATE)),
            );
            let unit = power_of_two(-(bits as i32));
            rows.extend(
                (2 * n..3 * n)
                    .map(|i| (self.quantized(kind, std::slice::from_ref(&recurrent), i, b_hh[i]), unit)),
            );
        } else {
            rows.extend((0..4 * n).map(|i| (both(i), GATE)));
        }
        let records = Records::new(rows.iter().map(|((row, _), unit)| (row, *unit)), Width::I16);
        let sums: Vec<i32> =
            rows.iter().enumerate().map(|(i, ((_, sum), _))| records.result(i, *sum).into()).collect();
        let gate = |i: usize| saturate_i16(sums[i] + entries[i]);
        for j in 0..n {
            if cell == Cell::Gru {
                let (r, z) = (i32::from(sigmoid(gate(j))), i32::from(sigmoid(gate(n + j))));
                let reset = shift_round(r * sums[3 * n + j], 3 + bits);
                let c = i32::from(tanh(saturate_i16(sums[2 * n + j] + entries[2 * n + j] + reset)));
                state.h[j] = saturate_i16(c + shift_round(z * (i32::from(state.h[j]) - c), 15));
            } else {
                let (i, f) = (i32::from(sigmoid(gate(j))), i32::from(sigmoid(gate(n + j))));
                let (g, o) = (i32::from(tanh(gate(2 * n + j))), i32::from(sigmoid(gate(3 * n + j))));
                let c = saturate_i16(shift_round(f * i32::from(state.c[j]) + ((i * g) >> (15 - bits)), 15));
                state.c[j] = c;
                let c = i32::from(c);
                let wide = if bits <= 12 { c << (12 - bits) } else { shift_round(c, bits - 12) };
                state.h[j] = saturate_i16(shift_round(o * i32::from(tanh(saturate_i16(wide))), 15));
            }
        }
    }

    fn linear(&self, name: &str, bias: &[f64], x: &Part, unit: f64, width: Width) -> Vec<i16> {
        let matrix = format!("{name}.weight");
        let kind = self.scheme.products[name];
        let row = |i| self.quantized(kind, &[vec![(&matrix[..], 0, x)]], i, bias[i]);
        let rows: Vec<_> = (0..bias.len()).map(row).collect();
        // The bridge is a matrix for each state.
        let part = if name == "encoder.fc" { self.model.config.decoder.hidden } else { rows.len() };
        let results = |rows: &[(super::Row, i32)]| -> Vec<i16> {
            let records = Records::new(rows.iter().map(|(row, _)| (row, unit)), width);
            rows.iter().enumerate().map(|(i, (_, sum))| records.result(i, *sum)).collect()
        };
        rows.chunks(part).flat_map(results).collect()
    }

    /// Logits of every step, in units of 2^-`logit_bits` in log2 units.
    fn logits(&self, source: &[u32], target: &[u32]) -> Vec<i16> {
        let config = &self.model.config;
        let (encoder, decoder) = (&config.encoder, &config.decoder);
        let zero = |n: usize| State { h: vec![0; n], c: vec![0; n] };
        let directions = if encoder.bidirectional { 2 } else { 1 };
        let mut read: Vec<Part> = vec![(Vec::new(), ACTIVATION); source.len()];
        let mut finals = Vec::new();
        for layer in 0..encoder.layers {
            let mut written = vec![vec![0i8; directions * encoder.hidden]; source.len()];
            for direction in 0..directions {
                let name = format!("encoder.rnn.l{layer}{}", if direction == 1 { "_reverse" } else { "" });
                let mut state = zero(encoder.hidden);
                for step in 0..source.len() {
                    let t = if direction == 1 { source.len() - 1 - step } else { step };
                    let token = (layer == 0).then_some(("encoder", source[t]));
                    self.cell(&name, encoder.cell, token, &read[t], &mut state);
                    for (to, &h) in written[t][direction * encoder.hidden..].iter_mut().zip(&state.h) {
                        *to = q15_to_i8(h);
                    }
                }
                finals.push(state);
            }
            read = written.into_iter().map(|w| (w, ACTIVATION)).collect();
        }

        let mut states: Vec<State> = vec![zero(decoder.hidden); decoder.layers];
        match config.bridge {
            Bridge::Copy => states.clone_from(&finals),
            Bridge::Linear => {
                let top = &finals[finals.len() - directions..];
                let x = top.iter().flat_map(|s| &s.h).map(|&h| q15_to_i8(h)).collect();
                let bias = reals(self.tensor("encoder.fc.bias"));
                let out = self.linear("encoder.fc", &bias, &(x, ACTIVATION), GATE, Width::I16);
                for (k, piece) in out.chunks(decoder.hidden).enumerate() {
                    let (layer, is_cell) = (k % decoder.layers, k >= decoder.layers);
                    let bits = if is_cell { self.bits(&format!("decoder.rnn.l{layer}.cell")) } else { 15 };
                    let value = |&x: &i16| shift_round(tanh(x).into(), 15 - bits) as i16;
                    let values = piece.iter().map(value).collect();
                    if is_cell { states[layer].c = values } else { states[layer].h = values }
                }
            }
        }

        let attends = config.attention.kind == AttentionKind::Additive;
        let key_unit = f64::from(self.scheme.key_scale) * power_of_two(-18);
        let keys: Vec<Vec<i32>> = if attends {
            let bias = reals(self.tensor("decoder.attention.w_k.bias"));
            let key = |x: &Part| self.linear("decoder.attention.w_k", &bias, x, key_unit, Width::I8);
            read.iter().map(|x| key(x).into_iter().map(|k| saturate_i8(k.into()).into()).collect()).collect()
        } else {
            Vec::new()
        };
        let mut all = Vec::new();
        for t in 0..target.len() {
            let token = if t == 0 { SOS } else { target[t - 1] };
            let mut context: Part = (Vec::new(), ACTIVATION);
            if attends {
                context.0 = self.context(&states[decoder.layers - 1], &keys, &read);
            }
            for layer in 0..decoder.layers {
                let below = if layer == 0 {
                    context.clone()
                } else {
                    (states[layer - 1].h.iter().map(|&h| q15_to_i8(h)).collect(), ACTIVATION)
                };
                let token = (layer == 0).then_some(("decoder", token));
                self.cell(&format!("decoder.rnn.l{layer}"), decoder.cell, token, &below, &mut states[layer]);
            }
            all.extend(self.output(&states[decoder.layers - 1], &context, token, attends));
        }
        all
    }

    fn context(&self, state: &State, keys: &[Vec<i32>], values: &[Part]) -> Vec<i8> {
        let size = self.model.config.attention.size;
        let bits = self.bits("decoder.attention.query");
        let x = (state.h.iter().map(|&h| q15_to_i8(h)).collect(), ACTIVATION);
        let unit = power_of_two(-(bits as i32));
        let query = self.linear("decoder.attention.w_q", &vec![0.0; size], &x, unit, Width::I16);
        let (v, scale) = vector(self.tensor("decoder.attention.v.weight"));
        let score_bits = self.bits("decoder.attention.score");
        let factor = scale * power_of_two(score_bits as i32 - 15) * std::f64::consts::LOG2_E;
        let record = Records::of_factor(factor);
        let score = |key: &Vec<i32>| {
            let energy = |j: usize| {
                let key = shift_round(key[j] * i32::from(self.scheme.key_scale), 6);
                i32::from(tanh(saturate_i16(key + (i32::from(query[j]) << (12 - bits)))))
            };
            i32::from(record.result(0, (0..size).map(|j| i32::from(v[j]) * energy(j)).sum()))
        };
        let scores: Vec<i32> = keys.iter().map(score).collect();
        let largest = scores.iter().copied().max().unwrap_or(0);
        let powers: Vec<u32> = scores.iter().map(|s| exp2_neg((largest - s) as u32, score_bits)).collect();
        let total: u32 = powers.iter().sum();
        let weights: Vec<i32> = powers.iter().map(|p| ((p << 15) / total) as i32).collect();
        let width = values.first().map_or(0, |v| v.0.len());
        let sum = |i: usize| values.iter().zip(&weights).map(|(v, w)| i32::from(v.0[i]) * w).sum::<i32>();
        (0..width).map(|i| saturate_i8(shift_round(sum(i), 15))).collect()
    }

    fn output(&self, state: &State, context: &Part, token: u32, attends: bool) -> Vec<i16> {
        let name = "decoder.fc_out";
        let matrix = format!("{name}.weight");
        let unit = power_of_two(-(self.bits("decoder.logits") as i32)) / std::f64::consts::LOG2_E;
        let mut bias = reals(self.tensor("decoder.fc_out.bias"));
        let h: Part = (state.h.iter().map(|&h| q15_to_i8(h)).collect(), ACTIVATION);
        let start = h.0.len() + context.0.len();
        let mut embedded: Part = (Vec::new(), ACTIVATION);
        let mut entries = vec![0; bias.len()];
        if attends {
            (embedded, entries) = self.token(name, &matrix, start, &bias, unit, token);
            if embedded.0.is_empty() {
                bias.fill(0.0);
            }
        }
        let columns =
            vec![(&matrix[..], 0, &h), (&matrix[..], h.0.len(), context), (&matrix[..], start, &embedded)];
        let kind = self.scheme.products[name];
        let rows: Vec<_> = (0..bias.len())
            .map(|i| self.quantized(kind, std::slice::from_ref(&columns), i, bias[i]))
            .collect();
        let records = Records::new(rows.iter().map(|(row, _)| (row, unit)), Width::I16);
        let sum = |(i, (_, sum)): (usize, &(super::Row, i32))| {
            saturate_i16(i32::from(records.result(i, *sum)) + entries[i])
        };
        rows.iter().enumerate().map(sum).collect()
    }
}

fn reals(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn pairs(batch: &Batch) -> Vec<(&[u32], &[u32])> {
    batch.sources.iter().zip(&batch.targets).map(|(s, t)| (&s.ids[..], &t[..])).collect()
}

/// A network on the grid of the given weights.
fn quantized(model: &Seq2Seq, weights: &str, fold: Fold, batch: &Batch) -> Seq2Seq {
    let config = QatConfig { weights: weights.parse().unwrap(), fold, ..QatConfig::default() };
    let scheme = Scheme::choose(model, &config, &pairs(batch)).unwrap();
    let mut model = model.clone();
    model.scheme = Some(scheme);
    model
}

#[test]
fn networks_on_the_grid_compute_what_the_chip_computes() {
    let batch = batch(5, 21);
    for (i, config) in configs().into_iter().enumerate() {
        let float = model(&config);
        let weights = ["int8", "int4:16", "int4"][i % 3];
        for fold in [Fold::Always, Fold::Never] {
            let model = quantized(&float, weights, fold, &batch);
            let scheme = model.scheme.as_ref().unwrap();
            let chip = Chip { model: &model, scheme };
            let units = power_of_two(scheme.bits["decoder.logits"].into()) * std::f64::consts::LOG2_E;
            for (source, target) in pairs(&batch) {
                let mut found = Vec::new();
                model.observe(source, target, &mut |name, values| {
                    if name == "decoder.logits" {
                        found.extend(values.iter().map(|&x| (f64::from(x) * units).round() as i16));
                    }
                });
                assert_eq!(found, chip.logits(source, target), "{config:?} {weights} {fold:?}");
            }
        }
    }
}

#[test]
fn batches_threads_and_search_agree_on_the_grid() {
    let batch = batch(9, 6);
    for config in configs().into_iter().step_by(3) {
        let model = quantized(&model(&config), "int4:16", Fold::Auto, &batch);
        let run = |threads| {
            let mut grads = model.params.zeros_like();
            let options = StepOptions { dropout_seed: Some(1), threads, ..StepOptions::default() };
            (model.loss_and_gradients(&batch, &mut grads, &options), grads, model.loss(&batch, threads))
        };
        assert_eq!(run(1), run(2));
        // Sums of products are exact, so that even the last bit does not depend on the company in a batch.
        for (source, target) in pairs(&batch) {
            let mut decoding = crate::model::Decoding::new(&model, &[source, &[EOS]]);
            let (mut token, mut t) = (decoding.start(), 0);
            let mut steps: Vec<Vec<f32>> = Vec::new();
            while t < target.len() {
                steps.push(decoding.step(&token).logits[..model.target_vocab()].to_vec());
                token = vec![target[t]; 2];
                t += 1;
            }
            let mut rows = steps.into_iter();
            model.observe(source, target, &mut |name, values| {
                if name == "decoder.logits" {
                    assert_eq!(rows.next().as_deref(), Some(values));
                }
            });
        }
    }
}

#[test]
fn gradients_on_a_fine_grid_are_nearly_those_of_the_float_network() {
    let batch = batch(30, 7);
    for config in configs() {
        let float = model(&config);
        let on_grid = quantized(&float, "int8", Fold::Auto, &batch);
        let gradients = |model: &Seq2Seq| {
            let mut grads = model.params.zeros_like();
            model.loss_and_gradients(&batch, &mut grads, &StepOptions::default());
            grads
        };
        let (a, b) = (gradients(&float), gradients(&on_grid));
        let (mut difference, mut size) = (0.0, 0.0);
        for (a, b) in a.iter().zip(&b) {
            difference += a.data.iter().zip(&b.data).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            size += a.data.iter().map(|&a| f64::from(a).powi(2)).sum::<f64>();
        }
        assert!(
            difference.sqrt() < 0.06 * size.sqrt(),
            "{} of {}: {config:?}",
            difference.sqrt(),
            size.sqrt()
        );
    }
}

#[test]
fn clipped_weights_get_no_gradient_and_others_do() {
    let batch = batch(30, 7);
    let mut config = configs().remove(9);
    (config.encoder.hidden, config.decoder.hidden) = (20, 20);
    let float = model(&config);
    let model = quantized(&float, "int2", Fold::Never, &batch);
    let mut grads = model.params.zeros_like();
    model.loss_and_gradients(&batch, &mut grads, &StepOptions::default());
    let name = "decoder.attention.w_q.weight";
    let (weights, grads) = (&model.params.get(name).unwrap().data, &grads.get(name).unwrap().data);
    let kind = model.scheme.as_ref().unwrap().products["decoder.attention.w_q"];
    let mut clipped = 0;
    for (weights, grads) in weights.chunks(config.decoder.hidden).zip(grads.chunks(config.decoder.hidden)) {
        let weights = reals(weights);
        let scale = row(&[&weights], 0.0, kind).scale;
        for (w, &g) in weights.iter().zip(grads) {
            assert_eq!(g == 0.0, w.abs() > 1.5 * scale, "{w} {g} {scale}");
            clipped += usize::from(g == 0.0);
        }
    }
    assert!(clipped > 0);
}
