#![no_main]

//! Fuzzed elements in the middle of a sound header: byte 0 chooses the transfer syntax that is said and the form of the
//! sound part, so that each also contradicts the other.

use libfuzzer_sys::fuzz_target;
use nightread_radiograph_fuzz::check;

const SYNTAXES: [&str; 4] =
    ["1.2.840.10008.1.2.1\0", "1.2.840.10008.1.2\0", "1.2.840.10008.1.2.2\0", "1.2.840.10008.1.2.4.70"];
const SIDE: u16 = 8;

#[derive(Clone, Copy)]
struct Form {
    explicit: bool,
    big: bool,
}

impl Form {
    fn short(self, value: u16) -> [u8; 2] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn element(self, out: &mut Vec<u8>, tag: (u16, u16), vr: &[u8; 2], value: &[u8]) {
        out.extend(self.short(tag.0));
        out.extend(self.short(tag.1));
        let length = value.len() as u32;
        if self.explicit {
            out.extend(vr);
        }
        if !self.explicit || vr == b"OW" {
            out.extend(&[0; 2][..if self.explicit { 2 } else { 0 }]);
            out.extend(if self.big { length.to_be_bytes() } else { length.to_le_bytes() });
        } else {
            out.extend(self.short(length as u16));
        }
        out.extend(value);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, fuzzed)) = data.split_first() else { return };
    let syntax = SYNTAXES[usize::from(choice) % SYNTAXES.len()];
    let form = Form { explicit: choice & 4 != 0, big: choice & 8 != 0 };
    let mut file = vec![0; 128];
    file.extend(b"DICM");
    Form { explicit: true, big: false }.element(&mut file, (0x0002, 0x0010), b"UI", syntax.as_bytes());
    form.element(&mut file, (0x0008, 0x0060), b"CS", b"CR");
    form.element(&mut file, (0x0018, 0x0015), b"CS", b"CHEST ");
    form.element(&mut file, (0x0018, 0x5101), b"CS", b"PA");
    file.extend(fuzzed);
    for (element, value) in
        [(2, 1), (0x10, SIDE), (0x11, SIDE), (0x100, 16), (0x101, 12), (0x102, 11), (0x103, 0)]
    {
        form.element(&mut file, (0x0028, element), b"US", &form.short(value));
        if element == 2 {
            form.element(&mut file, (0x0028, 4), b"CS", b"MONOCHROME2 ");
        }
    }
    let pixels: Vec<u8> = (0..SIDE * SIDE).flat_map(|v| form.short(v * 60)).collect();
    form.element(&mut file, (0x7FE0, 0x0010), b"OW", &pixels);
    check(&file);
});
