//! The step program: query, attention, cells, logits.

use core::f64::consts::LOG2_E;

use kinglet::blob::schema::{Activation, Attend, Energy, Extent, Kind, Op, Over, View};
use kinglet_train::config::ModelConfig;
use kinglet_train::quant::OUTPUT;

use super::cells::CellSpec;
use super::encoder::Attention;
use super::product::{Columns, Input, LinearSpec, width};
use super::token::{Consumer, Token};
use super::{Builder, State};
use crate::error::Result;
use crate::pack::Program;
use crate::quantize::{self, Width, power_of_two};

impl<'a> Builder<'a> {
    /// One decoder step; the logits' slot and fraction bits.
    pub fn decoder(
        &mut self,
        config: &ModelConfig,
        vocabulary: usize,
        states: &[State],
        attention: Option<&Attention>,
        program: &mut Program,
    ) -> Result<(u8, u8)> {
        let decoder = &config.decoder;
        let first = self.weights("decoder", "l0")?.w_ih;
        let (out, bias) = (self.tensor("decoder.fc_out.weight")?, self.tensor("decoder.fc_out.bias")?);
        let mut consumers = vec![Consumer { tensor: first, start: 0, product: "decoder.rnn.l0" }];
        if attention.is_some() {
            let start = width(out) - decoder.embedding;
            consumers.push(Consumer { tensor: out, start, product: OUTPUT });
        }
        let token = Token::plan(self, self.tensor("decoder.embedding.weight")?, &consumers)?;
        let mut ops: Vec<Op> = token.lookup().into_iter().collect();

        let top = states.last().expect("a decoder has a layer").hidden;
        let context = match attention {
            Some(attention) => Some(self.attend(config, attention, top, &mut ops)?),
            None => None,
        };
        for (layer, &state) in states.iter().enumerate() {
            let suffix = format!("l{layer}");
            let weights = self.weights("decoder", &suffix)?;
            let below = if layer == 0 {
                context.map(|view| {
                    let columns = Columns::part(weights.w_ih, decoder.embedding, usize::from(view.width));
                    Input { view, columns }
                })
            } else {
                let view = self.whole(states[layer - 1].hidden);
                Some(Input { view, columns: Columns::whole(weights.w_ih) })
            };
            let spec = CellSpec {
                name: &format!("decoder.rnn.{suffix}"),
                cell: decoder.cell,
                weights,
                token: (layer == 0).then_some(&token),
                inputs: below.into_iter().collect(),
                state,
                out: None,
            };
            ops.push(self.cell(spec)?);
        }

        let logits = self.slot(Extent::Once, Kind::I16, vocabulary)?;
        let (logit_bits, unit) = self.grid("decoder.logits")?;
        let reals: Vec<f64> = bias.data.iter().map(|&b| f64::from(b)).collect();
        let table = token.table(self, OUTPUT, out, &reals, unit);
        let mut inputs =
            vec![Input { view: self.whole(top), columns: Columns::part(out, 0, decoder.hidden) }];
        if let Some(view) = context {
            let columns = Columns::part(out, decoder.hidden, usize::from(view.width));
            inputs.push(Input { view, columns });
        }
        inputs.extend(token.input(out));
        let spec = LinearSpec {
            name: OUTPUT,
            product: OUTPUT,
            rows: 0..vocabulary,
            bias: if table.is_some() { None } else { Some(bias) },
            table,
            unit,
            width: Width::I16,
            activation: Activation::None,
            to: self.whole(logits),
        };
        ops.push(self.linear(&inputs, spec)?);
        program.pass(Over::Once, &ops);
        Ok((logits, logit_bits))
    }

    /// Query of the previous state and attention; the context.
    fn attend(
        &mut self,
        config: &ModelConfig,
        attention: &Attention,
        top: u8,
        ops: &mut Vec<Op>,
    ) -> Result<View> {
        let (w_q, v) =
            (self.tensor("decoder.attention.w_q.weight")?, self.tensor("decoder.attention.v.weight")?);
        let size = config.attention.size;
        let query = self.slot(Extent::Once, Kind::I16, size)?;
        let (query_bits, unit) = self.grid("decoder.attention.query")?;
        let spec = LinearSpec {
            name: "decoder.attention.w_q",
            product: "decoder.attention.w_q",
            rows: 0..size,
            bias: None,
            table: None,
            unit,
            width: Width::I16,
            activation: Activation::None,
            to: self.whole(query),
        };
        let input = Input { view: self.whole(top), columns: Columns::whole(w_q) };
        ops.push(self.linear(&[input], spec)?);

        let (values, scale) = quantize::vector(&v.data);
        let floats: Vec<f64> = v.data.iter().map(|&v| f64::from(v)).collect();
        self.errors.add(&v.name, &floats, values.iter().map(|&q| f64::from(q) * scale));
        let (score_bits, _) = self.grid("decoder.attention.score")?;
        let factor = scale * power_of_two(i32::from(score_bits) - 15) * LOG2_E;
        let to = self.bytes_once(usize::from(self.slots[attention.values as usize].width))?;
        ops.push(Op::Attend(Attend {
            query,
            keys: attention.keys,
            energy: Energy::Additive {
                query_bits,
                key_scale: attention.key_scale,
                v: self.section.push_i8("decoder.attention.v", &values),
            },
            score: quantize::lone_multiplier(factor),
            score_bits,
            values: attention.values,
            to,
        }));
        Ok(to)
    }
}
