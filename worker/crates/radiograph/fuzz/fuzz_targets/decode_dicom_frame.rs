#![no_main]

//! A sound header around a fuzzed frame: bytes 0 to 4 choose syntax, size and bit layout, the rest is pixel data.

use libfuzzer_sys::fuzz_target;
use nightread_radiograph_fuzz::check;

const SYNTAXES: [&str; 12] = [
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.1.98",
    "1.2.840.10008.1.2.1.99",
];

/// One explicit VR little-endian element with a short length field.
fn element(out: &mut Vec<u8>, tag: (u16, u16), vr: &[u8; 2], value: &[u8]) {
    out.extend(tag.0.to_le_bytes());
    out.extend(tag.1.to_le_bytes());
    out.extend(vr);
    out.extend((value.len().next_multiple_of(2) as u16).to_le_bytes());
    out.extend(value);
    out.extend(&[0][..value.len() % 2]);
}

fuzz_target!(|data: &[u8]| {
    let Some((&[syntax, columns, rows, bits, flags], frame)) = data.split_first_chunk::<5>() else { return };
    let syntax = SYNTAXES[usize::from(syntax) % SYNTAXES.len()];
    let allocated = if flags & 1 == 0 { 8u16 } else { 16 };
    let stored = u16::from(bits) % allocated + 1;
    let number = |value: u16| value.to_le_bytes();
    let mut set = Vec::new();
    element(&mut set, (0x0008, 0x0060), b"CS", b"CR");
    element(&mut set, (0x0018, 0x0015), b"CS", b"CHEST");
    element(&mut set, (0x0028, 0x0002), b"US", &number(1));
    element(&mut set, (0x0028, 0x0004), b"CS", if flags & 2 == 0 { b"MONOCHROME1" } else { b"MONOCHROME2" });
    element(&mut set, (0x0028, 0x0010), b"US", &number(rows.into()));
    element(&mut set, (0x0028, 0x0011), b"US", &number(columns.into()));
    element(&mut set, (0x0028, 0x0100), b"US", &number(allocated));
    element(&mut set, (0x0028, 0x0101), b"US", &number(stored));
    element(&mut set, (0x0028, 0x0102), b"US", &number(stored - 1));
    element(&mut set, (0x0028, 0x0103), b"US", &number(u16::from(flags >> 2 & 1)));
    set.extend(b"\xE0\x7F\x10\x00OW\0\0");
    if matches!(syntax, "1.2.840.10008.1.2.1") {
        set.extend((frame.len() as u32).to_le_bytes());
        set.extend(frame);
    } else {
        set.extend(u32::MAX.to_le_bytes());
        set.extend(b"\xFE\xFF\x00\xE0\0\0\0\0\xFE\xFF\x00\xE0");
        set.extend((frame.len() as u32).to_le_bytes());
        set.extend(frame);
        set.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
    }
    let mut file = vec![0; 128];
    file.extend(b"DICM");
    element(&mut file, (0x0002, 0x0010), b"UI", syntax.as_bytes());
    // The deflated syntax is fuzzed as a stream of its own.
    if syntax.ends_with(".99") {
        file.extend(frame)
    } else {
        file.extend(set)
    }
    check(&file);
});
