//! Slices of CT series, written by hand: as much of DICOM as their reader needs.

use bytes::Bytes;

const CT_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";

/// One slice.
#[derive(Clone, Debug)]
pub struct Slice {
    pub series_uid: String,
    pub instance_uid: String,
    /// (0020,1209).
    pub expected: Option<usize>,
    /// What its pixels are made of: another number makes another file.
    pub number: u16,
    /// Bytes of a private element before the pixels.
    pub private_bytes: usize,
}

impl Slice {
    pub fn new(series_uid: &str, number: u16) -> Self {
        let instance_uid = format!("{series_uid}.{number}");
        Self { series_uid: series_uid.to_owned(), instance_uid, expected: None, number, private_bytes: 0 }
    }

    #[must_use]
    pub fn of(self, expected: usize) -> Self {
        Self { expected: Some(expected), ..self }
    }

    pub fn bytes(&self) -> Bytes {
        let mut meta = Vec::new();
        element(&mut meta, (0x0002, 0x0002), *b"UI", CT_IMAGE.as_bytes());
        element(&mut meta, (0x0002, 0x0003), *b"UI", self.instance_uid.as_bytes());
        element(&mut meta, (0x0002, 0x0010), *b"UI", EXPLICIT_LITTLE.as_bytes());
        element(&mut meta, (0x0002, 0x0012), *b"UI", b"1.2.3");
        let mut file = vec![0; 128];
        file.extend_from_slice(b"DICM");
        element(&mut file, (0x0002, 0x0000), *b"UL", &(meta.len() as u32).to_le_bytes());
        file.extend(meta);
        element(&mut file, (0x0008, 0x0016), *b"UI", CT_IMAGE.as_bytes());
        element(&mut file, (0x0008, 0x0018), *b"UI", self.instance_uid.as_bytes());
        element(&mut file, (0x0008, 0x0060), *b"CS", b"CT");
        element(&mut file, (0x0020, 0x000d), *b"UI", b"1.2.99");
        if !self.series_uid.is_empty() {
            element(&mut file, (0x0020, 0x000e), *b"UI", self.series_uid.as_bytes());
        }
        if let Some(expected) = self.expected {
            element(&mut file, (0x0020, 0x1209), *b"IS", expected.to_string().as_bytes());
        }
        if self.private_bytes > 0 {
            element(&mut file, (0x0021, 0x0010), *b"LO", b"PRIVATE");
            element(&mut file, (0x0021, 0x1001), *b"OB", &vec![0x20; self.private_bytes]);
        }
        for (tag, value) in [(0x0002, 1_u16), (0x0010, 16), (0x0011, 16), (0x0100, 16), (0x0101, 12)] {
            element(&mut file, (0x0028, tag), *b"US", &value.to_le_bytes());
        }
        let pixels: Vec<u8> =
            (0..256_u16).flat_map(|at| (at.wrapping_mul(self.number) & 0xfff).to_le_bytes()).collect();
        element(&mut file, (0x7fe0, 0x0010), *b"OW", &pixels);
        file.into()
    }
}

/// One element, its value made even.
fn element(out: &mut Vec<u8>, (group, number): (u16, u16), vr: [u8; 2], value: &[u8]) {
    out.extend(group.to_le_bytes());
    out.extend(number.to_le_bytes());
    out.extend(vr);
    let length = value.len().next_multiple_of(2);
    if matches!(&vr, b"OB" | b"OW") {
        out.extend([0, 0]);
        out.extend((length as u32).to_le_bytes());
    } else {
        out.extend((length as u16).to_le_bytes());
    }
    out.extend(value);
    if value.len() < length {
        out.push(if &vr == b"UI" { 0 } else { b' ' });
    }
}
