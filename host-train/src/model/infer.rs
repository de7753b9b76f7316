//! Decoding token by token: what search needs of a model.

use crate::model::decoder::{Carried, Decoder, Known};
use crate::model::network::Network;
use crate::model::sentences::Masks;
use crate::model::{SOS, Seq2Seq, UNK};
use crate::nn::attention::AttentionTrace;
use crate::nn::buffer::Buffer;
use crate::nn::operand::Packs;
use crate::quant::{Grid, Weights};
use crate::vocab::Sentence;

/// Encoded sources, and rows of decoder states that read tokens one at a time. At first every source has
/// one row, in the order of the sources, that is about to read the start mark.
#[derive(Debug, Clone)]
pub struct Decoding<'a> {
    model: &'a Seq2Seq,
    decoder: &'a Decoder,
    grid: Option<Grid>,
    packs: Packs,
    known: Known,
    /// Source of each row.
    sentences: Vec<usize>,
    carried: Carried,
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
    /// Encodes `sources`, each ending with [`crate::model::EOS`]; of a model without sources only their number matters.
    ///
    /// # Panics
    /// When the model labels; see [`Seq2Seq::label_logits`].
    pub fn new<S: Sentence>(model: &'a Seq2Seq, sources: &[S]) -> Self {
        let decoder = model.network.decoder().expect("a model that goes from token to token");
        let names: Vec<usize> = (0..sources.len()).collect();
        let grid = model.grid();
        let weights = Weights::new(&model.params, grid.as_ref());
        let packs = Packs::new(&model.operands, weights, false, 1);
        let weights = weights.with_packs(&packs);
        let (carried, known) = match &model.network {
            Network::Transduce(network) => {
                let packed = network.encoder.read(sources, &names);
                let mut places = vec![0; sources.len()];
                packed.order.iter().enumerate().for_each(|(place, &i)| places[i] = place);
                let encoded = network.encoder.forward(weights, packed, Masks::NONE);
                let (carried, known, _) = network.hand_over(weights, &encoded, &places);
                (carried, known)
            }
            _ => (decoder.start(sources.len()), Known::default()),
        };
        Self { model, decoder, grid, packs, known, sentences: names, carried }
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
        let known = |&id: &u32| if (id as usize) < self.decoder.embedding.vocab() { id } else { UNK };
        let ids: Vec<u32> = tokens.iter().map(known).collect();
        let known = (&self.sentences[..], &self.known);
        let trace = self.decoder.one_step(weights, &ids, known, &mut self.carried);
        let attention = self.decoder.attention.is_some().then_some(trace.attention);
        Stepped { logits: trace.logits, attention }
    }

    /// Goes on with copies of the given rows, in the given order.
    pub fn select(&mut self, rows: &[usize]) {
        self.carried = self.carried.gather(rows, self.decoder.stack.hidden());
        self.sentences = rows.iter().map(|&r| self.sentences[r]).collect();
    }
}

impl Seq2Seq {
    /// The logits of the labels of each source's tokens but the end mark, or frames, [tokens, vocabulary].
    ///
    /// # Panics
    /// When the model does not label.
    pub fn label_logits<S: Sentence>(&self, sources: &[S]) -> Vec<Vec<f32>> {
        let Network::Label(network) = &self.network else { panic!("a model that labels") };
        let names: Vec<usize> = (0..sources.len()).collect();
        let packed = network.encoder.read(sources, &names);
        let trace = network.forward((&self.params).into(), packed, Masks::NONE);
        let (seq, vocab) = (&trace.labelled.seq, self.target_vocab());
        let mut all = vec![Vec::new(); sources.len()];
        for t in 0..seq.steps() {
            for b in 0..seq.batch(t) {
                let row = &trace.logits[seq.row(t, b) * vocab..][..vocab];
                all[trace.labelled.order[b]].extend_from_slice(row);
            }
        }
        all
    }
}
