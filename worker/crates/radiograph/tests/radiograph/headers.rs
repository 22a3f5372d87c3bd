//! Data sets that break the rules of their encoding, byte by byte: read where one reading is left, else refused by the
//! contradiction's name, and never called cut short while they are whole.

use dicom_dictionary_std::uids;
use libjpeg_turbo_rs::PixelFormat;
use nightread_domain::error::{ErrorCode, JobError};
use nightread_radiograph::{Radiograph, decode};

use crate::fixtures::{BIG_ENDIAN, grey, jpeg_dct, jpeg_lossless, jpeg_ls, options, rle, words};

const W: u16 = 31;
const H: u16 = 23;
const PRIVATE: u32 = 0x0019_1011;
const ICON: u32 = 0x0088_0200;
const REFERENCES: u32 = 0x0008_1140;

/// Writes elements in one form.
#[derive(Clone, Copy)]
struct Form {
    explicit: bool,
    big: bool,
}

const EXPLICIT: Form = Form { explicit: true, big: false };
const IMPLICIT: Form = Form { explicit: false, big: false };
const BIG: Form = Form { explicit: true, big: true };

impl Form {
    fn short(self, value: u16) -> [u8; 2] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn long(self, value: u32) -> [u8; 4] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn tag(self, tag: u32) -> Vec<u8> {
        [self.short((tag >> 16) as u16), self.short(tag as u16)].concat()
    }

    /// An element whose length field says `length`.
    fn claiming(self, tag: u32, vr: &str, length: u32, value: &[u8]) -> Vec<u8> {
        let mut out = self.tag(tag);
        let long = ["OB", "OW", "OF", "SQ", "UN", "UT", "UC", "UR", "OD", "OL"].contains(&vr);
        if self.explicit {
            out.extend(vr.as_bytes());
            if long {
                out.extend([0, 0]);
                out.extend(self.long(length));
            } else {
                out.extend(self.short(length as u16));
            }
        } else {
            out.extend(self.long(length));
        }
        out.extend(value);
        out
    }

    fn element(self, tag: u32, vr: &str, value: &[u8]) -> Vec<u8> {
        self.claiming(tag, vr, value.len() as u32, value)
    }

    fn text(self, tag: u32, vr: &str, value: &str) -> Vec<u8> {
        let mut value = value.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), b' ');
        self.element(tag, vr, &value)
    }

    fn number(self, tag: u32, value: u16) -> Vec<u8> {
        self.element(tag, "US", &self.short(value))
    }

    fn mark(self, element: u16, length: u32) -> Vec<u8> {
        [self.tag(0xFFFE_0000 | u32::from(element)), self.long(length).to_vec()].concat()
    }

    fn item_end(self) -> Vec<u8> {
        self.mark(0xE00D, 0)
    }

    fn sequence_end(self) -> Vec<u8> {
        self.mark(0xE0DD, 0)
    }

    /// An item of undefined length, or of its own.
    fn item(self, undefined: bool, content: &[u8]) -> Vec<u8> {
        if undefined {
            [self.mark(0xE000, u32::MAX), content.to_vec(), self.item_end()].concat()
        } else {
            [self.mark(0xE000, content.len() as u32), content.to_vec()].concat()
        }
    }

    fn sequence(self, tag: u32, vr: &str, undefined: bool, items: &[u8]) -> Vec<u8> {
        if undefined {
            self.claiming(tag, vr, u32::MAX, &[items, &self.sequence_end()].concat())
        } else {
            self.element(tag, vr, items)
        }
    }
}

/// A chest PA in one form; `extra` are elements of groups 0009 to 0027 that stand before the image's own.
struct File {
    form: Form,
    syntax: &'static str,
    before: Vec<u8>,
    extra: Vec<u8>,
    pixels: Vec<u8>,
    samples: Vec<u16>,
}

impl File {
    fn new(form: Form) -> Self {
        let samples = grey(W.into(), H.into(), 4095);
        let words: Vec<u8> = samples.iter().flat_map(|&v| form.short(v)).collect();
        let syntax = match (form.explicit, form.big) {
            (true, false) => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            (true, true) => BIG_ENDIAN,
            (false, _) => uids::IMPLICIT_VR_LITTLE_ENDIAN,
        };
        let pixels = form.element(0x7FE0_0010, "OW", &words);
        Self { form, syntax, before: Vec::new(), extra: Vec::new(), pixels, samples }
    }

    fn with(form: Form, extra: Vec<u8>) -> Self {
        Self { extra, ..Self::new(form) }
    }

    fn data_set(&self, bits: u16) -> Vec<u8> {
        let f = self.form;
        [
            f.text(0x0008_0005, "CS", "ISO_IR 100"),
            f.text(0x0008_0060, "CS", "CR"),
            self.before.clone(),
            f.text(0x0010_1010, "AS", "045Y"),
            f.text(0x0018_0015, "CS", "CHEST"),
            f.text(0x0018_5101, "CS", "PA"),
            self.extra.clone(),
            f.number(0x0028_0002, 1),
            f.text(0x0028_0004, "CS", "MONOCHROME2"),
            f.number(0x0028_0010, H),
            f.number(0x0028_0011, W),
            f.number(0x0028_0100, if bits > 8 { 16 } else { 8 }),
            f.number(0x0028_0101, bits),
            f.number(0x0028_0102, bits - 1),
            f.number(0x0028_0103, 0),
            self.pixels.clone(),
        ]
        .concat()
    }

    fn meta(&self, form: Form) -> Vec<u8> {
        let mut syntax = self.syntax.as_bytes().to_vec();
        syntax.resize(syntax.len().next_multiple_of(2), 0);
        let group = [
            form.element(0x0002_0001, "OB", &[0, 1]),
            form.element(0x0002_0002, "UI", b"1.2.840.10008.5.1.4.1.1.1\0"),
            form.element(0x0002_0010, "UI", &syntax),
            form.text(0x0002_0013, "SH", "TEST"),
        ]
        .concat();
        [form.element(0x0002_0000, "UL", &(group.len() as u32).to_le_bytes()), group].concat()
    }

    fn bytes_of(&self, bits: u16) -> Vec<u8> {
        [vec![0; 128], b"DICM".to_vec(), self.meta(EXPLICIT), self.data_set(bits)].concat()
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes_of(12)
    }
}

fn codes(image: &Radiograph) -> Vec<&str> {
    image.warnings().iter().map(|warning| &*warning.code).collect()
}

#[track_caller]
fn reads(name: &str, file: &File, warnings: &[&str]) {
    let image = decode(&file.bytes(), &options()).unwrap_or_else(|error| panic!("{name}: {error}"));
    same!(words(&image), file.samples, "{name}");
    assert_eq!(codes(&image), warnings, "{name}: {:?}", image.warnings());
    assert_eq!(image.facts().age_years, Some(45.0), "{name}");
}

#[track_caller]
fn refuses(name: &str, bytes: &[u8], code: ErrorCode) -> JobError {
    let error = decode(bytes, &options()).expect_err(name);
    assert_eq!(error.code, code, "{name}: {error}");
    error
}

#[test]
fn unknown_values_of_undefined_length_hold_implicit_elements() {
    let codes = |f: Form| {
        [f.text(0x0008_0100, "SH", "R-10214"), f.text(0x0008_0104, "LO", "postero-anterior")].concat()
    };
    for form in [EXPLICIT, BIG] {
        for of_length in [false, true] {
            let inner = IMPLICIT.item(!of_length, &codes(IMPLICIT));
            let nested = IMPLICIT.sequence(REFERENCES, "SQ", !of_length, &inner);
            let deeper = IMPLICIT.item(
                of_length,
                &IMPLICIT.sequence(0x0040_A730, "SQ", of_length, &IMPLICIT.item(true, &nested)),
            );
            for (name, items) in [
                ("one item", inner.clone()),
                ("two items", [inner.clone(), inner.clone()].concat()),
                ("no item", vec![]),
                ("an empty item", IMPLICIT.item(!of_length, &[])),
                ("nested", IMPLICIT.item(of_length, &nested)),
                ("deeper", deeper),
                ("explicit after all", IMPLICIT.item(!of_length, &codes(EXPLICIT))),
            ] {
                let mut unknown = form.claiming(PRIVATE, "UN", u32::MAX, &items);
                unknown.extend(IMPLICIT.sequence_end());
                reads(name, &File::with(form, unknown), &[]);
            }
        }
    }
}

#[test]
fn an_unknown_value_may_be_the_views_code_sequence() {
    let item = |code: &str| IMPLICIT.item(true, &IMPLICIT.text(0x0008_0100, "SH", code));
    for undefined in [true, false] {
        let with = |code: &str| {
            let mut file = File::new(EXPLICIT);
            let view = if undefined {
                let end = IMPLICIT.sequence_end();
                [EXPLICIT.claiming(0x0054_0220, "UN", u32::MAX, &item(code)), end].concat()
            } else {
                EXPLICIT.element(0x0054_0220, "UN", &item(code))
            };
            file.pixels = [view, file.pixels].concat();
            file
        };
        reads("frontal", &with("R-10214"), &[]);
        refuses("lateral", &with("R-10236").bytes(), ErrorCode::WrongView);
    }
}

#[test]
fn private_bytes_in_fragments_are_stepped_over() {
    for vr in ["OB", "OW", "UT"] {
        for form in [EXPLICIT, BIG] {
            let fragments = [
                form.item(false, &[]),
                form.item(false, &[0xFE, 0xFF, 0xDD, 0xE0, 1, 2]),
                form.item(false, &[9; 300]),
            ];
            reads(vr, &File::with(form, form.sequence(PRIVATE, vr, true, &fragments.concat())), &[]);
        }
    }
}

#[test]
fn an_icon_is_not_the_image() {
    let f = EXPLICIT;
    let icon = [
        f.number(0x0028_0010, 2),
        f.number(0x0028_0011, 2),
        f.number(0x0028_0100, 8),
        f.element(0x7FE0_0010, "OB", &[1, 2, 3, 4]),
    ]
    .concat();
    let packed = [
        f.number(0x0028_0010, 2),
        f.sequence(0x7FE0_0010, "OB", true, &[f.item(false, &[]), f.item(false, &[1; 10])].concat()),
    ];
    for (name, content) in [("native", icon), ("compressed", packed.concat())] {
        for undefined in [true, false] {
            let mut file = File::new(f);
            file.pixels =
                [f.sequence(ICON, "SQ", undefined, &f.item(undefined, &content)), file.pixels].concat();
            reads(name, &file, &[]);
        }
    }
}

#[test]
fn a_transfer_syntax_that_is_wrong_about_the_vrs() {
    for (syntax, form) in
        [(uids::IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT), (uids::EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT)]
    {
        let file = File { syntax, ..File::new(form) };
        reads(syntax, &file, &["transfer_syntax_contradicted"]);
    }
    for (syntax, form) in [
        (BIG_ENDIAN, EXPLICIT),
        (uids::EXPLICIT_VR_LITTLE_ENDIAN, BIG),
        (uids::IMPLICIT_VR_LITTLE_ENDIAN, BIG),
    ] {
        let error = refuses(syntax, &File { syntax, ..File::new(form) }.bytes(), ErrorCode::HeaderInvalid);
        assert!(error.message.contains("endian order"), "{error}");
    }
}

#[test]
fn the_meta_group_in_any_form() {
    for form in [EXPLICIT, IMPLICIT] {
        for meta in [EXPLICIT, IMPLICIT] {
            let file = File::new(form);
            let bytes = [vec![0; 128], b"DICM".to_vec(), file.meta(meta), file.data_set(12)].concat();
            let image = decode(&bytes, &options()).unwrap();
            same!(words(&image), file.samples);
            assert_eq!(codes(&image), [""; 0]);
            assert_eq!(image.facts().transfer_syntax.as_deref(), Some(file.syntax));
        }
    }
}

#[test]
fn pixels_that_are_packed_otherwise_than_the_transfer_syntax_says() {
    let grey = grey(W.into(), H.into(), 255);
    let bytes: Vec<u8> = grey.iter().map(|&v| v as u8).collect();
    let frame = jpeg_dct(&bytes, W.into(), H.into(), PixelFormat::Grayscale);
    let packed = |form: Form| {
        form.sequence(0x7FE0_0010, "OB", true, &[form.item(false, &[]), form.item(false, &frame)].concat())
    };
    for syntax in [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN] {
        for form in [EXPLICIT, IMPLICIT] {
            let file = File { syntax, pixels: packed(form), ..File::new(form) };
            let error = refuses(syntax, &file.bytes_of(8), ErrorCode::HeaderInvalid);
            assert!(error.message.contains("is compressed although"), "{error}");
        }
    }
    let unnamed = File { pixels: packed(EXPLICIT), ..File::new(EXPLICIT) }.data_set(8);
    let error = refuses("no meta group", &unnamed, ErrorCode::HeaderInvalid);
    assert!(error.message.contains("names no transfer syntax"), "{error}");
    for syntax in [uids::JPEG_BASELINE8_BIT, uids::RLE_LOSSLESS] {
        let error =
            refuses(syntax, &File { syntax, ..File::new(EXPLICIT) }.bytes(), ErrorCode::HeaderInvalid);
        assert!(error.message.contains("is uncompressed although"), "{error}");
    }
}

#[test]
fn one_element_in_another_form() {
    for (name, extra, warnings) in [
        ("implicit", IMPLICIT.text(PRIVATE, "LO", "SOMETHING"), &["header_repaired"][..]),
        ("implicit and empty", IMPLICIT.element(PRIVATE, "LO", &[]), &["header_repaired"]),
        ("implicit and long", IMPLICIT.element(PRIVATE, "LO", &[7; 3000]), &["header_repaired"]),
        (
            "two of them",
            [IMPLICIT.text(PRIVATE, "LO", "A"), IMPLICIT.text(PRIVATE + 1, "LO", "B")].concat(),
            &["header_repaired"],
        ),
        ("a VR of later days", EXPLICIT.text(PRIVATE, "QQ", "ABCD"), &[]),
        ("??", EXPLICIT.text(PRIVATE, "??", "ABCD"), &["header_repaired"]),
        ("blank", EXPLICIT.text(PRIVATE, "  ", "ABCD"), &["header_repaired"]),
        ("zeros", EXPLICIT.text(PRIVATE, "\0\0", "ABCD"), &["header_repaired"]),
        ("lower case", EXPLICIT.text(PRIVATE, "lo", "ABCD"), &["header_repaired"]),
    ] {
        reads(name, &File::with(EXPLICIT, extra), warnings);
    }
    // 32 bits of length behind a VR that is not known, and 16 behind one that has 32.
    let long = [EXPLICIT.tag(PRIVATE), b"QX\0\0".to_vec(), 70_000u32.to_le_bytes().to_vec(), vec![5; 70_000]]
        .concat();
    reads("unknown and long", &File::with(EXPLICIT, long), &["header_repaired"]);
    let short = [EXPLICIT.tag(PRIVATE), b"UN\x06\0".to_vec(), b"ABCDEF".to_vec()].concat();
    reads("short UN", &File::with(EXPLICIT, short), &["header_repaired"]);
    reads(
        "explicit among implicit",
        &File::with(IMPLICIT, EXPLICIT.text(PRIVATE, "LO", "ABCD")),
        &["header_repaired"],
    );
}

#[test]
fn delimiters_that_are_missing_or_stray() {
    let f = EXPLICIT;
    let start = |tag| f.claiming(tag, "SQ", u32::MAX, &[]);
    let open = f.mark(0xE000, u32::MAX);
    let value = f.text(0x0008_1150, "UI", "1.2.3");
    let good = f.sequence(0x0018_9346, "SQ", true, &f.item(true, &value));
    let tag = 0x0018_9346;
    for (name, extra) in [
        ("the item's", [start(tag), open.clone(), value.clone(), f.sequence_end()].concat()),
        (
            "the first item's",
            [
                start(tag),
                open.clone(),
                value.clone(),
                open.clone(),
                value.clone(),
                f.item_end(),
                f.sequence_end(),
            ]
            .concat(),
        ),
        ("the sequence's", [start(tag), open.clone(), value.clone(), f.item_end()].concat()),
        ("the sequence's, of an item of length", [start(tag), f.item(false, &value)].concat()),
        ("an item's, alone", [good.clone(), f.item_end()].concat()),
        ("a sequence's, alone", [good.clone(), f.sequence_end()].concat()),
        ("both, alone", [f.item_end(), f.sequence_end()].concat()),
        (
            "behind a sequence of length",
            [f.sequence(tag, "SQ", false, &f.item(false, &value)), f.sequence_end()].concat(),
        ),
        (
            "an item's, twice",
            [start(tag), open.clone(), value.clone(), f.item_end(), f.item_end(), f.sequence_end()].concat(),
        ),
    ] {
        reads(name, &File::with(f, extra), &["header_repaired"]);
    }
}

#[test]
fn a_sequence_without_any_delimiter_is_named() {
    let f = EXPLICIT;
    let extra = [
        f.claiming(0x0018_9346, "SQ", u32::MAX, &[]),
        f.mark(0xE000, u32::MAX),
        f.text(0x0008_1150, "UI", "1.2.3"),
    ]
    .concat();
    let error = refuses("neither", &File::with(f, extra).bytes(), ErrorCode::HeaderInvalid);
    assert!(error.message.contains("(0018,9346)"), "{error}");
    // Elements that fall out of their sequence must not pass for the image's.
    let mut file = File::new(f);
    let inside = [f.number(0x0028_0010, 9), f.item_end(), f.number(0x0028_0011, 9)].concat();
    file.pixels = [f.sequence(ICON, "SQ", true, &f.item(true, &inside)), file.pixels].concat();
    let error = refuses("fallen out", &file.bytes(), ErrorCode::HeaderInvalid);
    assert!(error.message.contains("goes on with") || error.message.contains("not closed"), "{error}");
}

#[test]
fn lengths_that_reach_too_far() {
    let f = EXPLICIT;
    for (name, extra) in [
        ("UN", f.claiming(PRIVATE, "UN", 1_000_000, b"ABCD")),
        ("OB", f.claiming(PRIVATE, "OB", u32::MAX - 1, b"ABCD")),
        ("LO", f.claiming(PRIVATE, "LO", 60_000, b"ABCD")),
    ] {
        let bytes = File::with(f, extra).bytes();
        let error = refuses(name, &bytes, ErrorCode::HeaderInvalid);
        assert!(error.message.contains("(0019,1011)"), "{error}");
        // The same file cut short is cut short.
        refuses(name, &bytes[..bytes.len() - 100], ErrorCode::Truncated);
    }
    // A sequence that is looked into, and whose items lie about their length.
    let item = f.claiming(0x0008_0100, "SH", 4000, b"R-10214 ");
    let mut file = File::new(f);
    file.pixels = [f.element(0x0054_0220, "SQ", &f.item(false, &item)), file.pixels].concat();
    reads("inside", &file, &["header_repaired"]);
}

#[test]
fn a_whole_frame_without_its_end_mark() {
    let deep = grey(W.into(), H.into(), 4095);
    let f = EXPLICIT;
    let end = f.sequence_end();
    for (syntax, frame) in [
        (uids::RLE_LOSSLESS, rle(&deep, 16)),
        (uids::JPEG_LOSSLESS_SV1, jpeg_lossless(&deep, W, H, 12)),
        (uids::JPEGLS_LOSSLESS, jpeg_ls(&deep, W, H, 12, 0)),
    ] {
        let mut frame = frame;
        frame.resize(frame.len().next_multiple_of(2), 0);
        let fragments = |tail: &[u8]| {
            f.claiming(
                0x7FE0_0010,
                "OB",
                u32::MAX,
                &[f.item(false, &[]), f.item(false, &frame), tail.to_vec()].concat(),
            )
        };
        let file = |tail: &[u8]| File { syntax, pixels: fragments(tail), ..File::new(f) };
        reads(syntax, &file(&end), &[]);
        for tail in [&[][..], &[0; 8], &[0; 3], &[0; 40], &end[..2], &end[..4], &end[..7], &[9; 5]] {
            reads(syntax, &file(tail), &["missing_delimiter"]);
        }
        let padding = f.element(0xFFFC_FFFC, "OB", &[0; 20]);
        reads(syntax, &file(&padding), &["missing_delimiter"]);
        reads(syntax, &file(&[end.clone(), padding].concat()), &[]);
        let error = refuses("noise", &file(b"and something else").bytes(), ErrorCode::HeaderInvalid);
        assert!(error.message.contains("neither a fragment nor the end mark"), "{error}");
        let short = file(&[]).bytes();
        refuses("cut", &short[..short.len() - 2], ErrorCode::Truncated);
    }
}

#[test]
fn two_frames_where_one_is_said() {
    let deep = grey(W.into(), H.into(), 4095);
    let f = EXPLICIT;
    let mut frame = jpeg_ls(&deep, W, H, 12, 0);
    frame.resize(frame.len().next_multiple_of(2), 0);
    let (one, second) = (f.item(false, &frame), frame.len() as u32 + 8);
    let table = |offsets: &[u32]| {
        f.item(false, &offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect::<Vec<_>>())
    };
    let file = |before: Vec<u8>, items: Vec<Vec<u8>>| {
        let pixels = [before, f.sequence(0x7FE0_0010, "OB", true, &items.concat())].concat();
        File { syntax: uids::JPEGLS_LOSSLESS, pixels, ..File::new(f) }
    };
    reads("one", &file(vec![], vec![table(&[0]), one.clone()]), &[]);
    reads("one, without a table", &file(vec![], vec![one.clone()]), &["header_repaired"]);
    let extended =
        |count: u64| f.element(0x7FE0_0001, "OB", &(0..count).flat_map(u64::to_le_bytes).collect::<Vec<_>>());
    reads("one, extended", &file(extended(1), vec![table(&[]), one.clone()]), &[]);
    for (name, file) in [
        ("by the offset table", file(vec![], vec![table(&[0, second]), one.clone(), one.clone()])),
        ("by the extended table", file(extended(2), vec![table(&[]), one.clone(), one.clone()])),
        ("by the fragments", file(vec![], vec![table(&[]), one.clone(), one.clone()])),
    ] {
        refuses(name, &file.bytes(), ErrorCode::MultiFrame);
    }
}
