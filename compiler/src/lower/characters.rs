//! Letters of words: their embeddings and the convolution over them become one table for each place of its window.

use kinglet::blob::schema::{Characters, Extent, Kind};
use kinglet_train::config::ModelConfig;
use kinglet_train::vocab::Vocab;

use super::Builder;
use super::signal::Signal;
use crate::error::{Error, Result};
use crate::quantize::{self, GATE};

/// Features of words: int8 in 2^-7.
const FEATURE_BITS: i32 = 7;

/// What stands beside the embeddings of source tokens.
#[derive(Debug, Clone)]
pub struct Features {
    pub signal: Signal,
    /// The record behind that of the source's vocabulary.
    pub record: Vec<u8>,
}

impl Builder<'_> {
    /// Features of the words of a vocabulary, where letters are read.
    pub fn features(&mut self, config: &ModelConfig, words: &Vocab) -> Result<Option<Features>> {
        let characters = &config.encoder.characters;
        if characters.features() == 0 {
            return Ok(None);
        }
        let letters = words
            .characters()
            .ok_or_else(|| Error::Model("the source vocabulary has no characters, which it reads".into()))?;
        let vocabulary = self.vocabulary("characters", letters)?;
        let slot = self.slot(Extent::Source, Kind::I8, characters.features())?;
        let (table, shift) = self.windows(characters.width)?;
        let (width, max_len) = (characters.width as u8, characters.max_len as u8);
        let record =
            Characters { vocabulary: &vocabulary, slot, width, shift, max_len, table }.to_bytes().to_vec();
        let signal = Signal { view: self.whole(slot), kind: Kind::I8, bits: FEATURE_BITS };
        Ok(Some(Features { signal, record }))
    }

    /// The tables `W_k embedding`, one after the other, with the biases in that of the letter itself; and their shift.
    fn windows(&mut self, width: usize) -> Result<(u32, u8)> {
        let tensor = |part: &str| self.tensor(&format!("encoder.characters.{part}"));
        let [embedding, weight, bias] =
            [tensor("embedding.weight")?, tensor("conv.weight")?, tensor("conv.bias")?];
        let inputs = embedding.shape[1];
        let mut values = Vec::new();
        for k in 0..width {
            for letter in embedding.data.chunks_exact(inputs) {
                for (filter, bias) in weight.data.chunks_exact(inputs * width).zip(&bias.data) {
                    let products = filter[k..].iter().step_by(width).zip(letter);
                    let sum: f64 = products.map(|(&w, &e)| f64::from(w) * f64::from(e)).sum();
                    values.push(if k == width / 2 { sum + f64::from(*bias) } else { sum });
                }
            }
        }
        let (entries, shift) = quantize::table(&values, GATE);
        Ok((self.section.push_i16("encoder.characters.table", &entries), shift))
    }
}
