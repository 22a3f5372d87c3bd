//! Dual regression from the command line, for comparisons and for making training data:
//! `dual_regression --maps MAPS [--mask MASK] --out PREFIX [--z] [--resample] [--threads N] SCAN`.
//! Writes `PREFIX.beta.nii.gz`-like raw files: `PREFIX.beta.f32` (K x V), `PREFIX.z.f32`, `PREFIX.tc.f64` (T x K)
//! and prints facts and seconds as JSON.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::time::Instant;

use nightread_fmri::regression::Options;
use nightread_fmri::{FileSource, GroupMaps, Source, dual_regression};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut maps, mut mask, mut out, mut scan) = (None, None, None, None);
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--maps" => maps = Some(FileSource(PathBuf::from(value()?))),
            "--mask" => mask = Some(FileSource(PathBuf::from(value()?))),
            "--out" => out = Some(value()?),
            "--threads" => options.threads = value()?.parse()?,
            "--z" => options.z_maps = true,
            "--resample" => options.resample = true,
            _ => scan = Some(FileSource(PathBuf::from(argument))),
        }
    }
    let maps = maps.ok_or("--maps is needed")?;
    let scan = scan.ok_or("a scan is needed")?;
    let start = Instant::now();
    let mask = mask.as_ref().map(|mask| mask as &dyn Source);
    let maps = GroupMaps::read(&maps, mask, &options.limits)?;
    let prepared = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let result = dual_regression(&scan, &maps, &options)?;
    let seconds = start.elapsed().as_secs_f64();
    if let Some(prefix) = out {
        let bytes =
            |rows: &[Vec<f32>]| rows.iter().flatten().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        std::fs::write(format!("{prefix}.beta.f32"), bytes(&result.maps.betas))?;
        if let Some(z) = &result.maps.z {
            std::fs::write(format!("{prefix}.z.f32"), bytes(z))?;
        }
        let courses: Vec<u8> = result.time_courses.iter().flat_map(|x| x.to_le_bytes()).collect();
        std::fs::write(format!("{prefix}.tc.f64"), courses)?;
    }
    let facts = serde_json::to_string(&result.facts)?;
    println!("{{\"maps_seconds\": {prepared}, \"seconds\": {seconds}, \"facts\": {facts}}}");
    Ok(())
}
