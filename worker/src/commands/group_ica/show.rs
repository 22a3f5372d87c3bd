//! What `nightread group-ica` shows in the end.

use nightread_fmri::ica::GroupIca;
use serde_json::json;

use crate::cli::GroupIcaArgs;

pub(super) fn as_text(group: &GroupIca, args: &GroupIcaArgs) -> String {
    let stability = group.stability.iter().sum::<f64>() / group.stability.len().max(1) as f64;
    let convergence = if group.converged { "converged" } else { "did NOT converge" };
    format!(
        "{} components of {} scans ({} volumes) on {} voxels; {convergence}, mean stability over starts {stability:.3}\n\
         maps, mask, mixing, explained variance and the [maps] table of a model manifest: {}",
        group.maps.len(),
        group.runs,
        group.volumes,
        group.mask.len(),
        args.out.display(),
    )
}

pub(super) fn as_json(group: &GroupIca) -> serde_json::Value {
    json!({
        "components": group.maps.len(),
        "scans": group.runs,
        "volumes": group.volumes,
        "voxels": group.mask.len(),
        "constant_voxels": group.constant_voxels,
        "converged": group.converged,
        "explained": group.explained,
        "explained_together": group.explained_together,
        "space": group.orientation.space(),
        "mask": group.mask_rule,
        "warnings": group.warnings,
        "stability": group.stability,
    })
}
