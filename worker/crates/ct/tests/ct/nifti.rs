//! CT volumes that were converted to NIfTI.

use std::io::Write;

use nightread_ct::{CtLimits, estimate, from_parts};
use nightread_dicom::InProcess;

use crate::fixtures::*;

const DIMS: [usize; 3] = [7, 6, 5];

/// A NIfTI-1 file of int16 or float voxels; forms by their codes.
struct Nifti {
    dims: Vec<i16>,
    floats: bool,
    sform: i16,
    qform: i16,
    intent: i16,
    shift: f32,
}

impl Default for Nifti {
    fn default() -> Self {
        Self {
            dims: DIMS.map(|n| n as i16).to_vec(),
            floats: false,
            sform: 1,
            qform: 0,
            intent: 0,
            shift: -1000.0,
        }
    }
}

fn value(n: usize) -> f32 {
    (n * 7 % 900) as f32
}

impl Nifti {
    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0u8; 352];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &348i32.to_le_bytes());
        put(40, &(self.dims.len() as i16).to_le_bytes());
        for (n, dim) in self.dims.iter().enumerate() {
            put(42 + 2 * n, &dim.to_le_bytes());
        }
        put(68, &self.intent.to_le_bytes());
        put(70, &(if self.floats { 16i16 } else { 4 }).to_le_bytes());
        put(72, &(if self.floats { 32i16 } else { 16 }).to_le_bytes());
        for (n, mm) in [1.0f32, 2.0, 2.5, 3.0].into_iter().enumerate() {
            put(76 + 4 * n, &mm.to_le_bytes());
        }
        put(108, &352f32.to_le_bytes());
        put(112, &1f32.to_le_bytes());
        put(116, &self.shift.to_le_bytes());
        put(252, &self.qform.to_le_bytes());
        put(254, &self.sform.to_le_bytes());
        // A half turn about z, and a place.
        for (n, part) in [0.0f32, 0.0, 1.0, 10.0, 20.0, 30.0].into_iter().enumerate() {
            put(256 + 4 * n, &part.to_le_bytes());
        }
        let rows = [[2.0f32, 0.0, 0.0, -5.0], [0.0, 2.5, 0.0, -6.0], [0.0, 0.0, 3.0, -7.0]];
        for (n, part) in rows.concat().into_iter().enumerate() {
            put(280 + 4 * n, &part.to_le_bytes());
        }
        put(344, b"n+1\0");
        let count: usize = self.dims.iter().map(|&dim| dim as usize).product();
        for n in 0..count {
            if self.floats {
                out.extend(value(n).to_le_bytes());
            } else {
                out.extend((value(n) as i16).to_le_bytes());
            }
        }
        out
    }

    fn read(&self) -> Result<nightread_ct::CtVolume, nightread_ct::CtError> {
        read_parts(&[part("scan", self.bytes())])
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_sform_goes_before_the_qform() {
    let sform = Nifti { qform: 1, ..Nifti::default() }.read().unwrap();
    assert_eq!(sform.shape, DIMS);
    assert_near(world(&sform.affine, [1.0, 1.0, 1.0]), [-3.0, -3.5, -4.0], 1e-9);
    assert!(sform.values.iter().enumerate().all(|(n, &hu)| hu == value(n) as i16 - 1000));
    let qform = Nifti { sform: 0, qform: 1, ..Nifti::default() }.read().unwrap();
    assert_near(world(&qform.affine, [1.0, 1.0, 1.0]), [8.0, 17.5, 33.0], 1e-6);
    assert_eq!(qform.facts["orientation_from"], "qform");
    let neither = Nifti { sform: 0, ..Nifti::default() }.read().unwrap_err();
    assert_eq!(neither.code.as_str(), "no_position");
}

#[test]
fn compressed_and_floating_ones_are_the_same() {
    let plain = Nifti::default();
    let volume = plain.read().unwrap();
    assert!(read_parts(&[part("scan", gzip(&plain.bytes()))]).unwrap() == volume);
    assert!(Nifti { floats: true, ..Nifti::default() }.read().unwrap().values == volume.values);
}

#[test]
fn doubts_and_refusals() {
    let bright = Nifti { shift: 0.0, ..Nifti::default() }.read().unwrap();
    assert_eq!(warnings(&bright), ["not_hounsfield"]);
    for (file, code) in [
        (Nifti { dims: vec![7, 6, 5, 9], ..Nifti::default() }, "four_dimensional"),
        (Nifti { dims: vec![70, 60, 3], ..Nifti::default() }, "too_few_slices"),
        (Nifti { intent: 1002, ..Nifti::default() }, "no_hounsfield"),
        (Nifti { intent: 3, ..Nifti::default() }, "no_hounsfield"),
    ] {
        assert_eq!(file.read().unwrap_err().code.as_str(), code);
    }
    // One volume with a time axis of one is a volume.
    assert_eq!(Nifti { dims: vec![7, 6, 5, 1], ..Nifti::default() }.read().unwrap().shape, DIMS);
    let mut nan = Nifti { floats: true, ..Nifti::default() }.bytes();
    nan[352..356].copy_from_slice(&f32::NAN.to_le_bytes());
    let volume = read_parts(&[part("scan", nan)]).unwrap();
    assert_eq!((volume.values[0], warnings(&volume)), (-1024, vec!["not_numbers"]));
}

#[test]
fn limits_are_held_before_voxels_are_read() {
    let bytes = Nifti::default().bytes();
    let whole = [part("scan", bytes.clone())];
    assert_eq!(estimate(&whole, &limits(), &InProcess).unwrap().voxels, 210);
    let cut = [part("scan", bytes[..600].to_vec())];
    assert_eq!(estimate(&cut, &limits(), &InProcess).unwrap().voxels, 210, "from the header alone");
    assert_eq!(read_parts(&cut).unwrap_err().cause.unwrap().code.as_str(), "truncated");
    let small = CtLimits { max_voxels: 209, ..limits() };
    let error = from_parts(&whole, &small, &InProcess).unwrap_err();
    assert_eq!(error.cause.unwrap().code.as_str(), "too_many_voxels");
    // A damaged checksum is found behind the last voxel.
    let mut packed = gzip(&bytes);
    let at = packed.len() - 6;
    packed[at] ^= 1;
    assert_eq!(
        read_parts(&[part("scan", packed)]).unwrap_err().cause.unwrap().code.as_str(),
        "decode_failed"
    );
}
