//! What a file says its voxels are: NIfTI's intent codes (`nifti1.h`).

use nightread_domain::{ErrorCode, JobError, Stage};

/// An intent code; 0 says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intent(pub i32);

impl Intent {
    /// Student's t; its parameter is the degrees of freedom.
    pub const T: Self = Self(3);
    /// Standard normal.
    pub const Z: Self = Self(5);
    /// An estimate of a parameter.
    pub const ESTIMATE: Self = Self(1001);

    /// Whether every volume is a map of t (3) or z (5).
    pub const fn is_map_of_t_or_z(self) -> bool {
        matches!(self.0, 3 | 5)
    }

    /// Refuses what cannot be a time series: other statistics, estimates, labels, matrices, vectors, sets of points.
    ///
    /// # Errors
    /// `not_four_dimensional`.
    pub fn check_time_series(self) -> Result<(), JobError> {
        let what = match self.0 {
            3 | 5 => "a map of t or z",
            2..=21 => "a statistic",
            22..=24 => "a map of p-values",
            1001 => "an estimate of a parameter",
            1002 | 1003 => "labels",
            1004 | 1005 | 1010 => "a matrix or quaternion",
            1006 | 1007 => "vectors",
            1008 | 1009 => "points or triangles",
            2002..=2005 => "data of a surface or colours",
            _ => return Ok(()),
        };
        let code = self.0;
        let message =
            format!("the header's intent code {code} says that every volume is {what}: no time series");
        Err(JobError::new(Stage::Decode, ErrorCode::NotFourDimensional, message))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn time_series_and_unsaid_intents_are_scans() {
        for code in [0, 1, 1011, 2001, 9999, -1] {
            assert!(Intent(code).check_time_series().is_ok() && !Intent(code).is_map_of_t_or_z(), "{code}");
        }
        for code in [2, 3, 4, 5, 22, 1001, 1002, 1007, 2005] {
            assert_eq!(
                Intent(code).check_time_series().unwrap_err().code,
                ErrorCode::NotFourDimensional,
                "{code}"
            );
        }
        assert!(
            Intent(3).is_map_of_t_or_z() && Intent(5).is_map_of_t_or_z() && !Intent(4).is_map_of_t_or_z()
        );
    }
}
