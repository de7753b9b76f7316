//! The encode program: encoder layers, the bridge to the decoder's state, the attention's keys.

use kinglet::blob::schema::{Activation, Extent, Kind, Op, Over, View};
use kinglet_train::config::{AttentionKind, Bridge, ModelConfig};

use super::cells::CellSpec;
use super::product::{Columns, Input, LinearSpec};
use super::token::{Consumer, Token};
use super::{Builder, State};
use crate::error::Result;
use crate::pack::Program;
use crate::quantize::{GATE, Width, power_of_two};

/// Key units are told to the device in 2^-18.
const KEY_SCALE_BITS: i32 = 18;

/// What the encoder leaves behind.
pub struct Encoded {
    /// Rows of the top layer's outputs, when something reads them.
    outputs: Option<u8>,
}

/// What the step program needs for attention.
pub struct Attention {
    pub keys: u8,
    pub key_scale: u16,
    pub values: u8,
}

impl<'a> Builder<'a> {
    /// The decoder's state slots, layer by layer.
    pub fn decoder_states(&mut self, config: &ModelConfig) -> Result<Vec<State>> {
        let decoder = &config.decoder;
        (0..decoder.layers)
            .map(|layer| {
                if config.bridge == Bridge::Copy && decoder.cell.keeps_cell() {
                    // The encoder's share of what saturates is told too.
                    self.grid(&format!("encoder.rnn.l{layer}.cell"))?;
                }
                let name = format!("decoder.rnn.l{layer}");
                self.state(Extent::Hypothesis, decoder.cell, decoder.hidden, &name)
            })
            .collect()
    }

    /// Encoder layers and bridge.
    pub fn encoder(
        &mut self,
        config: &ModelConfig,
        decoder: &[State],
        program: &mut Program,
    ) -> Result<Encoded> {
        let encoder = &config.encoder;
        let directions: &[(Over, &str)] = if encoder.bidirectional {
            &[(Over::Forward, ""), (Over::Backward, "_reverse")]
        } else {
            &[(Over::Forward, "")]
        };
        let consumers: Vec<Consumer<'a>> = directions
            .iter()
            .map(|(over, suffix)| {
                let tensor = self.weights("encoder", &format!("l0{suffix}"))?.w_ih;
                let product =
                    if *over == Over::Backward { "encoder.rnn.l0_reverse" } else { "encoder.rnn.l0" };
                Ok(Consumer { tensor, start: 0, product })
            })
            .collect::<Result<_>>()?;
        let token = Token::plan(self, self.tensor("encoder.embedding.weight")?, &consumers)?;

        let width = directions.len() * encoder.hidden;
        let mut rows = Vec::new();
        let mut below: Option<u8> = None;
        let mut top = Vec::new();
        for layer in 0..encoder.layers {
            let last = layer + 1 == encoder.layers;
            let out = if last && config.attention.kind == AttentionKind::None {
                None
            } else {
                // Two slots are enough: a layer reads the one and writes the other.
                if rows.len() < 2 {
                    rows.push(self.slot(Extent::Source, Kind::I8, width)?);
                }
                Some(rows[layer % 2])
            };
            top.clear();
            for (place, (over, suffix)) in directions.iter().enumerate() {
                let suffix = format!("l{layer}{suffix}");
                let name = format!("encoder.rnn.{suffix}");
                let weights = self.weights("encoder", &suffix)?;
                let state = match config.bridge {
                    Bridge::Copy => decoder[layer],
                    Bridge::Linear => self.state(Extent::Once, encoder.cell, encoder.hidden, &name)?,
                };
                top.push(state);
                let start = (place * encoder.hidden) as u16;
                let spec = CellSpec {
                    name: &name,
                    cell: encoder.cell,
                    weights,
                    token: (layer == 0).then_some(&token),
                    inputs: below
                        .map(|slot| Input { view: self.whole(slot), columns: Columns::whole(weights.w_ih) })
                        .into_iter()
                        .collect(),
                    state,
                    out: out.map(|slot| View { slot, start, width: encoder.hidden as u16 }),
                };
                let cell = self.cell(spec)?;
                let needs_lookup = matches!(&cell, Op::Gru(g) if g.table.is_none())
                    || matches!(&cell, Op::Lstm(l) if l.table.is_none());
                let lookup = token.lookup().filter(|_| layer == 0 && needs_lookup);
                program.pass(*over, &lookup.into_iter().chain([cell]).collect::<Vec<Op>>());
            }
            below = out;
        }
        if config.bridge == Bridge::Linear {
            let ops = self.bridge(&top, decoder)?;
            program.pass(Over::Once, &ops);
        }
        Ok(Encoded { outputs: below })
    }

    /// `tanh(W [h_forward; h_backward] + b)` cut into the decoder's states: all hidden states, then all cells.
    fn bridge(&mut self, top: &[State], decoder: &[State]) -> Result<Vec<Op>> {
        let (weight, bias) = (self.tensor("encoder.fc.weight")?, self.tensor("encoder.fc.bias")?);
        let mut inputs = Vec::new();
        let mut start = 0;
        for state in top {
            let units = usize::from(state.units);
            inputs
                .push(Input { view: self.whole(state.hidden), columns: Columns::part(weight, start, units) });
            start += units;
        }
        let hidden = decoder.iter().map(|s| (s.hidden, 0));
        let cells = decoder.iter().filter_map(|s| Some((s.cell?, 15 - s.cell_bits)));
        let targets: Vec<(u8, u8)> = hidden.chain(cells).collect();
        let mut row = 0;
        let mut ops = Vec::new();
        for (index, (slot, shift)) in targets.into_iter().enumerate() {
            let to = self.whole(slot);
            let rows = row..row + usize::from(to.width);
            row = rows.end;
            let spec = LinearSpec {
                name: &format!("encoder.fc.{index}"),
                product: "encoder.fc",
                rows,
                bias: Some(bias),
                table: None,
                unit: GATE,
                width: Width::I16,
                activation: Activation::Tanh { shift },
                to,
            };
            ops.push(self.linear(&inputs, spec)?);
        }
        Ok(ops)
    }

    /// The keys of additive attention, one row a source position.
    pub fn attention(
        &mut self,
        config: &ModelConfig,
        encoded: &Encoded,
        program: &mut Program,
    ) -> Result<Attention> {
        let values = encoded.outputs.expect("with attention the top layer writes its outputs");
        let weight = self.tensor("decoder.attention.w_k.weight")?;
        let bias = self.tensor("decoder.attention.w_k.bias")?;
        let key_scale = self.scheme.key_scale;
        let unit = f64::from(key_scale) * power_of_two(-KEY_SCALE_BITS);
        // Half a step more than 127 still rounds to it.
        self.limits.insert("decoder.attention.key".into(), 127.5 * unit);
        let size = config.attention.size;
        let keys = self.slot(Extent::Source, Kind::I8, size)?;
        let spec = LinearSpec {
            name: "decoder.attention.w_k",
            product: "decoder.attention.w_k",
            rows: 0..size,
            bias: Some(bias),
            table: None,
            unit,
            width: Width::I8,
            activation: Activation::None,
            to: self.whole(keys),
        };
        let input = Input { view: self.whole(values), columns: Columns::whole(weight) };
        let keys_op = self.linear(&[input], spec)?;
        program.pass(Over::Forward, &[keys_op]);
        Ok(Attention { keys, key_scale, values })
    }
}
