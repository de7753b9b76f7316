//! Recurrent stacks, with all steps and given states, and packed.

use anyhow::{Context, Result};
use kinglet_train::config::Cell;
use kinglet_train::nn::packed::Packed;
use kinglet_train::nn::params::{Layout, Params};
use kinglet_train::nn::rnn::State;
use kinglet_train::nn::stack::{Shape, Stack};

use super::{Compare, File};

pub(super) fn check(file: &File, cell: Cell, c: &mut Compare) -> Result<()> {
    let [_, hidden] = file.dims("param.weight_hh_l0")?;
    let [_, inputs] = file.dims("param.weight_ih_l0")?;
    let bidirectional = file.has("param.weight_ih_l0_reverse");
    let layers = (0..).take_while(|k| file.has(&format!("param.weight_ih_l{k}"))).count();
    let mut layout = Layout::default();
    let parts = [inputs];
    let shape = Shape { bidirectional, ..Shape::new(cell, &parts, hidden, layers) };
    let stack = Stack::declare(&mut layout, "", &shape);
    let params = file.params("param.", "rnn.", &layout)?;

    let [steps, batch, _] = file.dims("full.input.x")?;
    variant(file, "full.", &stack, &params, &vec![steps; batch], c)?;
    let lengths = file.indices("packed.input.lengths")?;
    variant(file, "packed.", &stack, &params, &lengths, c)
}

/// Rows of [steps, batch, width] from or to the packed layout, whose row `b` is sentence `order[b]`.
struct Order<'a> {
    seq: Packed,
    order: &'a [usize],
}

impl Order<'_> {
    fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        let batch = self.order.len();
        (0..self.seq.steps()).flat_map(move |t| {
            (0..self.seq.batch(t)).map(move |b| (self.seq.row(t, b), t * batch + self.order[b]))
        })
    }

    fn pack(&self, data: &[f32], width: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.seq.rows() * width];
        for (packed, padded) in self.rows() {
            out[packed * width..][..width].copy_from_slice(&data[padded * width..][..width]);
        }
        out
    }

    fn pad(&self, data: &[f32], width: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.seq.steps() * self.order.len() * width];
        for (packed, padded) in self.rows() {
            out[padded * width..][..width].copy_from_slice(&data[packed * width..][..width]);
        }
        out
    }
}

fn variant(
    file: &File,
    prefix: &str,
    stack: &Stack,
    params: &Params,
    lengths: &[usize],
    c: &mut Compare,
) -> Result<()> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
    let seq = Packed::new(order.iter().map(|&i| lengths[i]).collect::<Vec<_>>());
    let order = Order { seq, order: &order };
    let (batch, hidden, depth) = (lengths.len(), stack.hidden(), stack.layers().len());
    let inputs = stack.layers()[0].inputs();
    let name = |what: &str| format!("{prefix}{what}");
    let none = |_: usize, _: &mut [f32]| {};

    // [layers * directions, batch, hidden] as states in the packed order; zeros where there are none.
    let states = |h: &str, cells: &str| -> Result<Vec<State>> {
        let mut states = stack.zero_states(batch);
        for (k, state) in states.iter_mut().enumerate() {
            for (what, to) in [(h, &mut state.h), (cells, &mut state.c)] {
                if file.has(what) && !to.is_empty() {
                    let all = file.get(what)?;
                    let part = all.get(k * batch * hidden..(k + 1) * batch * hidden);
                    to.copy_from_slice(
                        part.with_context(|| format!("{what} is too short for {depth} layers"))?,
                    );
                }
            }
        }
        Ok(states.iter().map(|s| s.gather(order.order, hidden)).collect())
    };
    let flat = |states: &[State], cells: bool| -> Vec<f32> {
        let back = states.iter().map(|s| s.scatter(order.order, hidden));
        back.flat_map(|s| if cells { s.c.to_vec() } else { s.h.to_vec() }).collect()
    };

    let mut now = states(&name("input.h0"), &name("input.c0"))?;
    let x = order.pack(file.get(&name("input.x"))?, inputs);
    let trace = stack.forward(params, &order.seq, x, &mut now, &none);
    let output = order.pad(&trace.output, stack.outputs());
    let (h_n, c_n) = (flat(&now, false), flat(&now, true));
    let mut outputs = vec![("output", &output[..]), ("h_n", &h_n)];
    if stack.layers()[0].cell().keeps_cell() {
        outputs.push(("c_n", &c_n));
    }
    for (what, values) in &outputs {
        c.tensor(file, &name(&format!("output.{what}")), values);
    }
    let weighed: Vec<_> =
        outputs.iter().map(|(what, values)| (name(&format!("r.{what}")), *values)).collect();
    let weighed: Vec<_> = weighed.iter().map(|(r, values)| (r.as_str(), *values)).collect();
    c.loss(file, &name("loss"), &weighed);

    let mut d = states(&name("r.h_n"), &name("r.c_n"))?;
    let d_out = order.pack(file.get(&name("r.output"))?, stack.outputs());
    let mut grads = params.zeros_like();
    let dx = stack.backward(params, &mut grads, &order.seq, trace, d_out, &mut d, &none);
    c.tensor(file, &name("grad.input.x"), &order.pad(&dx, inputs));
    for (what, cells) in [("h0", false), ("c0", true)] {
        let expected = name(&format!("grad.input.{what}"));
        if file.has(&expected) {
            c.tensor(file, &expected, &flat(&d, cells));
        }
    }
    c.tensors(file, &name("grad.param."), "rnn.", &grads);
    Ok(())
}
