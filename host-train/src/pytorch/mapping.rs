//! Which tensor of a `state_dict` is which of ours.

use super::sizes::{Sizes, sizes};
use super::{Fault, move_rows, token_rows};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::model::Seq2Seq;
use crate::nn::params::{Params, Tensor};

/// A network's tensors in PyTorch and here, whose ids differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    sizes: Sizes,
    source_ids: Vec<u32>,
    target_ids: Vec<u32>,
}

impl Mapping {
    /// The mapping of a whole `state_dict`, with our id for each source and target id in PyTorch.
    ///
    /// # Errors
    /// All that does not fit: first the tensors that sizes are read off, then the vocabularies, then every tensor that is
    /// missing, has another shape, or does not belong.
    pub fn new(
        tensors: &[Tensor],
        source_ids: Vec<u32>,
        target_ids: Vec<u32>,
    ) -> std::result::Result<Self, Vec<Fault>> {
        let sizes = sizes(tensors)?;
        let mut faults = Vec::new();
        for (side, ids, rows) in
            [("source", &source_ids, sizes.source_vocab), ("target", &target_ids, sizes.target_vocab)]
        {
            if ids.len() != rows {
                faults.push(Fault::Vocabulary { side, rows, found: ids.len() });
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }

        let fresh = Seq2Seq::new(&sizes.config, sizes.source_vocab, sizes.target_vocab, 0);
        let ours: Vec<_> = fresh.params.iter().map(|t| (t.name.clone(), t.shape.clone())).collect();
        let expected = sizes.spelling.spell(&ours);
        for (name, shape) in &expected {
            let (name, expected) = (name.clone(), shape.clone());
            match tensors.iter().find(|t| t.name == name) {
                None => faults.push(Fault::Missing { name, expected: Some(expected) }),
                Some(t) if t.shape != expected => {
                    faults.push(Fault::Shape { name, expected, found: t.shape.clone() });
                }
                Some(_) => {}
            }
        }
        let unknown = tensors.iter().filter(|t| expected.iter().all(|(name, _)| *name != t.name));
        faults.extend(unknown.map(|t| Fault::Unknown { name: t.name.clone(), found: t.shape.clone() }));
        if faults.is_empty() { Ok(Self { sizes, source_ids, target_ids }) } else { Err(faults) }
    }

    /// The network's sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.sizes.config
    }

    /// Tensors in our names, layouts and ids: weights, gradients or whatever has their shapes, all or some of them.
    pub fn convert(&self, tensors: Vec<Tensor>) -> Vec<Tensor> {
        let mut tensors = self.sizes.spelling.split(tensors, self.sizes.config.decoder.hidden);
        for tensor in &mut tensors {
            if let Some(of_source) = token_rows(&tensor.name) {
                move_rows(tensor, if of_source { &self.source_ids } else { &self.target_ids });
            }
        }
        tensors
    }

    /// The network with the weights of a `state_dict`.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when it is not the one that the mapping was made for.
    pub fn model(&self, tensors: Vec<Tensor>) -> Result<Seq2Seq> {
        let Sizes { config, source_vocab, target_vocab, .. } = &self.sizes;
        Seq2Seq::from_params(config, *source_vocab, *target_vocab, Params::new(self.convert(tensors))?)
    }
}
