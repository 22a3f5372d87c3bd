//! Any bytes as one part: an archive, NIfTI, a file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nightread_ct_fuzz::check;

fuzz_target!(|bytes: &[u8]| check(vec![bytes.to_vec()]));
