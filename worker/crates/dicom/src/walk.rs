//! A walk over the data set that reads headers, takes the few values that are wanted, and skips the rest.
//!
//! Written here because the readers at hand stop at the first thing that is not as the standard says, and files of real
//! archives are not: forms are mixed, delimiters are missing or stray, private sequences come as UN. Depth and lengths are
//! checked against the file before each step, and nothing is copied. What had to be repaired is a warning; what leaves more
//! than one reading is refused with the contradiction's name.

use std::ops::Range;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::warning::{Warning, WarningCode};

use super::attributes::{self, Attributes};
use super::element::{self, Element, Form, ITEM, ITEM_END, SEQUENCE_END};
use super::header::{Header, Reading};
use super::source::EncodedDataSet;
use crate::error::refuse;

/// Sequences and items inside each other; real files have a handful.
const MAX_DEPTH: usize = 64;

/// Where in the data set the pixels are.
#[derive(Clone, Debug)]
pub(super) enum PixelData {
    /// Uncompressed, to the end of the element or of the file. `swapped`: bytes of 8-bit samples lie in big-endian words.
    /// `promised`: the length that the element claims.
    Native { bytes: Range<usize>, promised: usize, swapped: bool },
    /// Compressed fragments start at this byte.
    Encapsulated { at: usize },
}

/// What the walk found.
pub(super) struct Found {
    pub(super) header: Header,
    pub(super) pixels: Option<PixelData>,
    pub(super) big_endian: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    DataSet,
    Sequence,
    /// Items are bytes, not data sets.
    Fragments,
}

/// A sequence or an item that is open.
#[derive(Clone, Copy)]
struct Level {
    kind: Kind,
    /// The sequence's own tag; an item has that of its sequence.
    tag: Tag,
    form: Form,
    /// Its end where its length says so; otherwise a delimiter ends it.
    end: Option<usize>,
}

struct Walk<'a> {
    data: &'a [u8],
    at: usize,
    root: Form,
    open: Vec<Level>,
    /// Tags of the open sequences, outermost first.
    within: Vec<Tag>,
    header: Reading,
    /// Elements of the root whose values are handed on as they are, and what was found of them.
    wanted: &'a [Tag],
    taken: Vec<(Tag, Vec<u8>)>,
    /// What had to be repaired first.
    repaired: Option<String>,
    /// Delimiters were repaired: an element out of order is then one that fell out of its sequence.
    unsure: bool,
    highest: Tag,
}

/// Reads up to the pixel data, or to the end of a file without any.
pub(super) fn walk(source: &EncodedDataSet<'_>, warnings: &mut Vec<Warning>) -> Result<Found, JobError> {
    let mut walk = Walk::new(source, &[], warnings)?;
    let pixels = walk.run()?;
    if let Some(what) = walk.repaired {
        warnings.push(Warning::new(WarningCode::HeaderRepaired, what));
    }
    Ok(Found { header: walk.header.finish(), pixels, big_endian: walk.root.big_endian })
}

/// Takes the values of these elements of the root as they are, of at most [`attributes::MOST_BYTES`] each.
pub(super) fn attributes(source: &EncodedDataSet<'_>, wanted: &[Tag]) -> Result<Attributes, JobError> {
    let mut walk = Walk::new(source, wanted, &mut Vec::new())?;
    walk.run()?;
    Attributes::of(walk.taken)
}

impl<'a> Walk<'a> {
    fn new(
        source: &'a EncodedDataSet<'_>,
        wanted: &'a [Tag],
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, JobError> {
        Ok(Self {
            data: &source.data,
            at: 0,
            root: source.form(warnings)?,
            open: Vec::new(),
            within: Vec::new(),
            header: Reading::default(),
            wanted,
            taken: Vec::new(),
            repaired: None,
            unsure: false,
            highest: Tag(0, 0),
        })
    }

    fn run(&mut self) -> Result<Option<PixelData>, JobError> {
        loop {
            while self.open.last().and_then(|level| level.end).is_some_and(|end| self.at >= end) {
                self.close();
            }
            if self.at >= self.data.len() {
                break;
            }
            let level = self.open.last().copied();
            match level.map_or(Kind::DataSet, |level| level.kind) {
                Kind::DataSet => {
                    if let Some(pixels) = self.element()? {
                        return Ok(Some(pixels));
                    }
                }
                Kind::Sequence | Kind::Fragments => self.item()?,
            }
        }
        match self.open.iter().rfind(|level| level.end.is_none()) {
            Some(level) => Err(refuse(
                ErrorCode::HeaderInvalid,
                format!("the file ends while the sequence {} is open: a delimiter is missing", level.tag),
            )),
            None => Ok(None),
        }
    }

    fn form(&self) -> Form {
        self.open.last().map_or(self.root, |level| level.form)
    }

    /// The end that no element may cross: that of the nearest enclosing length, or of the file.
    fn limit(&self) -> usize {
        self.open.iter().rev().find_map(|level| level.end).unwrap_or(self.data.len())
    }

    fn close(&mut self) {
        if let Some(level) = self.open.pop()
            && !matches!(level.kind, Kind::DataSet)
        {
            self.within.pop();
        }
    }

    fn enter(&mut self, level: Level) -> Result<(), JobError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(refuse(
                ErrorCode::HeaderInvalid,
                format!("the header nests more than {} sequences", MAX_DEPTH / 2),
            ));
        }
        if !matches!(level.kind, Kind::DataSet) {
            self.within.push(level.tag);
        }
        self.open.push(level);
        Ok(())
    }

    fn repair(&mut self, what: impl Into<String>) {
        self.repaired.get_or_insert(what.into());
    }

    fn repair_delimiter(&mut self, what: impl Into<String>) {
        self.unsure = true;
        self.repair(what);
    }

    /// Nothing inside this length fits it any more: goes on behind it.
    fn leave(&mut self, tag: Tag) {
        let end = self.limit();
        while self.open.last().is_some_and(|level| level.end.is_none()) {
            self.close();
        }
        self.at = end;
        self.repair(format!("the contents of the sequence {tag} do not fit its length; it was left out"));
    }

    fn is_bounded(&self) -> bool {
        self.open.iter().any(|level| level.end.is_some())
    }

    /// One element of a data set, or a delimiter that stands in its place.
    fn element(&mut self) -> Result<Option<PixelData>, JobError> {
        let (form, limit) = (self.form(), self.limit());
        let Some(tag) = form.tag(self.data, self.at).filter(|_| limit - self.at >= 8) else {
            return self.ends_within_a_header();
        };
        if tag.0 == ITEM.0 {
            self.delimiter(tag)?;
            return Ok(None);
        }
        if tag == Tag(0, 0) && self.data[self.at..].iter().all(|&byte| byte == 0) {
            self.at = self.data.len();
            return Ok(None);
        }
        let Some(element) = element::read(self.data, self.at, limit, form) else {
            return self.ends_within_a_header();
        };
        if self.open.is_empty() {
            if self.unsure && tag <= self.highest {
                return Err(refuse(
                    ErrorCode::HeaderInvalid,
                    format!(
                        "the header's sequences are not closed as they were opened: the element {tag} comes after {}",
                        self.highest
                    ),
                ));
            }
            self.highest = self.highest.max(tag);
            if tag == tags::PIXEL_DATA {
                return Ok(Some(self.pixel_data(&element)));
            }
        }
        if !element.expected {
            self.repair(format!("the element {tag} is not written in the form of those around it"));
        }
        match element.end() {
            None => self.undefined(&element)?,
            Some(end) if end > limit => {
                if !self.is_bounded() {
                    return Err(self.too_long(&element));
                }
                self.leave(self.within.last().copied().unwrap_or(tag));
            }
            Some(end) if Reading::enters(&self.within, tag) => {
                let form = if element.vr == Some(VR::UN) { Form::IMPLICIT } else { form };
                self.at = element.value;
                self.enter(Level { kind: Kind::Sequence, tag, form, end: Some(end) })?;
            }
            Some(end) => {
                if Reading::wants(&self.within, tag) {
                    // Values of VR UN are little endian always.
                    let big_endian = form.big_endian && element.vr != Some(VR::UN);
                    self.header.set(&self.within, tag, &self.data[element.value..end], big_endian);
                }
                if self.open.is_empty() && self.wanted.contains(&tag) {
                    let value = attributes::unpadded(&self.data[element.value..end]);
                    if value.len() > attributes::MOST_BYTES {
                        let text =
                            format!("the element {tag} has {} bytes, which is no value of it", value.len());
                        return Err(refuse(ErrorCode::HeaderInvalid, text));
                    }
                    self.taken.push((tag, value.to_vec()));
                }
                self.at = end;
            }
        }
        Ok(None)
    }

    fn ends_within_a_header(&mut self) -> Result<Option<PixelData>, JobError> {
        if self.is_bounded() {
            self.leave(self.within.last().copied().unwrap_or(ITEM));
            return Ok(None);
        }
        if self.data[self.at..].iter().all(|&byte| byte == 0) {
            self.at = self.data.len();
            return Ok(None);
        }
        Err(refuse(ErrorCode::Truncated, "the file ends inside its header"))
    }

    fn pixel_data(&self, element: &Element) -> PixelData {
        let Some(promised) = element.length else {
            return PixelData::Encapsulated { at: element.value };
        };
        let held = self.data.len().saturating_sub(element.value).min(promised);
        let bytes = element.value..element.value + held;
        PixelData::Native { bytes, promised, swapped: self.root.big_endian && element.vr == Some(VR::OW) }
    }

    /// An element whose end a delimiter tells.
    fn undefined(&mut self, element: &Element) -> Result<(), JobError> {
        let form = self.form();
        let (kind, form) = match element.vr {
            Some(VR::UN) => (Kind::Sequence, Form::IMPLICIT),
            Some(VR::SQ) => (Kind::Sequence, form),
            // An icon's pixels, or private bytes in fragments.
            Some(_) => (Kind::Fragments, form),
            None if element.tag == tags::PIXEL_DATA => (Kind::Fragments, form),
            None => (Kind::Sequence, form),
        };
        self.at = element.value;
        self.enter(Level { kind, tag: element.tag, form, end: None })
    }

    /// A delimiter, or an item's start, where an element could be.
    fn delimiter(&mut self, tag: Tag) -> Result<(), JobError> {
        let in_item = self.open.last().copied();
        let undefined = in_item.is_some_and(|level| level.end.is_none());
        match tag {
            ITEM_END if undefined => {
                self.close();
                self.at += 8;
            }
            SEQUENCE_END if undefined => {
                let tag = in_item.map_or(tag, |level| level.tag);
                self.repair_delimiter(format!("an item of the sequence {tag} has no delimiter"));
                // The sequence around it finds its own delimiter here.
                self.close();
            }
            ITEM if undefined => {
                let tag = in_item.map_or(tag, |level| level.tag);
                self.repair_delimiter(format!("an item of the sequence {tag} has no delimiter"));
                self.close();
            }
            ITEM_END | SEQUENCE_END => {
                self.repair_delimiter("a delimiter stands where nothing is open");
                self.at += 8;
            }
            _ => {
                return Err(refuse(
                    ErrorCode::HeaderInvalid,
                    format!("the header has an item outside of any sequence, at byte {}", self.at),
                ));
            }
        }
        Ok(())
    }

    /// One item of a sequence, or what ends it.
    fn item(&mut self) -> Result<(), JobError> {
        let Some(level) = self.open.last().copied() else { return Ok(()) };
        let limit = self.limit();
        let head = level.form.tag(self.data, self.at).zip(level.form.long(self.data, self.at + 4));
        let Some((tag, length)) = head.filter(|_| limit - self.at >= 8) else {
            return self.ends_within_a_header().map(|_| ());
        };
        match tag {
            ITEM => self.open_item(&level, length, limit),
            SEQUENCE_END if level.end.is_none() => {
                self.at += 8;
                self.close();
                Ok(())
            }
            ITEM_END | SEQUENCE_END => {
                self.repair_delimiter(format!("the sequence {} holds a delimiter too many", level.tag));
                self.at += 8;
                Ok(())
            }
            _ if level.end.is_some() => {
                self.leave(level.tag);
                Ok(())
            }
            other if other > level.tag => {
                self.repair_delimiter(format!("the sequence {} has no delimiter", level.tag));
                self.close();
                Ok(())
            }
            other => Err(refuse(
                ErrorCode::HeaderInvalid,
                format!("the sequence {} goes on with the element {other}, which is no item", level.tag),
            )),
        }
    }

    fn open_item(&mut self, level: &Level, length: u32, limit: usize) -> Result<(), JobError> {
        let start = self.at + 8;
        let bounded = (length != u32::MAX).then(|| start.saturating_add(length as usize));
        match bounded {
            Some(end) if end > limit => {
                if self.is_bounded() {
                    self.leave(level.tag);
                    return Ok(());
                }
                let item = Element {
                    tag: level.tag,
                    vr: None,
                    value: start,
                    length: Some(length as usize),
                    expected: true,
                };
                return Err(self.too_long(&item));
            }
            // What nobody asks for is stepped over as a whole.
            Some(end) if !Reading::looks_into(&self.within) => {
                self.at = end;
                return Ok(());
            }
            _ => {}
        }
        let end = bounded.unwrap_or(limit);
        let other = Form { explicit: !level.form.explicit, ..level.form };
        let is_other = !element::starts(self.data, start, end, level.form, 1)
            && element::starts(self.data, start, end, other, 2);
        self.at = start;
        let form = if is_other { other } else { level.form };
        self.header.begin_item(&self.within);
        self.enter(Level { kind: Kind::DataSet, tag: level.tag, form, end: bounded })
    }

    /// A value that is longer than what is left: a file cut short, or one whose length is wrong.
    fn too_long(&self, element: &Element) -> JobError {
        let (tag, length) = (element.tag, element.length.unwrap_or_default());
        let left = self.data.len().saturating_sub(element.value);
        if self.is_whole_behind(element.value) {
            return refuse(
                ErrorCode::HeaderInvalid,
                format!(
                    "the element {tag} claims {length} bytes where {left} are left, and the pixel data lies within \
                     them: its length or its VR is wrong"
                ),
            );
        }
        refuse(
            ErrorCode::Truncated,
            format!("the file ends inside the element {tag}: {left} of its {length} bytes are there"),
        )
    }

    /// Whether pixel data that reaches to the very end of the file starts somewhere behind `from`.
    fn is_whole_behind(&self, from: usize) -> bool {
        let mark: [u8; 4] =
            if self.root.big_endian { [0x7F, 0xE0, 0x00, 0x10] } else { [0xE0, 0x7F, 0x10, 0x00] };
        let rest = self.data.get(from..).unwrap_or_default();
        rest.windows(4).enumerate().filter(|(_, window)| *window == mark).any(|(at, _)| {
            let at = from + at;
            [8, 4].into_iter().any(|length| match self.root.long(self.data, at + length) {
                Some(u32::MAX) => true,
                Some(bytes) => at + length + 4 + bytes as usize == self.data.len(),
                None => false,
            })
        })
    }
}
