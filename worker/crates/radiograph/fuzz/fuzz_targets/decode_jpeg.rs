#![no_main]

use libfuzzer_sys::fuzz_target;
use nightread_radiograph_fuzz::{check, signed};

fuzz_target!(|data: &[u8]| check(&signed(&[0xFF, 0xD8, 0xFF], data)));
