//! Views of row-major slices as matrices, and their products.

use ndarray::{ArrayView2, ArrayViewMut2};

use crate::nn::gemm::{self, Start};
use crate::nn::simd::vectorized;

/// `data` as `rows` rows of `cols` values.
///
/// # Panics
/// When `data` does not hold exactly that many values.
pub fn view(data: &[f32], rows: usize, cols: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, cols), data).expect("the slice is rows * cols long")
}

/// `data` as `rows` changeable rows of `cols` values.
///
/// # Panics
/// When `data` does not hold exactly that many values.
pub fn view_mut(data: &mut [f32], rows: usize, cols: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, cols), data).expect("the slice is rows * cols long")
}

/// `c = a · b`.
pub fn product(c: ArrayViewMut2<'_, f32>, a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) {
    gemm::product(c, a, b, Start::Zero);
}

/// `c += a · b`.
pub fn add_product(c: ArrayViewMut2<'_, f32>, a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) {
    gemm::product(c, a, b, Start::Sum);
}

/// Copies `row` into every row of `data`.
pub fn fill_rows(data: &mut [f32], row: &[f32]) {
    data.chunks_exact_mut(row.len()).for_each(|r| r.copy_from_slice(row));
}

vectorized! {
    /// `a += b`, value by value.
    pub fn add(a: &mut [f32], b: &[f32]) {
        debug_assert_eq!(a.len(), b.len());
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    }
}

vectorized! {
    /// `sums[j] += Σ_i data[i, j]`.
    pub fn add_column_sums(sums: &mut [f32], data: &[f32]) {
        for row in data.chunks_exact(sums.len()) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
    }
}

/// `Σ a[i] b[i]` in sixteen lanes, so that it vectorises.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    let mut lanes = [0.0f32; 16];
    for (a, b) in a.iter().zip(b) {
        for i in 0..16 {
            lanes[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

/// `a += factor * b`, value by value.
#[inline(always)]
pub fn add_scaled(a: &mut [f32], factor: f32, b: &[f32]) {
    debug_assert_eq!(a.len(), b.len());
    a.iter_mut().zip(b).for_each(|(a, b)| *a += factor * b);
}
