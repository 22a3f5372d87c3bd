//! A data set in the making. Texts are kept as bytes, so that what was copied from the source stays as it was.

use dicom_core::value::{DataSetSequence, PixelFragmentSequence, PrimitiveValue};
use dicom_core::{DataElement, Length, Tag, VR};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;

use crate::concept::Concept;
use crate::error::{ArchiveError, Fault};
use dicom_dictionary_std::tags;

/// Elements by tag.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    elements: InMemDicomObject,
    /// Whether a text of ours holds a character that is not ASCII.
    beyond_ascii: bool,
}

impl Data {
    pub fn new() -> Self {
        Self { elements: InMemDicomObject::new_empty(), beyond_ascii: false }
    }

    pub fn is_beyond_ascii(&self) -> bool {
        self.beyond_ascii
    }

    fn put(&mut self, element: InMemElement) {
        self.elements.put(element);
    }

    /// A value's bytes, in whatever encoding they are.
    pub fn raw(&mut self, tag: Tag, vr: VR, bytes: &[u8]) {
        if matches!(vr, VR::DS | VR::IS) {
            // Numbers as text, ASCII always: as bytes each would be written as a number of its own.
            let text = String::from_utf8_lossy(bytes).into_owned();
            return self.put(DataElement::new(tag, vr, PrimitiveValue::from(text)));
        }
        let mut bytes = bytes.to_vec();
        if bytes.len() % 2 == 1 {
            bytes.push(if vr == VR::UI { 0 } else { b' ' });
        }
        let value = if bytes.is_empty() { PrimitiveValue::Empty } else { PrimitiveValue::U8(bytes.into()) };
        self.put(DataElement::new(tag, vr, value));
    }

    /// One text. What ends a value or moves the cursor becomes a space, and what is longer than its value representation
    /// allows is cut.
    pub fn text(&mut self, tag: Tag, vr: VR, text: &str) {
        let text = fitting(vr, text);
        self.beyond_ascii |= !text.is_ascii();
        self.raw(tag, vr, text.as_bytes());
    }

    /// Several values of ours that need no cleaning: UIDs, numbers, codes.
    pub fn values(&mut self, tag: Tag, vr: VR, values: &[String]) {
        self.raw(tag, vr, values.join("\\").as_bytes());
    }

    pub fn empty(&mut self, tag: Tag, vr: VR) {
        self.raw(tag, vr, b"");
    }

    pub fn short(&mut self, tag: Tag, number: u16) {
        self.put(DataElement::new(tag, VR::US, PrimitiveValue::from(number)));
    }

    pub fn longs(&mut self, tag: Tag, numbers: &[u32]) {
        self.put(DataElement::new(tag, VR::UL, PrimitiveValue::U32(numbers.iter().copied().collect())));
    }

    /// A value of AT: another element's tag.
    pub fn pointer(&mut self, tag: Tag, to: Tag) {
        self.put(DataElement::new(tag, VR::AT, PrimitiveValue::from(to)));
    }

    pub fn sequence(&mut self, tag: Tag, items: Vec<Self>) {
        self.beyond_ascii |= items.iter().any(Self::is_beyond_ascii);
        let items: Vec<_> = items.into_iter().map(|item| item.elements).collect();
        self.put(DataElement::new(tag, VR::SQ, DataSetSequence::new(items, Length::UNDEFINED)));
    }

    pub fn code(&mut self, tag: Tag, concept: &Concept) {
        self.sequence(tag, vec![Self::from(concept)]);
    }

    pub fn bytes(&mut self, tag: Tag, mut bytes: Vec<u8>) {
        if bytes.len() % 2 == 1 {
            bytes.push(0);
        }
        self.put(DataElement::new(tag, VR::OB, PrimitiveValue::U8(bytes.into())));
    }

    /// Compressed pixels: one fragment a frame, each of even length.
    pub fn fragments(&mut self, tag: Tag, fragments: Vec<Vec<u8>>) {
        let mut offsets = Vec::with_capacity(fragments.len());
        let mut at = 0_u32;
        for fragment in &fragments {
            offsets.push(at);
            at = at.saturating_add(8).saturating_add(u32::try_from(fragment.len()).unwrap_or(u32::MAX));
        }
        self.put(DataElement::new(tag, VR::OB, PixelFragmentSequence::new(offsets, fragments)));
    }

    /// Everything of another set.
    pub fn extend(&mut self, other: Self) {
        self.beyond_ascii |= other.beyond_ascii;
        for element in other.elements {
            self.put(element);
        }
    }

    /// The data set in explicit VR little endian, without a preamble. Pixels that are fragments stay so.
    ///
    /// # Errors
    /// `Internal` where it cannot be laid out.
    pub fn encoded(&self) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = Vec::new();
        let written = self.elements.write_dataset_with_ts(&mut bytes, &EXPLICIT_VR_LITTLE_ENDIAN.erased());
        written.map_err(|error| {
            ArchiveError::new(Fault::Internal, format!("a data set cannot be laid out: {error}"))
        })?;
        Ok(bytes)
    }
}

impl From<&Concept> for Data {
    fn from(concept: &Concept) -> Self {
        let mut code = Self::new();
        code.text(tags::CODE_VALUE, VR::SH, &concept.value);
        code.text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, &concept.scheme);
        code.text(tags::CODE_MEANING, VR::LO, &concept.meaning);
        code
    }
}

/// A text as its value representation has room for it.
fn fitting(vr: VR, text: &str) -> String {
    let (most, lines) = match vr {
        VR::SH | VR::CS => (16, false),
        VR::ST => (1024, true),
        VR::UT => (usize::MAX, true),
        _ => (64, false),
    };
    let clean = |c: char| if c.is_control() || (c == '\\' && !lines) { ' ' } else { c };
    text.trim().chars().map(clean).take(most).collect()
}

/// A number as a decimal string: at most 16 characters, the nearest one that fits; `None` where it is not finite.
pub(crate) fn decimal(number: f64) -> Option<String> {
    const MOST: usize = 16;
    if !number.is_finite() {
        return None;
    }
    let number = if number == 0.0 { 0.0 } else { number };
    let whole = format!("{number}");
    if whole.len() <= MOST {
        return Some(whole);
    }
    let has_places = number.abs() < 1e16;
    let fixed = (0..=14)
        .rev()
        .filter(|_| has_places)
        .map(|digits| format!("{number:.digits$}"))
        .find(|text| text.len() <= MOST);
    // Small and huge numbers keep more of themselves with an exponent.
    let powers = (0..=10).rev().map(|digits| format!("{number:.digits$e}")).find(|text| text.len() <= MOST);
    let distance = |text: &String| text.parse::<f64>().map_or(f64::INFINITY, |near| (near - number).abs());
    [fixed, powers].into_iter().flatten().min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_fit_their_representation() {
        assert_eq!(fitting(VR::SH, "12345678901234567890"), "1234567890123456");
        assert_eq!(fitting(VR::LO, " a\\b\nc "), "a b c");
        assert_eq!(fitting(VR::UT, "a\\b\nc"), "a\\b c");
    }

    #[test]
    fn decimals_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (-158.135_803, "-158.135803"),
            (0.1 + 0.2, "0.30000000000000"),
            (1e-12, "0.000000000001"),
            (1.0 / 3.0e9, "3.3333333333e-10"),
        ] {
            assert_eq!(decimal(number).as_deref(), Some(text), "{number}");
        }
        assert_eq!(decimal(f64::NAN), None);
    }

    proptest! {
        #[test]
        fn decimals_are_near(number in prop::num::f64::NORMAL) {
            let text = decimal(number).expect("finite");
            prop_assert!(text.len() <= 16, "{text}");
            let near: f64 = text.parse().expect("a number");
            prop_assert!((near - number).abs() <= number.abs() * 1e-8, "{number} {text}");
        }
    }
}
