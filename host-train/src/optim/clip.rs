//! Clipping of gradients by their norm.

use crate::nn::params::Params;

/// The Euclidean norm of all gradients; scales them by `max_norm / (norm + 1e-6)` when that is below 1.
///
/// PyTorch's `clip_grad_norm_`. A norm that is not finite leaves the gradients alone, so that the caller
/// sees what happened; a `max_norm` of 0 or less only measures.
pub fn clip_grad_norm(grads: &mut Params, max_norm: f32) -> f64 {
    let square = |t: &crate::nn::params::Tensor| sum_of_squares(&t.data);
    let norm = grads.iter().map(square).sum::<f64>().sqrt();
    let scale = f64::from(max_norm) / (norm + 1e-6);
    if norm.is_finite() && max_norm > 0.0 && scale < 1.0 {
        let scale = scale as f32;
        grads.iter_mut().for_each(|t| t.data.iter_mut().for_each(|g| *g *= scale));
    }
    norm
}

/// Short f32 sums in eight lanes, added up in f64: fast, and exact enough for any number of values.
fn sum_of_squares(values: &[f32]) -> f64 {
    let mut total = 0.0f64;
    for block in values.chunks(1024) {
        let mut lanes = [0.0f32; 8];
        let (chunks, rest) = block.as_chunks::<8>();
        for chunk in chunks {
            lanes.iter_mut().zip(chunk).for_each(|(lane, v)| *lane += v * v);
        }
        total += lanes.iter().map(|&v| f64::from(v)).sum::<f64>();
        total += rest.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>();
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::params::Tensor;

    fn grads(values: &[f32]) -> Params {
        let tensor = Tensor { name: "g".into(), shape: vec![values.len()], data: values.to_vec() };
        Params::new(vec![tensor]).unwrap()
    }

    #[test]
    fn scales_only_what_is_too_long() {
        let mut g = grads(&[3.0, 4.0]);
        assert_eq!(clip_grad_norm(&mut g, 10.0), 5.0);
        assert_eq!(g, grads(&[3.0, 4.0]));
        assert_eq!(clip_grad_norm(&mut g, 1.0), 5.0);
        let after = clip_grad_norm(&mut g, 0.0);
        assert!((after - 1.0).abs() < 1e-5, "{after}");
    }

    #[test]
    fn norm_of_many_values() {
        let values: Vec<f32> = (0..3001).map(|i| (i % 7) as f32 * 0.25).collect();
        let expected = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let norm = clip_grad_norm(&mut grads(&values), 0.0);
        assert!((norm - expected).abs() < 1e-5 * expected, "{norm} {expected}");
    }

    #[test]
    fn not_a_number_is_reported_and_kept() {
        let mut g = grads(&[f32::NAN, 1.0]);
        assert!(clip_grad_norm(&mut g, 0.5).is_nan());
        assert_eq!(g.get("g").unwrap().data[1], 1.0);
    }
}
