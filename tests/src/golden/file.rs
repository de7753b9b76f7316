//! Golden tensors by name.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use kinglet_train::model::Tensor;
use kinglet_train::nn::params::{Layout, Params};
use safetensors::{Dtype, SafeTensors};

/// The tensors of a safetensors file, numbers as f32 and indices as i64. It remembers which of them were asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct File {
    floats: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    integers: BTreeMap<String, (Vec<usize>, Vec<i64>)>,
    used: RefCell<BTreeSet<String>>,
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

    /// Names of the tensors that nothing has asked for.
    pub fn unused(&self) -> Vec<&str> {
        let used = self.used.borrow();
        let all = self.floats.keys().chain(self.integers.keys());
        all.filter(|name| !used.contains(*name)).map(String::as_str).collect()
    }

    /// Leaves the tensors that begin with `prefix` to a later version.
    pub fn pass_over(&self, prefix: &str) {
        let all = self.floats.keys().chain(self.integers.keys());
        self.used.borrow_mut().extend(all.filter(|name| name.starts_with(prefix)).cloned());
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
        self.used.borrow_mut().insert(name.to_owned());
        Ok(&self.floats.get(name).with_context(|| format!("tensor {name} is missing"))?.1)
    }

    /// The sizes of a tensor of any type that has `N` dimensions, none of them 0.
    ///
    /// # Errors
    /// When there is none of that name or its shape is another.
    pub fn dims<const N: usize>(&self, name: &str) -> Result<[usize; N]> {
        let float = self.floats.get(name).map(|t| &t.0[..]);
        let shape = float.or(self.integers.get(name).map(|t| &t.0[..]));
        let shape = shape.with_context(|| format!("tensor {name} is missing"))?;
        let sizes: Option<[usize; N]> =
            shape.try_into().ok().filter(|sizes: &[usize; N]| !sizes.contains(&0));
        sizes.with_context(|| format!("tensor {name}: expected {N} dimensions, found shape {shape:?}"))
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

    /// The values of an integer tensor.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn integers(&self, name: &str) -> Result<&[i64]> {
        self.used.borrow_mut().insert(name.to_owned());
        Ok(&self.integers.get(name).with_context(|| format!("tensor {name} is missing"))?.1)
    }

    /// An integer tensor as indices.
    ///
    /// # Errors
    /// When there is none of that name or a value is negative.
    pub fn indices(&self, name: &str) -> Result<Vec<usize>> {
        let values = self.integers(name)?;
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
            self.used.borrow_mut().insert(name.clone());
            Some(Tensor { name: format!("{to}{rest}"), shape: shape.clone(), data: data.clone() })
        };
        self.floats.iter().filter_map(rename).collect()
    }
}
