//! Reads the files named on a line of standard input, separated by tabs, as one study: writes one line of JSON and, where a
//! volume was read, its units as little-endian words. For `parity/parity.py`.

use std::io::{self, BufRead, Write};

use nightread_ct::{CtLimits, PartBytes, from_parts};
use nightread_dicom::InProcess;
use nightread_domain::body::Body;
use serde_json::json;

fn main() -> io::Result<()> {
    let limits = CtLimits { min_slices: 4, threads: 2, ..CtLimits::default() };
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let read =
            |path: &str| Ok(PartBytes { name: path.to_owned(), body: Body::from(std::fs::read(path)?) });
        let parts = line.split('\t').map(read).collect::<io::Result<Vec<_>>>()?;
        match from_parts(&parts, &limits, &InProcess) {
            Ok(volume) => {
                let warnings: Vec<_> = volume.warnings.iter().map(|warning| warning.code.as_str()).collect();
                let head = json!({ "shape": volume.shape, "affine": volume.affine, "warnings": warnings, "facts": volume.facts });
                writeln!(out, "{head}")?;
                let bytes: Vec<u8> = volume.values.iter().flat_map(|unit| unit.to_le_bytes()).collect();
                out.write_all(&bytes)?;
            }
            Err(error) => {
                writeln!(out, "{}", json!({ "code": error.code.as_str(), "text": error.to_string() }))?;
            }
        }
        out.flush()?;
    }
    Ok(())
}
