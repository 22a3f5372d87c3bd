//! What must hold of every reading, whatever the bytes.

use nightread_ct::{CtLimits, LEAST_HU, PartBytes, estimate, from_parts};
use nightread_dicom::InProcess;
use nightread_domain::body::Body;

/// Reads parts under small limits, and checks the promises of the volume or of the refusal.
pub fn check(parts: Vec<Vec<u8>>) {
    let limits = CtLimits {
        max_voxels: 1 << 18,
        max_file_bytes: 1 << 20,
        max_inflated_bytes: 4 << 20,
        max_files: 64,
        min_slices: 2,
        interpolate_missing: true,
        ..CtLimits::default()
    };
    let part = |(n, bytes): (usize, Vec<u8>)| PartBytes { name: n.to_string(), body: Body::from(bytes) };
    let parts: Vec<PartBytes> = parts.into_iter().enumerate().map(part).collect();
    let told = estimate(&parts, &limits, &InProcess);
    match from_parts(&parts, &limits, &InProcess) {
        Ok(volume) => {
            let voxels: usize = volume.shape.iter().product();
            assert_eq!(volume.values.len(), voxels);
            assert!(voxels as u64 <= limits.max_voxels);
            assert!(volume.values.iter().all(|&unit| unit >= LEAST_HU));
            assert!(volume.affine.iter().flatten().all(|number| number.is_finite()));
            let told = told.unwrap_or_else(|error| panic!("it was read, and the estimate said {error}"));
            assert!(told.bytes >= 2 * voxels as u64, "{told:?} for {voxels} voxels");
        }
        Err(error) => {
            assert!(!error.text.is_empty());
            assert!(error.cause.is_none_or(|cause| !cause.is_transient() && !cause.is_fatal()));
        }
    }
}
