//! Smooth upsampling: the cubic spline through the map's values (Unser 1999, "Splines: a perfect fit for signal and image
//! processing"), as `skimage.transform.resize(map, (size, size), order=3, mode="symmetric", anti_aliasing=False)` has it.

/// The map `values`, rows of `width` cells, at every pair of a place among `rows` and one among `columns`: in cells from the
/// centre of the first. The map goes on mirrored beyond its borders, and what the spline overshoots is cut to the map's
/// range, so that no place is hotter than the map's hottest.
pub fn upsample(values: &[f32], width: usize, rows: &[f64], columns: &[f64]) -> Vec<f32> {
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for &value in values {
        (low, high) = (low.min(value), high.max(value));
    }
    let mut wide = Vec::with_capacity(values.len() / width * columns.len());
    for row in values.chunks(width) {
        let row = row.iter().map(|&x| f64::from(x)).collect();
        wide.extend(at(row, columns));
    }
    let mut out = vec![0.0; rows.len() * columns.len()];
    for x in 0..columns.len() {
        let column = wide.iter().skip(x).step_by(columns.len()).copied().collect();
        for (y, value) in at(column, rows).into_iter().enumerate() {
            out[y * columns.len() + x] = (value as f32).clamp(low, high);
        }
    }
    out
}

/// The spline through `values` at these places.
fn at(values: Vec<f64>, places: &[f64]) -> Vec<f64> {
    let count = values.len();
    let coefficients = coefficients(values);
    let mut found = Vec::with_capacity(places.len());
    for place in places {
        let first = place.floor();
        let (i, t) = (first as isize, place - first);
        let rest = 1.0 - t;
        let [before, here, next, after] = [i - 1, i, i + 1, i + 2].map(|i| coefficients[mirrored(i, count)]);
        found
            .push(before * rest.powi(3) / 6.0 + here * near(t) + next * near(rest) + after * t.powi(3) / 6.0);
    }
    found
}

/// The cubic B-spline less than one cell from its middle.
fn near(t: f64) -> f64 {
    (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0
}

/// B-spline coefficients: the tridiagonal system (1, 4, 1) / 6 with its ends mirrored, solved by elimination.
fn coefficients(mut values: Vec<f64>) -> Vec<f64> {
    let last = values.len() - 1;
    if last == 0 {
        return values;
    }
    let mut above = vec![0.0; last + 1];
    for i in 0..=last {
        let (before, factor) = if i == 0 { (0.0, 0.0) } else { (values[i - 1], above[i - 1]) };
        let diagonal = if i == 0 || i == last { 5.0 } else { 4.0 };
        let pivot = diagonal - factor;
        above[i] = 1.0 / pivot;
        values[i] = (6.0 * values[i] - before) / pivot;
    }
    for i in (0..last).rev() {
        values[i] -= above[i] * values[i + 1];
    }
    values
}

/// The index of a sequence that goes on mirrored: ... 1 0 0 1 2 ... n-1 n-1 n-2 ...
fn mirrored(index: isize, count: usize) -> usize {
    let period = 2 * count as isize;
    let inside = index.rem_euclid(period) as usize;
    if inside < count { inside } else { 2 * count - 1 - inside }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The centres of `pixels` over all of `cells`.
    fn centres(cells: usize, pixels: usize) -> Vec<f64> {
        (0..pixels).map(|o| (o as f64 + 0.5) * cells as f64 / pixels as f64 - 0.5).collect()
    }

    /// `tests/golden/heatmap.py`: scikit-image.
    #[test]
    fn maps_are_upsampled_as_scikit_image_does() {
        let golden: Value = serde_json::from_str(include_str!("../../tests/golden/heatmap.json")).unwrap();
        let cases = golden["upsampled"].as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let of = |name: &str| case[name].as_u64().unwrap() as usize;
            let floats = |name: &str| -> Vec<f32> { serde_json::from_value(case[name].clone()).unwrap() };
            let (height, width, size) = (of("height"), of("width"), of("size"));
            let found = upsample(&floats("map"), width, &centres(height, size), &centres(width, size));
            let wanted = floats("upsampled");
            assert_eq!(found.len(), wanted.len());
            let worst = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-5, "{height} x {width} to {size}: {worst}");
        }
    }

    /// The middle of three pixels lies on a cell's centre.
    #[test]
    fn the_spline_goes_through_the_values_and_stays_in_their_range() {
        for count in 1..9 {
            let values: Vec<f32> = (0..count * count).map(|i| ((i * i) as f32 * 0.7).sin() * 9.0).collect();
            let places = centres(count, 3 * count);
            let found = upsample(&values, count, &places, &places);
            for (i, value) in values.iter().enumerate() {
                let (y, x) = (3 * (i / count) + 1, 3 * (i % count) + 1);
                assert!((found[y * 3 * count + x] - value).abs() < 1e-4, "{count}: {i}");
            }
            let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert!(found.iter().all(|&x| x <= most));
        }
    }
}
