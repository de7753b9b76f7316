//! Products of matrices on one core: `c = a · b`, with `b` packed beforehand where it is used again.
//!
//! ```text
//! for 512 rows of b          a block's sums stay exact in order: its partial result is added to c once
//!   for 240 rows of a        as much of it as the second-level cache holds
//!     for 32 columns of b    a panel: [depth, 32], contiguous; the next one is fetched meanwhile
//!       for 12 rows of a     a tile of c lives in registers while the depth passes by
//! ```
//!
//! A tile of 12 rows and 32 columns reads 44 numbers for 384 multiply-adds, so that the multipliers wait for nothing;
//! the arrangement is that of Goto and van de Geijn (2008, "Anatomy of high-performance matrix multiplication"). Every
//! value of `c` is summed in the order of the depth, whatever the tile: rows have the same bits in any company.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2, Axis, Slice};

use crate::nn::buffer::Buffer;
use crate::nn::simd::Level;

/// Columns of a panel.
const WIDTH: usize = 32;
/// Depth that is summed before the result is added to `c`.
const DEPTH: usize = 512;
/// Rows of `a` that are packed together: a multiple of every tile's rows.
const ROWS: usize = 240;
/// Numbers in a cache line.
pub(crate) const LINE: usize = 16;

/// What a product's sums start from.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// Nothing.
    Zero,
    /// The same values in every row, `[cols]`.
    Row(&'a [f32]),
    /// What `c` holds.
    Sum,
}

/// A tile's operands: `rows` rows, `cols` columns, both at most those of the kernel.
#[derive(Clone, Copy)]
struct Tile {
    rows: usize,
    cols: usize,
    depth: usize,
    /// Row `i` at depth `k` is at `i * a_row + k * a_step`.
    a: *const f32,
    a_row: isize,
    a_step: isize,
    /// [depth, WIDTH].
    b: *const f32,
    /// What later tiles read, a line for each step of the depth: it may be fetched, and need not be anywhere.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "AVX-512 alone fetches"))]
    next: *const f32,
    c: *mut f32,
    c_row: isize,
    /// Row `i` starts from what is at `i * start_row`; null for nothing.
    start: *const f32,
    start_row: isize,
}

impl Tile {
    /// Adds the start of row `i` to `sums`, and writes them to `c`.
    ///
    /// # Safety
    /// `c` and `start` hold `cols` values of row `i`.
    unsafe fn store(&self, i: usize, sums: &[f32; WIDTH]) {
        for (j, &sum) in sums[..self.cols].iter().enumerate() {
            // SAFETY: the caller's.
            unsafe {
                let start = if self.start.is_null() {
                    0.0
                } else {
                    *self.start.offset(i as isize * self.start_row).add(j)
                };
                *self.c.offset(i as isize * self.c_row).add(j) = start + sum;
            }
        }
    }
}

/// A block of at most 16 by 16 numbers, to be written with rows and columns exchanged.
#[derive(Clone, Copy)]
struct Block {
    /// Row `i` begins at `i * from_row`; its numbers are neighbours.
    from: *const f32,
    from_row: isize,
    rows: usize,
    cols: usize,
    /// Column `k` goes to `k * to_row`, followed by zeros up to `width` numbers.
    to: *mut f32,
    to_row: usize,
    width: usize,
}

/// Computes tiles of at most `rows` rows.
#[derive(Clone, Copy)]
struct Kernel {
    rows: usize,
    /// # Safety
    /// The machine has the kernel's instructions, and what the tile names may be read and written.
    run: unsafe fn(&Tile),
    /// # Safety
    /// As `run`, for what the block names.
    transpose: unsafe fn(&Block),
}

impl Kernel {
    fn get() -> Self {
        match Level::get() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::KERNEL,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::KERNEL,
            _ => portable::KERNEL,
        }
    }
}

/// The right side of a product [depth, cols], cut into panels of 32 columns.
#[derive(Debug, Clone, Copy)]
pub struct Panels<'a> {
    data: &'a [f32],
    depth: usize,
    cols: usize,
}

impl<'a> Panels<'a> {
    /// Numbers that the panels of [depth, cols] take.
    pub fn len_of(depth: usize, cols: usize) -> usize {
        cols.div_ceil(WIDTH) * WIDTH * depth
    }

    /// Packs `b` [depth, cols] into `to`, which should begin at a cache line.
    ///
    /// # Panics
    /// When `to` is not [`Panels::len_of`] numbers long.
    pub fn pack(b: ArrayView2<'_, f32>, to: &'a mut [f32]) -> Self {
        let (depth, cols) = b.dim();
        assert_eq!(to.len(), Self::len_of(depth, cols), "room for the panels");
        pack_panels(b, to);
        Self { data: to, depth, cols }
    }

    /// What [`Panels::pack`] has left in `data`.
    ///
    /// # Panics
    /// As [`Panels::pack`].
    pub fn packed(data: &'a [f32], depth: usize, cols: usize) -> Self {
        assert_eq!(data.len(), Self::len_of(depth, cols), "the panels of this size");
        Self { data, depth, cols }
    }
}

/// The numbers of `buffer` from its first cache line on; it is [`LINE`] longer than what is asked of it.
pub(crate) fn aligned(buffer: &mut Buffer) -> &mut [f32] {
    let start = buffer.as_ptr().align_offset(4 * LINE).min(LINE);
    let end = buffer.len() - LINE + start;
    &mut buffer[start..end]
}

/// Cuts `b` [depth, cols] into panels; the last one is filled up with zeros.
fn pack_panels(b: ArrayView2<'_, f32>, to: &mut [f32]) {
    let ((depth, cols), kernel) = (b.dim(), Kernel::get());
    let neighbours = b.strides()[0] == 1;
    for (j, panel) in to.chunks_exact_mut((depth * WIDTH).max(1)).take(cols.div_ceil(WIDTH)).enumerate() {
        let width = WIDTH.min(cols - j * WIDTH);
        let part = b.slice_axis(Axis(1), Slice::from(j * WIDTH..j * WIDTH + width));
        if neighbours {
            transpose(kernel, part.reversed_axes(), panel, WIDTH, WIDTH);
            continue;
        }
        if width < WIDTH {
            panel.fill(0.0);
        }
        for (row, from) in panel.chunks_exact_mut(WIDTH).zip(part.rows()) {
            copy::<WIDTH>(row, from);
        }
    }
}

/// Writes column `k` of `from`, whose rows hold neighbours, to the front of row `k` of `to`, followed by zeros up to `width`.
fn transpose(kernel: Kernel, from: ArrayView2<'_, f32>, to: &mut [f32], to_row: usize, width: usize) {
    let (rows, cols) = from.dim();
    assert!(cols <= 1 || from.strides()[1] == 1, "numbers of a row are neighbours");
    assert!(rows <= width && width <= to_row && to.len() >= cols * to_row, "room for every column");
    for lane in (0..width).step_by(LINE) {
        for k in (0..cols).step_by(LINE) {
            let from_row = from.strides()[0];
            // SAFETY: rows `lane ..` and columns `k ..` are within the view, where they are not, none are read; `to` has
            // room for the columns, as compared above.
            unsafe {
                (kernel.transpose)(&Block {
                    from: from.as_ptr().wrapping_offset(lane as isize * from_row).wrapping_add(k),
                    from_row,
                    rows: LINE.min(rows.saturating_sub(lane)),
                    cols: LINE.min(cols - k),
                    to: to.as_mut_ptr().add(k * to_row + lane),
                    to_row,
                    width: LINE.min(width - lane),
                });
            }
        }
    }
}

/// `c = start + a · b`, for `a` [rows, depth], `b` [depth, cols] and `c` [rows, cols] with neighbouring columns.
///
/// # Panics
/// When the sizes do not fit, or the columns of `c` are not neighbours.
pub fn product(c: ArrayViewMut2<'_, f32>, a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, start: Start<'_>) {
    let (depth, cols) = b.dim();
    assert_eq!((c.dim(), a.ncols()), ((a.nrows(), cols), depth), "sizes of c, a and b fit");
    let (mut c, mut start) = (c, start);
    let mut room = Buffer::unspecified(Panels::len_of(depth.min(DEPTH), cols) + LINE);
    let room = aligned(&mut room);
    // A depth of nothing still starts its sums.
    for from in (0..depth.max(1)).step_by(DEPTH) {
        let part = from..depth.min(from + DEPTH);
        let b = b.slice_axis(Axis(0), Slice::from(part.clone()));
        let panels = Panels::pack(b, &mut room[..Panels::len_of(part.len(), cols)]);
        product_packed(c.view_mut(), a.slice_axis(Axis(1), Slice::from(part)), panels, start);
        start = Start::Sum;
    }
}

/// [`product`] with packed `b`.
///
/// # Panics
/// As [`product`].
pub fn product_packed(
    mut c: ArrayViewMut2<'_, f32>,
    a: ArrayView2<'_, f32>,
    b: Panels<'_>,
    start: Start<'_>,
) {
    let ((rows, depth), cols) = (a.dim(), b.cols);
    assert_eq!((c.dim(), depth), ((rows, cols), b.depth), "sizes of c, a and b fit");
    if rows == 0 || cols == 0 {
        return;
    }
    assert!(cols == 1 || c.strides()[1] == 1, "the columns of c are neighbours");
    if let Start::Row(row) = start {
        assert_eq!(row.len(), cols, "a start for every column");
    }
    let kernel = Kernel::get();
    let (a_row, a_step, c_row) = (a.strides()[0], a.strides()[1], c.strides()[0]);
    // Rows of `a` are read where they are, unless their values are far apart, fall on the same few places of the cache, or are
    // so many, and read for so many panels, that reading them from one place makes up for bringing them there.
    let wide = rows >= 128 && cols >= 1024;
    let direct = depth <= 1 || (a_step == 1 && (rows < 8 || (a_row % 1024 != 0 && !wide)));
    let mut packed = Buffer::unspecified(if direct {
        0
    } else {
        ROWS.min(rows.next_multiple_of(kernel.rows)) * DEPTH.min(depth)
    });
    let (a_start, c_start, panels) = (a.as_ptr(), c.as_mut_ptr(), b.data);
    // A depth of nothing still starts its sums.
    for from in (0..depth.max(1)).step_by(DEPTH) {
        let part = DEPTH.min(depth - from);
        for first in (0..rows).step_by(ROWS) {
            let height = ROWS.min(rows - first);
            // As high as each other, for a low tile waits for `b`.
            let tile_rows = height.div_ceil(height.div_ceil(kernel.rows));
            if !direct {
                let block = a.slice(ndarray::s![first..first + height, from..from + part]);
                pack_tiles(kernel, block, tile_rows, &mut packed);
            }
            for j in 0..cols.div_ceil(WIDTH) {
                let panel = panels[(j * depth + from) * WIDTH..][..part * WIDTH].as_ptr();
                for i in (0..height).step_by(tile_rows) {
                    let row = (first + i) as isize;
                    // SAFETY: rows, columns and depths are within the views, whose sizes were compared above; a packed
                    // tile was written by `pack_tiles` for the same block.
                    unsafe {
                        let c = c_start.offset(row * c_row).add(j * WIDTH);
                        let (start, start_row) = match start {
                            _ if from > 0 => (c.cast_const(), c_row),
                            Start::Zero => (std::ptr::null(), 0),
                            Start::Row(row) => (row.as_ptr().add(j * WIDTH), 0),
                            Start::Sum => (c.cast_const(), c_row),
                        };
                        // Two tiles fetch the next panel, a half each; the others ask for what they have.
                        let next = match i / tile_rows {
                            half @ 0..2 => panel.wrapping_add(depth * WIDTH + half * part * LINE),
                            _ => panel,
                        };
                        let (a, a_row, a_step) = if direct {
                            (a_start.offset(row * a_row + from as isize * a_step), a_row, a_step)
                        } else {
                            (packed.as_ptr().add(i * part), 1, tile_rows as isize)
                        };
                        (kernel.run)(&Tile {
                            rows: tile_rows.min(height - i),
                            cols: WIDTH.min(cols - j * WIDTH),
                            depth: part,
                            a,
                            a_row,
                            a_step,
                            b: panel,
                            next,
                            c,
                            c_row,
                            start,
                            start_row,
                        });
                    }
                }
            }
        }
    }
}

/// Cuts `a` [rows, depth] into tiles of `height` rows, each [depth, height].
fn pack_tiles(kernel: Kernel, a: ArrayView2<'_, f32>, height: usize, to: &mut [f32]) {
    let depth = a.ncols();
    if a.strides()[1] == 1 {
        for (tile, rows) in to.chunks_exact_mut(depth * height).zip(a.axis_chunks_iter(Axis(0), height)) {
            transpose(kernel, rows, tile, height, rows.nrows());
        }
        return;
    }
    // A few lines that lie far apart are cut up for all tiles before the next ones.
    for from in (0..depth).step_by(LINE) {
        let part = from..depth.min(from + LINE);
        let tiles = to.chunks_exact_mut(depth * height).zip(a.axis_chunks_iter(Axis(0), height));
        for (tile, rows) in tiles {
            let tile = tile[part.start * height..part.end * height].chunks_exact_mut(height);
            let columns = rows.slice_axis(Axis(1), Slice::from(part.clone()));
            for (to, from) in tile.zip(columns.columns()) {
                copy::<12>(to, from);
            }
        }
    }
}

/// Copies values to the front of `to`; `N` neighbours without a loop.
#[inline(always)]
fn copy<const N: usize>(to: &mut [f32], from: ArrayView1<'_, f32>) {
    let all = from.to_slice().and_then(|from| <&[f32; N]>::try_from(from).ok());
    match (to.first_chunk_mut::<N>(), all) {
        (Some(to), Some(all)) => *to = *all,
        _ => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::values;
    use crate::nn::matrix::{view, view_mut};

    fn kernels() -> Vec<Kernel> {
        let mut kernels = vec![portable::KERNEL];
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend((Level::get() >= Level::Avx2).then_some(avx2::KERNEL));
            kernels.extend((Level::get() >= Level::Avx512).then_some(avx512::KERNEL));
        }
        kernels
    }

    /// In f64, one value after the other.
    fn expected(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, start: &[f32]) -> Vec<f64> {
        let cols = b.ncols();
        let value = |at: usize| {
            let pairs = a.row(at / cols).into_iter().zip(b.column(at % cols));
            f64::from(start[at]) + pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
        };
        (0..a.nrows() * cols).map(value).collect()
    }

    #[test]
    fn products_of_every_shape_are_right() {
        let sizes = [
            (1, 1, 1),
            (12, 3, 32),
            (13, 7, 33),
            (29, 64, 31),
            (5, 600, 70),
            (250, 5, 40),
            (3, 0, 4),
            (70, 1024, 9),
            (130, 3, 1030),
        ];
        for (rows, depth, cols) in sizes {
            let (x, y) = (values(rows * depth, 1), values(depth * cols, 2));
            let (row, old) = (values(cols, 3), values(rows * cols, 4));
            for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
                let a = if ta { view(&x, depth, rows).reversed_axes() } else { view(&x, rows, depth) };
                let b = if tb { view(&y, cols, depth).reversed_axes() } else { view(&y, depth, cols) };
                let rows_of = row.repeat(rows);
                let zeros = vec![0.0; rows * cols];
                for (start, from) in [(Start::Zero, &zeros), (Start::Row(&row), &rows_of), (Start::Sum, &old)]
                {
                    let mut c = old.clone();
                    product(view_mut(&mut c, rows, cols), a, b, start);
                    for (found, expected) in c.iter().zip(expected(a, b, from)) {
                        let error = (f64::from(*found) - expected).abs();
                        assert!(error < 1e-4, "{rows} {depth} {cols} {ta} {tb}: {found} {expected}");
                    }
                    let mut packed = old.clone();
                    let mut room = vec![f32::NAN; Panels::len_of(depth, cols)];
                    let panels = Panels::pack(b, &mut room);
                    product_packed(view_mut(&mut packed, rows, cols), a, panels, start);
                    assert_eq!(c, packed);
                }
            }
        }
    }

    #[test]
    fn every_kernel_computes_every_tile() {
        let (depth, c_row) = (9, 40);
        let (a, b) = (values(12 * depth, 1), values(depth * WIDTH, 2));
        for kernel in kernels() {
            for rows in 1..=kernel.rows {
                for cols in [1, 8, 15, 16, 17, 31, 32] {
                    let mut c = vec![7.0; rows * c_row];
                    let start = values(cols, 3);
                    // SAFETY: the slices hold what the tile names, and the machine has the kernel's instructions.
                    unsafe {
                        (kernel.run)(&Tile {
                            rows,
                            cols,
                            depth,
                            a: a.as_ptr(),
                            a_row: depth as isize,
                            a_step: 1,
                            b: b.as_ptr(),
                            next: std::ptr::null(),
                            c: c.as_mut_ptr(),
                            c_row: c_row as isize,
                            start: start.as_ptr(),
                            start_row: 0,
                        });
                    }
                    let sums = expected(
                        view(&a[..rows * depth], rows, depth),
                        view(&b, depth, WIDTH),
                        &vec![0.0; rows * WIDTH],
                    );
                    for (i, found) in c.iter().enumerate() {
                        let (row, col) = (i / c_row, i % c_row);
                        let expected =
                            if col < cols { sums[row * WIDTH + col] + f64::from(start[col]) } else { 7.0 };
                        assert!((f64::from(*found) - expected).abs() < 1e-5, "{rows} {cols} at {row} {col}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_kernel_transposes_every_block() {
        let from = values(16 * 20, 1);
        for kernel in kernels() {
            for (rows, cols) in [(16, 16), (16, 5), (12, 16), (1, 1), (7, 9), (0, 16)] {
                let (width, to_row) = (rows.max(11), 18);
                let mut to = vec![7.0; 16 * to_row];
                // SAFETY: the slices hold what the block names, and the machine has the kernel's instructions.
                unsafe {
                    (kernel.transpose)(&Block {
                        from: from.as_ptr(),
                        from_row: 20,
                        rows,
                        cols,
                        to: to.as_mut_ptr(),
                        to_row,
                        width,
                    });
                }
                for (i, &found) in to.iter().enumerate() {
                    let (k, row) = (i / to_row, i % to_row);
                    let expected = match (k < cols && row < width, row < rows) {
                        (true, true) => from[row * 20 + k],
                        (true, false) => 0.0,
                        _ => 7.0,
                    };
                    assert_eq!(found, expected, "{rows} {cols} at {k} {row}");
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_company() {
        let (rows, depth, cols) = (31, 700, 45);
        let (a, b) = (values(rows * depth, 1), values(depth * cols, 2));
        let b = view(&b, depth, cols);
        let mut all = vec![0.0; rows * cols];
        product(view_mut(&mut all, rows, cols), view(&a, rows, depth), b, Start::Zero);
        for row in [0, 11, 12, 30] {
            let mut alone = vec![0.0; cols];
            product(
                view_mut(&mut alone, 1, cols),
                view(&a[row * depth..][..depth], 1, depth),
                b,
                Start::Zero,
            );
            assert_eq!(alone, all[row * cols..][..cols]);
        }
    }
}
