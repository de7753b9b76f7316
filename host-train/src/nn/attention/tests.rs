//! Every kind against its formula and its differences.

use super::*;
use crate::nn::check::{GradientCheck, values};
use crate::nn::params::Params;

const LENGTHS: [usize; 3] = [3, 1, 2];
const SENTENCES: [usize; 4] = [0, 1, 2, 0];

/// All kinds with like widths, and those that can with unlike ones.
fn shapes() -> Vec<Shape> {
    let shape = |kind, query| Shape { kind, query, memory: 4, size: 5 };
    let like = AttentionKind::ALL.into_iter().map(|kind| shape(kind, 4));
    let unlike = AttentionKind::ALL.into_iter().filter(|kind| *kind != AttentionKind::Dot);
    like.chain(unlike.map(|kind| shape(kind, 3))).collect()
}

fn run(
    attention: &Attention,
    p: &Params,
    values: &[f32],
    states: &[f32],
) -> (Memory, AttentionTrace, Vec<f32>) {
    let memory = attention.memory(p, LENGTHS.to_vec(), values.to_vec());
    let (mut trace, mut contexts) = (AttentionTrace::default(), vec![0.0; 4 * attention.memory_width()]);
    // In two steps, of which the second begins within the trace.
    let (query, width) = (states.len() / 4, attention.memory_width());
    for rows in [0..3, 3..4] {
        let states = &states[rows.start * query..rows.end * query];
        let contexts = &mut contexts[rows.start * width..rows.end * width];
        attention.step(p, &memory, &SENTENCES[rows], states, contexts, &mut trace);
    }
    (memory, trace, contexts)
}

#[test]
fn gradients() {
    for shape in shapes() {
        let mut layout = Layout::default();
        let attention = Attention::declare(&mut layout, "attention", shape).unwrap();
        let (rc, rw) = (values(4 * shape.memory, 1), values(3 + 1 + 2 + 3, 2));
        let inputs = vec![values(6 * shape.memory, 3), values(4 * shape.query, 4)];
        let mut params = layout.init(6);
        if let Some(temperature) = params.get_mut("attention.temperature") {
            // Flatter than it starts: differences see less of its curvature.
            temperature.data[0] = 2.0;
        }
        GradientCheck::new(params, inputs).run(
            |p, x| {
                let (_, trace, contexts) = run(&attention, p, &x[0], &x[1]);
                GradientCheck::weigh(&contexts, &rc) + GradientCheck::weigh(&trace.weights, &rw)
            },
            |p, g, x| {
                let (memory, trace, _) = run(&attention, p, &x[0], &x[1]);
                let (size, mut d_memory) = (attention.size(), attention.memory_gradient(&memory));
                let mut d_queries = vec![0.0; 4 * size];
                for rows in [3..4, 0..3] {
                    let d_query = &mut d_queries[rows.start * size..rows.end * size];
                    let d_context = &rc[rows.start * shape.memory..rows.end * shape.memory];
                    let d_weights = &rw[trace.start(rows.start)..];
                    let (at, d) = ((&trace, rows.start), (&mut d_memory, d_query));
                    let sentences = &SENTENCES[rows];
                    attention.step_backward(
                        p,
                        g,
                        &memory,
                        sentences,
                        at,
                        d_context,
                        Some(d_weights),
                        d.0,
                        d.1,
                    );
                }
                let mut d_states = vec![0.0; 4 * shape.query];
                attention.add_state_gradient(p, &d_queries, &mut d_states);
                vec![attention.finish(p, g, &memory, &x[1], &d_queries, d_memory).to_vec(), d_states]
            },
        );
    }
}

#[test]
fn scores_are_those_of_the_formulas() {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let map = |w: &[f32], x: &[f32]| w.chunks(x.len()).map(|row| dot(row, x)).collect::<Vec<f32>>();
    for shape in shapes() {
        let mut layout = Layout::default();
        let attention = Attention::declare(&mut layout, "a", shape).unwrap();
        let params = layout.init(3);
        let get = |name: &str| params.get(&format!("a.{name}")).map_or(&[][..], |t| &t.data[..]);
        let (encoded, states) = (values(6 * shape.memory, 1), values(4 * shape.query, 2));
        let (_, trace, _) = run(&attention, &params, &encoded, &states);
        let (e, s) = (&encoded[..shape.memory], &states[..shape.query]);
        let energies = |sums: Vec<f32>, v: &[f32]| dot(v, &sums.iter().map(|x| x.tanh()).collect::<Vec<_>>());
        let expected = match shape.kind {
            AttentionKind::None => unreachable!(),
            AttentionKind::Additive => {
                let (q, k) = (map(get("w_q.weight"), s), map(get("w_k.weight"), e));
                let sums = q.iter().zip(&k).zip(get("w_k.bias")).map(|((q, k), b)| q + k + b).collect();
                energies(sums, get("v.weight"))
            }
            AttentionKind::Dot => dot(e, s),
            AttentionKind::General => dot(&map(get("w_a.weight"), e), s),
            AttentionKind::Concat => energies(map(get("w_a.weight"), &[s, e].concat()), get("v_a.weight")),
            AttentionKind::Cosine => {
                let w_a = get("w_a.weight");
                let key = if w_a.is_empty() { e.to_vec() } else { map(w_a, e) };
                get("temperature")[0] * dot(&key, s) / (dot(&key, &key) * dot(s, s)).sqrt()
            }
        };
        let found = trace.scores()[0];
        assert!((found - expected).abs() < 1e-4, "{shape:?}: {found} {expected}");
    }
}

#[test]
fn weights_sum_to_one_and_an_empty_source_gives_zeros() {
    for kind in AttentionKind::ALL {
        let mut layout = Layout::default();
        let shape = Shape { kind, query: 2, memory: 2, size: 3 };
        let attention = Attention::declare(&mut layout, "attention", shape).unwrap();
        let params = layout.init(1);
        let memory = attention.memory(&params, vec![0, 4], values(8, 1));
        let (mut trace, mut contexts) = (AttentionTrace::default(), vec![1.0; 4]);
        attention.step(&params, &memory, &[0, 1], &values(4, 2), &mut contexts, &mut trace);
        assert_eq!((trace.weights(0).len(), &contexts[..2]), (0, &[0.0, 0.0][..]));
        assert!((trace.weights(1).iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}

#[test]
fn vectors_of_zeros_have_an_angle() {
    let mut layout = Layout::default();
    let shape = Shape { kind: AttentionKind::Cosine, query: 2, memory: 2, size: 0 };
    let attention = Attention::declare(&mut layout, "attention", shape).unwrap();
    let (params, mut grads) = (layout.init(1), layout.init(1).zeros_like());
    let memory = attention.memory(&params, vec![2], vec![0.0, 0.0, 1.0, 2.0]);
    let (mut trace, mut contexts) = (AttentionTrace::default(), vec![0.0; 2]);
    attention.step(&params, &memory, &[0], &[0.0; 2], &mut contexts, &mut trace);
    let (mut d_memory, mut d_queries) = (attention.memory_gradient(&memory), vec![0.0; 2]);
    let d = (&mut d_memory, &mut d_queries);
    attention.step_backward(&params, &mut grads, &memory, &[0], (&trace, 0), &[1.0; 2], None, d.0, d.1);
    assert!(trace.weights(0) == [0.5; 2] && d_queries.iter().all(|d| d.abs() < 1e4), "{d_queries:?}");
}
