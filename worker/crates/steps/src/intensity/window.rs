//! DICOM's windows: PS3.3 C.11.2.1.2 and C.11.2.1.3, in float64 as pydicom computes them.

use crate::step::WindowFunction;

pub(crate) fn window(values: &mut [f32], centre: f64, width: f64, function: WindowFunction, to: [f64; 2]) {
    let [start, end] = to;
    for value in values {
        *value = (share(f64::from(*value), centre, width, function) * (end - start) + start) as f32;
    }
}

/// Where in the window `x` lies, in [0, 1].
fn share(x: f64, centre: f64, width: f64, function: WindowFunction) -> f64 {
    match function {
        WindowFunction::Linear => {
            let (centre, width) = (centre - 0.5, width - 1.0);
            if x <= centre - width / 2.0 {
                0.0
            } else if x > centre + width / 2.0 {
                1.0
            } else {
                (x - centre) / width + 0.5
            }
        }
        WindowFunction::LinearExact => {
            if x <= centre - width / 2.0 {
                0.0
            } else if x > centre + width / 2.0 {
                1.0
            } else {
                (x - centre) / width + 0.5
            }
        }
        WindowFunction::Sigmoid => 1.0 / (1.0 + (-4.0 * (x - centre) / width).exp()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the standard: C.11.2.1.2.1, with output 0 to 255.
    #[test]
    fn windows_are_those_of_the_standard() {
        for (centre, width, x, expected) in [
            (2048.0, 4096.0, 0.0, 0.0),
            (2048.0, 4096.0, 4095.0, 255.0),
            (0.0, 100.0, -50.0, 0.0),
            (0.0, 100.0, 49.0, 255.0),
            (0.0, 1.0, 0.0, 255.0),
            (0.0, 1.0, -1.0, 0.0),
        ] {
            let mut values = [x as f32];
            window(&mut values, centre, width, WindowFunction::Linear, [0.0, 255.0]);
            assert!((f64::from(values[0]) - expected).abs() < 1e-4, "c {centre} w {width} x {x}: {values:?}");
        }
        let mut values = [-50.0, 0.0, 50.0];
        window(&mut values, 0.0, 100.0, WindowFunction::LinearExact, [0.0, 1.0]);
        assert_eq!(values.map(f32::to_bits), [0.0_f32, 0.5, 1.0].map(f32::to_bits));
        let mut values = [0.0];
        window(&mut values, 0.0, 100.0, WindowFunction::Sigmoid, [0.0, 1.0]);
        assert_eq!(values[0].to_bits(), 0.5_f32.to_bits());
    }
}
