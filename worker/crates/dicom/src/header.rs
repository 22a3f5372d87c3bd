//! The attributes this crate reads from a DICOM header, and nothing else: what is not named here is never looked at.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::lut::Lut;
use super::plane::{self, MOST_FRAMES, Plane};
use super::text::text;
use super::window::Window;

/// Ages above this are kept as this: they identify people.
const OLDEST: f32 = 90.0;
const OVERLAY_BIT_POSITION: u16 = 0x0102;
const OVERLAY_DATA: u16 = 0x3000;

/// Codes kept of one sequence; an image has one or two.
const MOST_CODES: usize = 16;

/// One entry of a code sequence, in any scheme.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Code {
    pub value: Option<String>,
    pub meaning: Option<String>,
}

/// Every attribute is optional: hostile and careless files leave out anything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    pub sop_class: Option<String>,
    pub modality: Option<String>,
    pub body_part: Option<String>,
    /// AnatomicRegionSequence.
    pub regions: Vec<Code>,
    pub view_position: Option<String>,
    /// ViewCodeSequence.
    pub views: Vec<Code>,
    /// ViewModifierCodeSequence, inside of the former or beside it.
    pub view_modifiers: Vec<Code>,
    pub patient_orientation: Option<String>,
    pub age_years: Option<f32>,
    pub photometric: Option<String>,
    pub samples_per_pixel: Option<u16>,
    pub frames: Option<u32>,
    /// Entries of the extended offset table.
    pub extended_offsets: usize,
    pub rows: Option<u16>,
    pub columns: Option<u16>,
    pub bits_allocated: Option<u16>,
    pub bits_stored: Option<u16>,
    pub high_bit: Option<u16>,
    pub signed: bool,
    /// As it is stored, a negative one in two's complement.
    pub padding: Option<u16>,
    pub presentation_intent: Option<String>,
    pub rescale_slope: Option<f64>,
    pub presentation_lut_shape: Option<String>,
    pub modality_lut: Lut,
    pub voi_lut: Lut,
    pub window: Window,
    pub identity: Identity,
    /// What the file says of its slice, or of all of its frames.
    pub plane: Plane,
    /// SharedFunctionalGroupsSequence.
    pub shared: Plane,
    /// PerFrameFunctionalGroupsSequence, an entry for each frame; 65,536 at most.
    pub frame_planes: Vec<Plane>,
    /// Bit positions of overlays that lie in the words of the pixels, one for each overlay group.
    pub overlays: [Option<u16>; OVERLAYS],
}

impl Header {
    /// The bits of the words that belong to overlays.
    pub fn overlay_bits(&self) -> u16 {
        self.overlays.iter().flatten().filter(|&&bit| bit < 16).fold(0, |bits, bit| bits | 1 << bit)
    }
}

/// What a file belongs to, and which of it it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// SOPInstanceUID.
    pub instance_uid: Option<String>,
    pub series_uid: Option<String>,
    pub study_uid: Option<String>,
    pub frame_of_reference_uid: Option<String>,
    /// InstanceNumber: says nothing of where a slice lies.
    pub instance_number: Option<i64>,
    /// NumberOfSeriesRelatedInstances, which few files have.
    pub series_instances: Option<u32>,
}

impl Identity {
    fn wants(tag: Tag) -> bool {
        matches!(
            tag,
            tags::SOP_INSTANCE_UID
                | tags::SERIES_INSTANCE_UID
                | tags::STUDY_INSTANCE_UID
                | tags::FRAME_OF_REFERENCE_UID
                | tags::INSTANCE_NUMBER
                | tags::NUMBER_OF_SERIES_RELATED_INSTANCES
        )
    }

    fn set(&mut self, tag: Tag, value: &[u8]) {
        match tag {
            tags::SOP_INSTANCE_UID => self.instance_uid = uid(value),
            tags::SERIES_INSTANCE_UID => self.series_uid = uid(value),
            tags::STUDY_INSTANCE_UID => self.study_uid = uid(value),
            tags::FRAME_OF_REFERENCE_UID => self.frame_of_reference_uid = uid(value),
            tags::INSTANCE_NUMBER => self.instance_number = plane::integer(value),
            tags::NUMBER_OF_SERIES_RELATED_INSTANCES => {
                self.series_instances = plane::integer(value).and_then(|count| u32::try_from(count).ok());
            }
            _ => {}
        }
    }
}

/// A header in the making.
#[derive(Debug, Default)]
pub(super) struct Reading {
    header: Header,
    charset: Option<String>,
    /// Dates end here; the age that they give goes on.
    birth_date: Option<Date>,
    study_date: Option<Date>,
}

type Date = (i32, u32, u32);

/// Overlay groups 6000 to 601E, the even ones.
const OVERLAYS: usize = 16;

/// Which of the overlay groups `tag` belongs to.
fn overlay(tag: Tag) -> Option<usize> {
    let group = usize::from(tag.0.checked_sub(0x6000)?);
    (group % 2 == 0 && group / 2 < OVERLAYS).then_some(group / 2)
}

/// Whether values of this sequence are wanted; `path` ends with its tag, outermost first.
fn is_wanted(path: &[Tag]) -> bool {
    matches!(
        path,
        [tags::VIEW_CODE_SEQUENCE
            | tags::VIEW_MODIFIER_CODE_SEQUENCE
            | tags::ANATOMIC_REGION_SEQUENCE
            | tags::MODALITY_LUT_SEQUENCE
            | tags::VOILUT_SEQUENCE
            | tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE
            | tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE]
            | [tags::VIEW_CODE_SEQUENCE, tags::VIEW_MODIFIER_CODE_SEQUENCE]
            | [
                tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE | tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
                tags::PLANE_POSITION_SEQUENCE
                    | tags::PLANE_ORIENTATION_SEQUENCE
                    | tags::PIXEL_MEASURES_SEQUENCE
                    | tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE
                    | tags::FRAME_CONTENT_SEQUENCE
                    | tags::CT_IMAGE_FRAME_TYPE_SEQUENCE
            ]
    )
}

impl Reading {
    /// Whether the sequence `tag` holds something that is wanted: `within` are the sequences around it, outermost first.
    pub(super) fn enters(within: &[Tag], tag: Tag) -> bool {
        match *within {
            [] => is_wanted(&[tag]),
            [outer] => is_wanted(&[outer, tag]),
            _ => false,
        }
    }

    /// Whether the items of the innermost of these sequences are looked into.
    pub(super) fn looks_into(within: &[Tag]) -> bool {
        is_wanted(within)
    }

    /// Whether a value at this place is wanted: `within` are the sequences around it, outermost first.
    pub(super) fn wants(within: &[Tag], tag: Tag) -> bool {
        match within {
            [] => {
                matches!(
                    tag,
                    tags::SPECIFIC_CHARACTER_SET
                        | tags::SOP_CLASS_UID
                        | tags::SOP_INSTANCE_UID
                        | tags::SERIES_INSTANCE_UID
                        | tags::NUMBER_OF_SERIES_RELATED_INSTANCES
                        | tags::MODALITY
                        | tags::PRESENTATION_INTENT_TYPE
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
                        | tags::PIXEL_PADDING_VALUE
                        | tags::RESCALE_SLOPE
                        | tags::PRESENTATION_LUT_SHAPE
                        | tags::EXTENDED_OFFSET_TABLE
                ) || Plane::wants(tag)
                    || Identity::wants(tag)
                    || Window::wants(tag)
                    || overlay(tag).is_some() && matches!(tag.1, OVERLAY_BIT_POSITION | OVERLAY_DATA)
            }
            [tags::MODALITY_LUT_SEQUENCE | tags::VOILUT_SEQUENCE] => {
                matches!(tag, tags::LUT_DESCRIPTOR | tags::LUT_DATA)
            }
            [tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE | tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, ..] => {
                is_wanted(within) && Plane::wants(tag)
            }
            path if is_wanted(path) => {
                matches!(tag, tags::CODE_VALUE | tags::LONG_CODE_VALUE | tags::CODE_MEANING)
            }
            _ => false,
        }
    }

    /// An item of the innermost of these sequences begins.
    pub(super) fn begin_item(&mut self, within: &[Tag]) {
        if *within == [tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE]
            && self.header.frame_planes.len() < MOST_FRAMES
        {
            self.header.frame_planes.push(Plane::default());
        }
    }

    /// Takes in one wanted value. What cannot be understood stays unknown.
    pub(super) fn set(&mut self, within: &[Tag], tag: Tag, value: &[u8], big_endian: bool) {
        match within {
            [] => {}
            [tags::MODALITY_LUT_SEQUENCE] => return self.header.modality_lut.set(tag, value, big_endian),
            [tags::VOILUT_SEQUENCE] => return self.header.voi_lut.set(tag, value, big_endian),
            [tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, ..] => {
                return self.header.shared.set(tag, value, big_endian);
            }
            [tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, ..] => {
                if let Some(plane) = self.header.frame_planes.last_mut() {
                    plane.set(tag, value, big_endian);
                }
                return;
            }
            _ => return self.set_code(within, tag, value),
        }
        self.header.plane.set(tag, value, big_endian);
        self.header.identity.set(tag, value);
        self.header.window.set(tag, value);
        let number = word(value, big_endian);
        match tag {
            tags::SPECIFIC_CHARACTER_SET => self.charset = Some(text(value, None)),
            tags::SOP_CLASS_UID => self.header.sop_class = uid(value),
            tags::MODALITY => self.header.modality = self.code_string(value, 16),
            tags::PRESENTATION_INTENT_TYPE => self.header.presentation_intent = self.code_string(value, 16),
            // Longer than the 16 characters that are legal: devices write sentences, and their last word may be "lateral".
            tags::BODY_PART_EXAMINED => self.header.body_part = self.code_string(value, 64),
            tags::VIEW_POSITION => self.header.view_position = self.code_string(value, 64),
            tags::PATIENT_ORIENTATION => self.header.patient_orientation = self.code_string(value, 16),
            tags::PATIENT_AGE => self.header.age_years = age(value).or(self.header.age_years),
            tags::PATIENT_BIRTH_DATE => self.birth_date = date(value),
            tags::STUDY_DATE => self.study_date = date(value),
            tags::PHOTOMETRIC_INTERPRETATION => self.header.photometric = self.code_string(value, 16),
            tags::SAMPLES_PER_PIXEL => self.header.samples_per_pixel = number,
            tags::NUMBER_OF_FRAMES => self.header.frames = text(value, None).trim().parse().ok(),
            tags::EXTENDED_OFFSET_TABLE => self.header.extended_offsets = value.len() / 8,
            tags::ROWS => self.header.rows = number,
            tags::COLUMNS => self.header.columns = number,
            tags::BITS_ALLOCATED => self.header.bits_allocated = number,
            tags::BITS_STORED => self.header.bits_stored = number,
            tags::HIGH_BIT => self.header.high_bit = number,
            tags::PIXEL_REPRESENTATION => self.header.signed = number == Some(1),
            tags::PIXEL_PADDING_VALUE => self.header.padding = number,
            tags::RESCALE_SLOPE => {
                self.header.rescale_slope =
                    text(value, None).split('\\').next().and_then(|slope| slope.trim().parse().ok());
            }
            tags::PRESENTATION_LUT_SHAPE => self.header.presentation_lut_shape = self.code_string(value, 16),
            Tag(_, element) => {
                if let Some(group) = overlay(tag) {
                    // An overlay with data of its own takes no bit of the pixels.
                    self.header.overlays[group] = if element == OVERLAY_BIT_POSITION { number } else { None };
                }
            }
        }
    }

    fn set_code(&mut self, within: &[Tag], tag: Tag, value: &[u8]) {
        let text = self.code_string(value, 64);
        let codes = match within {
            [tags::ANATOMIC_REGION_SEQUENCE] => &mut self.header.regions,
            [tags::VIEW_CODE_SEQUENCE] => &mut self.header.views,
            _ => &mut self.header.view_modifiers,
        };
        if let Some(last) = codes.last_mut()
            && tag == tags::CODE_MEANING
            && last.meaning.is_none()
        {
            last.meaning = text;
        } else if codes.len() < MOST_CODES {
            // Elements rise, so that a value after a meaning is that of the next item.
            codes.push(if tag == tags::CODE_MEANING {
                Code { value: None, meaning: text }
            } else {
                Code { value: text, meaning: None }
            });
        }
    }

    /// Upper case; letters, digits and the separators of code strings, anything else a space; at most `most` characters.
    /// So a name or a number that was typed into the wrong field cannot travel further than the vocabulary's own length.
    fn code_string(&self, value: &[u8], most: usize) -> Option<String> {
        let code: String = text(&value[..value.len().min(4 * most)], self.charset.as_deref())
            .chars()
            .take(most)
            .flat_map(char::to_uppercase)
            .map(|c| if c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '\\') { c } else { ' ' })
            .collect();
        let code = code.trim().to_owned();
        (!code.is_empty()).then_some(code)
    }

    /// Works out the age and forgets the dates it came from.
    pub(super) fn finish(mut self) -> Header {
        if self.header.age_years.is_none()
            && let (Some(birth), Some(study)) = (self.birth_date, self.study_date)
        {
            let years = study.0 - birth.0 - i32::from((study.1, study.2) < (birth.1, birth.2));
            self.header.age_years = (0..=130).contains(&years).then_some(years as f32);
        }
        self.header.age_years = self.header.age_years.map(|age| age.min(OLDEST));
        self.header
    }
}

fn word(value: &[u8], big_endian: bool) -> Option<u16> {
    let word = *value.first_chunk::<2>()?;
    Some(if big_endian { u16::from_be_bytes(word) } else { u16::from_le_bytes(word) })
}

fn uid(value: &[u8]) -> Option<String> {
    let uid: String = text(value, None).chars().filter(|c| matches!(c, '0'..='9' | '.')).take(64).collect();
    (!uid.is_empty()).then_some(uid)
}

/// An age string: three digits and D, W, M or Y.
fn age(value: &[u8]) -> Option<f32> {
    let text = text(value, None);
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
    let digits: String = text(value, None).chars().filter(char::is_ascii_digit).collect();
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
        let mut reading = Reading::default();
        for (tag, value) in values {
            reading.set(&[], *tag, value, false);
        }
        reading.finish()
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
    fn age_from_dates() {
        let before = header(&[(tags::PATIENT_BIRTH_DATE, b"19600602"), (tags::STUDY_DATE, b"20000601")]);
        assert_eq!(before.age_years, Some(39.0));
        let on = header(&[(tags::PATIENT_BIRTH_DATE, b"1960.06.01"), (tags::STUDY_DATE, b"20000601")]);
        assert_eq!(on.age_years, Some(40.0));
        let absurd = header(&[(tags::PATIENT_BIRTH_DATE, b"20000601"), (tags::STUDY_DATE, b"19600601")]);
        assert_eq!(absurd.age_years, None);
    }

    #[test]
    fn code_strings_are_cut_to_their_alphabet() {
        let reading = Reading::default();
        assert_eq!(reading.code_string(b"Chest ", 16).as_deref(), Some("CHEST"));
        let name = reading.code_string(b"M\xFCller, Hans (1960) and more", 16);
        assert_eq!(name.as_deref(), Some("M\u{DC}LLER  HANS  19"));
        assert_eq!(reading.code_string(b" \0", 16), None);
    }

    #[test]
    fn numbers_follow_the_byte_order() {
        let mut reading = Reading::default();
        reading.set(&[], tags::ROWS, &[0x01, 0x02], true);
        reading.set(&[], tags::COLUMNS, &[0x01, 0x02], false);
        reading.set(&[], tags::BITS_STORED, &[0x01], false);
        let header = reading.finish();
        assert_eq!((header.rows, header.columns, header.bits_stored), (Some(0x0102), Some(0x0201), None));
    }
}
