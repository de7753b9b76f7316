//! What an encoder that reads letters makes of words: an embedding and features of their spelling beside it.

use std::sync::Arc;

use crate::config::EncoderConfig;
use crate::model::sentences::Sentences;
use crate::nn::buffer::Buffer;
use crate::nn::characters::{Characters, CharactersTrace, Letters};
use crate::nn::embedding::{Embedding, Tokens};
use crate::nn::matrix::add;
use crate::nn::params::{Gradients, Layout};
use crate::quant::Weights;
use crate::vocab::Spelling;

/// Embeddings of words, and features of their spelling.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Speller {
    spelling: Arc<Spelling>,
    /// Most letters of a word that are read.
    max_len: usize,
    embedding: Embedding,
    characters: Characters,
}

/// The different words of some sentences.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spelled {
    /// Entries of the spelling.
    pub(super) words: Tokens,
    /// Ids of their embeddings.
    known: Buffer<u32>,
    trace: CharactersTrace,
}

impl Speller {
    pub(super) fn declare(layout: &mut Layout, config: &EncoderConfig, spelling: Arc<Spelling>) -> Self {
        let c = &config.characters;
        let embedding = Embedding::declare(layout, "encoder.embedding", spelling.words(), config.embedding);
        let (name, filters) = ("encoder.characters", (c.size, c.width));
        let characters = Characters::declare(layout, name, spelling.characters(), c.embedding, filters);
        Self { spelling, max_len: c.max_len, embedding, characters }
    }

    /// Numbers of what a word is read as.
    pub(super) fn width(&self) -> usize {
        self.embedding.width() + self.characters.features()
    }

    /// What stands for a source id until its word is read.
    pub(super) fn entry(&self, id: u32) -> u32 {
        self.spelling.entry(id)
    }

    /// Features of the words of sentences, each once.
    pub(super) fn forward(&self, weights: Weights<'_>, sources: &Sentences) -> Spelled {
        let words = Tokens::distinct(&sources.ids, self.spelling.entries());
        let mut letters = Letters::default();
        for &entry in words.ids.iter() {
            self.spelling.append(entry, self.max_len, &mut letters.ids);
            letters.ends.push(letters.ids.len());
        }
        let known = words.ids.iter().map(|&entry| self.spelling.known(entry)).collect();
        Spelled { words, known, trace: self.characters.forward(weights, letters) }
    }

    /// What the words are read as, [words, embedding + features].
    pub(super) fn rows(&self, weights: Weights<'_>, spelled: &Spelled) -> Buffer {
        let (width, features) = (self.embedding.width(), self.characters.features());
        let embedded = self.embedding.forward(weights, &spelled.known);
        let mut rows = Buffer::unspecified(spelled.known.len() * (width + features));
        let parts = embedded.chunks_exact(width).zip(spelled.trace.features.chunks_exact(features));
        for (row, (embedding, features)) in rows.chunks_exact_mut(width + features).zip(parts) {
            row[..width].copy_from_slice(embedding);
            row[width..].copy_from_slice(features);
        }
        rows
    }

    /// Adds the gradients, given those of [`Speller::rows`].
    pub(super) fn backward(&self, weights: Weights<'_>, grads: &mut Gradients, spelled: &Spelled, d: &[f32]) {
        let (width, features) = (self.embedding.width(), self.characters.features());
        let (mut d_embedded, mut d_features) = (Buffer::default(), Buffer::default());
        for row in d.chunks_exact(width + features) {
            d_embedded.extend_from_slice(&row[..width]);
            d_features.extend_from_slice(&row[width..]);
        }
        self.embedding.backward(grads, &spelled.known, &d_embedded);
        self.characters.backward(weights, grads, &spelled.trace, &d_features);
    }
}

impl Spelled {
    /// The rows that sentences read, of the rows of their words.
    pub(super) fn spread(&self, words: &[f32], width: usize) -> Buffer {
        let slots = self.words.slots.as_ref().expect("each word once");
        let mut rows = Buffer::unspecified(slots.len() * width);
        for (row, &slot) in rows.chunks_exact_mut(width).zip(slots.iter()) {
            row.copy_from_slice(&words[slot as usize * width..][..width]);
        }
        rows
    }

    /// The reverse of [`Spelled::spread`], of gradients: their sums.
    pub(super) fn gather(&self, rows: &[f32], width: usize) -> Buffer {
        let slots = self.words.slots.as_ref().expect("each word once");
        let mut words = Buffer::zeros(self.known.len() * width);
        for (row, &slot) in rows.chunks_exact(width).zip(slots.iter()) {
            add(&mut words[slot as usize * width..][..width], row);
        }
        words
    }
}
