//! Documents to make tables of.
#![allow(dead_code, reason = "each test takes what it needs")]

use serde_json::{Value, json};

/// A document of the wanted kind; `seed` makes it differ from others.
pub fn document(name: &str, kind: Kind, seed: u32) -> Value {
    let part = f64::from(seed % 1000) / 1000.0;
    let mut document = json!({
        "schema": "nightread.result.v2", "status": "ok", "notice": "Research output.", "task": "radiograph",
        "study": {"kind": "blob", "container": "incoming", "name": name, "version": format!("\"0x{seed}\""),
            "last_modified": "2026-01-31T12:00:00.123456Z", "bytes": 1000 + seed, "sha256": "ab".repeat(32), "media": "dicom"},
        "model": {"name": "padchest-26", "version": "1.0.0", "precision": "fp32", "weights_sha256": "cd".repeat(32),
            "manifest_sha256": "ef".repeat(32), "execution_provider": "cpu", "preprocessing": "xrv-1"},
        "artefacts": [], "warnings": [], "timing_ms": {"fetch": 1.5, "total": 40.25 + part}, "worker": {"version": "0.1.0"},
        "read_at": "2026-02-01T00:00:00.5Z"
    });
    match kind {
        Kind::Radiograph => {
            document["input"] = json!({"modality": "DX", "view": "pa", "bits_stored": 12, "age_years": 61.5, "width_px": 2000,
                "height_px": 2500, "max_value": 4095, "photometric": "MONOCHROME2", "body_part": "CHEST",
                "transfer_syntax": "1.2.840.10008.1.2.1"});
            document["findings"] = json!([
                {"label": "Effusion", "logit": -2.5, "probability": 0.07, "threshold": 0.3, "positive": false},
                {"label": "Lung Opacity", "logit": 0.1, "probability": part, "threshold": 0.5, "positive": part >= 0.5}]);
            document["artefacts"] = json!([{"kind": "heatmap", "path": "m/1/incoming/a.heat.png", "media_type": "image/png",
                "bytes": 7, "sha256": "00".repeat(32), "of": "Lung Opacity"}]);
            document["warnings"] = json!([{"code": "low_contrast", "message": "contrast, \"low\"\nvery"},
                {"code": "unverified_view", "message": "m"}]);
        }
        Kind::Scan => {
            document["task"] = "components".into();
            document["study"]["media"] = "nifti_gz".into();
            document["input"] = json!({"volumes": 200, "grid_voxels": [61, 73, 61], "space": "mni152", "qform_code": 4,
                "sform_code": 4, "affine_mm": [[3, 0, 0, -90], [0, 3, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]],
                "tr_seconds": 2.2, "tr_from": "header"});
            document["components"] = json!([
                {"index": 0, "label": "DMN", "family": "DMN", "probability": 0.91, "top": [{"label": "DMN", "probability": 0.91}],
                 "map": {"peak_mni_mm": [2.0, -54.0, 26.0], "peak_z": 9.25, "group_correlation": 0.5, "peak_at_chance": false},
                 "flags": []},
                {"index": 2, "label": null, "family": "", "probability": 0.0, "top": [], "map": null, "flags": ["low_coverage"]}]);
            document["regression"] = json!({"volumes": 200, "volumes_used": 190, "tr_seconds": null, "voxels_mask": 9,
                "voxels_used": 8, "voxels_constant": 1, "voxels_non_finite": 0, "voxels_outside": 0, "volumes_dropped": 4,
                "volumes_censored": 6, "confounds": ["csf", "x"], "confounds_rank": 2, "rank": 150, "dof": 100,
                "dof_rule": "rank", "chance_z": 4.5, "des_norm": true, "grid": "same", "mask": "binary",
                "overlap": {"dice": 0.9, "tissue": "mean"}});
        }
        Kind::Failed => {
            document["status"] = "failed".into();
            document["study"]["sha256"] = Value::Null;
            document["error"] = json!({"code": "blob_empty", "stage": "fetch", "message": "no bytes"});
        }
        Kind::Empty => document["findings"] = json!([]),
    }
    document
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Radiograph,
    Scan,
    Failed,
    /// Read, without a finding.
    Empty,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Radiograph, Self::Scan, Self::Failed, Self::Empty];
}
