//! Writing a group's maps where dual regression finds them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::GroupIca;
use crate::volume::{Description, Storage, VolumeWriter};

/// How the sign of a map is chosen, as manifests say it.
pub const SIGN_CONVENTION: &str = "max-abs-positive";

/// File names in the output folder.
const MAPS_FILE: &str = "maps.nii.gz";
const FRAGMENT_FILE: &str = "maps.toml";

/// Writes `maps.nii.gz` (single precision, zero outside of the mask) and `maps.toml`, the `[maps]` table of a model
/// manifest, with per-component facts as comments.
///
/// # Errors
/// Those of writing files.
pub fn write_group(group: &GroupIca, folder: &Path, des_norm: bool) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let description = Description {
        grid: group.grid,
        volumes: Some(group.maps.len()),
        storage: Storage::F32,
        tr_seconds: None,
        space: 4,
        text: "Nightread group ICA".to_owned(),
    };
    let path = folder.join(MAPS_FILE);
    let mut writer = VolumeWriter::new(BufWriter::new(File::create(&path)?), description, Some(6))?;
    let mut volume = vec![0.0; group.grid.len()];
    for map in &group.maps {
        for (&v, &x) in group.mask.iter().zip(map) {
            volume[v as usize] = x;
        }
        writer.write_volume(&volume)?;
    }
    writer.finish()?;
    let digest = Sha256::digest(std::fs::read(&path)?);
    let mut fragment = File::create(folder.join(FRAGMENT_FILE))?;
    fragment.write_all(fragment_text(group, &hex::encode(digest), des_norm).as_bytes())
}

fn fragment_text(group: &GroupIca, sha256: &str, des_norm: bool) -> String {
    let mut out = String::new();
    let [nx, ny, nz] = group.grid.dims;
    let list = |row: &[f64]| row.iter().map(|x| format!("{x:?}")).collect::<Vec<_>>().join(", ");
    let rows: Vec<String> = group.grid.affine.0.iter().map(|row| format!("[{}]", list(row))).collect();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "# Group ICA of {} scans, {} volumes; {} voxels.\n# component: explained variance, stability over starts\n",
        group.runs,
        group.volumes,
        group.mask.len()
    );
    for (k, (explained, stability)) in group.explained.iter().zip(&group.stability).enumerate() {
        let _ = writeln!(out, "# {k}: {explained:.4}, {stability:.3}");
    }
    let _ = write!(
        out,
        "[maps]\nfile = \"{MAPS_FILE}\"\nsha256 = \"{sha256}\"\ncount = {}\ngrid = [{nx}, {ny}, {nz}]\naffine = [{}, [0.0, 0.0, 0.0, 1.0]]\nsign_convention = \"{SIGN_CONVENTION}\"\ndes_norm = {des_norm}\n",
        group.maps.len(),
        rows.join(", "),
    );
    out
}
