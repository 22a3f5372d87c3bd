//! Look-up tables of the header: only whether they rise or fall, because the training recipe applies none.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

/// The first table of a modality or VOI LUT sequence, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lut {
    /// Bits of an entry, from the descriptor.
    bits: Option<u16>,
    /// Whether it turns bright into dark; `None` before its data was seen.
    falls: Option<bool>,
}

impl Lut {
    pub fn falls(&self) -> bool {
        self.falls == Some(true)
    }

    /// Whether there is a table at all.
    pub fn is_there(&self) -> bool {
        self.bits.is_some() || self.falls.is_some()
    }

    /// Takes in the descriptor or the data of one item; alternatives after the first are not looked at.
    pub(super) fn set(&mut self, tag: Tag, value: &[u8], big_endian: bool) {
        if self.falls.is_some() {
            return;
        }
        if tag == tags::LUT_DESCRIPTOR {
            self.bits = value.as_chunks().0.get(2).map(|pair| word(*pair, big_endian));
            return;
        }
        let words = value.as_chunks().0.iter().map(|pair| word(*pair, big_endian));
        // Entries of up to 8 bits are packed in pairs by some and lie in words of their own by others.
        let is_packed = self.bits.is_some_and(|bits| bits <= 8) && words.clone().any(|word| word > 0xFF);
        self.falls =
            Some(if is_packed { falls(value.iter().map(|&byte| byte.into())) } else { falls(words) });
    }
}

fn word(bytes: [u8; 2], big_endian: bool) -> u16 {
    if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
}

/// Whether values fall as their index rises: the sign of the slope of the line that fits them best.
fn falls(values: impl ExactSizeIterator<Item = u16>) -> bool {
    let twice_the_middle = values.len() as i64 - 1;
    let covariance: i64 =
        values.enumerate().map(|(i, value)| (2 * i as i64 - twice_the_middle) * i64::from(value)).sum();
    covariance < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lut(bits: u16, data: &[u8], big_endian: bool) -> Lut {
        let mut lut = Lut::default();
        let descriptor = [0, 0, bits];
        lut.set(tags::LUT_DESCRIPTOR, &words(&descriptor, big_endian), big_endian);
        lut.set(tags::LUT_DATA, data, big_endian);
        lut
    }

    fn words(values: &[u16], big_endian: bool) -> Vec<u8> {
        values.iter().flat_map(|v| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() }).collect()
    }

    #[test]
    fn tables_that_rise_fall_and_do_neither() {
        for big in [false, true] {
            assert!(!lut(12, &words(&[0, 0, 0, 1, 4095, 4095], big), big).falls());
            assert!(lut(12, &words(&[4095, 4095, 4095, 2, 0, 0], big), big).falls());
            assert!(!lut(16, &words(&[0, 900, 65535, 40000], big), big).falls());
            assert!(!lut(16, &words(&[7; 9], big), big).falls());
            assert!(!lut(16, &[], big).falls());
            // 8 bits, one entry a word.
            assert!(lut(8, &words(&[255, 128, 3], big), big).falls());
        }
        // 8 bits, two entries a word.
        assert!(lut(8, &[255, 254, 128, 127, 3, 2], false).falls());
        assert!(!lut(8, &[2, 3, 127, 128, 254, 255], false).falls());
    }

    #[test]
    fn the_first_table_counts() {
        let mut first = lut(8, &[1, 0, 2, 0, 3, 0], false);
        first.set(tags::LUT_DATA, &[3, 0, 2, 0, 1, 0], false);
        assert!(!first.falls());
    }
}
