//! Reads paths of scans from standard input, one a line, and answers each on standard output: a line of JSON, then the values
//! of all volumes as little-endian `f64` if there are any. `parity/mutated.py` of the crate `nightread-radiograph` holds them against nibabel.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use nightread_domain::error::JobError;
use nightread_volume::{FileSource, Limits, VolumeStream};

struct Scan {
    shape: [usize; 4],
    values: Vec<f64>,
    trailing: u64,
}

fn read(path: PathBuf) -> Result<Scan, JobError> {
    let source = FileSource(path);
    let mut stream = VolumeStream::open(&source, &Limits::default())?;
    let header = stream.header();
    let (dims, voxels, volumes) = (header.grid.dims, header.grid.len(), header.volumes);
    let mut values = Vec::new();
    while let Some(volume) = stream.next_volume()? {
        let start = values.len();
        values.resize(start + voxels, 0.0);
        volume.values(&mut values[start..]);
    }
    let trailing = stream.finish()?;
    Ok(Scan { shape: [dims[0], dims[1], dims[2], volumes], values, trailing })
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        match read(PathBuf::from(line?)) {
            Ok(scan) => {
                let warnings = if scan.trailing > 0 { vec!["trailing_bytes"] } else { vec![] };
                let head = serde_json::json!({ "ok": true, "shape": scan.shape, "warnings": warnings });
                writeln!(out, "{head}")?;
                let bytes: Vec<u8> = scan.values.iter().flat_map(|value| value.to_le_bytes()).collect();
                out.write_all(&bytes)?;
            }
            Err(error) => {
                let head = serde_json::json!({ "ok": false, "code": error.code, "message": error.message });
                writeln!(out, "{head}")?;
            }
        }
        out.flush()?;
    }
    Ok(())
}
