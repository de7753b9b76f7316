//! Stacks of every form against their differences.

use super::*;
use crate::nn::check::{GradientCheck, away_from_zero, values};
use crate::nn::params::Params;
use crate::nn::rnn::Block;

fn halve(_: usize, rows: &mut [f32]) {
    rows.iter_mut().step_by(3).for_each(|x| *x *= 0.5);
}

/// Parameters away from where normalisations start.
fn params(layout: &Layout, cell: Cell) -> Params {
    let mut params = layout.init(1);
    if cell == Cell::Relu {
        away_from_zero(&mut params, "rnn.");
    }
    for tensor in params.iter_mut().filter(|t| t.name.contains("norm")) {
        tensor.data.iter_mut().zip(values(64, 8)).for_each(|(v, d)| *v += 0.3 * d);
    }
    params
}

#[test]
fn gradients_of_two_layers() {
    let seq = Packed::new(vec![3, 2]);
    let plain = |cell| Shape { bidirectional: true, ..Shape::new(cell, &[6], 3, 2) };
    let mut shapes: Vec<Shape<'_>> = Cell::ALL.map(plain).into();
    for (residual, norm) in [(true, false), (false, true), (true, true)] {
        shapes.push(Shape { residual, norm, ..plain(Cell::Lstm) });
        shapes.push(Shape { residual, norm, reverse: true, ..Shape::new(Cell::Gru, &[3], 3, 2) });
    }
    for shape in shapes {
        let mut layout = Layout::default();
        let stack = Stack::declare(&mut layout, "", &shape);
        let (inputs, width) = (shape.parts[0], stack.outputs());
        let (r, rh) = (values(seq.rows() * width, 1), values(6, 2));
        let check = GradientCheck::new(params(&layout, shape.cell), vec![values(seq.rows() * inputs, 3)]);
        check.step(if shape.norm { 4e-3 } else { 1e-2 }).run(
            |p, x| {
                let mut states = stack.zero_states(2);
                let trace = stack.forward(p, &seq, x[0].clone(), &mut states, &halve);
                let finals: f64 = states.iter().map(|s| GradientCheck::weigh(&s.h, &rh)).sum();
                GradientCheck::weigh(&trace.output, &r) + finals
            },
            |p, g, x| {
                let mut states = stack.zero_states(2);
                let trace = stack.forward(p, &seq, x[0].clone(), &mut states, &halve);
                let mut d = stack.zero_states(2);
                d.iter_mut().for_each(|s| s.h.copy_from_slice(&rh));
                vec![stack.backward(p, g, &seq, trace, r.clone(), &mut d, &halve).to_vec()]
            },
        );
    }
}

#[test]
fn layer_by_layer_and_step_by_step_are_the_same() {
    let seq = Packed::new(vec![3, 2]);
    for cell in Cell::ALL {
        let mut layout = Layout::default();
        let shape = Shape { residual: true, norm: true, ..Shape::new(cell, &[3], 3, 3) };
        let stack = Stack::declare(&mut layout, "", &shape);
        let (p, x, r) = (params(&layout, cell), values(seq.rows() * 3, 3), values(seq.rows() * 3, 4));
        let weights: Weights<'_> = (&p).into();
        let block = |t: usize| Block::new(seq.offset(t), seq.batch(t));

        let (mut states, mut grads) = (stack.zero_states(2), p.zeros_like());
        let whole = stack.forward(weights, &seq, x.clone(), &mut states, &halve);
        let output = whole.output.clone();
        let mut d = stack.zero_states(2);
        let dx = stack.backward(weights, &mut grads, &seq, whole, r.clone(), &mut d, &halve);

        let (mut stepped, mut stepped_grads) = (stack.zero_states(2), p.zeros_like());
        let mut trace = stack.begin(weights, (Buffer::copy(&x), None), seq.rows());
        stack.layers()[0].input_product(weights, &mut trace.traces[0], 0, &x, 0..3);
        for t in 0..seq.steps() {
            stack.advance(weights, &mut trace, block(t), &mut stepped, &halve_rows(&seq, t));
        }
        assert_eq!((&output[..], &states), (&trace.output[..], &stepped));
        let (mut d_stepped, mut d_out) = (stack.zero_states(2), r.clone());
        for t in (0..seq.steps()).rev() {
            let rows = &mut d_out[seq.offset(t) * 3..][..seq.batch(t) * 3];
            let drop = halve_rows(&seq, t);
            stack.retreat(weights, &mut stepped_grads, &mut trace, block(t), rows, &mut d_stepped, &drop);
        }
        stack.finish(&mut stepped_grads, &trace);
        let lowest = &stack.layers()[0];
        lowest.input_weight_gradient(&mut stepped_grads, &trace.traces[0], &x, 0..3);
        lowest.add_input_gradient(weights, &trace.traces[0], 0, &mut d_out, 0..3);
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close(&dx, &d_out), "{dx:?} {d_out:?}");
        for (a, b) in grads.iter().zip(&stepped_grads) {
            assert!(close(&a.data, &b.data), "{}", a.name);
        }
    }
}

/// [`halve`] of the rows of one step.
fn halve_rows(seq: &Packed, t: usize) -> impl Fn(usize, &mut [f32]) {
    let first = seq.offset(t) * 3;
    move |_: usize, rows: &mut [f32]| {
        for (i, x) in rows.iter_mut().enumerate() {
            if (first + i).is_multiple_of(3) {
                *x *= 0.5;
            }
        }
    }
}

#[test]
fn a_reversed_stack_reads_from_the_end() {
    let (mut layout, mut back) = (Layout::default(), Layout::default());
    let shape = Shape::new(Cell::Gru, &[2], 3, 1);
    let forward = Stack::declare(&mut layout, "", &shape);
    let reversed = Stack::declare(&mut back, "", &Shape { reverse: true, ..shape });
    let (params, x) = (layout.init(2), values(8, 1));
    let turned: Vec<f32> = x.chunks(2).rev().flatten().copied().collect();
    let run = |stack: &Stack, x: Vec<f32>| {
        let mut states = stack.zero_states(1);
        stack.forward(&params, &Packed::new(vec![4]), x, &mut states, &|_, _| {});
        states
    };
    assert_eq!(run(&forward, x), run(&reversed, turned));
}
