//! A CT volume that was converted to NIfTI: its numbers are taken for Hounsfield units, with a doubt where none is below
//! zero.

use std::collections::BTreeMap;
use std::io::{self, Read};

use nightread_domain::body::Body;
use nightread_volume::{Header, LimitNames, Limits, Orientation, ScanSource, VolumeStream};
use serde_json::json;

use crate::error::{CtCode, CtError};
use crate::facts;
use crate::hounsfield::{Changed, unit};
use crate::limits::CtLimits;
use crate::volume::{CtVolume, Estimate, PartBytes, Place};

struct BodySource<'a>(&'a Body);

impl ScanSource for BodySource<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(self.0.open())
    }
}

fn limits_of(limits: &CtLimits) -> Limits {
    Limits {
        max_volume_voxels: limits.max_voxels,
        // A file with a time axis is refused as one, whatever its size.
        max_voxels: 1 << 48,
        max_inflated_bytes: limits.max_inflated_bytes,
        names: LimitNames::FIXED,
    }
}

/// What the volume will take: itself, and the numbers of one slice.
pub fn estimate(part: &PartBytes, limits: &CtLimits) -> Result<Estimate, CtError> {
    let source = BodySource(&part.body);
    let stream = open(part, &source, limits)?;
    let [x, y, _] = stream.header().grid.dims;
    let voxels = stream.header().grid.len() as u64;
    let grid = stream.header().grid;
    let place = Place { shape: grid.dims, affine: grid.affine.0 };
    Ok(Estimate { voxels, bytes: 2 * voxels + 16 * (x * y) as u64 + (1 << 20), place })
}

fn open<'a>(
    part: &PartBytes,
    source: &'a BodySource<'_>,
    limits: &CtLimits,
) -> Result<VolumeStream<'a>, CtError> {
    let stream = VolumeStream::open(source, &limits_of(limits))
        .map_err(|error| CtError::of_file(&part.name, error))?;
    judge(stream.header(), limits)?;
    Ok(stream)
}

/// # Errors
/// `four_dimensional`, `no_hounsfield`, `no_position`, `too_few_slices`.
fn judge(header: &Header, limits: &CtLimits) -> Result<(), CtError> {
    if header.volumes > 1 {
        let text = format!("the file has {} volumes: a scan, not a CT volume", header.volumes);
        return Err(CtError::new(CtCode::FourDimensional, text));
    }
    if header.intent.is_map_of_t_or_z() || header.intent.check_time_series().is_err() {
        let text = format!(
            "the header's intent code {} says that the voxels are no Hounsfield units",
            header.intent.0
        );
        return Err(CtError::new(CtCode::NoHounsfield, text));
    }
    if header.orientation == Orientation::Unknown {
        let text = "the header has neither sform nor qform: which side is left is not known";
        return Err(CtError::new(CtCode::NoPosition, text));
    }
    if !header.grid.affine.voxel_mm().iter().all(|mm| (0.01..=100.0).contains(mm)) {
        return Err(CtError::new(CtCode::NoPosition, "the voxels are not between 0.01 and 100 mm"));
    }
    let least = header.grid.dims.into_iter().min().unwrap_or(0);
    if least < limits.min_slices.max(2) {
        let text = format!(
            "the volume has {least} slices along an axis; {} are the least",
            limits.min_slices.max(2)
        );
        return Err(CtError::new(CtCode::TooFewSlices, text));
    }
    Ok(())
}

/// Reads the volume slice by slice.
///
/// # Errors
/// Those of [`judge`]; `unreadable` with what the reader says.
pub fn read(part: &PartBytes, limits: &CtLimits) -> Result<CtVolume, CtError> {
    let source = BodySource(&part.body);
    let mut stream = open(part, &source, limits)?;
    let unreadable = |error| CtError::of_file(&part.name, error);
    let header = stream.header().clone();
    let [x, y, z] = header.grid.dims;
    let mut values = Vec::new();
    let mut numbers = vec![0.0; x * y];
    let mut changed = Changed::default();
    for _ in 0..z {
        stream.next_values(&mut numbers).map_err(unreadable)?;
        // Grows with what arrives: a header that lies about its size allocates nothing.
        if values.is_empty() {
            values.reserve_exact(x * y);
        } else if values.len() == x * y {
            values.reserve_exact(x * y * (z - 1));
        }
        values.extend(numbers.iter().map(|&number| unit(number, &mut changed)));
    }
    stream.finish().map_err(unreadable)?;
    let affine = header.grid.affine.0;
    let mut warnings = facts::of_values(&values, changed);
    warnings.extend(facts::of_columns(affine));
    let mut told = BTreeMap::new();
    told.insert(
        "orientation_from".to_owned(),
        json!(match header.orientation {
            Orientation::Sform(_) => "sform",
            _ => "qform",
        }),
    );
    facts::tell(&mut told, [x, y, z], affine, &values, changed);
    Ok(CtVolume {
        shape: [x, y, z],
        values,
        affine,
        facts: told,
        warnings,
        file_warnings: header.warnings,
        skipped: Vec::new(),
        slices: Vec::new(),
    })
}
