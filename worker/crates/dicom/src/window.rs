//! The window that a header gives for display: read for models that were trained on windowed images.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::text::text;

/// The first window of the header, and what leads from stored values to those that it is of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    pub centre: Option<f64>,
    pub width: Option<f64>,
    /// VOILUTFunction, upper case; LINEAR where it is absent.
    pub function: Option<String>,
    /// RescaleSlope.
    pub slope: Given,
    /// RescaleIntercept.
    pub intercept: Given,
}

/// A number that a header may leave out, which is not the same as one that nobody can read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Given {
    /// Not there, or empty.
    #[default]
    Absent,
    /// Finite.
    Number(f64),
    /// There, and not one finite number.
    Unreadable,
}

impl Given {
    /// `absent` where it is not there; `None` where it is unreadable.
    pub fn or(self, absent: f64) -> Option<f64> {
        match self {
            Self::Absent => Some(absent),
            Self::Number(number) => Some(number),
            Self::Unreadable => None,
        }
    }

    fn of(value: &[u8]) -> Self {
        let text = text(value, None);
        let number = text.trim();
        if number.is_empty() {
            return Self::Absent;
        }
        number.parse().ok().filter(|n: &f64| n.is_finite()).map_or(Self::Unreadable, Self::Number)
    }
}

impl Window {
    pub(super) fn wants(tag: Tag) -> bool {
        matches!(
            tag,
            tags::WINDOW_CENTER
                | tags::WINDOW_WIDTH
                | tags::VOILUT_FUNCTION
                | tags::RESCALE_SLOPE
                | tags::RESCALE_INTERCEPT
        )
    }

    pub(super) fn set(&mut self, tag: Tag, value: &[u8]) {
        match tag {
            tags::WINDOW_CENTER => self.centre = first(value),
            tags::WINDOW_WIDTH => self.width = first(value),
            tags::RESCALE_SLOPE => self.slope = Given::of(value),
            tags::RESCALE_INTERCEPT => self.intercept = Given::of(value),
            tags::VOILUT_FUNCTION => {
                let word = text(value, None).trim().to_uppercase();
                self.function = (!word.is_empty()).then_some(word);
            }
            _ => {}
        }
    }
}

/// The first of several decimal numbers.
fn first(value: &[u8]) -> Option<f64> {
    let text = text(value, None);
    let number: f64 = text.split('\\').next()?.trim().parse().ok()?;
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_windows_is_taken() {
        let mut window = Window::default();
        window.set(tags::WINDOW_CENTER, b"2048\\1000 ");
        window.set(tags::WINDOW_WIDTH, b"4.096e3");
        window.set(tags::VOILUT_FUNCTION, b"sigmoid ");
        assert_eq!((window.centre, window.width), (Some(2048.0), Some(4096.0)));
        assert_eq!(window.function.as_deref(), Some("SIGMOID"));
        window.set(tags::WINDOW_CENTER, b"nan");
        window.set(tags::WINDOW_WIDTH, b"");
        assert_eq!((window.centre, window.width), (None, None));
    }

    #[test]
    fn a_rescale_that_cannot_be_read_is_not_one_that_is_absent() {
        let slope = |value: &[u8]| {
            let mut window = Window::default();
            window.set(tags::RESCALE_SLOPE, value);
            window.slope
        };
        for (value, given) in [
            (&b"0.25"[..], Given::Number(0.25)),
            (b" 2.5e-1\0", Given::Number(0.25)),
            (b"", Given::Absent),
            (b"  ", Given::Absent),
            (b"0,25", Given::Unreadable),
            (b"0.25\\0.5", Given::Unreadable),
            (b"nan ", Given::Unreadable),
            (b"inf ", Given::Unreadable),
            (b"1e999 ", Given::Unreadable),
        ] {
            assert_eq!(slope(value), given, "{value:?}");
        }
        assert_eq!(Window::default().intercept.or(0.0), Some(0.0));
        assert_eq!((Given::Number(3.0).or(0.0), Given::Unreadable.or(0.0)), (Some(3.0), None));
    }
}
