//! The attributes this crate reads from a DICOM header, and nothing else: what is not named here is never looked at.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

/// Ages above this are kept as this: they identify people.
const OLDEST: f32 = 90.0;
const OVERLAY_BIT_POSITION: u16 = 0x0102;
const OVERLAY_DATA: u16 = 0x3000;

/// Every attribute is optional: hostile and careless files leave out anything.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Header {
    pub(crate) sop_class: Option<String>,
    pub(crate) modality: Option<String>,
    pub(crate) body_part: Option<String>,
    /// Code meaning in AnatomicRegionSequence.
    pub(crate) region_meaning: Option<String>,
    pub(crate) view_position: Option<String>,
    /// Code meaning in ViewCodeSequence.
    pub(crate) view_meaning: Option<String>,
    pub(crate) patient_orientation: Option<String>,
    pub(crate) age_years: Option<f32>,
    pub(crate) photometric: Option<String>,
    pub(crate) samples_per_pixel: Option<u16>,
    pub(crate) frames: Option<u32>,
    pub(crate) rows: Option<u16>,
    pub(crate) columns: Option<u16>,
    pub(crate) bits_allocated: Option<u16>,
    pub(crate) bits_stored: Option<u16>,
    pub(crate) high_bit: Option<u16>,
    pub(crate) signed: bool,
    /// Bit positions of overlays that lie in the words of the pixels, one for each overlay group.
    overlays: [Option<u16>; OVERLAYS],
    /// Only while reading: dates never leave this struct, the age does.
    pub(crate) birth_date: Option<Date>,
    pub(crate) study_date: Option<Date>,
}

pub(crate) type Date = (i32, u32, u32);

/// Overlay groups 6000 to 601E, the even ones.
const OVERLAYS: usize = 16;

/// Which of the overlay groups `tag` belongs to.
fn overlay(tag: Tag) -> Option<usize> {
    (0x6000..=0x601E)
        .contains(&tag.0)
        .then(|| usize::from(tag.0 - 0x6000))
        .filter(|group| group % 2 == 0)
        .map(|group| group / 2)
}

impl Header {
    /// The bits of the words that belong to overlays.
    pub(crate) fn overlay_bits(&self) -> u16 {
        self.overlays.iter().flatten().filter(|&&bit| bit < 16).fold(0, |bits, bit| bits | 1 << bit)
    }

    /// Whether a value at this place is wanted: `within` are the sequences around it, outermost first.
    pub(super) fn wants(within: &[Tag], tag: Tag) -> bool {
        match within {
            [] => {
                matches!(
                    tag,
                    tags::SOP_CLASS_UID
                        | tags::MODALITY
                        | tags::BODY_PART_EXAMINED
                        | tags::VIEW_POSITION
                        | tags::PATIENT_ORIENTATION
                        | tags::PATIENT_AGE
                        | tags::PATIENT_BIRTH_DATE
                        | tags::STUDY_DATE
                        | tags::PHOTOMETRIC_INTERPRETATION
                        | tags::SAMPLES_PER_PIXEL
                        | tags::NUMBER_OF_FRAMES
                        | tags::ROWS
                        | tags::COLUMNS
                        | tags::BITS_ALLOCATED
                        | tags::BITS_STORED
                        | tags::HIGH_BIT
                        | tags::PIXEL_REPRESENTATION
                ) || overlay(tag).is_some() && matches!(tag.1, OVERLAY_BIT_POSITION | OVERLAY_DATA)
            }
            [tags::VIEW_CODE_SEQUENCE | tags::ANATOMIC_REGION_SEQUENCE] => tag == tags::CODE_MEANING,
            _ => false,
        }
    }

    /// Takes in one wanted value. What cannot be understood stays unknown.
    pub(super) fn set(&mut self, within: &[Tag], tag: Tag, value: &[u8], big_endian: bool) {
        let number = || {
            let word = *value.first_chunk::<2>()?;
            Some(if big_endian { u16::from_be_bytes(word) } else { u16::from_le_bytes(word) })
        };
        match (within, tag) {
            ([tags::VIEW_CODE_SEQUENCE], _) => keep_first(&mut self.view_meaning, code_string(value, 64)),
            ([tags::ANATOMIC_REGION_SEQUENCE], _) => {
                keep_first(&mut self.region_meaning, code_string(value, 64));
            }
            (_, tags::SOP_CLASS_UID) => self.sop_class = uid(value),
            (_, tags::MODALITY) => self.modality = code_string(value, 16),
            (_, tags::BODY_PART_EXAMINED) => self.body_part = code_string(value, 16),
            (_, tags::VIEW_POSITION) => self.view_position = code_string(value, 16),
            (_, tags::PATIENT_ORIENTATION) => self.patient_orientation = code_string(value, 16),
            (_, tags::PATIENT_AGE) => self.age_years = age(value).or(self.age_years),
            (_, tags::PATIENT_BIRTH_DATE) => self.birth_date = date(value),
            (_, tags::STUDY_DATE) => self.study_date = date(value),
            (_, tags::PHOTOMETRIC_INTERPRETATION) => self.photometric = code_string(value, 16),
            (_, tags::SAMPLES_PER_PIXEL) => self.samples_per_pixel = number(),
            (_, tags::NUMBER_OF_FRAMES) => self.frames = text(value).trim().parse().ok(),
            (_, tags::ROWS) => self.rows = number(),
            (_, tags::COLUMNS) => self.columns = number(),
            (_, tags::BITS_ALLOCATED) => self.bits_allocated = number(),
            (_, tags::BITS_STORED) => self.bits_stored = number(),
            (_, tags::HIGH_BIT) => self.high_bit = number(),
            (_, tags::PIXEL_REPRESENTATION) => self.signed = number() == Some(1),
            (_, Tag(_, element)) => {
                if let Some(group) = overlay(tag) {
                    // An overlay with data of its own takes no bit of the pixels.
                    self.overlays[group] = if element == OVERLAY_BIT_POSITION { number() } else { None };
                }
            }
        }
    }

    /// Works out the age and forgets the dates it came from.
    pub(super) fn finish(mut self) -> Self {
        let (birth, study) = (self.birth_date.take(), self.study_date.take());
        if self.age_years.is_none()
            && let (Some(birth), Some(study)) = (birth, study)
        {
            let years = study.0 - birth.0 - i32::from((study.1, study.2) < (birth.1, birth.2));
            self.age_years = (0..=130).contains(&years).then_some(years as f32);
        }
        self.age_years = self.age_years.map(|age| age.min(OLDEST));
        self
    }
}

fn keep_first(slot: &mut Option<String>, value: Option<String>) {
    if slot.is_none() {
        *slot = value;
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_matches(['\0', ' ']).to_owned()
}

fn uid(value: &[u8]) -> Option<String> {
    let uid: String = text(value).chars().filter(|c| matches!(c, '0'..='9' | '.')).take(64).collect();
    (!uid.is_empty()).then_some(uid)
}

/// Upper case; letters, digits and the separators of code strings, anything else a space; at most `most` characters. So
/// a name or a number that was typed into the wrong field cannot travel further than the vocabulary's own length.
fn code_string(value: &[u8], most: usize) -> Option<String> {
    let code: String = text(value)
        .chars()
        .take(most)
        .map(|c| c.to_ascii_uppercase())
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '\\') { c } else { ' ' })
        .collect();
    let code = code.trim().to_owned();
    (!code.is_empty()).then_some(code)
}

/// An age string: three digits and D, W, M or Y.
fn age(value: &[u8]) -> Option<f32> {
    let text = text(value);
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u16 = digits.trim().parse().ok()?;
    let years = f32::from(count)
        / match unit {
            "D" => 365.25,
            "W" => 52.18,
            "M" => 12.0,
            "Y" => 1.0,
            _ => return None,
        };
    Some(years)
}

/// `YYYYMMDD`, or the older `YYYY.MM.DD`.
fn date(value: &[u8]) -> Option<Date> {
    let digits: String = text(value).chars().filter(char::is_ascii_digit).collect();
    if digits.len() != 8 {
        return None;
    }
    let number: u32 = digits.parse().ok()?;
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some((i32::try_from(year).ok()?, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(values: &[(Tag, &[u8])]) -> Header {
        let mut header = Header::default();
        for (tag, value) in values {
            header.set(&[], *tag, value, false);
        }
        header.finish()
    }

    #[test]
    fn ages() {
        for (value, years) in [
            (&b"045Y"[..], Some(45.0)),
            (b"006M", Some(0.5)),
            (b"000D", Some(0.0)),
            (b"104Y", Some(90.0)),
            (b"45", None),
            (b"Y", None),
            (b"", None),
            ("é".as_bytes(), None),
        ] {
            assert_eq!(header(&[(tags::PATIENT_AGE, value)]).age_years, years, "{value:?}");
        }
    }

    #[test]
    fn age_from_dates_and_the_dates_are_forgotten() {
        let before = header(&[(tags::PATIENT_BIRTH_DATE, b"19600602"), (tags::STUDY_DATE, b"20000601")]);
        assert_eq!(before.age_years, Some(39.0));
        let on = header(&[(tags::PATIENT_BIRTH_DATE, b"1960.06.01"), (tags::STUDY_DATE, b"20000601")]);
        assert_eq!(on.age_years, Some(40.0));
        assert!(on.birth_date.is_none() && on.study_date.is_none());
        let absurd = header(&[(tags::PATIENT_BIRTH_DATE, b"20000601"), (tags::STUDY_DATE, b"19600601")]);
        assert_eq!(absurd.age_years, None);
    }

    #[test]
    fn code_strings_are_cut_to_their_alphabet() {
        assert_eq!(code_string(b"Chest ", 16).as_deref(), Some("CHEST"));
        assert_eq!(code_string(b"M\xFCller, Hans (1960) and more", 16).as_deref(), Some("M LLER  HANS  19"));
        assert_eq!(code_string(b" \0", 16), None);
    }

    #[test]
    fn numbers_follow_the_byte_order() {
        let mut header = Header::default();
        header.set(&[], tags::ROWS, &[0x01, 0x02], true);
        header.set(&[], tags::COLUMNS, &[0x01, 0x02], false);
        header.set(&[], tags::BITS_STORED, &[0x01], false);
        assert_eq!((header.rows, header.columns, header.bits_stored), (Some(0x0102), Some(0x0201), None));
    }
}
