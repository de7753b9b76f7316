//! Decoding token by token: what search needs of a model.

use crate::model::sentences::{Masks, Sentences};
use crate::model::{SOS, Seq2Seq, UNK};
use crate::nn::attention::{AttentionTrace, Memory};
use crate::nn::buffer::Buffer;
use crate::nn::operand::Packs;
use crate::nn::rnn::{Block, State};
use crate::nn::stack::List;
use crate::quant::{Grid, Weights};

/// Encoded sources, and rows of decoder states that read tokens one at a time. At first every source has
/// one row, in the order of the sources, that is about to read the start mark.
#[derive(Debug, Clone)]
pub struct Decoding<'a> {
    model: &'a Seq2Seq,
    grid: Option<Grid>,
    packs: Packs,
    memory: Option<Memory>,
    /// Source of each row.
    sentences: Vec<usize>,
    /// One a decoder layer.
    states: List<State>,
}

/// What a step put out.
#[derive(Debug, Clone, PartialEq)]
pub struct Stepped {
    /// [rows, vocabulary].
    pub logits: Buffer,
    attention: Option<AttentionTrace>,
}

impl Stepped {
    /// Attention weights of a row over the tokens of its source; empty without attention.
    pub fn weights(&self, row: usize) -> &[f32] {
        self.attention.as_ref().map_or(&[], |trace| trace.weights(row))
    }
}

impl<'a> Decoding<'a> {
    /// Encodes `sources`, each ending with [`crate::model::EOS`].
    pub fn new(model: &'a Seq2Seq, sources: &[&[u32]]) -> Self {
        let network = &model.network;
        let names: Vec<usize> = (0..sources.len()).collect();
        let packed = Sentences::new(sources, &names, network.encoder.vocab());
        let mut places = vec![0; sources.len()];
        packed.order.iter().enumerate().for_each(|(place, &i)| places[i] = place);
        let grid = model.grid();
        let weights = Weights::new(&model.params, grid.as_ref());
        let packs = Packs::new(&model.operands, weights, false, 1);
        let weights = weights.with_packs(&packs);
        let encoded = network.encoder.forward(weights, packed, Masks(None));
        let (states, memory, _) = network.hand_over(weights, &encoded, &places);
        Self { model, grid, packs, memory, sentences: names, states }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.sentences.len()
    }

    /// The tokens that all rows read first.
    pub fn start(&self) -> Vec<u32> {
        vec![SOS; self.rows()]
    }

    /// Every row reads its token. Ids outside the vocabulary are read as [`UNK`].
    ///
    /// # Panics
    /// When there are not as many tokens as rows.
    pub fn step(&mut self, tokens: &[u32]) -> Stepped {
        assert_eq!(tokens.len(), self.rows(), "one token a row");
        let weights = Weights::new(&self.model.params, self.grid.as_ref()).with_packs(&self.packs);
        let decoder = &self.model.network.decoder;
        let (rows, embed, hidden) = (tokens.len(), decoder.embedding.width(), decoder.stack.hidden());
        let known = |&id: &u32| if (id as usize) < decoder.embedding.vocab() { id } else { UNK };
        let ids: Vec<u32> = tokens.iter().map(known).collect();
        let embedding = decoder.embedding.forward(weights, &ids);
        let layers = decoder.stack.layers();
        let mut trace = layers[0].begin(weights, rows);
        layers[0].embedding_product(weights, &mut trace, 0, &embedding, Some(&ids), 0..embed);

        let mut contexts = Buffer::default();
        let mut attended = None;
        if let (Some(attention), Some(memory)) = (&decoder.attention, &self.memory) {
            let width = attention.memory_width();
            let mut trace_of_weights = AttentionTrace::default();
            contexts = Buffer::unspecified(rows * width);
            let query = &self.states[layers.len() - 1].h;
            attention.step(weights, memory, &self.sentences, query, &mut contexts, &mut trace_of_weights);
            layers[0].input_product(weights, &mut trace, 0, &contexts, embed..embed + width);
            attended = Some(trace_of_weights);
        }
        let block = Block::new(0, rows);
        layers[0].step(weights, &mut trace, block, &mut self.states[0]);
        for k in 1..layers.len() {
            let (below, above) = self.states.split_at_mut(k);
            let mut trace = layers[k].begin(weights, rows);
            layers[k].input_product(weights, &mut trace, 0, &below[k - 1].h, 0..hidden);
            layers[k].step(weights, &mut trace, block, &mut above[0]);
        }
        let output = &self.states[layers.len() - 1].h;
        let logits = if attended.is_some() {
            let parts = [
                (&output[..], hidden),
                (&contexts[..], contexts.len() / rows.max(1)),
                (&embedding[..], embed),
            ];
            let mut features = Buffer::unspecified(rows * decoder.output.inputs());
            for (row, features) in features.chunks_exact_mut(decoder.output.inputs()).enumerate() {
                let mut rest = features;
                for (part, width) in parts {
                    let (to, more) = rest.split_at_mut(width);
                    to.copy_from_slice(&part[row * width..][..width]);
                    rest = more;
                }
            }
            decoder.output.forward_tokens(weights, &features, Some(&ids))
        } else {
            decoder.output.forward(weights, output)
        };
        Stepped { logits, attention: attended }
    }

    /// Goes on with copies of the given rows, in the given order.
    pub fn select(&mut self, rows: &[usize]) {
        let hidden = self.model.network.decoder.stack.hidden();
        self.states.iter_mut().for_each(|s| *s = s.gather(rows, hidden));
        self.sentences = rows.iter().map(|&r| self.sentences[r]).collect();
    }
}
