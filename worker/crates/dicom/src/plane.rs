//! Where a slice lies and what its numbers mean: attributes of a file, or of one frame of a multi-frame file (functional
//! groups, PS3.3 C.7.6.16).

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::text::text;

/// Bytes of a value that are looked at: six numbers of 16 characters are 101.
const LONGEST: usize = 256;
/// Items of the per-frame groups that are kept. A series of this many slices would be 60 m long.
pub(super) const MOST_FRAMES: usize = 1 << 16;

/// What is said of one slice. Positions are millimetres in the patient's system of DICOM (x to the left, y to the back, z
/// to the head).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plane {
    /// ImagePositionPatient: the centre of the first pixel.
    pub position: Option<[f64; 3]>,
    /// ImageOrientationPatient: cosines along a row, then those down a column.
    pub orientation: Option<[f64; 6]>,
    /// PixelSpacing: between rows, then between columns.
    pub spacing: Option<[f64; 2]>,
    pub thickness: Option<f64>,
    pub rescale_slope: Option<f64>,
    pub rescale_intercept: Option<f64>,
    pub rescale_type: Option<String>,
    /// ImageType, or FrameType of a frame, in capitals.
    pub image_type: Option<String>,
    /// AcquisitionNumber, or FrameAcquisitionNumber.
    pub acquisition: Option<i64>,
    /// ContentTime, or the end of FrameAcquisitionDateTime: digits and a point.
    pub time: Option<String>,
}

impl Plane {
    /// Whether a value of this tag is wanted.
    pub(super) fn wants(tag: Tag) -> bool {
        matches!(
            tag,
            tags::IMAGE_POSITION_PATIENT
                | tags::IMAGE_ORIENTATION_PATIENT
                | tags::PIXEL_SPACING
                | tags::SLICE_THICKNESS
                | tags::RESCALE_SLOPE
                | tags::RESCALE_INTERCEPT
                | tags::RESCALE_TYPE
                | tags::IMAGE_TYPE
                | tags::FRAME_TYPE
                | tags::ACQUISITION_NUMBER
                | tags::FRAME_ACQUISITION_NUMBER
                | tags::CONTENT_TIME
                | tags::FRAME_ACQUISITION_DATE_TIME
        )
    }

    /// Takes in one wanted value. What cannot be understood stays unknown.
    pub(super) fn set(&mut self, tag: Tag, value: &[u8], big_endian: bool) {
        match tag {
            tags::IMAGE_POSITION_PATIENT => self.position = numbers(value),
            tags::IMAGE_ORIENTATION_PATIENT => self.orientation = numbers(value),
            tags::PIXEL_SPACING => self.spacing = numbers(value),
            tags::SLICE_THICKNESS => self.thickness = numbers(value).map(|[thickness]| thickness),
            tags::RESCALE_SLOPE => self.rescale_slope = numbers(value).map(|[slope]| slope),
            tags::RESCALE_INTERCEPT => self.rescale_intercept = numbers(value).map(|[intercept]| intercept),
            tags::RESCALE_TYPE => self.rescale_type = capitals(value),
            tags::IMAGE_TYPE | tags::FRAME_TYPE => self.image_type = capitals(value),
            tags::ACQUISITION_NUMBER => self.acquisition = integer(value),
            tags::FRAME_ACQUISITION_NUMBER => {
                let word = value.first_chunk::<2>();
                self.acquisition = word.map(|&word| {
                    if big_endian { u16::from_be_bytes(word) } else { u16::from_le_bytes(word) }.into()
                });
            }
            tags::CONTENT_TIME => self.time = digits(value),
            // YYYYMMDD goes: what tells frames apart within a study is the time of day.
            tags::FRAME_ACQUISITION_DATE_TIME => {
                self.time = digits(value).and_then(|text| text.get(8..).map(str::to_owned));
            }
            _ => {}
        }
    }
}

/// Exactly `N` finite decimal strings.
fn numbers<const N: usize>(value: &[u8]) -> Option<[f64; N]> {
    let text = text(value.get(..LONGEST).unwrap_or(value), None);
    let mut parts = text
        .split('\\')
        .map(|part| part.trim_matches([' ', '\0']).parse::<f64>().ok().filter(|n| n.is_finite()));
    let mut numbers = [0.0; N];
    for number in &mut numbers {
        *number = parts.next()??;
    }
    parts.next().is_none().then_some(numbers)
}

/// An integer string, or the same with a point, as some write it.
pub(super) fn integer(value: &[u8]) -> Option<i64> {
    numbers::<1>(value)
        .filter(|[number]| number.fract() == 0.0 && number.abs() < 1e15)
        .map(|[number]| number as i64)
}

/// A code string, or several, of the characters that are legal in it.
fn capitals(value: &[u8]) -> Option<String> {
    let text = text(value.get(..LONGEST).unwrap_or(value), None).to_ascii_uppercase();
    let text: String =
        text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ' ' | '\\')).collect();
    (!text.is_empty()).then_some(text)
}

fn digits(value: &[u8]) -> Option<String> {
    let text = text(value.get(..LONGEST).unwrap_or(value), None);
    let text: String = text.chars().filter(|c| c.is_ascii_digit() || *c == '.').take(32).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_many_as_they_should_be() {
        assert_eq!(numbers::<3>(b"-1.5\\2e1\\ 3 "), Some([-1.5, 20.0, 3.0]));
        for wrong in [&b""[..], b"1\\2", b"1\\2\\3\\4", b"1\\x\\3", b"1\\inf\\3", b"1\\nan\\3", b"1\\\\3"] {
            assert_eq!(numbers::<3>(wrong), None, "{wrong:?}");
        }
        assert_eq!((integer(b" 12 "), integer(b"7.0"), integer(b"7.5")), (Some(12), Some(7), None));
    }

    #[test]
    fn times_are_those_of_the_day() {
        let mut plane = Plane::default();
        plane.set(tags::FRAME_ACQUISITION_DATE_TIME, b"20260102030405.5", false);
        assert_eq!(plane.time.as_deref(), Some("030405.5"));
        plane.set(tags::FRAME_ACQUISITION_DATE_TIME, b"2026", false);
        assert_eq!(plane.time, None);
    }
}
