//! The window that a header gives for display: read for models that were trained on windowed images.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::text::text;

/// The first window of the header. Values are those behind the rescale slope and intercept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    pub centre: Option<f64>,
    pub width: Option<f64>,
    /// VOILUTFunction, upper case; LINEAR where it is absent.
    pub function: Option<String>,
}

impl Window {
    pub(super) fn wants(tag: Tag) -> bool {
        matches!(tag, tags::WINDOW_CENTER | tags::WINDOW_WIDTH | tags::VOILUT_FUNCTION)
    }

    pub(super) fn set(&mut self, tag: Tag, value: &[u8]) {
        match tag {
            tags::WINDOW_CENTER => self.centre = first(value),
            tags::WINDOW_WIDTH => self.width = first(value),
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
}
