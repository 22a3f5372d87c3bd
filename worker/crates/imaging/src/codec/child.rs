//! The body of the codec's child process: one frame in, one picture out, nothing else.

use std::io::{self, BufRead, BufReader, Read, Write};

use charls::CharLS;
use jpeg2k::{DecodeParameters, Image};
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
        Ok((precision, samples)) => (Answer::Decoded { precision }, samples),
        Err(answer) => (answer, Vec::new()),
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

fn refused(message: impl Into<String>) -> Answer {
    Answer::Refused { message: message.into() }
}

/// The precision and the samples, bytes or little-endian words.
fn decode(ask: &Ask, frame: &[u8]) -> Result<(u8, Vec<u8>), Answer> {
    if frame.len() as u64 != ask.frame_bytes {
        return Err(refused(format!("{} of {} bytes arrived", frame.len(), ask.frame_bytes)));
    }
    if ask.codec == Codec::JpegLs.as_str() {
        jpeg_ls(ask, frame)
    } else if ask.codec == Codec::Jpeg2000.as_str() {
        jpeg_2000(ask, frame)
    } else {
        Err(refused(format!("the codec {} is not known", ask.codec)))
    }
}

/// Holds the frame's own header against the request.
fn check(ask: &Ask, size: (u32, u32), components: usize, bits: u32) -> Result<u8, Answer> {
    if size != (ask.columns, ask.rows) {
        return Err(refused(format!(
            "the compressed picture is {} x {} pixels, its header says {} x {}",
            size.0, size.1, ask.columns, ask.rows
        )));
    }
    if components != 1 {
        return Err(refused(format!("it has {components} components; radiographs have one")));
    }
    u8::try_from(bits)
        .ok()
        .filter(|&bits| bits > 0 && u16::from(bits) <= ask.bits)
        .ok_or_else(|| refused(format!("it has {bits} bits, its header allocates {}", ask.bits)))
}

fn jpeg_ls(ask: &Ask, frame: &[u8]) -> Result<(u8, Vec<u8>), Answer> {
    let info = CharLS::default().get_frame_info(frame).map_err(|error| refused(error.to_string()))?;
    let components = usize::try_from(info.component_count).unwrap_or(0);
    let bits = u32::try_from(info.bits_per_sample).unwrap_or(0);
    let precision = check(ask, (info.width, info.height), components, bits)?;
    // A fresh instance: the decoder that read the header above cannot start over.
    let mut samples = CharLS::default().decode(frame).map_err(|error| refused(error.to_string()))?;
    if cfg!(target_endian = "big") && precision > 8 {
        samples.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
    }
    Ok((precision, samples))
}

fn jpeg_2000(ask: &Ask, frame: &[u8]) -> Result<(u8, Vec<u8>), Answer> {
    // Strict: a truncated codestream is an error, not a picture with holes.
    let parameters = DecodeParameters::new().strict(true);
    let image = Image::from_bytes_with(frame, parameters).map_err(|error| refused(error.to_string()))?;
    let components = image.components();
    let Some(component) = components.first() else { return Err(refused("it has no components")) };
    let precision =
        check(ask, (component.width(), component.height()), components.len(), component.precision())?;
    let most = (1i32 << precision) - 1;
    let values = component.data();
    if values.iter().any(|&value| value < 0) {
        return Err(Answer::Negative);
    }
    let values = values.iter().map(|&value| value.min(most) as u16);
    Ok((
        precision,
        if precision > 8 {
            values.flat_map(u16::to_le_bytes).collect()
        } else {
            values.map(|v| v as u8).collect()
        },
    ))
}
