//! The encode program: encoder layers, and the bridge to the decoder's state.

use kinglet::blob::schema::{Activation, Extent, Kind, Op, Over, View};
use kinglet_train::config::{Bridge, Cell, ModelConfig, Task};

use super::cells::CellSpec;
use super::product::LinearSpec;
use super::reads::Reads;
use super::signal::{STATE_BITS, Signal, sum};
use super::token::{Consumer, Token};
use super::{Builder, State};
use crate::error::Result;
use crate::pack::Program;
use crate::quantize::{GATE, Width};

/// What the encoder leaves behind.
pub struct Encoded {
    /// Rows of what the top layer puts out, when something reads them: int8.
    pub outputs: Option<Signal>,
    /// Final states of the top layer, a direction each.
    pub top: Vec<State>,
}

impl<'a> Builder<'a> {
    /// The decoder's state slots, layer by layer.
    pub fn decoder_states(&mut self, config: &ModelConfig) -> Result<Vec<State>> {
        let decoder = &config.decoder;
        (0..decoder.layers)
            .map(|layer| {
                if copies(config) {
                    // The encoder's share of what saturates is told too.
                    let quantity = match decoder.cell {
                        Cell::Lstm | Cell::Peephole => Some("cell"),
                        Cell::Relu => Some("hidden"),
                        Cell::Gru | Cell::Rnn => None,
                    };
                    if let Some(quantity) = quantity {
                        self.grid(&format!("encoder.rnn.l{layer}.{quantity}"))?;
                    }
                }
                let name = format!("decoder.rnn.l{layer}");
                self.state(Extent::Hypothesis, decoder.cell, decoder.hidden, &name)
            })
            .collect()
    }

    /// Encoder layers and bridge; `decoder` has states where there is a decoder.
    pub fn encoder(
        &mut self,
        config: &ModelConfig,
        reads: &Reads,
        decoder: &[State],
        program: &mut Program,
    ) -> Result<Encoded> {
        let encoder = &config.encoder;
        let directions: &[(Over, &str)] = match (encoder.bidirectional, encoder.reverse) {
            (true, _) => &[(Over::Forward, ""), (Over::Backward, "_reverse")],
            (false, true) => &[(Over::Backward, "")],
            (false, false) => &[(Over::Forward, "")],
        };
        let consumers: Vec<Consumer<'a>> = directions
            .iter()
            .map(|(_, suffix)| {
                let tensor = self.weights("encoder", &format!("l0{suffix}"), encoder.cell)?.w_ih;
                let product = if suffix.is_empty() { "encoder.rnn.l0" } else { "encoder.rnn.l0_reverse" };
                Ok(Consumer { tensor, start: 0, product })
            })
            .collect::<Result<_>>()?;
        let width = config.memory();
        let token = match reads {
            Reads::Nothing | Reads::Frame(_) => None,
            Reads::Token(_) => {
                let embedding = self.tensor("encoder.embedding.weight")?;
                Some(Token::plan(self, embedding, &consumers, reads.added(config))?)
            }
        };
        let token = token.as_ref();
        let lookup =
            |layer: usize, needed: bool| token.and_then(Token::lookup).filter(|_| layer == 0 && needed);
        let lowest = token.map_or(reads.signal(), Token::signal);

        let reads_top = config.attends() || config.task == Task::Label;
        let mut rows = Vec::new();
        let mut below: Option<Signal> = None;
        let mut top = Vec::new();
        for layer in 0..encoder.layers {
            let to = if layer + 1 == encoder.layers && !reads_top {
                None
            } else {
                // Two slots are enough: a layer reads the one and writes the other.
                if rows.len() < 2 {
                    rows.push(self.slot(Extent::Source, Kind::I8, width)?);
                }
                Some(self.whole(rows[layer % 2]))
            };
            let x = if layer == 0 { lowest } else { below.filter(|_| encoder.residual) };
            // Where one direction's states are not put out as they are, no row of them is.
            let connects = to.is_some() && (x.is_some() || encoder.norm);
            let at_once = connects && directions.len() == 1;
            top.clear();
            for (_, suffix) in directions {
                let name = format!("encoder.rnn.l{layer}{suffix}");
                top.push(if copies(config) {
                    decoder[layer]
                } else {
                    self.state(Extent::Once, encoder.cell, encoder.hidden, &name)?
                });
            }
            let bits = top.iter().map(|state| state.bits).min().expect("a direction") - 8;
            let states = to.map(|view| Signal { view, kind: Kind::I8, bits });
            let mut out = states;
            for (place, (over, suffix)) in directions.iter().enumerate() {
                let suffix = format!("l{layer}{suffix}");
                let weights = self.weights("encoder", &suffix, encoder.cell)?;
                let start = (place * encoder.hidden) as u16;
                let part =
                    |s: Signal| Signal { view: View { start, width: encoder.hidden as u16, ..s.view }, ..s };
                let read = match below {
                    Some(below) => Some(self.read(below, weights.w_ih, 0)),
                    None => reads.input(self, weights.w_ih, encoder.embedding),
                };
                let spec = CellSpec {
                    name: &format!("encoder.rnn.{suffix}"),
                    cell: encoder.cell,
                    weights,
                    token: token.filter(|_| layer == 0),
                    inputs: read.into_iter().collect(),
                    state: top[place],
                    out: states.filter(|_| !at_once).map(part),
                };
                let looked_up = token.is_some_and(|token| token.input(weights.w_ih).is_some());
                let needed = looked_up || (at_once && x.is_some());
                let mut ops: Vec<Op> = lookup(layer, needed).into_iter().collect();
                ops.extend(self.cell(spec)?);
                if let Some(to) = to.filter(|_| at_once) {
                    let h = top[place].signal();
                    let (more, signal) =
                        self.connect(("encoder", layer), h, x, encoder.norm, (to, Kind::I8))?;
                    ops.extend(more);
                    out = Some(signal);
                }
                program.pass(*over, &ops);
            }
            if let Some(h) = states.filter(|_| connects && !at_once) {
                let mut ops: Vec<Op> = lookup(layer, x.is_some()).into_iter().collect();
                let (more, signal) =
                    self.connect(("encoder", layer), h, x, encoder.norm, (h.view, Kind::I8))?;
                ops.extend(more);
                program.pass(Over::Forward, &ops);
                out = Some(signal);
            }
            below = out;
        }
        if config.task == Task::Transduce && config.bridge == Bridge::Linear {
            let ops = self.bridge(&top, decoder)?;
            program.pass(Over::Once, &ops);
        }
        Ok(Encoded { outputs: below, top })
    }

    /// The encoder's final states where every step reads them: int8, a row a hypothesis, since those outlive the encode program.
    pub fn final_states(&mut self, encoded: &Encoded, program: &mut Program) -> Result<Signal> {
        let width = encoded.top.iter().map(|state| usize::from(state.units)).sum();
        let slot = self.slot(Extent::Hypothesis, Kind::I8, width)?;
        let bits = encoded.top.iter().map(|state| state.bits).min().expect("a direction") - 8;
        let all = Signal { view: self.whole(slot), kind: Kind::I8, bits };
        let mut ops = Vec::new();
        let mut start = 0;
        for state in &encoded.top {
            let view = View { start, width: state.units, ..all.view };
            ops.push(sum(state.signal(), None, Signal { view, ..all })?);
            start += state.units;
        }
        program.pass(Over::Once, &ops);
        Ok(all)
    }

    /// `tanh(W [h_forward; h_backward] + b)` cut into the decoder's states: all hidden states, then all cells.
    fn bridge(&mut self, top: &[State], decoder: &[State]) -> Result<Vec<Op>> {
        let (weight, bias) = (self.tensor("encoder.fc.weight")?, self.tensor("encoder.fc.bias")?);
        let mut inputs = Vec::new();
        let mut start = 0;
        for state in top {
            let units = usize::from(state.units);
            inputs.push(self.read(state.signal(), weight, start));
            start += units;
        }
        let hidden = decoder.iter().map(|s| (s.hidden, (STATE_BITS - s.bits) as u8));
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
}

/// Whether encoder and decoder work on one state.
fn copies(config: &ModelConfig) -> bool {
    config.task == Task::Transduce && config.bridge == Bridge::Copy
}
