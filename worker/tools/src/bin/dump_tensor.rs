//! Reads paths from standard input, one a line, and answers each on standard output: a line of JSON, then the tensor as
//! raw little-endian `f32` if there is one. `parity/parity.py` compares them with TorchXRayVision's.
//!
//! A path may be followed by a tab and the stored maximum of a 16-bit PNG. The times are wall-clock nanoseconds: `decode`
//! from opening the file, `prepare` from image to tensor. `idle_kb` and `peak_kb` are the process's resident memory
//! before the first and after this image.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use nightread_dicom::ChildCodec;
use nightread_radiograph::{DecodeOptions, XrvPreprocessing, decode, prepare};

const SIZE: u32 = 224;

fn main() -> io::Result<()> {
    // The codec's child is this program started again with this word.
    if std::env::args().nth(1).as_deref() == Some("codec-child") {
        return nightread_dicom::codec_child::serve();
    }
    let program: PathBuf = std::env::current_exe()?;
    let codec = Arc::new(ChildCodec::new(program, ["codec-child"]));
    let Some(spec) = XrvPreprocessing::new(SIZE) else { return Err(io::Error::other("no such size")) };
    let idle_kb = resident("VmRSS:");
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (path, stored_max) = line.split_once('\t').unwrap_or((&line, ""));
        let options = DecodeOptions {
            stored_max: stored_max.parse().ok(),
            codec: Some(codec.clone()),
            ..DecodeOptions::default()
        };
        let start = Instant::now();
        let image = decode(&std::fs::read(path)?, &options);
        let decode_ns = start.elapsed().as_nanos();
        match image {
            Ok(image) => {
                let start = Instant::now();
                let tensor = prepare(&image, &spec);
                let prepare_ns = start.elapsed().as_nanos();
                let warnings: Vec<_> = image.warnings().iter().map(|warning| &warning.code).collect();
                let head = serde_json::json!({
                    "ok": true, "values": tensor.len(), "decode_ns": decode_ns as u64, "prepare_ns": prepare_ns as u64,
                    "width": image.width(), "height": image.height(), "max_value": image.max_value(),
                    "facts": image.facts(), "warnings": warnings,
                    "idle_kb": idle_kb, "peak_kb": resident("VmHWM:"),
                });
                writeln!(out, "{head}")?;
                let bytes: Vec<u8> = tensor.iter().flat_map(|value| value.to_le_bytes()).collect();
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

/// Kilobytes from this process's status; 0 where there is no `/proc`.
fn resident(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(field));
    value.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
