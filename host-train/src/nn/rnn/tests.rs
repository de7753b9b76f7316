//! Gradients of layers, and what may not change a bit.

use super::*;
use crate::nn::buffer::Buffer;
use crate::nn::check::{GradientCheck, away_from_zero, values};
use crate::nn::embedding::Tokens;
use crate::nn::matrix::add;
use crate::nn::packed::Packed;
use crate::nn::params::Params;

const IN: usize = 3;
const HID: usize = 4;
const TO: Columns = Columns { width: HID, column: 0 };

fn layer(cell: Cell, reverse: bool) -> (Layer, Params) {
    let mut layout = Layout::default();
    let layer = Layer::declare(&mut layout, "rnn", 0, reverse, cell, &[IN], HID);
    (layer, layout.init(5))
}

fn state(h: &[f32], c: &[f32]) -> State {
    State { h: Buffer::copy(h), c: Buffer::copy(c) }
}

fn run(
    l: &Layer,
    p: &Params,
    seq: &Packed,
    way: (bool, bool),
    x: Input<'_>,
    mut state: State,
) -> (Vec<f32>, State, Trace) {
    let mut out = vec![0.0; seq.rows() * HID];
    let trace = l.forward(p.into(), seq, way, x, &mut state, (&mut out, TO));
    (out, state, trace)
}

#[test]
fn gradients() {
    let seq = Packed::new(vec![4, 3, 1]);
    for cell in Cell::ALL {
        for reverse in [false, true] {
            let (layer, mut params) = layer(cell, reverse);
            if cell == Cell::Relu {
                away_from_zero(&mut params, "rnn.");
            }
            let c = if cell.keeps_cell() { values(3 * HID, 3) } else { vec![] };
            let rc = if cell.keeps_cell() { values(3 * HID, 4) } else { vec![] };
            let (r, rh) = (values(seq.rows() * HID, 5), values(3 * HID, 6));
            let inputs = vec![values(seq.rows() * IN, 1), values(3 * HID, 2), c];
            let way = (reverse, false);
            GradientCheck::new(params, inputs).run(
                |p, x| {
                    let (out, end, _) = run(&layer, p, &seq, way, Input::Rows(&x[0]), state(&x[1], &x[2]));
                    GradientCheck::weigh(&out, &r)
                        + GradientCheck::weigh(&end.h, &rh)
                        + GradientCheck::weigh(&end.c, &rc)
                },
                |p, g, x| {
                    let input = Input::Rows(&x[0]);
                    let (_, _, trace) = run(&layer, p, &seq, way, input, state(&x[1], &x[2]));
                    let mut d = state(&rh, &rc);
                    let mut dx = vec![0.0; x[0].len()];
                    layer.backward(p.into(), g, &seq, way, input, trace, (&r, TO), &mut d, &mut dx);
                    vec![dx, d.h.to_vec(), d.c.to_vec()]
                },
            );
        }
    }
}

#[test]
fn tokens_and_fresh_states_save_work_and_change_nothing() {
    let seq = Packed::new(vec![4, 3, 1]);
    let (table, slots) = (values(2 * IN, 1), Buffer::copy(&[1, 0, 1, 1, 1, 0, 0, 1]));
    let rows: Vec<f32> = slots.iter().flat_map(|&s| &table[s as usize * IN..][..IN]).copied().collect();
    let tokens = Tokens { ids: Buffer::copy(&[5, 6]), slots: Some(slots.clone()) };
    let r = values(seq.rows() * HID, 5);
    for cell in Cell::ALL {
        for reverse in [false, true] {
            let (layer, params) = layer(cell, reverse);
            let all = |fresh: bool, input: Input<'_>| {
                let way = (reverse, fresh);
                let (out, end, trace) = run(&layer, &params, &seq, way, input, State::zeros(cell, 3, HID));
                let (mut d, mut dx) = (State::zeros(cell, 3, HID), vec![0.0; input.values().len()]);
                let mut g = params.zeros_like();
                let d_out = (&r[..], TO);
                layer.backward((&params).into(), &mut g, &seq, way, input, trace, d_out, &mut d, &mut dx);
                (out, end, dx, g)
            };
            let (out, end, d_rows, g) = all(false, Input::Rows(&rows));
            let (fast, fast_end, d_tokens, fast_g) = all(true, Input::Tokens(&table, &tokens));
            assert_eq!((&out, &end), (&fast, &fast_end));
            let mut expected = vec![0.0; table.len()];
            for (d, &slot) in d_rows.chunks_exact(IN).zip(slots.iter()) {
                add(&mut expected[slot as usize * IN..][..IN], d);
            }
            let close = |a: &f32, b: &f32| assert!((a - b).abs() < 1e-5, "{a} {b}");
            expected.iter().zip(&d_tokens).for_each(|(a, b)| close(a, b));
            for (a, b) in g.iter().zip(&fast_g) {
                a.data.iter().zip(&b.data).for_each(|(a, b)| close(a, b));
            }
        }
    }
}

#[test]
fn neighbours_in_a_batch_do_not_change_a_sentence() {
    for cell in Cell::ALL {
        for reverse in [false, true] {
            let (layer, params) = layer(cell, reverse);
            let seq = Packed::new(vec![4, 2]);
            let x = values(seq.rows() * IN, 1);
            let way = (reverse, false);
            let (_, both, _) = run(&layer, &params, &seq, way, Input::Rows(&x), State::zeros(cell, 2, HID));
            let mut short = x[IN..2 * IN].to_vec();
            short.extend_from_slice(&x[3 * IN..4 * IN]);
            let zero = State::zeros(cell, 1, HID);
            let (_, alone, _) = run(&layer, &params, &Packed::new(vec![2]), way, Input::Rows(&short), zero);
            assert_eq!(both.h[HID..], alone.h[..]);
        }
    }
}
