#![no_main]

use libfuzzer_sys::fuzz_target;
use nightread_radiograph_fuzz::{check, signed};

fuzz_target!(|data: &[u8]| {
    let signature: &[u8] = if data.starts_with(b"MM") { b"MM\0*" } else { b"II*\0" };
    check(&signed(signature, data));
});
