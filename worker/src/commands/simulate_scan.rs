//! `nightread simulate-scan`: a resting-state scan to try the rest with.

use std::fs::{File, Permissions};
use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;

use anyhow::{Context, Result};
use nightread_fmri::simulate::{Networks, Options, simulate};
use nightread_volume::{FileSource, Limits, ScanSource};

use crate::app::WrongUse;
use crate::cli::SimulateScanArgs;
use crate::console::print;

/// NIfTI-1 holds no more along an axis.
const MAX_VOLUMES: usize = i16::MAX as usize;

pub(super) fn run(args: &SimulateScanArgs) -> Result<ExitCode> {
    let sound = (1..=MAX_VOLUMES).contains(&args.volumes) && args.tr.is_finite() && args.tr > 0.0;
    if !sound {
        return Err(WrongUse(format!("--volumes is 1 to {MAX_VOLUMES}, --tr is above 0")).into());
    }
    let mask = args.mask.clone().map(FileSource);
    let mask = mask.as_ref().map(|mask| mask as &dyn ScanSource);
    let networks = Networks::read(&FileSource(args.networks.clone()), mask, &Limits::default())?;
    let options =
        Options { seed: args.seed, volumes: args.volumes, tr_seconds: args.tr, ..Options::default() };
    let compression = args.out.extension().is_some_and(|end| end == "gz").then_some(1);
    let written = || format!("cannot write {}", args.out.display());
    // Beside its name until it is whole, so that a broken-off run leaves no half a scan behind.
    let folder = args.out.parent().filter(|folder| !folder.as_os_str().is_empty());
    let file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666)) // less the umask
        .tempfile_in(folder.unwrap_or(".".as_ref()))
        .with_context(written)?;
    let writer: BufWriter<&File> = BufWriter::new(file.as_file());
    simulate(&networks, &options, writer, compression).with_context(written)?;
    file.persist(&args.out).with_context(written)?;
    print(&format!(
        "{} volumes of {} simulated networks: {}",
        args.volumes,
        networks.count(),
        args.out.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}
