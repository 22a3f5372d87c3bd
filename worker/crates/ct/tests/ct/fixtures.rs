//! Series that are written here, element by element, so that anything can be wrong with them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nightread_ct::{CtError, CtLimits, CtVolume, PartBytes, from_parts};
use nightread_dicom::InProcess;
use nightread_domain::body::Body;

pub const COLUMNS: usize = 16;
pub const ROWS: usize = 12;
pub const ROW_MM: f64 = 0.75;
pub const COLUMN_MM: f64 = 0.5;

pub type Tag = (u16, u16);
pub const IMAGE_TYPE: Tag = (0x0008, 0x0008);
pub const SOP_CLASS: Tag = (0x0008, 0x0016);
pub const INSTANCE_UID: Tag = (0x0008, 0x0018);
pub const CONTENT_TIME: Tag = (0x0008, 0x0033);
pub const MODALITY: Tag = (0x0008, 0x0060);
pub const THICKNESS: Tag = (0x0018, 0x0050);
pub const STUDY_UID: Tag = (0x0020, 0x000D);
pub const SERIES_UID: Tag = (0x0020, 0x000E);
pub const ACQUISITION: Tag = (0x0020, 0x0012);
pub const INSTANCE_NUMBER: Tag = (0x0020, 0x0013);
pub const POSITION: Tag = (0x0020, 0x0032);
pub const ORIENTATION: Tag = (0x0020, 0x0037);
pub const FRAME_OF_REFERENCE: Tag = (0x0020, 0x0052);
pub const SLICE_LOCATION: Tag = (0x0020, 0x1041);
pub const SERIES_INSTANCES: Tag = (0x0020, 0x1209);
pub const SAMPLES: Tag = (0x0028, 0x0002);
pub const PHOTOMETRIC: Tag = (0x0028, 0x0004);
pub const FRAMES: Tag = (0x0028, 0x0008);
pub const ROWS_TAG: Tag = (0x0028, 0x0010);
pub const COLUMNS_TAG: Tag = (0x0028, 0x0011);
pub const SPACING: Tag = (0x0028, 0x0030);
pub const ALLOCATED: Tag = (0x0028, 0x0100);
pub const STORED: Tag = (0x0028, 0x0101);
pub const HIGH_BIT: Tag = (0x0028, 0x0102);
pub const SIGNED: Tag = (0x0028, 0x0103);
pub const PADDING: Tag = (0x0028, 0x0120);
pub const INTERCEPT: Tag = (0x0028, 0x1052);
pub const SLOPE: Tag = (0x0028, 0x1053);
pub const RESCALE_TYPE: Tag = (0x0028, 0x1054);
pub const SHARED: Tag = (0x5200, 0x9229);
pub const PER_FRAME: Tag = (0x5200, 0x9230);
pub const PIXELS: Tag = (0x7FE0, 0x0010);

pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub const RLE: &str = "1.2.840.10008.1.2.5";
pub const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";

/// A DICOM file in the making: values by tag, written in rising order.
#[derive(Clone, Debug, Default)]
pub struct Dicom {
    pub values: BTreeMap<Tag, (&'static str, Vec<u8>)>,
}

impl Dicom {
    pub fn text(&mut self, tag: Tag, vr: &'static str, text: &str) -> &mut Self {
        let mut bytes = text.as_bytes().to_vec();
        if bytes.len() % 2 == 1 {
            bytes.push(if vr == "UI" { 0 } else { b' ' });
        }
        self.values.insert(tag, (vr, bytes));
        self
    }

    pub fn number(&mut self, tag: Tag, number: u16) -> &mut Self {
        self.values.insert(tag, ("US", number.to_le_bytes().to_vec()));
        self
    }

    pub fn decimals(&mut self, tag: Tag, numbers: &[f64]) -> &mut Self {
        let texts: Vec<String> = numbers.iter().map(f64::to_string).collect();
        self.text(tag, "DS", &texts.join("\\"))
    }

    pub fn words(&mut self, words: &[u16]) -> &mut Self {
        self.values.insert(PIXELS, ("OW", words.iter().flat_map(|word| word.to_le_bytes()).collect()));
        self
    }

    /// A sequence of items.
    pub fn sequence(&mut self, tag: Tag, items: &[Dicom]) -> &mut Self {
        let mut bytes = Vec::new();
        for item in items {
            let inside = item.data_set();
            bytes.extend([0xFE, 0xFF, 0x00, 0xE0]);
            bytes.extend((inside.len() as u32).to_le_bytes());
            bytes.extend(inside);
        }
        self.values.insert(tag, ("SQ", bytes));
        self
    }

    pub fn without(&mut self, tag: Tag) -> &mut Self {
        assert!(self.values.remove(&tag).is_some(), "{tag:?} was there");
        self
    }

    fn data_set(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (&tag, (vr, value)) in &self.values {
            element(&mut out, tag, vr, value, Some(value.len() as u32));
        }
        out
    }

    pub fn bytes(&self) -> Vec<u8> {
        [start(EXPLICIT), self.data_set()].concat()
    }

    /// With pixels in one fragment a frame, and without an offset table.
    pub fn encapsulated(&self, syntax: &str, frames: &[Vec<u8>]) -> Vec<u8> {
        let mut head = self.clone();
        head.values.remove(&PIXELS);
        let mut out = [start(syntax), head.data_set()].concat();
        element(&mut out, PIXELS, "OB", &[], None);
        let empty: &[u8] = &[];
        for item in [empty].into_iter().chain(frames.iter().map(Vec::as_slice)) {
            out.extend([0xFE, 0xFF, 0x00, 0xE0]);
            out.extend((item.len() as u32).to_le_bytes());
            out.extend(item);
        }
        out.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
        out
    }
}

fn start(syntax: &str) -> Vec<u8> {
    let mut meta = Dicom::default();
    meta.text((0x0002, 0x0010), "UI", syntax);
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    out.extend(meta.data_set());
    out
}

fn element(out: &mut Vec<u8>, tag: Tag, vr: &str, value: &[u8], length: Option<u32>) {
    out.extend(tag.0.to_le_bytes());
    out.extend(tag.1.to_le_bytes());
    out.extend(vr.as_bytes());
    if matches!(vr, "OB" | "OW" | "SQ" | "UN") {
        out.extend([0, 0]);
        out.extend(length.unwrap_or(u32::MAX).to_le_bytes());
    } else {
        out.extend((value.len() as u16).to_le_bytes());
    }
    out.extend(value);
}

/// One frame in RLE, every byte a literal.
pub fn rle(words: &[u16]) -> Vec<u8> {
    let planes = [
        words.iter().map(|word| (word >> 8) as u8).collect::<Vec<_>>(),
        words.iter().map(|&word| word as u8).collect(),
    ];
    let segments = planes.map(|plane| {
        let mut segment: Vec<u8> =
            plane.chunks(128).flat_map(|run| [&[(run.len() - 1) as u8], run].concat()).collect();
        segment.resize(segment.len().next_multiple_of(2), 128);
        segment
    });
    let mut header = vec![2u32, 64, 64 + segments[0].len() as u32];
    header.resize(16, 0);
    let mut out: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    out.extend(segments.concat());
    out
}

/// The stored value of a voxel: no two rows, columns or slices are alike, and none is its mirror.
pub fn stored(k: usize, j: usize, i: usize) -> u16 {
    (100 + 7 * i + 31 * j + 3 * (i * j) % 11 + 53 * k) as u16
}

pub fn words(k: usize) -> Vec<u16> {
    (0..ROWS * COLUMNS).map(|n| stored(k, n / COLUMNS, n % COLUMNS)).collect()
}

/// Slice `k` of an axial series: 12 bits, intercept -1024, 2 mm apart.
pub fn slice(k: usize) -> Dicom {
    let mut file = Dicom::default();
    file.text(IMAGE_TYPE, "CS", "ORIGINAL\\PRIMARY\\AXIAL")
        .text(SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.2")
        .text(INSTANCE_UID, "UI", &format!("1.2.3.{k}"))
        .text(MODALITY, "CS", "CT")
        .decimals(THICKNESS, &[3.0])
        .text(STUDY_UID, "UI", "1.2.1")
        .text(SERIES_UID, "UI", "1.2.2")
        .text(INSTANCE_NUMBER, "IS", &(k + 1).to_string())
        .decimals(POSITION, &[-100.0, -200.0, 50.0 + 2.0 * k as f64])
        .decimals(ORIENTATION, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
        .text(FRAME_OF_REFERENCE, "UI", "1.2.4")
        // A lie, as of many scanners.
        .decimals(SLICE_LOCATION, &[7.0 * k as f64])
        .number(SAMPLES, 1)
        .text(PHOTOMETRIC, "CS", "MONOCHROME2")
        .number(ROWS_TAG, ROWS as u16)
        .number(COLUMNS_TAG, COLUMNS as u16)
        .decimals(SPACING, &[COLUMN_MM, ROW_MM])
        .number(ALLOCATED, 16)
        .number(STORED, 12)
        .number(HIGH_BIT, 11)
        .number(SIGNED, 0)
        .decimals(INTERCEPT, &[-1024.0])
        .decimals(SLOPE, &[1.0])
        .words(&words(k));
    file
}

pub fn series(count: usize) -> Vec<Dicom> {
    (0..count).map(slice).collect()
}

#[allow(clippy::needless_pass_by_value)] // numbers and texts alike
pub fn part(name: impl std::fmt::Display, bytes: Vec<u8>) -> PartBytes {
    PartBytes { name: name.to_string(), body: Body::from(bytes) }
}

pub fn parts(files: &[Dicom]) -> Vec<PartBytes> {
    files.iter().enumerate().map(|(n, file)| part(n, file.bytes())).collect()
}

pub fn limits() -> CtLimits {
    CtLimits { min_slices: 4, ..CtLimits::default() }
}

pub fn read(files: &[Dicom]) -> Result<CtVolume, CtError> {
    read_parts(&parts(files))
}

pub fn read_parts(parts: &[PartBytes]) -> Result<CtVolume, CtError> {
    from_parts(parts, &limits(), &InProcess)
}

/// The code of a refusal.
pub fn refusal(files: &[Dicom]) -> &'static str {
    match read(files) {
        Ok(volume) => panic!("it was read: {:?}, {:?}", volume.shape, volume.warnings),
        Err(error) => error.code.as_str(),
    }
}

pub fn warnings(volume: &CtVolume) -> Vec<&'static str> {
    let mut codes: Vec<_> = volume.warnings.iter().map(|warning| warning.code.as_str()).collect();
    codes.sort_unstable();
    codes
}

pub fn at(volume: &CtVolume, i: usize, j: usize, k: usize) -> i16 {
    volume.values[(k * volume.shape[1] + j) * volume.shape[0] + i]
}

/// Where a voxel lies, in NIfTI's system.
pub fn world(affine: &[[f64; 4]; 3], voxel: [f64; 3]) -> [f64; 3] {
    affine.map(|row| row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3])
}

pub fn assert_near(a: [f64; 3], b: [f64; 3], most: f64) {
    let off = (0..3).map(|n| (a[n] - b[n]).abs()).fold(0.0, f64::max);
    assert!(off <= most, "{a:?} and {b:?} are {off} apart");
}

/// The real series: `NIGHTREAD_TEST_DATA`, or the folder beside the workspace.
pub fn ct_data() -> Option<PathBuf> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let data = std::env::var_os("NIGHTREAD_TEST_DATA")
        .map_or_else(|| workspace.join("../shared/data"), PathBuf::from);
    Some(data.join("ct")).filter(|folder| folder.is_dir())
}

/// Says by name what did not run.
pub fn skipped(test: &str, what: &str) {
    println!("SKIPPED: {test}: {what} is not here");
}
