//! Squarified treemaps (Bruls, Huizing & van Wijk 2000): rectangles of given areas that are as square as may be.

/// A rectangle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// Cuts a rectangle into one for each weight, in their order, which should be descending. Areas are in proportion to the
/// weights, which are positive.
pub fn squarify(weights: &[f64], within: Rect) -> Vec<Rect> {
    let mut rects = Vec::with_capacity(weights.len());
    let mut rest = within;
    let mut left: f64 = weights.iter().sum();
    let mut weights = weights;
    while !weights.is_empty() && left > 0.0 {
        let scale = rest.width * rest.height / left;
        let side = rest.width.min(rest.height);
        // The row takes another rectangle while that makes its worst one no longer.
        let mut count = 1;
        while count < weights.len()
            && worst(&weights[..=count], scale, side) <= worst(&weights[..count], scale, side)
        {
            count += 1;
        }
        let (row, others) = weights.split_at(count);
        rest = lay(row, scale, rest, &mut rects);
        left -= row.iter().sum::<f64>();
        weights = others;
    }
    rects.resize(rects.len() + weights.len(), Rect { width: 0.0, height: 0.0, ..rest });
    rects
}

/// The largest ratio of sides in a row along a side.
fn worst(row: &[f64], scale: f64, side: f64) -> f64 {
    let depth = row.iter().sum::<f64>() * scale / side;
    let ratio = |weight: &f64| {
        let length = weight * scale / depth;
        (length / depth).max(depth / length)
    };
    row.iter().map(ratio).fold(0.0, f64::max)
}

/// Lays a row along the shorter side; what is left of the rectangle.
fn lay(row: &[f64], scale: f64, within: Rect, rects: &mut Vec<Rect>) -> Rect {
    let area = row.iter().sum::<f64>() * scale;
    let Rect { mut x, mut y, width, height } = within;
    if width >= height {
        let depth = area / height;
        for weight in row {
            let length = weight * scale / depth;
            rects.push(Rect { x, y, width: depth, height: length });
            y += length;
        }
        Rect { x: x + depth, y: within.y, width: (width - depth).max(0.0), height }
    } else {
        let depth = area / width;
        for weight in row {
            let length = weight * scale / depth;
            rects.push(Rect { x, y, width: length, height: depth });
            x += length;
        }
        Rect { x: within.x, y: y + depth, width, height: (height - depth).max(0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_s_example() {
        let within = Rect { x: 0.0, y: 0.0, width: 6.0, height: 4.0 };
        let rects = squarify(&[6.0, 6.0, 4.0, 3.0, 2.0, 2.0, 1.0], within);
        let near = |r: Rect, x, y, width, height| {
            let wanted = Rect { x, y, width, height };
            let differences = [r.x - x, r.y - y, r.width - width, r.height - height];
            assert!(differences.iter().all(|d| f64::abs(*d) < 1e-9), "{r:?}, not {wanted:?}");
        };
        near(rects[0], 0.0, 0.0, 3.0, 2.0);
        near(rects[1], 0.0, 2.0, 3.0, 2.0);
        near(rects[2], 3.0, 0.0, 12.0 / 7.0, 7.0 / 3.0);
        near(rects[3], 3.0 + 12.0 / 7.0, 0.0, 9.0 / 7.0, 7.0 / 3.0);
    }

    #[test]
    fn areas_are_in_proportion_and_do_not_overlap() {
        let weights: Vec<f64> = (1..=40).rev().map(|n| f64::from(n * n)).collect();
        let total: f64 = weights.iter().sum();
        let rects = squarify(&weights, Rect { x: 5.0, y: 7.0, width: 100.0, height: 60.0 });
        assert_eq!(rects.len(), weights.len());
        for (i, (a, weight)) in rects.iter().zip(&weights).enumerate() {
            assert!((a.width * a.height - weight / total * 6000.0).abs() < 1e-6);
            assert!(a.x > 4.999 && a.y > 6.999 && a.x + a.width < 105.001 && a.y + a.height < 67.001);
            for b in &rects[..i] {
                let apart = a.x + a.width <= b.x + 1e-6
                    || b.x + b.width <= a.x + 1e-6
                    || a.y + a.height <= b.y + 1e-6
                    || b.y + b.height <= a.y + 1e-6;
                assert!(apart, "{a:?} {b:?}");
            }
        }
    }
}
