//! The step program: attention, cells, logits, as the configuration says what reads what.

use kinglet::blob::schema::{Activation, Extent, Kind, Op, Over};
use kinglet_train::config::{ModelConfig, Part, Place};
use kinglet_train::model::Tensor;
use kinglet_train::quant::{OUTPUT, PROJECTION};

use super::attention::Attention;
use super::cells::CellSpec;
use super::product::{Input, LinearSpec};
use super::signal::{STATE_BITS, Signal};
use super::token::{Consumer, Token};
use super::{Builder, State};
use crate::error::Result;
use crate::pack::Program;
use crate::quantize::{GATE, Width};

/// What a decoder knows of its source beside its first state.
#[derive(Default)]
pub struct Known {
    /// What it attends to.
    pub attention: Option<Attention>,
    /// What every step reads.
    pub context: Option<Signal>,
}

impl<'a> Builder<'a> {
    /// One decoder step; the logits' slot and fraction bits.
    pub fn decoder(
        &mut self,
        config: &ModelConfig,
        vocabulary: usize,
        states: &[State],
        known: &Known,
        program: &mut Program,
    ) -> Result<(u8, u8)> {
        let decoder = &config.decoder;
        let (cell_reads, output_reads) = (config.cell_reads(), config.output_reads());
        let first = self.weights("decoder", "l0", decoder.cell)?.w_ih;
        let projection = config.projection().map(|_| self.tensor("decoder.projection.weight")).transpose()?;
        let out = if config.tie_embeddings { "decoder.embedding.weight" } else { "decoder.fc_out.weight" };
        let out = self.tensor(out)?;
        let (reader, product) = projection.map_or((out, OUTPUT), |tensor| (tensor, PROJECTION));
        let mut consumers = vec![Consumer { tensor: first, start: 0, product: "decoder.rnn.l0" }];
        let embedding = starts(&output_reads).find(|(part, _)| *part == Part::Embedding);
        consumers.extend(embedding.map(|(_, start)| Consumer { tensor: reader, start, product }));
        let adds = |layer: usize| {
            decoder.residual && (layer > 0 || cell_reads == [(Part::Embedding, decoder.hidden)])
        };
        let embedding = self.tensor("decoder.embedding.weight")?;
        let token = Token::plan(self, embedding, &consumers, adds(0))?;
        let mut ops: Vec<Op> = token.lookup().into_iter().collect();

        let mut context = known.context;
        let place = config.place();
        if let (Some(Place::Before), Some(attention)) = (place, &known.attention) {
            let top = states.last().expect("a decoder has a layer").signal();
            context = Some(self.attend(config, attention, top, &mut ops)?);
        }
        let attended = match place {
            Some(Place::After) => {
                // What is fed outlives its step.
                let extent = if config.attention.input_feeding { Extent::Hypothesis } else { Extent::Once };
                Some(self.words(extent, decoder.hidden, STATE_BITS)?)
            }
            Some(Place::Before) | None => None,
        };
        let mut below: Option<Signal> = None;
        for (layer, &state) in states.iter().enumerate() {
            let suffix = format!("l{layer}");
            let weights = self.weights("decoder", &suffix, decoder.cell)?;
            let inputs = match below {
                Some(below) => vec![self.read(below, weights.w_ih, 0)],
                None => self.parts(&cell_reads, weights.w_ih, |part| match part {
                    Part::Context => context,
                    Part::Attended => attended,
                    Part::Embedding | Part::State => None,
                }),
            };
            let spec = CellSpec {
                name: &format!("decoder.rnn.{suffix}"),
                cell: decoder.cell,
                weights,
                token: (layer == 0).then_some(&token),
                inputs,
                state,
                out: None,
            };
            ops.extend(self.cell(spec)?);
            let x = if layer == 0 { token.signal() } else { below }.filter(|_| adds(layer));
            below = Some(if x.is_some() || decoder.norm {
                let to = self.slot(Extent::Once, Kind::I16, decoder.hidden)?;
                let to = (self.whole(to), Kind::I16);
                let (more, out) = self.connect(("decoder", layer), state.signal(), x, decoder.norm, to)?;
                ops.extend(more);
                out
            } else {
                state.signal()
            });
        }
        let state = below.expect("a decoder has a layer");
        if let (Some(attended), Some(attention)) = (attended, &known.attention) {
            let context = self.attend(config, attention, state, &mut ops)?;
            let weight = self.tensor("decoder.attention.w_c.weight")?;
            let joined =
                [self.read(context, weight, 0), self.read(state, weight, usize::from(context.view.width))];
            let spec = LinearSpec {
                name: "decoder.attention.w_c",
                product: "decoder.attention.w_c",
                rows: 0..decoder.hidden,
                bias: None,
                table: None,
                unit: GATE,
                width: Width::I16,
                activation: Activation::Tanh { shift: 0 },
                to: attended.view,
            };
            ops.push(self.linear(&joined, spec)?);
        }

        let part = |part: Part| match part {
            Part::State => Some(state),
            Part::Context => context,
            Part::Attended => attended,
            Part::Embedding => None,
        };
        let mut inputs = self.parts(&output_reads, reader, part);
        inputs.extend(token.input(reader));
        if let Some(projection) = projection {
            let (bits, unit) = self.grid("decoder.projected")?;
            let projected = self.words(Extent::Once, projection.shape[0], bits.into())?;
            let rows = projection.shape[0];
            let table = token.table(self, PROJECTION, projection, &vec![0.0; rows], unit);
            let spec = LinearSpec {
                name: PROJECTION,
                product: PROJECTION,
                rows: 0..rows,
                bias: None,
                table,
                unit,
                width: Width::I16,
                activation: Activation::None,
                to: projected.view,
            };
            ops.push(self.linear(&inputs, spec)?);
            inputs = vec![self.read(projected, out, 0)];
        }
        let (op, logits) = self.logits(&inputs, vocabulary, Some((&token, out)))?;
        ops.push(op);
        program.pass(Over::Once, &ops);
        Ok(logits)
    }

    /// One label: the output layer at a source position; the logits' slot and fraction bits.
    pub fn labeler(&mut self, outputs: Signal, vocabulary: usize, program: &mut Program) -> Result<(u8, u8)> {
        let out = self.tensor("decoder.fc_out.weight")?;
        let (op, logits) = self.logits(&[self.read(outputs, out, 0)], vocabulary, None)?;
        program.pass(Over::Once, &[op]);
        Ok(logits)
    }

    /// What a matrix reads beside a token, part by part.
    fn parts(
        &self,
        reads: &[(Part, usize)],
        tensor: &'a Tensor,
        signal: impl Fn(Part) -> Option<Signal>,
    ) -> Vec<Input<'a>> {
        starts(reads).filter_map(|(part, start)| Some(self.read(signal(part)?, tensor, start))).collect()
    }

    /// The output layer, with its slot and fraction bits; it may read a token, given with the layer's weights.
    fn logits(
        &mut self,
        inputs: &[Input<'_>],
        vocabulary: usize,
        token: Option<(&Token<'_>, &Tensor)>,
    ) -> Result<(Op, (u8, u8))> {
        let bias = self.tensor("decoder.fc_out.bias")?;
        let logits = self.slot(Extent::Once, Kind::I16, vocabulary)?;
        let (bits, unit) = self.grid("decoder.logits")?;
        let reals: Vec<f64> = bias.data.iter().map(|&b| f64::from(b)).collect();
        let table = token.and_then(|(token, out)| token.table(self, OUTPUT, out, &reals, unit));
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
        Ok((self.linear(inputs, spec)?, (logits, bits)))
    }
}

/// Parts with their first columns.
fn starts(reads: &[(Part, usize)]) -> impl Iterator<Item = (Part, usize)> + '_ {
    reads.iter().scan(0, |end, &(part, width)| {
        *end += width;
        Some((part, *end - width))
    })
}
