//! Reads paths from standard input, one a line, and answers each on standard output: a line of JSON, then the samples as
//! little-endian words if there are any. `parity/mutated.py` holds them against other readers.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use nightread_dicom::{ChildCodec, Samples};
use nightread_radiograph::{DecodeOptions, XrvPreprocessing, decode, low_contrast, prepare};

fn main() -> io::Result<()> {
    // The codec's child is this program started again with this word.
    if std::env::args().nth(1).as_deref() == Some("codec-child") {
        return nightread_dicom::codec_child::serve();
    }
    let codec = Arc::new(ChildCodec::new(std::env::current_exe()?, ["codec-child"]));
    let options = DecodeOptions { codec: Some(codec), ..DecodeOptions::default() };
    let Some(spec) = XrvPreprocessing::new(224) else { return Err(io::Error::other("no such size")) };
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        match decode(&std::fs::read(line?)?, &options) {
            Ok(image) => {
                let doubts = image.warnings().iter().cloned().chain(low_contrast(&prepare(&image, &spec)));
                let warnings: Vec<String> = doubts.map(|warning| warning.code).collect();
                let head = serde_json::json!({
                    "ok": true, "width": image.width(), "height": image.height(),
                    "max_value": image.max_value(), "warnings": warnings,
                    "media": image.facts().media, "photometric": image.facts().photometric,
                });
                writeln!(out, "{head}")?;
                let words: Vec<u8> = match image.samples() {
                    Samples::U8(samples) => {
                        samples.iter().flat_map(|&v| u16::from(v).to_le_bytes()).collect()
                    }
                    Samples::U16(samples) => samples.iter().flat_map(|v| v.to_le_bytes()).collect(),
                };
                out.write_all(&words)?;
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
