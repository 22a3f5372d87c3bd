//! Any bytes as a NIfTI file: a typed, permanent error or volumes, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nightread_domain::ErrorClass;
use nightread_volume::{BytesSource, Limits, VolumeStream};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_volume_voxels: 1 << 16, max_voxels: 1 << 18, max_inflated_bytes: 1 << 21, ..Limits::default() };
    let source = BytesSource(bytes);
    let read = || {
        let mut stream = VolumeStream::open(&source, &limits)?;
        let mut values = vec![0.0; stream.header().grid.len()];
        while let Some(volume) = stream.next_volume()? {
            volume.values(&mut values);
        }
        stream.finish()
    };
    if let Err(error) = read() {
        assert_eq!(error.class, ErrorClass::Permanent, "{error}");
    }
});
