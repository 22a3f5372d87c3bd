//! Simulates one resting-state scan: `simulate_scan --networks ATLAS_OR_MAPS [--mask MASK] [--seed N] [--volumes N]
//! [--tr S] [--place MM] [--smooth MM] [--network X] [--artefact X] [--noise X] [--white] OUT.nii[.gz]`.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use nightread_fmri::simulate::{Networks, Options, simulate};
use nightread_volume::{FileSource, Limits, ScanSource};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut networks, mut mask, mut out) = (None, None, None);
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--networks" => networks = Some(FileSource(PathBuf::from(value()?))),
            "--mask" => mask = Some(FileSource(PathBuf::from(value()?))),
            "--seed" => options.seed = value()?.parse()?,
            "--volumes" => options.volumes = value()?.parse()?,
            "--tr" => options.tr_seconds = value()?.parse()?,
            "--place" => options.place_mm = value()?.parse()?,
            "--smooth" => options.smooth_mm = value()?.parse()?,
            "--network" => options.network = value()?.parse()?,
            "--artefact" => options.artefact = value()?.parse()?,
            "--noise" => options.noise = value()?.parse()?,
            "--white" => options.smooth_noise = false,
            _ => out = Some(PathBuf::from(argument)),
        }
    }
    let (networks, out) = (networks.ok_or("--networks is needed")?, out.ok_or("an output is needed")?);
    let mask = mask.as_ref().map(|mask| mask as &dyn ScanSource);
    let networks = Networks::read(&networks, mask, &Limits::default())?;
    let compression = out.extension().is_some_and(|end| end == "gz").then_some(1);
    simulate(&networks, &options, BufWriter::new(File::create(&out)?), compression)?;
    Ok(())
}
