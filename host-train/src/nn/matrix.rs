//! Views of row-major slices as matrices, and their products.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

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
pub fn product(mut c: ArrayViewMut2<'_, f32>, a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) {
    general_mat_mul(1.0, &a, &b, 0.0, &mut c);
}

/// `c += a · b`.
pub fn add_product(mut c: ArrayViewMut2<'_, f32>, a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) {
    general_mat_mul(1.0, &a, &b, 1.0, &mut c);
}

/// Copies `row` into every row of `data`.
pub fn fill_rows(data: &mut [f32], row: &[f32]) {
    data.chunks_exact_mut(row.len()).for_each(|r| r.copy_from_slice(row));
}

/// `a += b`, value by value.
pub fn add(a: &mut [f32], b: &[f32]) {
    debug_assert_eq!(a.len(), b.len());
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
}

/// `sums[j] += Σ_i data[i, j]`.
pub fn add_column_sums(sums: &mut [f32], data: &[f32]) {
    data.chunks_exact(sums.len()).for_each(|row| add(sums, row));
}

/// `Σ a[i] b[i]` in eight lanes, so that it vectorises.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut lanes = [0.0f32; 8];
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

/// `a += factor * b`, value by value.
pub fn add_scaled(a: &mut [f32], factor: f32, b: &[f32]) {
    debug_assert_eq!(a.len(), b.len());
    a.iter_mut().zip(b).for_each(|(a, b)| *a += factor * b);
}
