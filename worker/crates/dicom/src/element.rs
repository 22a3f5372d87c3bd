//! One element's header: its tag, VR and length, in the form that its bytes have.
//!
//! Writers mix forms: an implicit element among explicit ones, a VR that no table knows, a data set that is not in the
//! transfer syntax its meta group names. So a header is read in every form that its bytes allow, and the first one after
//! which the data set goes on is taken.

use dicom_core::{Tag, VR};

pub(super) const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub(super) const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
pub(super) const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

/// How the elements of a data set are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) explicit: bool,
    pub(super) big_endian: bool,
}

impl Form {
    /// What a value of VR UN holds when its length is undefined (PS3.5, 6.2.2).
    pub(super) const IMPLICIT: Self = Self { explicit: false, big_endian: false };

    fn short(self, bytes: &[u8], at: usize) -> Option<u16> {
        let word = *bytes.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u16::from_be_bytes(word) } else { u16::from_le_bytes(word) })
    }

    pub(super) fn long(self, bytes: &[u8], at: usize) -> Option<u32> {
        let word = *bytes.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
    }

    pub(super) fn tag(self, bytes: &[u8], at: usize) -> Option<Tag> {
        Some(Tag(self.short(bytes, at)?, self.short(bytes, at + 2)?))
    }
}

/// An element without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) tag: Tag,
    /// `None` where the bytes name none, or none that is known.
    pub(super) vr: Option<VR>,
    /// Where the value starts.
    pub(super) value: usize,
    /// `None` is the undefined length.
    pub(super) length: Option<usize>,
    /// Whether this is the form of the data set around it.
    pub(super) expected: bool,
}

impl Element {
    /// Where the value ends; `None` for an undefined length.
    pub(super) fn end(&self) -> Option<usize> {
        self.value.checked_add(self.length?)
    }
}

/// Where in the value representation's own field the length is.
#[derive(Clone, Copy, PartialEq)]
enum Layout {
    /// No VR, 32 bits of length.
    Implicit,
    /// VR, 16 bits of length.
    Short,
    /// VR, two bytes of nothing, 32 bits of length.
    Long,
}

/// Reads the element at `at` of a data set in `form` that ends at `end`. `None` where fewer bytes are left than a header has.
pub(super) fn read(bytes: &[u8], at: usize, end: usize, form: Form) -> Option<Element> {
    let vr = bytes.get(at + 4..at + 6)?;
    let known = known(vr);
    let capitals = vr.iter().all(u8::is_ascii_uppercase);
    let by_vr = if known.is_some_and(is_long) { Layout::Long } else { Layout::Short };
    let other = if by_vr == Layout::Long { Layout::Short } else { Layout::Long };
    let layouts: &[Layout] = match (form.explicit, known, capitals) {
        (true, Some(_), _) => &[by_vr, Layout::Implicit, other],
        // A VR of a later edition has the long form by rule, but writers of `??` and their like use the short one.
        (true, None, true) => &[Layout::Short, Layout::Long, Layout::Implicit],
        (true, None, false) => &[Layout::Implicit, Layout::Short, Layout::Long],
        (false, Some(_), _) => &[Layout::Implicit, by_vr],
        (false, None, _) => &[Layout::Implicit],
    };
    let first = element(bytes, at, form, layouts[0], known);
    // The pixel data ends the header, so that nothing has to follow it; and it may be cut short.
    if let Some(first) = first
        && (goes_on(bytes, &first, end, form, false)
            || (form.explicit == known.is_some() && is_pixel_data(first.tag)))
    {
        return Some(first);
    }
    layouts[1..]
        .iter()
        .filter_map(|&layout| element(bytes, at, form, layout, known))
        .find(|candidate| goes_on(bytes, candidate, end, form, true))
        .map(|element| Element { expected: false, ..element })
        .or(first)
}

/// Whether the bytes at `at` start as a data set in `form` does: `count` elements, or as many as there are, in rising order.
pub(super) fn starts(bytes: &[u8], at: usize, end: usize, form: Form, count: usize) -> bool {
    let (mut at, mut before) = (at, None);
    for _ in 0..count {
        if at >= end || form.tag(bytes, at).is_some_and(|tag| tag.0 == ITEM.0) {
            return before.is_some();
        }
        let known = bytes.get(at + 4..at + 6).and_then(known);
        let layout = match (form.explicit, known) {
            (false, _) => Layout::Implicit,
            (true, Some(vr)) if is_long(vr) => Layout::Long,
            (true, Some(_)) => Layout::Short,
            (true, None) => return false,
        };
        let Some(element) = element(bytes, at, form, layout, known) else { return false };
        if before.is_some_and(|before| element.tag <= before) {
            return false;
        }
        match element.end() {
            Some(next) if next <= end => at = next,
            // Either may be cut short.
            None => return true,
            Some(_) => return before.is_some() && is_pixel_data(element.tag),
        }
        before = Some(element.tag);
    }
    true
}

fn element(bytes: &[u8], at: usize, form: Form, layout: Layout, vr: Option<VR>) -> Option<Element> {
    let tag = form.tag(bytes, at)?;
    let (value, length) = match layout {
        Layout::Implicit => (at + 8, form.long(bytes, at + 4)?),
        Layout::Short => (at + 8, u32::from(form.short(bytes, at + 6)?)),
        Layout::Long => (at + 12, form.long(bytes, at + 8)?),
    };
    let undefined = layout != Layout::Short && length == u32::MAX;
    Some(Element {
        tag,
        vr: if layout == Layout::Implicit { None } else { vr },
        value,
        length: (!undefined).then_some(length as usize),
        expected: (layout == Layout::Implicit) != form.explicit,
    })
}

/// Whether the data set goes on behind this element, or ends there; `surely` asks more of what follows.
fn goes_on(bytes: &[u8], element: &Element, end: usize, form: Form, surely: bool) -> bool {
    let Some(next) = element.end() else {
        // Items, in either byte order: those within UN are little endian always.
        return [form, Form::IMPLICIT]
            .iter()
            .any(|form| matches!(form.tag(bytes, element.value), Some(ITEM | SEQUENCE_END)));
    };
    if next >= end {
        return next == end;
    }
    let Some(tag) = form.tag(bytes, next) else { return false };
    if tag.0 == ITEM.0 {
        return matches!(tag, ITEM | ITEM_END | SEQUENCE_END);
    }
    let Some(vr) = bytes.get(next + 4..next + 6) else { return false };
    let left = end - next;
    let explicit = known(vr).is_some_and(|vr| {
        let length =
            if is_long(vr) { form.long(bytes, next + 8) } else { form.short(bytes, next + 6).map(u32::from) };
        length.is_some_and(|length| length == u32::MAX || (length as usize) < left || is_pixel_data(tag))
    });
    let implicit = form
        .long(bytes, next + 4)
        .is_some_and(|length| length == u32::MAX || (length as usize) < left || is_pixel_data(tag));
    let rises = tag > element.tag;
    if rises && (explicit || implicit || form.explicit && vr == b"??") {
        return true;
    }
    // Elements out of order, and VRs of later days.
    !surely
        && if form.explicit {
            explicit || rises && vr.iter().all(u8::is_ascii_uppercase)
        } else {
            implicit && !explicit
        }
}

fn is_pixel_data(tag: Tag) -> bool {
    tag == Tag(0x7FE0, 0x0010)
}

fn known(vr: &[u8]) -> Option<VR> {
    VR::from_binary([*vr.first()?, *vr.get(1)?])
}

/// VRs whose length has 32 bits (PS3.5, 7.1.2).
fn is_long(vr: VR) -> bool {
    matches!(
        vr,
        VR::OB
            | VR::OD
            | VR::OF
            | VR::OL
            | VR::OV
            | VR::OW
            | VR::SQ
            | VR::SV
            | VR::UC
            | VR::UN
            | VR::UR
            | VR::UT
            | VR::UV
    )
}
