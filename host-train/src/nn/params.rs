//! Named parameters: what a model learns, in one stable order.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::nn::operand::{Operand, Operands, Side};
use crate::nn::random::Random;

/// One named tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// PyTorch's name, such as `encoder.rnn.weight_ih_l0`.
    pub name: String,
    /// Sizes of its dimensions.
    pub shape: Vec<usize>,
    /// As many values as the product of `shape`.
    pub data: Vec<f32>,
}

/// An ordered list of named tensors: parameters, their gradients, or an optimizer's moments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Params {
    tensors: Vec<Tensor>,
}

/// Gradients have the names, order and shapes of the parameters.
pub type Gradients = Params;

impl Params {
    /// The tensors in the given order.
    ///
    /// # Errors
    /// [`Error::Config`] names a tensor whose values do not fill its shape, or a name used twice.
    pub fn new(tensors: Vec<Tensor>) -> Result<Self> {
        for (i, t) in tensors.iter().enumerate() {
            let size: usize = t.shape.iter().product();
            if size != t.data.len() {
                return Err(Error::Config(format!(
                    "tensor {}: shape {:?} needs {size} values, found {}",
                    t.name,
                    t.shape,
                    t.data.len()
                )));
            }
            if tensors[..i].iter().any(|other| other.name == t.name) {
                return Err(Error::Config(format!("tensor {} is given twice", t.name)));
            }
        }
        Ok(Self { tensors })
    }

    /// The same names and shapes filled with zeros.
    pub fn zeros_like(&self) -> Self {
        let zero = |t: &Tensor| Tensor {
            name: t.name.clone(),
            shape: t.shape.clone(),
            data: vec![0.0; t.data.len()],
        };
        Self { tensors: self.tensors.iter().map(zero).collect() }
    }

    /// Sets every value to zero.
    pub fn fill_zero(&mut self) {
        self.tensors.iter_mut().for_each(|t| t.data.fill(0.0));
    }

    /// Adds `other` value by value; both have the same layout.
    ///
    /// # Panics
    /// When the layouts differ.
    pub fn add(&mut self, other: &Self) {
        assert_eq!(self.tensors.len(), other.tensors.len(), "layouts differ");
        for (a, b) in self.tensors.iter_mut().zip(&other.tensors) {
            assert_eq!(a.data.len(), b.data.len(), "sizes of {} differ", a.name);
            a.data.iter_mut().zip(&b.data).for_each(|(a, b)| *a += b);
        }
    }

    /// The tensors in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Tensor> {
        self.tensors.iter()
    }

    /// The tensors in order, values changeable.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Tensor> {
        self.tensors.iter_mut()
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|t| t.name == name)
    }

    /// The tensor called `name`, values changeable.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Tensor> {
        self.tensors.iter_mut().find(|t| t.name == name)
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Number of values in all tensors.
    pub fn values(&self) -> usize {
        self.tensors.iter().map(|t| t.data.len()).sum()
    }

    /// The values of a declared parameter.
    pub fn at(&self, id: ParamId) -> &[f32] {
        &self.tensors[id.0].data
    }

    /// The values of a declared parameter, changeable.
    pub fn at_mut(&mut self, id: ParamId) -> &mut [f32] {
        &mut self.tensors[id.0].data
    }
}

impl<'a> IntoIterator for &'a Params {
    type Item = &'a Tensor;
    type IntoIter = std::slice::Iter<'a, Tensor>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Place of a parameter in a [`Layout`] and in every [`Params`] made from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParamId(usize);

/// How a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Normal distribution around zero with this standard deviation.
    Normal(f32),
    /// Uniform in `[-bound, bound)`.
    Uniform(f32),
    /// This value.
    Constant(f32),
}

impl Init {
    /// Uniform as PyTorch's layers with so many inputs start.
    pub fn uniform(inputs: usize) -> Self {
        Self::Uniform(1.0 / (inputs as f32).sqrt())
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Declaration {
    name: String,
    shape: Vec<usize>,
    init: Init,
}

/// What parameters a network has: filled by its layers, each keeping the [`ParamId`]s it declared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Layout {
    declarations: Vec<Declaration>,
    operands: Operands,
}

impl Layout {
    /// Adds a parameter; ids count up in the order of declaration.
    pub fn declare(&mut self, name: impl Into<String>, shape: &[usize], init: Init) -> ParamId {
        self.declarations.push(Declaration { name: name.into(), shape: shape.to_vec(), init });
        ParamId(self.declarations.len() - 1)
    }

    /// `columns` of a declared matrix as the right side of products.
    pub fn operand(&mut self, id: ParamId, columns: Range<usize>, side: Side) -> Operand {
        let shape = self.matrix(id);
        self.operands.add(id, shape, columns, side)
    }

    /// Rows and columns of a declared matrix.
    pub fn matrix(&self, id: ParamId) -> (usize, usize) {
        let shape = &self.declarations[id.0].shape;
        (shape[0], shape[1])
    }

    /// All operands so far.
    pub fn operands(&self) -> &Operands {
        &self.operands
    }

    /// Initial values; each tensor draws from its own stream of `seed`.
    pub fn init(&self, seed: u64) -> Params {
        let fill = |(i, d): (usize, &Declaration)| {
            let mut random = Random::keyed(seed, i as u64);
            let size = d.shape.iter().product();
            let draw = |_| match d.init {
                Init::Normal(std) => std * random.normal(),
                Init::Uniform(bound) => bound * (2.0 * random.uniform() - 1.0),
                Init::Constant(value) => value,
            };
            Tensor { name: d.name.clone(), shape: d.shape.clone(), data: (0..size).map(draw).collect() }
        };
        Params { tensors: self.declarations.iter().enumerate().map(fill).collect() }
    }

    /// The given tensors in declared order.
    ///
    /// # Errors
    /// [`Error::Config`] names the first tensor that is missing, has another shape, or is not declared.
    pub fn arrange(&self, params: Params) -> Result<Params> {
        let mut given: Vec<Option<Tensor>> = params.tensors.into_iter().map(Some).collect();
        let mut tensors = Vec::with_capacity(self.declarations.len());
        for d in &self.declarations {
            let found = given
                .iter_mut()
                .find(|t| t.as_ref().is_some_and(|t| t.name == d.name))
                .and_then(Option::take);
            let Some(tensor) = found else {
                return Err(Error::Config(format!("tensor {} {:?} is missing", d.name, d.shape)));
            };
            if tensor.shape != d.shape {
                return Err(Error::Config(format!(
                    "tensor {}: expected shape {:?}, found {:?}",
                    d.name, d.shape, tensor.shape
                )));
            }
            tensors.push(tensor);
        }
        if let Some(extra) = given.iter().flatten().next() {
            return Err(Error::Config(format!(
                "tensor {} {:?} does not belong to this model",
                extra.name, extra.shape
            )));
        }
        Params::new(tensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let mut layout = Layout::default();
        layout.declare("a", &[2, 3], Init::Uniform(0.5));
        layout.declare("b", &[400], Init::Normal(2.0));
        layout
    }

    #[test]
    fn init_depends_on_the_seed_alone() {
        let (a, b, c) = (layout().init(1), layout().init(1), layout().init(2));
        assert_eq!(a, b);
        assert_ne!(a, c);
        assert!(a.iter().next().unwrap().data.iter().all(|x| x.abs() <= 0.5));
        let b = &a.get("b").unwrap().data;
        let variance = b.iter().map(|x| x * x).sum::<f32>() / b.len() as f32;
        assert!((2.5..6.0).contains(&variance), "variance {variance}, expected near 4");
    }

    #[test]
    fn arrange_accepts_any_order_and_names_what_does_not_fit() {
        let good = layout().init(1);
        let mut reversed: Vec<Tensor> = good.iter().cloned().collect();
        reversed.reverse();
        assert_eq!(layout().arrange(Params::new(reversed.clone()).unwrap()).unwrap(), good);

        let missing = Params::new(reversed[..1].to_vec()).unwrap();
        assert!(layout().arrange(missing).unwrap_err().to_string().contains("tensor a [2, 3] is missing"));
        let mut wrong = reversed.clone();
        wrong[1].shape = vec![3, 2];
        let error = layout().arrange(Params::new(wrong).unwrap()).unwrap_err().to_string();
        assert!(error.contains("expected shape [2, 3], found [3, 2]"), "{error}");
        let mut extra = reversed.clone();
        extra.push(Tensor { name: "c".into(), shape: vec![1], data: vec![0.0] });
        assert!(layout().arrange(Params::new(extra).unwrap()).unwrap_err().to_string().contains("tensor c"));
        reversed.push(reversed[0].clone());
        assert!(Params::new(reversed).is_err());
    }
}
