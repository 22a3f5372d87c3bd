//! Writing a group's maps where dual regression finds them.

use nightread_volume::{Description, Storage, VolumeWriter};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::GroupIca;
use crate::components::write_time_courses;

/// How the sign of a map is chosen, as manifests say it.
pub const SIGN_CONVENTION: &str = "max-abs-positive";

/// File names in the output folder.
const MAPS_FILE: &str = "maps.nii.gz";
const MASK_FILE: &str = "mask.nii.gz";
const FRAGMENT_FILE: &str = "maps.toml";
const MIXING_FILE: &str = "mixing.tsv";
const COMPONENTS_FILE: &str = "components.tsv";

/// Writes `maps.nii.gz` (single precision, zero outside of the mask), `mask.nii.gz` (the voxels that vary in every run),
/// `maps.toml`, the `[maps]` table of a model manifest with the doubts as comments, `mixing.tsv` (rows of the reduced data
/// by components) and `components.tsv` (explained variance and stability). Files are placed as the runs are.
///
/// # Errors
/// Those of writing files.
pub fn write_group(group: &GroupIca, folder: &Path, des_norm: bool) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(MAPS_FILE);
    write_volumes(group, &path, Some(group.maps.len()), Storage::F32, &group.maps)?;
    let inside = vec![1.0; group.mask.len()];
    let mask = folder.join(MASK_FILE);
    write_volumes(group, &mask, None, Storage::I8 { slope: 1.0 }, &[inside])?;
    write_time_courses(
        &group.mixing.concat(),
        group.maps.len(),
        BufWriter::new(File::create(folder.join(MIXING_FILE))?),
    )?;
    std::fs::write(folder.join(COMPONENTS_FILE), components_text(group))?;
    let digests = Digests { maps: digest_of(&path)?, mask: digest_of(&mask)? };
    std::fs::write(folder.join(FRAGMENT_FILE), fragment_text(group, &digests, des_norm))
}

/// SHA-256 of the files that the fragment names.
struct Digests {
    maps: String,
    mask: String,
}

fn digest_of(path: &Path) -> io::Result<String> {
    Ok(hex::encode(Sha256::digest(std::fs::read(path)?)))
}

/// One file of values in the mask, compressed.
fn write_volumes(
    group: &GroupIca,
    path: &Path,
    volumes: Option<usize>,
    storage: Storage,
    values: &[Vec<f32>],
) -> io::Result<()> {
    let description = Description {
        grid: group.grid,
        volumes,
        storage,
        tr_seconds: None,
        space: group.orientation.code() as i16,
        text: "Nightread group ICA".to_owned(),
    };
    let mut writer = VolumeWriter::new(BufWriter::new(File::create(path)?), description, Some(6))?;
    let mut volume = vec![0.0; group.grid.len()];
    for values in values {
        for (&v, &x) in group.mask.iter().zip(values) {
            volume[v as usize] = x;
        }
        writer.write_volume(&volume)?;
    }
    writer.finish()?;
    Ok(())
}

fn components_text(group: &GroupIca) -> String {
    let mut out = "component\texplained_variance\texplained_of_data\tstability\n".to_owned();
    for (k, (explained, stability)) in group.explained.iter().zip(&group.stability).enumerate() {
        let of_data = explained * group.explained_together;
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{k}\t{explained:.6}\t{of_data:.6}\t{stability:.4}");
    }
    out
}

fn fragment_text(group: &GroupIca, digests: &Digests, des_norm: bool) -> String {
    let mut out = String::new();
    let [nx, ny, nz] = group.grid.dims;
    let rows: Vec<String> = group.grid.affine.0.iter().map(|row| format!("{row:?}")).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "# Group ICA of {} scans, {} volumes; {} voxels, {} space.",
        group.runs,
        group.volumes,
        group.mask.len(),
        group.orientation.space()
    );
    if !group.converged {
        out.push_str("# FastICA did NOT converge: these maps are one of many answers.\n");
    }
    for warning in &group.warnings {
        let _ = writeln!(out, "# {}: {}", warning.code, warning.message.replace(['\n', '\r'], " "));
    }
    out.push_str("# component: explained variance, stability over starts\n");
    for (k, (explained, stability)) in group.explained.iter().zip(&group.stability).enumerate() {
        let _ = writeln!(out, "# {k}: {explained:.4}, {stability:.3}");
    }
    let _ = write!(
        out,
        "[maps]\nfile = \"{MAPS_FILE}\"\nsha256 = \"{}\"\nmask = \"{MASK_FILE}\"\nmask_sha256 = \"{}\"\ncount = {}\ngrid = [{nx}, {ny}, {nz}]\naffine = [{}, [0.0, 0.0, 0.0, 1.0]]\nsign_convention = \"{SIGN_CONVENTION}\"\ndes_norm = {des_norm}\n",
        digests.maps,
        digests.mask,
        group.maps.len(),
        rows.join(", "),
    );
    out
}
