//! Group ICA from the command line: `group_ica --components K --mask MASK --out DIR [--seed N] SCANS...`.
#![allow(clippy::print_stderr)]

use std::path::PathBuf;

use nightread_fmri::ica::{Options, group_ica, write_group};
use nightread_volume::{FileSource, ScanSource};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut options, mut mask, mut out, mut scans) = (Options::new(20), None, None, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--components" => options.components = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            "--restarts" => options.restarts = value()?.parse()?,
            "--mask" => mask = Some(FileSource(PathBuf::from(value()?))),
            "--out" => out = Some(PathBuf::from(value()?)),
            _ => scans.push(FileSource(PathBuf::from(argument))),
        }
    }
    let (mask, out) = (mask.ok_or("--mask is needed")?, out.ok_or("--out is needed")?);
    let runs: Vec<&dyn ScanSource> = scans.iter().map(|scan| scan as &dyn ScanSource).collect();
    let group = group_ica(&runs, &mask, &options, &mut |progress| eprintln!("{progress:?}"))?;
    write_group(&group, &out, true)?;
    Ok(())
}
