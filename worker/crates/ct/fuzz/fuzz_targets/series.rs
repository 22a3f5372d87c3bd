//! Any bytes as a few files: pieces of the lengths that the first bytes say, each behind a preamble.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nightread_ct_fuzz::check;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let mut files = Vec::new();
    while let Some((&[low, high], after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(after.len());
        let (piece, after) = after.split_at(length);
        let mut file = vec![0; 128];
        file.extend_from_slice(b"DICM");
        file.extend_from_slice(piece);
        files.push(file);
        rest = after;
        if files.len() == 16 {
            break;
        }
    }
    check(files);
});
