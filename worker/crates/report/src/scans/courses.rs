//! Time courses as they are stored, and their spectra.

use nightread_domain::{ErrorCode, JobError, Stage};

/// T rows of K time courses.
#[derive(Clone, Debug, PartialEq)]
pub struct Courses {
    pub count: usize,
    pub volumes: usize,
    /// Row by row: T x K.
    pub values: Vec<f64>,
}

impl Courses {
    /// Reads tab-separated text with a header line.
    ///
    /// # Errors
    /// `decode_failed` where a row has another length than the header, or a cell is no number.
    pub fn parse(text: &[u8]) -> Result<Self, JobError> {
        let text = std::str::from_utf8(text).map_err(|_| refuse(1, "is no UTF-8"))?;
        let mut lines = text.lines();
        let count = lines.next().map_or(0, |header| header.split('\t').count());
        let (mut values, mut volumes) = (Vec::new(), 0);
        for line in lines.filter(|line| !line.is_empty()) {
            volumes += 1;
            let before = values.len();
            for cell in line.split('\t') {
                let value: Option<f64> = cell.parse().ok();
                values.push(value.ok_or_else(|| refuse(volumes + 1, "has a cell that is no number"))?);
            }
            if values.len() - before != count {
                return Err(refuse(volumes + 1, "has another number of cells than the header"));
            }
        }
        if count == 0 || volumes == 0 {
            return Err(refuse(1, "has no courses"));
        }
        Ok(Self { count, volumes, values })
    }

    /// One course, T values.
    pub fn course(&self, component: usize) -> Vec<f64> {
        self.values.iter().skip(component).step_by(self.count).copied().collect()
    }
}

fn refuse(line: usize, what: &str) -> JobError {
    let text = format!("line {line} of the time courses {what}");
    JobError::new(Stage::Report, ErrorCode::DecodeFailed, text)
}

/// The share of the power of a demeaned course at each frequency k/T, k = 1 to T/2, of T real values: |DFT|^2 over its sum. Empty where
/// there is no power, or a value that is no number.
pub fn spectrum(course: &[f64]) -> Vec<f64> {
    let length = course.len();
    let mean = course.iter().sum::<f64>() / length.max(1) as f64;
    let turn = std::f64::consts::TAU / length.max(1) as f64;
    let table: Vec<(f64, f64)> = (0..length).map(|nth| (nth as f64 * turn).sin_cos()).collect();
    let demeaned: Vec<f64> = course.iter().map(|value| value - mean).collect();
    let powers: Vec<f64> = (1..=length / 2).map(|frequency| power_at(frequency, &demeaned, &table)).collect();
    let whole: f64 = powers.iter().sum();
    let scale = course.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    // Rounding of a course that never changes is no power.
    if !whole.is_finite() || whole <= (scale * length as f64 * 1e-14).powi(2) {
        return Vec::new();
    }
    powers.iter().map(|power| power / whole).collect()
}

/// |DFT|^2 of as many values as `table` has sines and cosines of one turn.
fn power_at(frequency: usize, values: &[f64], table: &[(f64, f64)]) -> f64 {
    let (mut real, mut imaginary, mut phase) = (0.0, 0.0, 0);
    for value in values {
        let (sin, cos) = table[phase];
        real += value * cos;
        imaginary += value * sin;
        phase = (phase + frequency) % table.len();
    }
    real * real + imaginary * imaginary
}

/// Share of the power below `hertz`, of a spectrum of volumes that are `tr_seconds` apart. Frequencies are those of a course of `volumes`.
pub fn share_below(spectrum: &[f64], volumes: usize, tr_seconds: f64, hertz: f64) -> f64 {
    let seconds = volumes as f64 * tr_seconds;
    let frequencies = (1..).map(|nth| f64::from(nth) / seconds);
    frequencies.zip(spectrum).take_while(|(frequency, _)| *frequency < hertz).map(|(_, power)| power).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn courses_are_read_as_they_were_written() {
        let text = "component_000\tcomponent_001\n1.0e0\t-2.5e-1\n3\tNaN\n";
        let courses = Courses::parse(text.as_bytes()).expect("courses");
        assert_eq!((courses.count, courses.volumes), (2, 2));
        assert_eq!(courses.course(0), [1.0, 3.0]);
        assert!(courses.course(1)[1].is_nan());
        for bad in ["", "a\tb\n", "a\tb\n1\n", "a\n1\n2\t3\n", "a\nx\n"] {
            let error = Courses::parse(bad.as_bytes()).expect_err("no courses");
            assert_eq!(error.code, ErrorCode::DecodeFailed);
        }
    }

    /// numpy 2.4: `p = abs(rfft(x - x.mean()))**2; p[1:] / p[1:].sum()`, of an even and an odd number of values.
    #[test]
    fn spectra_are_those_of_numpy() {
        let even = [
            0.318_128_373_854_343_06,
            0.060_185_185_185_185_2,
            0.580_019_774_293_805,
            0.041_666_666_666_666_67,
        ];
        let odd = [0.070_158_016_298_464_85, 0.086_923_599_748_083_04, 0.842_918_383_953_452_1];
        for (course, expected) in [
            (&[3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0][..], &even[..]),
            (&[2.0, 7.0, 1.0, 8.0, 2.0, 8.0, 1.0], &odd),
        ] {
            let power = spectrum(course);
            assert_eq!(power.len(), expected.len());
            assert!(
                power.iter().zip(expected).all(|(ours, theirs)| (ours - theirs).abs() < 1e-12),
                "{power:?}"
            );
        }
    }

    #[test]
    fn a_wave_has_its_power_at_its_frequency() {
        let wave: Vec<f64> =
            (0..200).map(|t| 7.0 + (std::f64::consts::TAU * 10.0 * f64::from(t) / 200.0).sin()).collect();
        let power = spectrum(&wave);
        assert_eq!(power.len(), 100);
        assert!((power[9] - 1.0).abs() < 1e-12);
        // 10 of 200 volumes of 2 s are 0.025 Hz.
        assert!((share_below(&power, 200, 2.0, 0.026) - 1.0).abs() < 1e-12);
        assert!(share_below(&power, 200, 2.0, 0.025).abs() < 1e-12);
        assert!(spectrum(&[3.3; 50]).is_empty() && spectrum(&[]).is_empty() && spectrum(&[1.0]).is_empty());
        assert!(spectrum(&[1.0, f64::NAN, 2.0]).is_empty());
    }
}
