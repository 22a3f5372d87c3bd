//! The isolated codec with a real child process: its answers, its limits, its death.

use std::time::Duration;

use nightread_domain::error::ErrorCode;
use nightread_imaging::{ChildCodec, Codec, CodecRequest, IsolatedCodec};

use crate::fixtures::{child_codec, grey, jpeg_ls};

fn request(frame: &[u8], columns: u32, rows: u32) -> CodecRequest<'_> {
    CodecRequest { codec: Codec::JpegLs, columns, rows, bits: 16, frame }
}

#[test]
fn the_child_decodes() {
    let samples = grey(61, 43, 32767);
    let frame = jpeg_ls(&samples, 61, 43, 15, 0);
    let image = child_codec().decode(&request(&frame, 61, 43)).unwrap();
    assert_eq!(image.precision, 15);
    let words: Vec<u16> = image.data.chunks_exact(2).map(|p| u16::from_le_bytes([p[0], p[1]])).collect();
    same!(words, samples);
}

#[test]
fn what_the_codec_refuses_comes_back_in_words() {
    let frame = jpeg_ls(&grey(61, 43, 32767), 61, 43, 15, 0);
    let error = child_codec().decode(&request(&frame, 60, 43)).unwrap_err();
    assert_eq!(error.code, ErrorCode::DecodeFailed);
    assert!(error.message.contains("61 x 43"), "{}", error.message);
    let error = child_codec().decode(&request(b"no picture at all", 61, 43)).unwrap_err();
    assert_eq!(error.code, ErrorCode::DecodeFailed);
    let error = child_codec().decode(&request(&frame[..frame.len() / 2], 61, 43)).unwrap_err();
    assert_eq!(error.code, ErrorCode::DecodeFailed);
}

/// The limit is real: the picture is honest, but the memory it needs is not there.
#[test]
fn a_child_without_memory_dies_alone() {
    let samples = grey(3000, 3000, 4095);
    let frame = jpeg_ls(&samples, 3000, 3000, 12, 0);
    let starved = ChildCodec { memory_bytes: 20 << 20, ..child_codec() };
    let error = starved.decode(&request(&frame, 3000, 3000)).unwrap_err();
    assert_eq!(error.code, ErrorCode::CodecDied, "{error}");
    assert!(child_codec().decode(&request(&frame, 3000, 3000)).is_ok());
}

#[cfg(unix)]
#[test]
fn a_child_that_never_answers_is_killed_in_time() {
    let sleeper =
        ChildCodec { timeout: Duration::from_millis(300), ..ChildCodec::new("/bin/sleep", ["3600"]) };
    let error = sleeper.decode(&request(&vec![0; 1 << 20], 1000, 1000)).unwrap_err();
    assert_eq!(error.code, ErrorCode::CodecTimeout);
}

#[cfg(unix)]
#[test]
fn a_child_that_talks_nonsense_or_dies_is_codec_died() {
    for (program, args) in [
        ("/bin/true", vec![]),
        ("/bin/false", vec![]),
        ("/bin/sh", vec!["-c", "kill -SEGV $$"]),
        ("/bin/sh", vec!["-c", "echo nonsense"]),
        ("/bin/sh", vec!["-c", r#"echo '{"outcome":"decoded","precision":12}'; head -c 100 /dev/zero"#]),
        ("/bin/sh", vec!["-c", r#"echo '{"outcome":"decoded","precision":12}'; head -c 99999 /dev/zero"#]),
        ("/bin/sh", vec!["-c", r#"echo '{"outcome":"decoded","precision":99}'; exit 3"#]),
    ] {
        let codec = ChildCodec { timeout: Duration::from_mins(1), ..ChildCodec::new(program, args.clone()) };
        let error = codec.decode(&request(&[7; 4096], 64, 64)).unwrap_err();
        assert_eq!(error.code, ErrorCode::CodecDied, "{program} {args:?}: {error}");
    }
}

#[test]
fn a_missing_program_is_the_workers_fault() {
    let codec = ChildCodec::new("/no/such/program", [""; 0]);
    let error = codec.decode(&request(&[], 1, 1)).unwrap_err();
    assert!(error.code == ErrorCode::Internal && error.is_fatal(), "{error}");
}
