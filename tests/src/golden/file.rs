//! Golden tensors by name.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use kinglet_train::model::Tensor;
use kinglet_train::nn::params::{Layout, Params};
use safetensors::{Dtype, SafeTensors};

/// The tensors of a safetensors file, numbers as f32 and indices as i64.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct File {
    floats: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    integers: BTreeMap<String, (Vec<usize>, Vec<i64>)>,
}

impl File {
    /// Reads `path`.
    ///
    /// # Errors
    /// When it cannot be read, is no safetensors file, or holds a type other than f32, i64 and u8.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let tensors = SafeTensors::deserialize(&bytes).with_context(|| format!("{}", path.display()))?;
        let mut file = Self::default();
        for (name, t) in tensors.tensors() {
            let (shape, data) = (t.shape().to_vec(), t.data());
            match t.dtype() {
                Dtype::F32 => {
                    let values = data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
                    file.floats.insert(name, (shape, values));
                }
                Dtype::I64 => {
                    let values = data.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect();
                    file.integers.insert(name, (shape, values));
                }
                Dtype::U8 => {
                    let values = data.iter().map(|&b| i64::from(b)).collect();
                    file.integers.insert(name, (shape, values));
                }
                other => bail!("{name} has type {other:?}"),
            }
        }
        Ok(file)
    }

    /// Names of all f32 tensors that begin with `prefix`, without it.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.floats.keys().filter_map(move |name| name.strip_prefix(prefix))
    }

    /// Whether there is an f32 tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.floats.contains_key(name)
    }

    /// The values of an f32 tensor.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn get(&self, name: &str) -> Result<&[f32]> {
        Ok(&self.floats.get(name).with_context(|| format!("no tensor {name}"))?.1)
    }

    /// The shape of a tensor of any type.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        let float = self.floats.get(name).map(|t| &t.0[..]);
        float.or(self.integers.get(name).map(|t| &t.0[..])).with_context(|| format!("no tensor {name}"))
    }

    /// The only value of an f32 tensor.
    ///
    /// # Errors
    /// When there is none of that name or it has several values.
    pub fn scalar(&self, name: &str) -> Result<f32> {
        match self.get(name)? {
            &[value] => Ok(value),
            values => bail!("{name} has {} values, expected one", values.len()),
        }
    }

    /// An integer tensor as indices.
    ///
    /// # Errors
    /// When there is none of that name or a value is negative.
    pub fn indices(&self, name: &str) -> Result<Vec<usize>> {
        let values = &self.integers.get(name).with_context(|| format!("no tensor {name}"))?.1;
        values.iter().map(|&v| usize::try_from(v).with_context(|| format!("{name}: {v}"))).collect()
    }

    /// All f32 tensors that begin with `from`, which is replaced by `to`, as parameters of `layout`.
    ///
    /// # Errors
    /// When they do not fit the layout.
    pub fn params(&self, from: &str, to: &str, layout: &Layout) -> Result<Params> {
        Ok(layout.arrange(Params::new(self.tensors(from, to))?)?)
    }

    /// All f32 tensors that begin with `from`, which is replaced by `to`.
    pub fn tensors(&self, from: &str, to: &str) -> Vec<Tensor> {
        let rename = |(name, (shape, data)): (&String, &(Vec<usize>, Vec<f32>))| {
            let rest = name.strip_prefix(from)?;
            Some(Tensor { name: format!("{to}{rest}"), shape: shape.clone(), data: data.clone() })
        };
        self.floats.iter().filter_map(rename).collect()
    }
}
