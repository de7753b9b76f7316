//! Products of all shapes, layouts and sizes of weights.

use core::cell::Cell;

use kinglet::Aligned;
use kinglet::fixed::MAX_MANTISSA;
use kinglet::kernels::{self, Bits, Columns, LANES, Layout, ROWS, Rows, layout};

use super::{Difference, Random, UNTOUCHED};

/// Most columns of a case. Cores without room for two vectors have little for long ones.
const COLUMNS: usize = if LANES == 2 { 1536 } else { 1024 };
/// Most bytes of weights.
const WEIGHTS: usize = if LANES == 2 { 3 * 4 * COLUMNS } else { 8192 };
/// Most streams: up to twelve rows.
const STREAMS: usize = 3;
/// Multipliers of most groups.
const MULTIPLIERS: usize = (COLUMNS / 16 + 2) * ROWS * STREAMS;
/// Places for results, some of them on either side of those that are asked for.
const PLACES: usize = 4 + 4 * STREAMS + 4;

/// Room for one case: static memory, for small stacks.
pub struct Room {
    weights: Aligned<[u8; WEIGHTS + 4]>,
    records: Aligned<[u8; 8 * ROWS * STREAMS + 4]>,
    multipliers: [u8; MULTIPLIERS],
    /// Columns of each vector, as they are.
    columns: [[i16; COLUMNS]; LANES],
    /// As kernels read them.
    ordered: Aligned<[i16; LANES * COLUMNS]>,
    places: [[Cell<i16>; PLACES]; LANES],
}

impl Room {
    /// Nothing but zeros.
    pub const fn new() -> Self {
        Self {
            weights: Aligned([0; WEIGHTS + 4]),
            records: Aligned([0; 8 * ROWS * STREAMS + 4]),
            multipliers: [0; MULTIPLIERS],
            columns: [[0; COLUMNS]; LANES],
            ordered: Aligned([0; LANES * COLUMNS]),
            places: [const { [const { Cell::new(0) }; PLACES] }; LANES],
        }
    }
}

/// Weights and columns of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Evenly distributed.
    Random,
    /// All weights highest or lowest, by row; all columns highest or lowest.
    Extreme,
    /// Highest and lowest in turn.
    Alternating,
}

/// A product.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Arrangement of the weights.
    pub layout: Layout,
    /// Size of a weight.
    pub bits: Bits,
    /// Columns.
    pub columns: usize,
    /// Rows asked for; whole streams are computed.
    pub rows: usize,
    /// Columns of a group.
    pub group: usize,
    /// Where groups start anew.
    pub split: usize,
    /// Weights and columns.
    pub values: Values,
    /// Second shift.
    pub post: u8,
    /// Bytes by which weights and records are out of alignment.
    pub skew: usize,
}

/// Runs all products.
///
/// # Errors
///
/// The first difference.
pub fn products(room: &mut Room) -> Result<usize, Difference> {
    let mut random = Random(0x9E37_79B9);
    let mut done = 0;
    for layout in [Layout::Tiles, Layout::Pairs, Layout::Blocks] {
        let tile = layout.columns();
        let lengths = (1..=64 / 4).map(|n| 4 * n);
        let lengths = lengths.chain([128, 192, 260, 384, 512, 516, 528, 768, 1024, 1028, 1536]);
        for columns in lengths.filter(|columns| columns & (tile - 1) == 0 && *columns <= COLUMNS) {
            for bits in [Bits::Int8, Bits::Int4] {
                for group in [0, 16, 32] {
                    for values in
                        [Values::Random, Values::Random, Values::Random, Values::Extreme, Values::Alternating]
                    {
                        let streams =
                            WEIGHTS.checked_div(bits.stream_bytes(columns)).unwrap_or(1).min(STREAMS);
                        let case = Case {
                            layout,
                            bits,
                            columns,
                            // 4 to 12.
                            rows: (4 + random.below(9) as usize).min(4 * streams),
                            group,
                            split: (random.below(columns as u32 / 4 + 1) as usize * 4) & !(tile - 1),
                            values,
                            post: match random.below(4) {
                                0 => 1,
                                1 => 23,
                                _ => 15 + random.below(4) as u8,
                            },
                            skew: if random.below(8) == 0 { 1 } else { 0 },
                        };
                        fill(room, &case, &mut random);
                        product(room, &case)?;
                        done += 1;
                        if kernels::interleaved(layout) && two(room, &case)? {
                            done += 1;
                        }
                    }
                }
            }
        }
    }
    Ok(done)
}

/// Draws a case's weights, records, multipliers and columns.
fn fill(room: &mut Room, case: &Case, random: &mut Random) {
    let stream_bytes = case.bits.stream_bytes(case.columns);
    let top = match case.bits {
        Bits::Int8 => 127,
        Bits::Int4 => 7,
    };
    let Some(weights) = room.weights.0.get_mut(case.skew..) else { return };
    weights.iter_mut().for_each(|byte| *byte = 0);
    for stream in 0..STREAMS {
        let Some(bytes) = weights.get_mut(stream * stream_bytes..).and_then(|w| w.get_mut(..stream_bytes))
        else {
            break;
        };
        let signs = random.next();
        for column in 0..case.columns {
            let of = |row: usize, random: &mut Random| match case.values {
                Values::Random => random.below(2 * top as u32 + 1) as i32 - top,
                Values::Extreme if signs >> row & 1 == 0 => top,
                Values::Extreme => -top,
                Values::Alternating if (row + column + signs as usize) & 1 == 0 => top,
                Values::Alternating => -top,
            };
            let four = [of(0, random), of(1, random), of(2, random), of(3, random)];
            encode(case.layout, case.bits, bytes, column, four);
        }
    }
    if let Some(records) = room.records.0.get_mut(case.skew..) {
        for record in records.as_chunks_mut::<8>().0 {
            let bias = match random.below(8) {
                0 => i32::MAX,
                1 => i32::MIN,
                2 => random.next() as i32,
                _ => random.next() as i32 >> 16,
            };
            let mantissa = match random.below(8) {
                0 => MAX_MANTISSA,
                1 => random.below(3) as u16,
                _ => 16_384 + random.below(16_257) as u16,
            };
            let pre = match random.below(8) {
                0 => 0,
                1 => 31,
                2 => random.below(32) as u8,
                // As far as the sums of long rows need, for results that are not all saturated.
                _ => random.below(10) as u8,
            };
            let ([b0, b1, b2, b3], [m0, m1]) = (bias.to_le_bytes(), mantissa.to_le_bytes());
            *record = [b0, b1, b2, b3, m0, m1, pre, 0];
        }
    }
    for multiplier in &mut room.multipliers {
        *multiplier = random.below(256) as u8;
    }
    let offset = case.layout.column_offset();
    for columns in &mut room.columns {
        let sign = random.next() & 1;
        for (i, column) in columns.iter_mut().enumerate() {
            *column = offset
                + match case.values {
                    Values::Random => random.below(256) as i16 - 128,
                    Values::Extreme if sign == 0 => 127,
                    Values::Alternating if (i as u32 ^ sign) & 1 == 0 => 127,
                    _ => -128,
                };
        }
    }
}

/// Writes four rows' weights of a column: the inverse of [`layout::weight`].
fn encode(layout: Layout, bits: Bits, stream: &mut [u8], column: usize, weights: [i32; 4]) {
    let [a, b, c, d] = weights;
    let mut add = |at: usize, bytes: &[u8]| {
        for (to, byte) in stream.iter_mut().skip(at).zip(bytes) {
            *to |= byte;
        }
    };
    let (tile, within) = (column / 16, column & 15);
    match (layout, bits) {
        (Layout::Tiles, Bits::Int8) => add(4 * column, &[a, d, c, b].map(|w| (w + 128) as u8)),
        (Layout::Tiles, Bits::Int4) => {
            for (row, w) in weights.into_iter().enumerate() {
                let lane = ((w + 8) as u16) << (4 * (column & 3));
                add(8 * (column / 4) + 2 * row, &lane.to_le_bytes());
            }
        }
        (Layout::Pairs, Bits::Int8) => {
            let at = 8 * (column / 2) + 2 * (column & 1);
            add(at, &((256 * a + b) as i16).to_le_bytes());
            add(at + 4, &((256 * c + d) as i16).to_le_bytes());
        }
        (Layout::Pairs, Bits::Int4) => {
            let lane = 4096 * a + 256 * (b + 8) + 16 * (c + 8) + d + 8;
            add(2 * column, &(lane as i16).to_le_bytes());
        }
        (Layout::Blocks, Bits::Int8) => {
            for (row, w) in weights.into_iter().enumerate() {
                add(64 * tile + 16 * row + within, &[w as u8]);
            }
        }
        (Layout::Blocks, Bits::Int4) => {
            add(32 * tile + within, &[(a + 8 + 16 * (b + 8)) as u8]);
            add(32 * tile + 16 + within, &[(c + 8 + 16 * (d + 8)) as u8]);
        }
        // The runtime of a desktop has one more, whose streams are wider.
        #[allow(unreachable_patterns)]
        _ => {}
    }
}

/// A row's result by the definition.
fn expected(room: &Room, case: &Case, vector: usize, row: usize) -> i16 {
    let stream_bytes = case.bits.stream_bytes(case.columns);
    let stream = room.weights.0.get(case.skew + row / ROWS * stream_bytes..).unwrap_or(&[]);
    let multipliers = room.multipliers.get(row / ROWS * groups(case, case.columns) * ROWS..).unwrap_or(&[]);
    let columns = room.columns.get(vector).map_or(&[][..], |columns| columns);
    let mut sum = 0i32;
    for (c, &x) in columns.iter().enumerate().take(case.columns) {
        let w = layout::weight(case.layout, case.bits, stream, row, c);
        let factor = match case.group {
            0 => 1,
            _ => multipliers.get(ROWS * (groups(case, c + 1) - 1) + row % ROWS).map_or(1, |&m| i32::from(m)),
        };
        sum = sum.wrapping_add(factor.wrapping_mul(w * i32::from(x)));
    }
    let records = room.records.0.get(case.skew..).unwrap_or(&[]).as_chunks::<8>().0;
    let Some(&[b0, b1, b2, b3, m0, m1, pre, _]) = records.get(row) else { return 0 };
    let accumulator = sum.wrapping_add(i32::from_le_bytes([b0, b1, b2, b3])) >> (pre & 31);
    let product = i64::from(accumulator.clamp(-65_536, 65_535)) * i64::from(u16::from_le_bytes([m0, m1]));
    ((product + (1 << case.post >> 1)) >> case.post).clamp(-32_768, 32_767) as i16
}

/// Groups that the first so many columns belong to.
fn groups(case: &Case, columns: usize) -> usize {
    // Groups have 16 or 32 columns.
    let (bits, last) = (case.group.trailing_zeros() & 31, case.group.wrapping_sub(1));
    match case.group {
        0 => 0,
        _ if columns <= case.split => (columns + last) >> bits,
        _ => ((case.split + last) >> bits) + ((columns - case.split + last) >> bits),
    }
}

/// What a kernel is given.
fn rows<'a>(room: &'a Room, case: &Case) -> Rows<'a> {
    Rows {
        layout: case.layout,
        bits: case.bits,
        weights: room.weights.0.get(case.skew..).unwrap_or(&[]),
        records: room.records.0.get(case.skew..).unwrap_or(&[]).as_chunks().0,
        post: case.post,
        group: case.group as u16,
        split: case.split,
        multipliers: &room.multipliers,
    }
}

/// Where results go, with every place marked.
fn places<'a>(room: &'a Room, case: &Case, vector: usize) -> &'a [Cell<i16>] {
    let places = room.places.get(vector).map_or(&[][..], |places| places);
    places.iter().for_each(|place| place.set(UNTOUCHED));
    places.get(4..4 + case.rows).unwrap_or(&[])
}

/// Compares all places with what they should hold.
fn compare(room: &Room, case: &Case, vector: usize, name: Option<usize>) -> Result<(), Difference> {
    let whole = case.rows & !(ROWS - 1);
    for (place, found) in room.places.get(vector).into_iter().flatten().enumerate() {
        let row = place.wrapping_sub(4);
        let expected = if row < whole { expected(room, case, vector, row) } else { UNTOUCHED };
        let found = found.get();
        if found != expected {
            return Err(Difference::Product { case: *case, vector: name, row, expected, found });
        }
    }
    Ok(())
}

/// Runs `project` on the first vector.
fn product(room: &mut Room, case: &Case) -> Result<(), Difference> {
    for (to, from) in room.ordered.0.iter_mut().zip(room.columns.iter().flatten()) {
        *to = *from;
    }
    let total = kernels::total(room.ordered.0.get(..case.columns).unwrap_or(&[]));
    kernels::prepare(case.layout, room.ordered.0.get_mut(..case.columns).unwrap_or(&mut []));
    let values = room.ordered.0.get(..case.columns).unwrap_or(&[]);
    kernels::project(&rows(room, case), &Columns { values, total }, places(room, case, 0));
    compare(room, case, 0, None)
}

/// Runs `project_two`, where there are two vectors.
fn two(room: &mut Room, case: &Case) -> Result<bool, Difference> {
    let [first, .., second] = room.columns.as_slice() else { return Ok(false) };
    let both = first.as_chunks::<2>().0.iter().zip(second.as_chunks::<2>().0);
    for (to, (a, b)) in room.ordered.0.as_chunks_mut::<4>().0.iter_mut().zip(both) {
        *to = [a[0], a[1], b[0], b[1]];
    }
    let pair = room.ordered.0.get(..2 * case.columns).unwrap_or(&[]);
    let sums = kernels::totals_two(pair);
    let totals = core::array::from_fn(|vector| sums.get(vector).copied().unwrap_or(0));
    let to = core::array::from_fn(|vector| places(room, case, vector));
    kernels::project_two(&rows(room, case), pair, totals, to);
    for vector in 0..LANES {
        compare(room, case, vector, Some(vector))?;
    }
    Ok(true)
}
