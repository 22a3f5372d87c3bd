//! Small valid images of every format, made by encoders that share no code with the decoders under test where one
//! could be had.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dicom_core::value::PixelFragmentSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::transfer_syntax::TransferSyntaxIndex;
use dicom_object::meta::FileMetaTableBuilder;
use dicom_object::{DefaultDicomObject, FileDicomObject, InMemDicomObject};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use nightread_dicom::{ChildCodec, Samples};
use nightread_radiograph::{DecodeLimits, DecodeOptions, Radiograph};

use crate::lossless::Lossless;

/// Explicit VR big endian: retired, and still in archives.
pub const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// A deterministic stream of numbers (xorshift64).
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }
}

/// A slope with noise, values from 0 to `max`, both of which occur.
pub fn grey(width: u32, height: u32, max: u16) -> Vec<u16> {
    let mut noise = Noise::new(u64::from(width) << 20 | u64::from(height));
    let pixels = (width * height) as usize;
    let mut samples: Vec<u16> = (0..pixels)
        .map(|i| {
            let slope = i as u64 * u64::from(max) / pixels as u64;
            ((slope * 7 + noise.next() % (u64::from(max) + 1)) / 8) as u16
        })
        .collect();
    samples[0] = 0;
    samples[pixels - 1] = max;
    samples
}

/// Images of a few pixels pass, and the codec's child is this crate's example.
pub fn options() -> DecodeOptions {
    DecodeOptions {
        limits: DecodeLimits { max_pixels: 20_000_000, max_inflated_bytes: 128 << 20, min_side: 1 },
        codec: Some(shared_codec()),
        ..DecodeOptions::default()
    }
}

/// One set of children for all tests of this program.
fn shared_codec() -> Arc<ChildCodec> {
    static SHARED: OnceLock<Arc<ChildCodec>> = OnceLock::new();
    Arc::clone(SHARED.get_or_init(|| Arc::new(child_codec())))
}

/// The program `codec_child` of the crate `dicom`, which cargo builds beside the tests.
pub fn child_codec() -> ChildCodec {
    ChildCodec::new(child_program(), [""; 0]).with_timeout(Duration::from_mins(1))
}

pub fn child_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let program = profile.join("codec_child");
    assert!(program.exists(), "build it first: cargo build -p nightread-dicom --bin codec_child");
    program
}

pub fn words(image: &Radiograph) -> Vec<u16> {
    match image.samples() {
        Samples::U8(samples) => samples.iter().map(|&v| u16::from(v)).collect(),
        Samples::U16(samples) => samples.clone(),
    }
}

/// A DICOM file in the making; a chest PA of one grey frame unless told otherwise.
#[derive(Clone)]
pub struct Dicom {
    pub syntax: &'static str,
    pub columns: u16,
    pub rows: u16,
    pub allocated: u16,
    pub stored: u16,
    pub high: u16,
    pub pixels: Pixels,
    pub elements: Vec<(Tag, VR, PrimitiveValue)>,
}

#[derive(Clone)]
pub enum Pixels {
    None,
    Words(Vec<u16>),
    Bytes(Vec<u8>),
    Fragments(Vec<Vec<u8>>),
}

impl Dicom {
    pub fn new(columns: u16, rows: u16, stored: u16, samples: &[u16]) -> Self {
        let text = |tag, vr, value: &str| (tag, vr, PrimitiveValue::from(value));
        let (allocated, pixels) = if stored > 8 {
            (16, Pixels::Words(samples.to_vec()))
        } else {
            (8, Pixels::Bytes(samples.iter().map(|&v| v as u8).collect()))
        };
        Self {
            syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN,
            columns,
            rows,
            allocated,
            stored,
            high: stored - 1,
            pixels,
            elements: vec![
                text(tags::SOP_CLASS_UID, VR::UI, uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE),
                text(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.4"),
                text(tags::MODALITY, VR::CS, "CR"),
                text(tags::PATIENT_NAME, VR::PN, "Doe^Jane"),
                text(tags::PATIENT_ID, VR::LO, "4711"),
                text(tags::PATIENT_AGE, VR::AS, "045Y"),
                text(tags::BODY_PART_EXAMINED, VR::CS, "CHEST"),
                text(tags::VIEW_POSITION, VR::CS, "PA"),
                text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
                (tags::SAMPLES_PER_PIXEL, VR::US, dicom_value!(U16, [1])),
                (tags::PIXEL_REPRESENTATION, VR::US, dicom_value!(U16, [0])),
            ],
        }
    }

    pub fn syntax(self, syntax: &'static str) -> Self {
        Self { syntax, ..self }
    }

    pub fn pixels(self, pixels: Pixels) -> Self {
        Self { pixels, ..self }
    }

    /// Compressed pixels in one fragment, padded to an even length.
    pub fn frame(self, syntax: &'static str, mut frame: Vec<u8>) -> Self {
        if frame.len() % 2 == 1 {
            frame.push(0);
        }
        self.syntax(syntax).pixels(Pixels::Fragments(vec![frame]))
    }

    pub fn set(mut self, tag: Tag, vr: VR, value: impl Into<PrimitiveValue>) -> Self {
        self.elements.retain(|(other, ..)| *other != tag);
        self.elements.push((tag, vr, value.into()));
        self
    }

    pub fn without(mut self, tag: Tag) -> Self {
        self.elements.retain(|(other, ..)| *other != tag);
        self
    }

    pub fn object(&self) -> InMemDicomObject {
        let number = |value: u16| dicom_value!(U16, [value]);
        let mut object = InMemDicomObject::new_empty();
        object.put(DataElement::new(tags::COLUMNS, VR::US, number(self.columns)));
        object.put(DataElement::new(tags::ROWS, VR::US, number(self.rows)));
        object.put(DataElement::new(tags::BITS_ALLOCATED, VR::US, number(self.allocated)));
        object.put(DataElement::new(tags::BITS_STORED, VR::US, number(self.stored)));
        object.put(DataElement::new(tags::HIGH_BIT, VR::US, number(self.high)));
        for (tag, vr, value) in &self.elements {
            object.put(DataElement::new(*tag, *vr, value.clone()));
        }
        match &self.pixels {
            Pixels::None => {}
            Pixels::Words(words) => {
                let value = PrimitiveValue::U16(words.clone().into());
                object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, value));
            }
            Pixels::Bytes(bytes) => {
                let mut bytes = bytes.clone();
                bytes.resize(bytes.len().next_multiple_of(2), 0);
                let value = PrimitiveValue::U8(bytes.into());
                object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, value));
            }
            Pixels::Fragments(fragments) => {
                let value = PixelFragmentSequence::new(Vec::<u32>::new(), fragments.clone());
                object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, value));
            }
        }
        object
    }

    /// The data set alone, in its transfer syntax (deflated where that says so).
    pub fn data_set(&self) -> Vec<u8> {
        self.written(&self.object())
    }

    fn written(&self, object: &InMemDicomObject) -> Vec<u8> {
        let deflated = self.syntax == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
        let syntax = if deflated { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { self.syntax };
        let mut bytes = Vec::new();
        let syntax = TransferSyntaxRegistry.get(syntax).unwrap();
        object.write_dataset_with_ts(&mut bytes, syntax).unwrap();
        if deflated { deflate(&bytes) } else { bytes }
    }

    /// The whole file: preamble, file meta group, data set.
    pub fn bytes(&self) -> Vec<u8> {
        self.file(&self.data_set())
    }

    /// The same with one element more, a sequence for example.
    pub fn bytes_with(&self, element: DataElement<InMemDicomObject>) -> Vec<u8> {
        let mut object = self.object();
        object.put(element);
        self.file(&self.written(&object))
    }

    fn file(&self, data_set: &[u8]) -> Vec<u8> {
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE)
            .media_storage_sop_instance_uid("1.2.3.4")
            .transfer_syntax(self.syntax)
            .build()
            .unwrap();
        let mut bytes = vec![0; 128];
        bytes.extend_from_slice(b"DICM");
        meta.write(&mut bytes).unwrap();
        bytes.extend_from_slice(data_set);
        bytes
    }
}

pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn open_dicom(path: &std::path::Path) -> DefaultDicomObject {
    FileDicomObject::open_file(path).unwrap()
}

/// One RLE frame of 8- or 16-bit samples.
pub fn rle(samples: &[u16], allocated: u16) -> Vec<u8> {
    let planes: Vec<Vec<u8>> = (0..allocated / 8)
        .rev()
        .map(|byte| pack_bits(&samples.iter().map(|v| (v >> (8 * byte)) as u8).collect::<Vec<_>>()))
        .collect();
    let mut frame = (planes.len() as u32).to_le_bytes().to_vec();
    let mut offset = 64u32;
    for plane in &planes {
        frame.extend_from_slice(&offset.to_le_bytes());
        offset += plane.len() as u32;
    }
    frame.resize(64, 0);
    for plane in &planes {
        frame.extend_from_slice(plane);
    }
    frame
}

fn pack_bits(plane: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut rest = plane;
    while let Some(&first) = rest.first() {
        let run = rest.iter().take(128).take_while(|&&v| v == first).count();
        if run >= 3 {
            packed.extend_from_slice(&[(257 - run) as u8, first]);
            rest = &rest[run..];
            continue;
        }
        let literal = rest.windows(3).take(128).position(|w| w[0] == w[1] && w[1] == w[2]);
        let literal = literal.unwrap_or(rest.len()).clamp(1, 128).min(rest.len());
        packed.push((literal - 1) as u8);
        packed.extend_from_slice(&rest[..literal]);
        rest = &rest[literal..];
    }
    if packed.len() % 2 == 1 {
        packed.push(0);
    }
    packed
}

/// 40 x 33 samples of 12 bits, as `grey` gives them, reversible, made once with OpenJPEG.
pub const J2K: &[u8] = include_bytes!("seed_40x33_12bit.j2k");

/// Lossless JPEG (process 14) with predictor 1.
pub fn jpeg_lossless(samples: &[u16], width: u16, height: u16, precision: u8) -> Vec<u8> {
    Lossless::new(width, height, precision).encode(samples)
}

pub fn jpeg_ls(samples: &[u16], width: u16, height: u16, bits: i32, near: i32) -> Vec<u8> {
    let info = charls::FrameInfo {
        width: width.into(),
        height: height.into(),
        bits_per_sample: bits,
        component_count: 1,
    };
    let bytes: Vec<u8> = match bits {
        ..=8 => samples.iter().map(|&v| v as u8).collect(),
        _ => samples.iter().flat_map(|v| v.to_ne_bytes()).collect(),
    };
    charls::CharLS::default().encode(info, near, &bytes).unwrap()
}

pub fn jpeg_dct(samples: &[u8], width: u32, height: u32, format: libjpeg_turbo_rs::PixelFormat) -> Vec<u8> {
    let subsampling = libjpeg_turbo_rs::Subsampling::S444;
    libjpeg_turbo_rs::compress(samples, width as usize, height as usize, format, 95, subsampling).unwrap()
}

pub fn png(
    width: u32,
    height: u32,
    colour: png::ColorType,
    depth: png::BitDepth,
    rows: &[u8],
    palette: Option<Vec<u8>>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if let Some(palette) = palette {
        encoder.set_palette(palette);
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(rows).unwrap();
    writer.finish().unwrap();
    bytes
}

pub fn png16(width: u32, height: u32, samples: &[u16]) -> Vec<u8> {
    let rows: Vec<u8> = samples.iter().flat_map(|v| v.to_be_bytes()).collect();
    png(width, height, png::ColorType::Grayscale, png::BitDepth::Sixteen, &rows, None)
}

/// `head`, the pixels in chunks of `most` bytes, and the end marker.
pub fn png_chunks(head: &[u8], pixels: &[u8], most: usize) -> Vec<u8> {
    let mut bytes = head.to_vec();
    for (kind, data) in pixels.chunks(most).map(|data| (b"IDAT", data)).chain([(b"IEND", &[][..])]) {
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(kind);
        bytes.extend(data);
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        bytes.extend(crc.sum().to_be_bytes());
    }
    bytes
}

/// The index of a folder: a meta group that says so, and no image.
pub fn dicomdir() -> Vec<u8> {
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(uids::MEDIA_STORAGE_DIRECTORY_STORAGE)
        .media_storage_sop_instance_uid("1.2.3.4")
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .build()
        .unwrap();
    let mut bytes = vec![0; 128];
    bytes.extend_from_slice(b"DICM");
    meta.write(&mut bytes).unwrap();
    let mut object = InMemDicomObject::new_empty();
    object.put(DataElement::new(tags::FILE_SET_ID, VR::CS, PrimitiveValue::from("CHEST")));
    let syntax = TransferSyntaxRegistry.get(uids::EXPLICIT_VR_LITTLE_ENDIAN).unwrap();
    object.write_dataset_with_ts(&mut bytes, syntax).unwrap();
    bytes
}

/// An uncompressed one-strip TIFF, tag by tag.
pub fn tiff(
    big_endian: bool,
    size: (u32, u32),
    bits: u16,
    photometric: u16,
    channels: u16,
    data: &[u8],
) -> Vec<u8> {
    let short = |v: u16| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
    let long = |v: u32| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
    let mut entries: Vec<(u16, u16, u32, [u8; 4])> = Vec::new();
    let packed = |v: u16| {
        let s = short(v);
        [s[0], s[1], 0, 0]
    };
    let data_at = 8 + 2 + 9 * 12 + 4 + 8;
    entries.push((256, 4, 1, long(size.0)));
    entries.push((257, 4, 1, long(size.1)));
    // Three or four bit depths do not fit into an entry; they lie behind the directory.
    entries.push(match channels {
        1 => (258, 3, 1, packed(bits)),
        _ => (258, 3, channels.into(), long(data_at - 8)),
    });
    entries.push((259, 3, 1, packed(1)));
    entries.push((262, 3, 1, packed(photometric)));
    entries.push((273, 4, 1, long(data_at)));
    entries.push((277, 3, 1, packed(channels)));
    entries.push((278, 4, 1, long(size.1)));
    entries.push((279, 4, 1, long(data.len() as u32)));
    let mut out = if big_endian { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
    out.extend(long(8));
    out.extend(short(entries.len() as u16));
    for (tag, kind, count, value) in entries {
        out.extend(short(tag));
        out.extend(short(kind));
        out.extend(long(count));
        out.extend(value);
    }
    out.extend(long(0));
    for _ in 0..4 {
        out.extend(short(bits));
    }
    out.extend_from_slice(data);
    out
}

/// The real images: `NIGHTREAD_TEST_DATA`, or the folder beside the workspace.
pub fn test_data() -> Option<PathBuf> {
    folder("NIGHTREAD_TEST_DATA", "../shared/data")
}

/// The unpacked `pydicom-data`: `NIGHTREAD_PYDICOM_DATA`, or where `make` puts it.
pub fn pydicom_data() -> Option<PathBuf> {
    folder("NIGHTREAD_PYDICOM_DATA", ".cache/pydicom-data").map(|folder| {
        let inside = folder.join("data_store/data");
        if inside.is_dir() { inside } else { folder }
    })
}

/// Files that went wrong, with their right outcomes: `NIGHTREAD_CASES`, or the folder beside the workspace.
pub fn cases(part: &str) -> Option<PathBuf> {
    folder("NIGHTREAD_CASES", "../shared/cases").map(|cases| cases.join(part)).filter(|part| part.is_dir())
}

fn folder(variable: &str, default: &str) -> Option<PathBuf> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let folder = std::env::var_os(variable).map_or_else(|| workspace.join(default), PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// Says by name what did not run.
pub fn skipped(test: &str, what: &str) {
    println!("SKIPPED: {test}: {what} is not here");
}
