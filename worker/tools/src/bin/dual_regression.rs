//! Dual regression from the command line, for comparisons and for making training data:
//! `dual_regression --maps MAPS [--mask MASK] --out PREFIX [--z] [--projections] [--grid FILE] [--resample]
//! [--threads N] [--confounds TSV --columns NAME,... [--drop N] [--max-displacement MM]] SCAN`.
//!
//! Writes raw little-endian arrays: `PREFIX.beta.f32` (K x V), `PREFIX.z.f32`, `PREFIX.tc.f64` (T x K), or with
//! `--projections` only `PREFIX.projections.f32` (K x 3 x 45 x 45, zero for constant maps, the maps first put on the
//! grid of FILE when one is given); prints facts and seconds as JSON.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::time::Instant;

use nightread_fmri::confounds::{Table, Wanted, find};
use nightread_fmri::projection::{INPUT_LEN, ProjectionOptions, project};
use nightread_fmri::regression::Options;
use nightread_fmri::{ComponentMaps, GroupMaps, dual_regression_beside};
use nightread_volume::{FileSource, Limits, ScanSource, VolumeStream};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut maps, mut mask, mut out, mut scan) = (None, None, None, None);
    let (mut projections, mut grid) = (false, None);
    let mut options = Options::default();
    let (mut wanted, mut table) = (Wanted::default(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--maps" => maps = Some(FileSource(PathBuf::from(value()?))),
            "--mask" => mask = Some(FileSource(PathBuf::from(value()?))),
            "--out" => out = Some(value()?),
            "--threads" => options.threads = value()?.parse()?,
            "--projections" => projections = true,
            "--grid" => grid = Some(FileSource(PathBuf::from(value()?))),
            "--confounds" => table = Some(Table::parse(&std::fs::read(value()?)?)?),
            "--columns" => wanted.columns = value()?.split(',').map(str::to_owned).collect(),
            "--drop" => wanted.drop_volumes = value()?.parse()?,
            "--max-displacement" => wanted.max_displacement_mm = Some(value()?.parse()?),
            "--z" => options.z_maps = true,
            "--resample" => options.resample = true,
            _ => scan = Some(FileSource(PathBuf::from(argument))),
        }
    }
    let maps = maps.ok_or("--maps is needed")?;
    let scan = scan.ok_or("a scan is needed")?;
    let start = Instant::now();
    let mask = mask.as_ref().map(|mask| mask as &dyn ScanSource);
    let maps = GroupMaps::read(&maps, mask, &options.limits)?;
    let prepared = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let volumes = VolumeStream::open(&scan, &options.limits)?.header().volumes;
    let nuisance = find(&wanted, table.as_ref(), volumes)?.nuisance;
    let result = dual_regression_beside(&scan, &maps, &nuisance, &options)?;
    let seconds = start.elapsed().as_secs_f64();
    let bytes = |rows: &[Vec<f32>]| rows.iter().flatten().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    match out {
        Some(prefix) if projections => {
            let inputs = inputs(result.maps, grid.as_ref())?;
            std::fs::write(format!("{prefix}.projections.f32"), bytes(&inputs))?;
        }
        Some(prefix) => {
            std::fs::write(format!("{prefix}.beta.f32"), bytes(&result.maps.betas))?;
            if let Some(z) = &result.maps.z {
                std::fs::write(format!("{prefix}.z.f32"), bytes(z))?;
            }
            let courses: Vec<u8> = result.time_courses.iter().flat_map(|x| x.to_le_bytes()).collect();
            std::fs::write(format!("{prefix}.tc.f64"), courses)?;
        }
        None => {}
    }
    let facts = serde_json::to_string(&result.facts)?;
    println!("{{\"maps_seconds\": {prepared}, \"seconds\": {seconds}, \"facts\": {facts}}}");
    Ok(())
}

/// The classifier's inputs, on the grid of a file or on the maps' own.
fn inputs(
    maps: ComponentMaps,
    grid: Option<&FileSource>,
) -> Result<Vec<Vec<f32>>, Box<dyn std::error::Error>> {
    let maps = match grid {
        Some(file) => maps.on_grid(&VolumeStream::open(file, &Limits::default())?.header().grid)?,
        None => maps,
    };
    let mut out = Vec::new();
    for map in &maps.betas {
        let input = project(maps.grid.dims, &maps.mask, map, &ProjectionOptions::default())?;
        out.push(input.unwrap_or_else(|| vec![0.0; INPUT_LEN]));
    }
    Ok(out)
}
