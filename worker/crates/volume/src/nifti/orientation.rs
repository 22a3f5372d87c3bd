//! Where an affine came from.

/// Where the affine came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// The header's `srow` rows, with the sform code (1 scanner, 2 aligned, 3 Talairach, 4 MNI152, 5 template).
    Sform(i32),
    /// The header's quaternion, with the qform code.
    Qform(i32),
    /// Neither: voxel sizes only, so the place in the world is not known.
    Unknown,
}

impl Orientation {
    /// The code of the form that the affine was taken from; 0 for none.
    pub const fn code(self) -> i32 {
        match self {
            Self::Sform(code) | Self::Qform(code) => code,
            Self::Unknown => 0,
        }
    }

    /// The space that a code names, in words.
    pub const fn space(self) -> &'static str {
        match self.code() {
            0 => "unknown",
            1 => "scanner",
            2 => "aligned",
            3 => "talairach",
            4 => "mni152",
            5 => "template",
            _ => "other",
        }
    }
}
