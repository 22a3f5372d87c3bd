//! Bounds, and what the caller decides.

/// What reading one study may take, and what is let pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CtLimits {
    /// Voxels of the volume; rows times columns times slices.
    pub max_voxels: u64,
    /// Bytes that one file may inflate to: a member of an archive, a deflated data set, a frame.
    pub max_file_bytes: u64,
    /// Bytes that an archive or a compressed NIfTI file may inflate to.
    pub max_inflated_bytes: u64,
    /// Files of a study, or entries of an archive.
    pub max_files: usize,
    /// Bytes an archive's members inflate to for each byte that they take: more is a bomb. DICOM files seldom reach 20.
    pub max_ratio: u64,
    /// Fewer slices are refused.
    pub min_slices: usize,
    /// Whether single missing slices are made from their neighbours, with a warning, instead of refused.
    pub interpolate_missing: bool,
    /// Threads that decode; the volume does not depend on it.
    pub threads: usize,
}

impl Default for CtLimits {
    /// 512 x 512 x 2,000 voxels; 1 GiB a file and 4 GiB in all; 4,096 files; 10 slices.
    fn default() -> Self {
        Self {
            max_voxels: 512 * 512 * 2000,
            max_file_bytes: 1 << 30,
            max_inflated_bytes: 4 << 30,
            max_files: 4096,
            max_ratio: 200,
            min_slices: 10,
            interpolate_missing: false,
            threads: 1,
        }
    }
}
