//! Small radiographs as DICOM files.

/// A chest radiograph of Jane Doe in explicit VR little endian: the only image of `study`, 64 pixels wide and high, of one
/// value but for a pixel.
pub fn radiograph(study: &str, value: u16) -> Vec<u8> {
    const SIDE: u16 = 64;
    let mut file = vec![0; 128];
    file.extend_from_slice(b"DICM");
    let (class, instance) = ("1.2.840.10008.5.1.4.1.1.1", format!("{study}.1.1"));
    let length = 8 + 26 + 8 + instance.len().next_multiple_of(2) + 8 + 20;
    element(&mut file, (0x0002, 0x0000), *b"UL", &(length as u32).to_le_bytes());
    for (tag, text) in [(0x0002, class), (0x0003, instance.as_str()), (0x0010, "1.2.840.10008.1.2.1")] {
        element(&mut file, (0x0002, tag), *b"UI", text.as_bytes());
    }
    element(&mut file, (0x0008, 0x0016), *b"UI", class.as_bytes());
    element(&mut file, (0x0008, 0x0018), *b"UI", instance.as_bytes());
    element(&mut file, (0x0008, 0x0060), *b"CS", b"CR");
    element(&mut file, (0x0010, 0x0010), *b"PN", b"Doe^Jane");
    element(&mut file, (0x0010, 0x0020), *b"LO", b"P1");
    element(&mut file, (0x0018, 0x0015), *b"CS", b"CHEST");
    element(&mut file, (0x0018, 0x5101), *b"CS", b"PA");
    element(&mut file, (0x0020, 0x000D), *b"UI", study.as_bytes());
    element(&mut file, (0x0020, 0x000E), *b"UI", format!("{study}.1").as_bytes());
    element(&mut file, (0x0028, 0x0002), *b"US", &1_u16.to_le_bytes());
    element(&mut file, (0x0028, 0x0004), *b"CS", b"MONOCHROME2");
    for (tag, number) in
        [(0x0010, SIDE), (0x0011, SIDE), (0x0100, 16), (0x0101, 16), (0x0102, 15), (0x0103, 0)]
    {
        element(&mut file, (0x0028, tag), *b"US", &number.to_le_bytes());
    }
    let mut pixels = vec![value; usize::from(SIDE) * usize::from(SIDE)];
    pixels[0] ^= 1;
    let pixels: Vec<u8> = pixels.into_iter().flat_map(u16::to_le_bytes).collect();
    element(&mut file, (0x7FE0, 0x0010), *b"OW", &pixels);
    file
}

fn element(file: &mut Vec<u8>, (group, number): (u16, u16), vr: [u8; 2], value: &[u8]) {
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(if vr == *b"UI" { 0 } else { b' ' });
    }
    file.extend_from_slice(&group.to_le_bytes());
    file.extend_from_slice(&number.to_le_bytes());
    file.extend_from_slice(&vr);
    if vr == *b"OW" {
        file.extend_from_slice(&[0, 0]);
        file.extend_from_slice(&(value.len() as u32).to_le_bytes());
    } else {
        file.extend_from_slice(&(value.len() as u16).to_le_bytes());
    }
    file.extend_from_slice(&value);
}
