//! Attention: keys in the encode program; queries, scores and contexts in the step program.

use core::f64::consts::LOG2_E;

use kinglet::blob::schema::{Activation, Attend, Energy, Extent, Form, Kind, Norm, Op, Over, View};
use kinglet_train::config::{AttentionKind, ModelConfig};

use super::Builder;
use super::product::{Columns, Input, LinearSpec, Seen, width};
use super::signal::{STATE_BITS, Signal, integer_bits};
use crate::error::{Error, Result};
use crate::pack::Program;
use crate::quantize::{self, ACTIVATION, Width, power_of_two};

/// Key units are told to the device in 2^-18.
const KEY_SCALE_BITS: i32 = 18;
/// Largest key scale that can be told.
const MOST_KEY_SCALE: u16 = u16::MAX;

/// What the step program needs for attention.
pub struct Attention {
    /// Slot of the keys.
    keys: u8,
    /// What a unit of a key is worth.
    key_unit: f64,
    values: Signal,
}

impl<'a> Builder<'a> {
    /// The keys of the encoder's outputs, one row a source position.
    pub fn attention(
        &mut self,
        config: &ModelConfig,
        values: Signal,
        program: &mut Program,
    ) -> Result<Attention> {
        let (hidden, size) = (config.decoder.hidden, config.attention.size);
        let name = |part: &str| format!("decoder.attention.{part}");
        let told = f64::from(self.scheme.key_scale) * power_of_two(-KEY_SCALE_BITS);
        let (ops, keys, key_unit) = match config.attention.kind {
            AttentionKind::Additive => {
                let weight = self.tensor(&name("w_k.weight"))?;
                let bias = Some(self.tensor(&name("w_k.bias"))?);
                let input = self.read(values, weight, 0);
                let (op, keys) = self.keys(&name("w_k"), input, bias, size, told)?;
                (vec![op], keys, told)
            }
            AttentionKind::Concat => {
                // These columns stand behind the state's; what enters them is told by itself.
                let read = self.read(values, self.tensor(&name("w_a.weight"))?, hidden);
                let input = Input { columns: Columns { seen: Seen::Input(0), ..read.columns }, ..read };
                let (op, keys) = self.keys(&name("w_a.key"), input, None, size, told)?;
                (vec![op], keys, told)
            }
            AttentionKind::General => {
                let (bits, _) = self.grid(&name("key"))?;
                let told = match self.scheme.key_scale {
                    MOST_KEY_SCALE => power_of_two(8 - i32::from(bits)),
                    _ => told,
                };
                let input = self.read(values, self.tensor(&name("w_a.weight"))?, 0);
                let (op, keys) = self.keys(&name("w_a"), input, None, hidden, told)?;
                (vec![op], keys, told)
            }
            AttentionKind::Cosine => {
                let mut ops = Vec::new();
                let from = if config.memory() == hidden {
                    values.view
                } else {
                    let (op, view) = self.mapped_keys(&name("w_a"), values, hidden)?;
                    ops.push(op);
                    view
                };
                let keys = self.slot(Extent::Source, Kind::I8, hidden)?;
                ops.push(Op::Norm(Norm { from, form: Form::Length, to: self.whole(keys) }));
                (ops, keys, ACTIVATION)
            }
            AttentionKind::Dot | AttentionKind::None => (Vec::new(), values.view.slot, values.scale()),
        };
        program.pass(Over::Forward, &ops);
        Ok(Attention { keys, key_unit, values })
    }

    /// Keys in int8 of a unit.
    fn keys(
        &mut self,
        product: &str,
        input: Input<'_>,
        bias: Option<&kinglet_train::model::Tensor>,
        size: usize,
        unit: f64,
    ) -> Result<(Op, u8)> {
        // Half a step more than 127 still rounds to it.
        self.limits.insert("decoder.attention.key".into(), 127.5 * unit);
        let keys = self.slot(Extent::Source, Kind::I8, size)?;
        let spec = LinearSpec {
            name: product,
            product,
            rows: 0..size,
            bias,
            table: None,
            unit,
            width: Width::I8,
            activation: Activation::None,
            to: self.whole(keys),
        };
        Ok((self.linear(&[input], spec)?, keys))
    }

    /// Keys whose length does not matter: 16 bits that hold whatever the weights make of int8 values.
    fn mapped_keys(&mut self, product: &str, values: Signal, size: usize) -> Result<(Op, View)> {
        let weight = self.tensor(&format!("{product}.weight"))?;
        let sums =
            weight.data.chunks_exact(width(weight)).map(|row| row.iter().map(|w| w.abs()).sum::<f32>());
        let largest = 127.0 * values.scale() * f64::from(sums.fold(0.0, f32::max));
        let key = self.words(Extent::Once, size, integer_bits(largest, 30))?;
        let spec = LinearSpec {
            name: product,
            product,
            rows: 0..size,
            bias: None,
            table: None,
            unit: power_of_two(-key.bits),
            width: Width::I16,
            activation: Activation::None,
            to: key.view,
        };
        let input = self.read(values, weight, 0);
        Ok((self.linear(&[input], spec)?, key.view))
    }

    /// Query of a state that asks, and attention; the context.
    pub fn attend(
        &mut self,
        config: &ModelConfig,
        attention: &Attention,
        asks: Signal,
        ops: &mut Vec<Op>,
    ) -> Result<Signal> {
        let name = |part: &str| format!("decoder.attention.{part}");
        let (score_bits, _) = self.grid(&name("score"))?;
        let score = power_of_two(i32::from(score_bits)) * LOG2_E;
        let (query, energy, factor) = match config.attention.kind {
            AttentionKind::Additive | AttentionKind::Concat => {
                let (product, tensor, v) = match config.attention.kind {
                    AttentionKind::Concat => ("w_a.query", "w_a.weight", "v_a"),
                    _ => ("w_q", "w_q.weight", "v"),
                };
                let tensor = self.tensor(&name(tensor))?;
                let (op, query, query_bits) =
                    self.query(config, &name(product), self.read(asks, tensor, 0))?;
                ops.push(op);
                let tensor = self.tensor(&name(&format!("{v}.weight")))?;
                let (values, scale) = quantize::vector(&tensor.data);
                let floats: Vec<f64> = tensor.data.iter().map(|&v| f64::from(v)).collect();
                self.errors.add(&tensor.name, &floats, values.iter().map(|&q| f64::from(q) * scale));
                let v = self.section.push_i8(name(v), &values);
                let energy = Energy::Additive { query_bits, key_scale: self.scheme.key_scale, v };
                (query, energy, scale * power_of_two(-STATE_BITS) * score)
            }
            AttentionKind::Cosine => {
                let query = self.words(Extent::Once, usize::from(asks.view.width), STATE_BITS)?;
                ops.push(Op::Norm(Norm { from: asks.view, form: Form::Length, to: query.view }));
                let temperature =
                    self.tensor(&name("temperature"))?.data.first().copied().unwrap_or_default();
                if temperature < 0.0 {
                    return Err(Error::Model(format!(
                        "decoder.attention.temperature is at least 0 on a chip, found {temperature}"
                    )));
                }
                let factor = f64::from(temperature) * query.scale() * attention.key_unit * score;
                (query.view.slot, Energy::Dot, factor)
            }
            AttentionKind::Dot | AttentionKind::General | AttentionKind::None => {
                (asks.view.slot, Energy::Dot, asks.scale() * attention.key_unit * score)
            }
        };
        let to = self.bytes_once(usize::from(attention.values.view.width))?;
        ops.push(Op::Attend(Attend {
            query,
            keys: attention.keys,
            energy,
            score: quantize::lone_multiplier(factor),
            score_bits,
            values: attention.values.view.slot,
            to,
        }));
        Ok(Signal { view: to, ..attention.values })
    }

    /// The query of an energy, with its slot and fraction bits.
    fn query(&mut self, config: &ModelConfig, product: &str, input: Input<'_>) -> Result<(Op, u8, u8)> {
        let size = config.attention.size;
        let query = self.slot(Extent::Once, Kind::I16, size)?;
        let (bits, unit) = self.grid("decoder.attention.query")?;
        let spec = LinearSpec {
            name: product,
            product,
            rows: 0..size,
            bias: None,
            table: None,
            unit,
            width: Width::I16,
            activation: Activation::None,
            to: self.whole(query),
        };
        Ok((self.linear(&[input], spec)?, query, bits))
    }
}
