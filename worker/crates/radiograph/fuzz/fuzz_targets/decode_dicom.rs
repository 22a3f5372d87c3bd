#![no_main]

use libfuzzer_sys::fuzz_target;
use nightread_radiograph_fuzz::check;

fuzz_target!(|data: &[u8]| {
    if data.get(128..132) == Some(b"DICM") {
        return check(data);
    }
    let mut file = vec![0; 128];
    file.extend_from_slice(b"DICM");
    file.extend_from_slice(data);
    check(&file);
});
