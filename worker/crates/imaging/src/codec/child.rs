//! The body of the codec's child process: one frame in, one picture out, nothing else.

use std::io::{self, BufRead, BufReader, Read, Write};

use charls::CharLS;
use rlimit::{Resource, setrlimit};

use super::Codec;
use super::wire::{Answer, Ask, MAX_LINE};

/// Reads one request from `input`, decodes it under the limits it names, and writes the answer to `output`.
///
/// # Errors
/// Only what keeps an answer from being given: a broken pipe, a malformed request, a limit that cannot be set. What is
/// wrong with the picture is part of the answer.
pub fn serve(input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut input = BufReader::new(input);
    let mut line = String::new();
    input.by_ref().take(MAX_LINE).read_line(&mut line)?;
    let ask: Ask = serde_json::from_str(&line)?;
    limit(Resource::AS, ask.memory_bytes)?;
    limit(Resource::CPU, ask.cpu_seconds)?;
    limit(Resource::CORE, 0)?; // a core file would hold the picture

    let mut frame = Vec::new();
    input.take(ask.frame_bytes).read_to_end(&mut frame)?;
    let (answer, samples) = match decode(&ask, &frame) {
        Ok((bytes_per_sample, samples)) => (Answer::Decoded { bytes_per_sample }, samples),
        Err(message) => (Answer::Refused { message }, Vec::new()),
    };
    serde_json::to_writer(&mut output, &answer)?;
    output.write_all(b"\n")?;
    output.write_all(&samples)?;
    output.flush()
}

/// Lowers a limit to `most`, for good. The hard limit may already be lower, and then stays.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let (_, hard) = rlimit::getrlimit(resource)?;
    let most = most.min(hard);
    setrlimit(resource, most, most)
}

fn decode(ask: &Ask, frame: &[u8]) -> Result<(u8, Vec<u8>), String> {
    if frame.len() as u64 != ask.frame_bytes {
        return Err(format!("{} of {} bytes arrived", frame.len(), ask.frame_bytes));
    }
    if ask.codec != Codec::JpegLs.as_str() {
        return Err(format!("the codec {} is not known", ask.codec));
    }
    let mut codec = CharLS::default();
    let info = codec.get_frame_info(frame).map_err(|error| error.to_string())?;
    if (info.width, info.height) != (ask.columns, ask.rows) {
        return Err(format!(
            "the compressed picture is {} x {} pixels, its header says {} x {}",
            info.width, info.height, ask.columns, ask.rows
        ));
    }
    if info.component_count != 1 {
        return Err(format!("it has {} components; radiographs have one", info.component_count));
    }
    if info.bits_per_sample > i32::from(ask.bits) {
        return Err(format!("it has {} bits, its header allocates {}", info.bits_per_sample, ask.bits));
    }
    // A fresh instance: the decoder that read the header above cannot start over.
    let samples = CharLS::default().decode(frame).map_err(|error| error.to_string())?;
    Ok((if info.bits_per_sample > 8 { 2 } else { 1 }, to_little_endian(samples, info.bits_per_sample)))
}

/// CharLS gives words in the machine's order.
fn to_little_endian(mut samples: Vec<u8>, bits: i32) -> Vec<u8> {
    if cfg!(target_endian = "big") && bits > 8 {
        samples.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
    }
    samples
}
