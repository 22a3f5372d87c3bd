#![no_main]

use libfuzzer_sys::fuzz_target;
use nightread_radiograph_fuzz::{check, signed};

fuzz_target!(|data: &[u8]| check(&signed(b"\x89PNG\r\n\x1a\n", data)));
