//! The isolated codec with real child processes: their answers, their limits, their sandbox, their death.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nightread_dicom::{ChildCodec, Codec, CodecRequest, IsolatedCodec, Samples};
use nightread_domain::error::{ErrorClass, ErrorCode};

const CHILD: &str = env!("CARGO_BIN_EXE_codec_child");

fn child_codec() -> ChildCodec {
    ChildCodec::new(CHILD, [""; 0]).with_timeout(Duration::from_mins(1))
}

/// Samples from 0 to `max`, in no order that a codec could foresee.
fn grey(width: u32, height: u32, max: u16) -> Vec<u16> {
    let scattered = |i: u32| i.wrapping_mul(0x9E37_79B1) >> 16;
    (0..width * height).map(|i| (scattered(i) % (u32::from(max) + 1)) as u16).collect()
}

/// A JPEG-LS image without loss.
fn jpeg_ls(samples: &[u16], width: u16, height: u16, bits: i32) -> Vec<u8> {
    let info = charls::FrameInfo {
        width: width.into(),
        height: height.into(),
        bits_per_sample: bits,
        component_count: 1,
    };
    let bytes: Vec<u8> = samples.iter().flat_map(|v| v.to_ne_bytes()).collect();
    charls::CharLS::default().encode(info, 0, &bytes).unwrap()
}

fn request(frame: &[u8], columns: u32, rows: u32) -> CodecRequest<'_> {
    CodecRequest {
        codec: Codec::JpegLs,
        columns,
        rows,
        bits: 16,
        signed: false,
        working_bytes: 1 << 26,
        frame,
    }
}

#[test]
fn one_child_decodes_one_frame_after_another() {
    let codec = child_codec();
    codec.make_ready().unwrap();
    let [first] = codec.idle_children()[..] else { panic!("one child waits") };
    for side in [20u32, 61, 300, 40] {
        let samples = grey(side, 43, 32767);
        let frame = jpeg_ls(&samples, side as u16, 43, 15);
        let image = codec.decode(&request(&frame, side, 43)).unwrap();
        assert_eq!(image.precision, 15);
        assert!(image.samples == Samples::U16(samples), "{side} columns");
        assert_eq!(codec.idle_children(), [first]);
    }
}

#[test]
fn what_the_codec_refuses_comes_back_in_words_and_ends_its_child() {
    let codec = child_codec();
    let frame = jpeg_ls(&grey(61, 43, 32767), 61, 43, 15);
    let error = codec.decode(&request(&frame, 60, 43)).unwrap_err();
    assert_eq!(error.code, ErrorCode::DecodeFailed);
    assert!(error.message.contains("61 x 43"), "{}", error.message);
    assert!(codec.idle_children().is_empty());
    for frame in [b"no image at all", &frame[..frame.len() / 2]] {
        let error = codec.decode(&request(frame, 61, 43)).unwrap_err();
        assert_eq!(error.code, ErrorCode::DecodeFailed);
    }
}

/// The limit is real: the image is honest, but the memory it needs is not there.
#[test]
fn a_child_without_memory_dies_alone() {
    let samples = grey(3000, 3000, 4095);
    let frame = jpeg_ls(&samples, 3000, 3000, 12);
    let starved = child_codec().with_memory(24 << 20);
    let error = starved.decode(&request(&frame, 3000, 3000)).unwrap_err();
    assert_eq!(error.code, ErrorCode::CodecDied, "{error}");
    assert!(child_codec().decode(&request(&frame, 3000, 3000)).is_ok());
}

/// A shell script in place of the child. It greets as one that is ready.
fn script(rest: &str) -> ChildCodec {
    let greeting = r#"read start; echo '{"greeting":"ready"}'; "#;
    ChildCodec::new("/bin/sh", ["-c", &format!("{greeting}{rest}")])
}

#[test]
fn a_child_that_never_answers_is_killed_in_time() {
    for codec in [script("sleep 3600"), script("cat >/dev/null; true")] {
        let codec = codec.with_timeout(Duration::from_millis(500));
        let error = codec.decode(&request(&vec![0; 4 << 20], 1000, 1000)).unwrap_err();
        assert_eq!(error.code, ErrorCode::CodecTimeout, "{error}");
    }
}

/// Its machine has too much to do, or a supervisor stopped it: the image did not do that.
#[test]
fn a_child_that_gets_no_processor_blames_no_image() {
    let codec = script("kill -STOP $$").with_timeout(Duration::from_millis(500));
    let error = codec.decode(&request(&[0; 64], 8, 8)).unwrap_err();
    assert_eq!((error.code, error.class), (ErrorCode::CodecStarved, ErrorClass::Transient), "{error}");
}

#[test]
fn a_child_that_talks_nonsense_or_dies_is_codec_died() {
    let decoded = r#"echo '{"outcome":"decoded","precision":12}'"#;
    for rest in [
        "true".to_owned(),
        "exit 3".to_owned(),
        "kill -SEGV $$".to_owned(),
        "echo nonsense".to_owned(),
        "head -c 99999 /dev/zero".to_owned(),
        format!("{decoded}; head -c 100 /dev/zero"),
        r#"echo '{"outcome":"decoded","precision":99}'; head -c 9000 /dev/zero"#.to_owned(),
    ] {
        let error = script(&rest).decode(&request(&[7; 4096], 64, 64)).unwrap_err();
        assert_eq!(error.code, ErrorCode::CodecDied, "{rest}: {error}");
        assert_eq!(error.class, ErrorClass::Permanent);
    }
}

/// More than was asked for would be taken for the next answer.
#[test]
fn a_child_that_talks_out_of_turn_is_not_used_again() {
    let image = r#"read ask; echo '{"outcome":"decoded","precision":12}'; head -c 8192 /dev/zero"#;
    let place = |name: &str| std::env::temp_dir().join(format!("nightread-{name}-{}", std::process::id()));
    let (go, said) = (place("go"), place("said"));
    let until_go = format!("until [ -e '{}' ]; do sleep 0.02; done", go.display());
    let codec = script(&format!("{image}; {until_go}; echo more; : >'{}'; sleep 3600", said.display()));
    codec.decode(&request(&[], 64, 64)).unwrap();
    let [first] = codec.idle_children()[..] else { panic!("one child waits") };
    std::fs::write(&go, "").unwrap();
    let started = std::time::Instant::now();
    while !said.exists() {
        assert!(started.elapsed() < Duration::from_mins(2), "the child never talks");
        std::thread::sleep(Duration::from_millis(20));
    }
    codec.decode(&request(&[], 64, 64)).unwrap();
    assert_ne!(codec.idle_children(), [first]);
    let _ = (std::fs::remove_file(go), std::fs::remove_file(said));
}

/// The second frame meets a child that dies of the first one's doing; it is not to blame, and another child decodes it.
#[test]
fn a_frame_is_not_blamed_for_a_child_that_others_used() {
    let image = r#"read ask; echo '{"outcome":"decoded","precision":12}'; head -c 8192 /dev/zero"#;
    let codec = script(&format!("{image}; read ask; exit 9"));
    for _ in 0..3 {
        codec.decode(&request(&[], 64, 64)).unwrap();
    }
}

#[test]
fn what_a_child_may_not_say_is_not_believed() {
    let codec = script(r#"read ask; echo '{"outcome":"refused","code":"internal","message":"a\u001bb"}'"#);
    let error = codec.decode(&request(&[], 64, 64)).unwrap_err();
    assert_eq!((error.code, error.class), (ErrorCode::DecodeFailed, ErrorClass::Permanent));
    assert_eq!(error.message, "a b");
}

#[test]
fn a_program_that_is_missing_or_no_child_is_the_workers_fault() {
    let error = ChildCodec::new("/no/such/program", [""; 0]).decode(&request(&[], 1, 1)).unwrap_err();
    assert!(error.code == ErrorCode::Internal && error.is_fatal(), "{error}");
    for program in ["/bin/true", "/bin/false"] {
        let error = ChildCodec::new(program, [""; 0]).decode(&request(&[], 1, 1)).unwrap_err();
        assert!(error.code == ErrorCode::Internal && error.is_transient(), "{error}");
    }
}

#[test]
fn a_system_that_cannot_confine_a_child_ends_the_worker() {
    let said = r#"read start; echo '{"greeting":"unconfined","message":"no seccomp here"}'"#;
    let codec = ChildCodec::new("/bin/sh", ["-c", said]);
    for error in [codec.make_ready().unwrap_err(), codec.decode(&request(&[], 1, 1)).unwrap_err()] {
        assert!(error.code == ErrorCode::SandboxUnavailable && error.is_fatal(), "{error}");
        assert!(error.message.contains("no seccomp here"), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_is_confined_before_its_first_frame() {
    let codec = child_codec();
    codec.make_ready().unwrap();
    let [child] = codec.idle_children()[..] else { panic!("one child waits") };
    let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().to_owned()
    };
    assert_eq!((value("Seccomp"), value("NoNewPrivs")), ("2".to_owned(), "1".to_owned()));
    let limits = std::fs::read_to_string(format!("/proc/{child}/limits")).unwrap();
    for name in ["Max open files", "Max core file size", "Max file size"] {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        assert_eq!(line.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"], "{name}");
    }
}

/// The kernel does this when memory is short, and no image can.
#[test]
fn a_child_that_is_killed_from_outside_blames_no_image() {
    let error = script("read ask; kill -KILL $$").decode(&request(&[], 8, 8)).unwrap_err();
    assert_eq!((error.code, error.class), (ErrorCode::CodecKilled, ErrorClass::Transient), "{error}");
    assert!(error.message.contains("short of memory"), "{error}");
}

/// A machine that is paused for longer than an image may take: the child could not have been faster.
#[test]
fn time_in_which_nobody_ran_is_not_the_image_s() {
    let answer = r#"echo '{"outcome":"decoded","precision":8}'; head -c 64 /dev/zero"#;
    let rest =
        format!("read ask; kill -STOP $PPID; sleep 3; kill -CONT $PPID; sleep 0.2; {answer}; sleep 3600");
    let image = script(&rest).with_timeout(Duration::from_secs(2)).decode(&request(&[], 8, 8)).unwrap();
    assert_eq!(image.samples, Samples::U8(vec![0; 64]));
}

/// A codec that tries what only an attacker's would: each attempt ends the child before it is done.
#[cfg(target_os = "linux")]
#[test]
fn a_codec_that_reaches_out_is_killed() {
    for attempt in ["socket", "open", "create", "exec", "fork", "thread", "kill", "read-other"] {
        let codec = ChildCodec::new(CHILD, [attempt]).with_timeout(Duration::from_mins(1));
        let error = codec.decode(&request(&[], 8, 8)).unwrap_err();
        assert_eq!(error.code, ErrorCode::CodecDied, "{attempt}: {error}");
        assert!(error.message.contains("signal: 31"), "{attempt}: {error}");
    }
    // The same codec without an attempt, so that it is the attempt that kills.
    let codec = ChildCodec::new(CHILD, ["nothing"]).with_timeout(Duration::from_mins(1));
    assert_eq!(codec.decode(&request(&[], 8, 8)).unwrap().samples, Samples::U8(vec![7; 64]));
}

/// Dying in order is allowed: a panic is an answer, an abort a death, and neither takes long.
#[test]
fn a_codec_may_panic_and_abort() {
    let panics = ChildCodec::new(CHILD, ["panic"]).with_timeout(Duration::from_mins(1));
    let error = panics.decode(&request(&[], 8, 8)).unwrap_err();
    assert_eq!(error.code, ErrorCode::DecodeFailed, "{error}");
    for (attempt, signal) in [("abort", 6), ("overflow", 6)] {
        let codec = ChildCodec::new(CHILD, [attempt]).with_timeout(Duration::from_mins(1));
        let error = codec.decode(&request(&[], 8, 8)).unwrap_err();
        assert!(error.message.contains(&format!("signal: {signal}")), "{attempt}: {error}");
    }
}

/// The parent's death closes the pipe, and the child ends by itself.
#[test]
fn a_child_ends_with_its_input() {
    let child = Command::new(CHILD).stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
    assert!(child.success() && child.signal().is_none());
}
