//! Single operations against real numbers. A model that labels frames runs each at every position; its logits are the results.

use kinglet::blob::schema::{
    Activation, Add, Attend, Energy, Extent, Form, Frames, Kind as Element, MatrixRecord, Multiplier, Norm,
    Op, Over, Task, View,
};
use kinglet::fixed::q15_to_i8;
use kinglet::kernels::{Bits, Layout, layout};
use kinglet::{Model, Session};
use kinglet_compiler::desktop::{Buffer, retile};
use kinglet_compiler::kinds::Kind;
use kinglet_tests::handmade::{self, Builder, MARKS, Source};
use proptest::prelude::*;

/// A model that is fed `features` int8 numbers a position, taken as they are, and its operations, which leave `width` logits.
fn model(
    features: u16,
    width: u16,
    operations: impl FnOnce(&mut Builder, View, View) -> (Vec<Op>, Vec<Op>),
) -> Vec<u8> {
    let mut b = Builder::new(Layout::Tiles, Kind::Int8, 1);
    let numbers = b.slot(Extent::Source, Element::I8, features);
    let logits = b.slot(Extent::Once, Element::I16, width);
    let (from, to) = (b.whole(numbers), b.whole(logits));
    let (encode, step) = operations(&mut b, from, to);
    b.encode.pass(Over::Forward, &encode);
    b.step.pass(Over::Once, &step);
    // 256 x 2^14 / 2^(8 + 14)
    let records = [0, 0, 0, 0, 0, 0x40, 8, 0].repeat(features.into());
    let source = Source::Frames(Frames {
        slot: numbers,
        post: 14,
        resolution: false,
        records: b.section.push("", &records),
    });
    b.blob(&handmade::Model { task: Task::Label, source, letters: width - MARKS, logits, logit_bits: 9 })
        .unwrap()
}

/// The logits of every position, as blob and as rearranged for the desktop.
fn results(blob: &[u8], numbers: &[i8]) -> Vec<Vec<i16>> {
    let run = |blob: &[u8]| {
        let model = Model::from_bytes(blob).unwrap();
        let mut limits = model.limits(1);
        limits.source = (numbers.len() / model.features()) as u16;
        let mut buffer = Buffer::default();
        let mut session = Session::new(&model, buffer.get(model.ram(&limits)), limits).unwrap();
        session.read_frames(&numbers.iter().map(|&x| x.into()).collect::<Vec<i16>>()).unwrap();
        let mut rows = Vec::new();
        session.label_with(|label| rows.push(label.logits.iter().map(|l| l.get()).collect())).unwrap();
        rows
    };
    let rows: Vec<Vec<i16>> = run(blob);
    assert_eq!(run(&retile(blob).unwrap()), rows, "panels");
    rows
}

fn part(of: View, start: u16, width: u16) -> View {
    View { slot: of.slot, start, width }
}

/// `256 high + low`: any 16-bit number but the largest.
fn wide(from: View, to: View) -> Op {
    let (high, low) = (part(from, 0, to.width), part(from, to.width, to.width));
    Op::Add(Add { a: high, b: Some(low), up: [8, 0], down: 0, to })
}

fn widened(numbers: &[i8], width: usize) -> Vec<f64> {
    (0..width).map(|i| f64::from(numbers[i]) * 256.0 + f64::from(numbers[width + i])).collect()
}

fn numbers(len: usize) -> impl Strategy<Value = Vec<i8>> {
    // Rows of one size, and now and then of few sizes: zeros, extremes, equals.
    let few = prop::sample::select(vec![-127i8, -1, 0, 1, 127]);
    prop_oneof![
        3 => prop::collection::vec(-127i8..=127, len),
        1 => prop::collection::vec(-3i8..=3, len),
        1 => prop::collection::vec(few, len),
    ]
}

fn a_row(widths: impl Strategy<Value = usize>, rows: usize) -> impl Strategy<Value = (usize, Vec<i8>)> {
    widths.prop_flat_map(move |width| (Just(width), numbers(rows * width)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Sums and copies of all kinds are the rounded, saturated number.
    #[test]
    fn sums_are_rounded_and_saturated(
        (width, numbers) in a_row(3usize..40, 4),
        up in [0u8..=13, 0u8..=13], down in 0u8..=30, bytes: [bool; 2], narrow: bool, alone: bool,
    ) {
        let w = width as u16;
        let blob = model(4 * w, w, |b, from, to| {
            // Each operand as int8 or as 16-bit.
            let mut ops = Vec::new();
            let mut operand = |b: &mut Builder, at: u16, byte: bool| {
                if byte { return part(from, at, w) }
                let slot = b.slot(Extent::Once, Element::I16, w);
                ops.push(wide(part(from, at, 2 * w), b.whole(slot)));
                b.whole(slot)
            };
            // `wide` reads views from 0 on: the second operand's halves are moved by views of their own.
            let first = operand(b, 0, bytes[0]);
            let second = if bytes[1] { part(from, 2 * w, w) } else {
                let slot = b.slot(Extent::Once, Element::I16, w);
                let (high, low) = (part(from, 2 * w, w), part(from, 3 * w, w));
                ops.push(Op::Add(Add { a: high, b: Some(low), up: [8, 0], down: 0, to: b.whole(slot) }));
                b.whole(slot)
            };
            let sum = |to| Op::Add(Add { a: first, b: (!alone).then_some(second), up, down, to });
            if narrow {
                let slot = b.slot(Extent::Once, Element::I8, w);
                ops.push(sum(b.whole(slot)));
                ops.push(Op::Add(Add { a: b.whole(slot), b: None, up: [0, 0], down: 0, to }));
            } else {
                ops.push(sum(to));
            }
            (vec![], ops)
        });
        let found = results(&blob, &numbers);
        for i in 0..width {
            let operand = |at: usize, byte: bool| {
                let high = f64::from(numbers[at * width + i]);
                if byte { high } else { high * 256.0 + f64::from(numbers[(at + 1) * width + i]) }
            };
            let mut sum = operand(0, bytes[0]) * 2f64.powi(up[0].into());
            if !alone {
                sum += operand(2, bytes[1]) * 2f64.powi(up[1].into());
            }
            let rounded = (sum / 2f64.powi(down.into()) + 0.5).floor();
            let limits = if narrow { (-127.0, 127.0) } else { (-32_768.0, 32_767.0) };
            prop_assert_eq!(f64::from(found[0][i]), rounded.clamp(limits.0, limits.1));
        }
    }

    /// Layer normalization of int8 and of 16-bit rows is within the bound that `docs/quantization.md` states.
    #[test]
    fn layers_are_normalized(
        (width, numbers) in a_row(prop_oneof![3usize..40, 60usize..70, Just(128), Just(300)], 2),
        byte: bool, narrow: bool, epsilon in prop::sample::select(vec![0u32, 10_737, 1 << 29]),
    ) {
        let w = width as u16;
        let fraction = 15 - (u16::BITS - (w - 1).leading_zeros()).div_ceil(2);
        let gains: Vec<i16> = (0..width).map(|i| [16_384, -9_000, 30_000, 700][i % 4]).collect();
        let biases: Vec<i16> = (0..width).map(|i| [0, 40, -100][i % 3]).collect();
        let shift = if narrow { 14 + fraction - 4 } else { 16 } as u8;
        let blob = model(2 * w, w, |b, from, to| {
            let row = b.slot(Extent::Once, Element::I16, w);
            let row = b.whole(row);
            let gains = b.section.push_i16("gains", &[gains.clone(), biases.clone()].concat());
            let form = Form::Layer { gains, shift, epsilon };
            let mut ops = vec![wide(from, row)];
            let from = if byte { part(from, 0, w) } else { row };
            if narrow {
                let slot = b.slot(Extent::Once, Element::I8, w);
                ops.push(Op::Norm(Norm { from, form, to: b.whole(slot) }));
                ops.push(Op::Add(Add { a: b.whole(slot), b: None, up: [0, 0], down: 0, to }));
            } else {
                // In place.
                ops.push(Op::Norm(Norm { from, form, to: if byte { to } else { row } }));
                ops.push(Op::Add(Add { a: if byte { to } else { row }, b: None, up: [0, 0], down: 0, to }));
            }
            (vec![], ops)
        });
        let found = results(&blob, &numbers);
        let x = if byte { numbers[..width].iter().map(|&x| f64::from(x)).collect() } else { widened(&numbers, width) };
        let n = width as f64;
        let mean = x.iter().sum::<f64>() / n;
        let deviation = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n + f64::from(epsilon)).sqrt();
        for i in 0..width {
            let y = if deviation > 0.0 { (x[i] - mean) / deviation } else { 0.0 };
            let gain = f64::from(gains[i]) / 2f64.powi(shift.into());
            let unit = 2f64.powi(fraction as i32);
            let limits = if narrow { (-127.0, 127.0) } else { (-32_768.0, 32_767.0) };
            let exact = (y * unit * gain + f64::from(biases[i])).clamp(limits.0, limits.1);
            let bound = 0.5 + gain.abs() * 3.0;
            let error = (f64::from(found[0][i]) - exact).abs();
            prop_assert!(error <= bound, "{}: {} not {exact}, {error} above {bound}", i, found[0][i]);
        }
    }

    /// Rows of length 1, in 2^-15 and in 2^-7.
    #[test]
    fn lengths_become_one((width, numbers) in a_row(3usize..90, 2), byte: bool, narrow: bool) {
        let w = width as u16;
        let blob = model(2 * w, w, |b, from, to| {
            let row = b.slot(Extent::Once, Element::I16, w);
            let row = b.whole(row);
            let mut ops = vec![wide(from, row)];
            let from = if byte { part(from, 0, w) } else { row };
            let to_narrow = b.slot(Extent::Once, Element::I8, w);
            let form = Form::Length;
            if narrow {
                ops.push(Op::Norm(Norm { from, form, to: b.whole(to_narrow) }));
                ops.push(Op::Add(Add { a: b.whole(to_narrow), b: None, up: [0, 0], down: 0, to }));
            } else {
                ops.push(Op::Norm(Norm { from, form, to }));
            }
            (vec![], ops)
        });
        let found = results(&blob, &numbers);
        let x = if byte { numbers[..width].iter().map(|&x| f64::from(x)).collect() } else { widened(&numbers, width) };
        let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        for i in 0..width {
            let (unit, limit, bound) = if narrow { (128.0, 127.0, 0.51) } else { (32_768.0, 32_767.0, 3.0) };
            let exact = if length > 0.0 { x[i] / length * unit } else { 0.0 };
            let error = (f64::from(found[0][i]) - exact.clamp(-limit, limit)).abs();
            prop_assert!(error <= bound, "{}: {} not {exact}", i, found[0][i]);
        }
    }

    /// Attention by products: weights are the softmax of products of int8 rows.
    #[test]
    fn dots_attend(
        (width, numbers) in (3usize..40, 1usize..8).prop_flat_map(|(width, len)| (Just(width), numbers(4 * width * len))),
        mantissa in 0u16..=32_640,
    ) {
        let w = width as u16;
        let score = Multiplier { mantissa, pre: 0, post: 15 };
        let blob = model(4 * w, w, |b, from, to| {
            let [keys, values] = [(); 2].map(|()| b.slot(Extent::Source, Element::I8, w));
            let (query, context) = (b.slot(Extent::Once, Element::I16, w), b.slot(Extent::Once, Element::I8, w));
            let copy = |start: u16, to: View| Op::Add(Add { a: part(from, start * w, w), b: None, up: [0, 0], down: 0, to });
            let encode = vec![copy(2, b.whole(keys)), copy(3, b.whole(values))];
            let attend = Attend { query, keys, energy: Energy::Dot, score, score_bits: 9, values, to: b.whole(context) };
            let show = Op::Add(Add { a: b.whole(context), b: None, up: [0, 0], down: 0, to });
            (encode, vec![wide(from, b.whole(query)), Op::Attend(attend), show])
        });
        let found = results(&blob, &numbers);
        let rows: Vec<&[i8]> = numbers.chunks(4 * width).collect();
        for (row, found) in rows.iter().zip(&found) {
            let query: Vec<f64> = widened(row, width).iter().map(|q| ((q + 128.0) / 256.0).floor().clamp(-127.0, 127.0)).collect();
            let scores: Vec<f64> = rows.iter().map(|other| {
                let dot: f64 = query.iter().zip(&other[2 * width..]).map(|(q, &k)| q * f64::from(k)).sum();
                // Saturated as 16-bit numbers are.
                (dot.clamp(-65_536.0, 65_535.0) * f64::from(mantissa) / 32_768.0).clamp(-32_768.0, 32_767.0)
            }).collect();
            let most = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| ((s - most) / 512.0).exp2()).collect();
            let total: f64 = weights.iter().sum();
            for i in 0..width {
                let exact = weights.iter().zip(&rows).map(|(p, other)| p / total * f64::from(other[3 * width + i])).sum::<f64>();
                // Half a unit of the score is 0.07 % of a weight, rounding the result half a unit.
                prop_assert!((f64::from(found[i]) - exact).abs() <= 0.5 + 0.3, "{} not {exact}", found[i]);
            }
        }
    }

    /// ReLU is the sum where it is positive.
    #[test]
    fn negative_sums_become_zero((width, numbers) in a_row(3usize..40, 1)) {
        let w = width as u16;
        let with = |activation| results(
            &model(w, w, |b, from, to| (vec![], vec![b.linear(&[from], to, activation, 9000.0)])),
            &numbers,
        );
        let (sums, found) = (with(Activation::None), with(Activation::Relu));
        prop_assert!(sums[0].iter().zip(&found[0]).all(|(&sum, &found)| found == sum.max(0)));
    }
}

/// A cell with peepholes follows the real equations, step by step from the states that it was left with.
#[test]
fn peepholes_look_at_the_cell() {
    let (units, steps) = (9u16, 40usize);
    let blob = |seed, peepholes| {
        let mut b = Builder::new(Layout::Tiles, Kind::Int8, seed);
        let numbers = b.slot(Extent::Source, Element::I8, 4);
        let logits = b.slot(Extent::Once, Element::I16, 2 * units);
        let [state, cell] = [(); 2].map(|()| b.slot(Extent::Hypothesis, Element::I16, units));
        let lstm = b.lstm(&[b.whole(numbers)], state, cell, peepholes, None);
        let show = |from, start| {
            let to = View { slot: logits, start, width: units };
            Op::Add(Add { a: from, b: None, up: [0, 0], down: 0, to })
        };
        let shown = [show(b.whole(cell), 0), show(b.whole(state), units)];
        b.step.pass(Over::Once, &[&[lstm.clone()][..], &shown].concat());
        let records = b.section.push("", &[0, 0, 0, 0, 0, 0x40, 8, 0].repeat(4));
        let source = Source::Frames(Frames { slot: numbers, post: 14, resolution: false, records });
        let letters = 2 * units - MARKS;
        let model = handmade::Model { task: Task::Label, source, letters, logits, logit_bits: 9 };
        (b.blob(&model).unwrap(), lstm)
    };
    let mut different = false;
    for seed in 0..20 {
        let numbers: Vec<i8> = (0..4 * steps)
            .map(|i| ((i * 89 + seed as usize * 31) % 255) as i8)
            .map(|x| x.max(-127))
            .collect();
        let (with, op) = blob(seed, true);
        let found = results(&with, &numbers);
        different |= found != results(&blob(seed, false).0, &numbers);
        let model = Model::from_bytes(&with).unwrap();
        let start = vec![0i16; 2 * usize::from(units)];
        let before = [&start].into_iter().chain(&found);
        for (step, (before, after)) in before.zip(&found).enumerate() {
            let wanted = one_step(&model, &op, before, &numbers[4 * step..][..4]);
            for (i, (found, wanted)) in after.iter().zip(wanted).enumerate() {
                let unit = if i < units.into() { 2048.0 } else { 32_768.0 };
                let found = f64::from(*found) / unit;
                assert!((found - wanted).abs() < 2e-3, "seed {seed} step {step}: {found} {wanted}");
            }
        }
    }
    assert!(different, "peepholes change something");
}

/// Cells, then hidden states, behind an LSTM with peepholes in f64; hidden states enter products as these read them.
fn one_step(model: &Model<'_>, op: &Op, before: &[i16], input: &[i8]) -> Vec<f64> {
    let Op::Lstm(op) = op else { unreachable!() };
    let (data, at, units) = (model.data(), op.matrix as usize, before.len() / 2);
    let record = MatrixRecord::from_bytes(data[at..].first_chunk().unwrap()).unwrap();
    let peephole = |gate: usize, unit: usize| {
        let bytes = *data[at + 16 + 2 * (gate * units + unit)..].first_chunk().unwrap();
        f64::from(i16::from_le_bytes(bytes)) * 2048.0 / 2f64.powi(op.peepholes.unwrap().into()) / 4096.0
    };
    let (x, h) = (input.len(), units.next_multiple_of(4));
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let (cells, hidden) = before.split_at(units);
    let columns: Vec<f64> =
        input.iter().map(|&x| f64::from(x)).chain(hidden.iter().map(|&h| f64::from(q15_to_i8(h)))).collect();
    let after = (0..units).map(|unit| {
        let sum = |gate: usize| {
            let stream = &data[record.weights as usize + unit * 4 * (x + h)..][..4 * (x + h)];
            let weight = |c: usize| f64::from(layout::weight(Layout::Tiles, Bits::Int8, stream, gate, c));
            let row = &data[record.rows as usize + 8 * (4 * unit + gate)..][..8];
            let bias = f64::from(i32::from_le_bytes(*row.first_chunk().unwrap()));
            // Columns enter as x + 128, which the bias takes back.
            let offset: f64 = (0..x + h).map(weight).sum::<f64>() * 128.0;
            let factor = f64::from(u16::from_le_bytes([row[4], row[5]]))
                / 2f64.powi(i32::from(row[6]) + i32::from(record.post));
            let products: f64 = columns.iter().enumerate().map(|(c, x)| weight(c) * x).sum();
            ((products + bias + offset) * factor / 4096.0).clamp(-8.0, 8.0)
        };
        let c = f64::from(cells[unit]) / 2048.0;
        let i = sigmoid(sum(0) + peephole(0, unit) * c);
        let f = sigmoid(sum(1) + peephole(1, unit) * c);
        let c = f * c + i * sum(2).tanh();
        (c, sigmoid(sum(3) + peephole(2, unit) * c) * c.tanh())
    });
    let (cells, hidden): (Vec<f64>, Vec<f64>) = after.unzip();
    [cells, hidden].concat()
}
