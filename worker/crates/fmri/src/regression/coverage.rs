//! How much of the brain a scan has, and what a component misses.

use nightread_domain::{ErrorCode, JobError, Stage, Warning, WarningCode};

/// Voxels of a mask that take no part in a scan, by their reason.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LeftOut {
    pub outside: usize,
    pub constant: usize,
    pub non_finite: usize,
    /// Voxels of the mask.
    pub all: usize,
}

impl LeftOut {
    /// A warning from the share `warn` on, and a refusal from `refuse` on; a mask that is no brain mask only warns,
    /// because maps without a threshold fill the whole box.
    ///
    /// # Errors
    /// `low_coverage`; `non_finite_voxels` where these alone are too many.
    pub(super) fn judge(self, brain: bool, warn: f64, refuse: f64) -> Result<Option<Warning>, JobError> {
        let Self { outside, constant, non_finite, all } = self;
        let gone = outside + constant + non_finite;
        let share = gone as f64 / all as f64;
        if share < warn {
            return Ok(None);
        }
        let mask = if brain { "brain mask" } else { "maps" };
        let said = format!(
            "{gone} of {all} voxels of the {mask} ({:.0} %) have no signal in this scan: {outside} lie outside of it, \
             {constant} never change, {non_finite} hold NaN or infinity",
            100.0 * share
        );
        if brain && share >= refuse {
            let alone = non_finite as f64 / all as f64 >= refuse;
            let code = if alone { ErrorCode::NonFiniteVoxels } else { ErrorCode::LowCoverage };
            return Err(JobError::new(Stage::Preprocess, code, said));
        }
        Ok(Some(Warning::new(WarningCode::PartialCoverage, said)))
    }
}
