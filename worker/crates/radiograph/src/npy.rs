//! Arrays as NumPy keeps them (NEP 1, version 1.0).

/// `values` of one or more axes, row-major, as the bytes of a `.npy` file: single precision, little-endian.
pub fn npy(values: &[f32], shape: &[usize]) -> Vec<u8> {
    let sides = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    // A tuple of one has a comma.
    let shape = if let [_] = shape { sides + "," } else { sides };
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    // Magic, version and length take ten bytes; the data begin at a multiple of 64.
    let padding = (64 - (10 + header.len() + 1) % 64) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(values.iter().flat_map(|x| x.to_le_bytes()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/golden/heatmap.py`: NumPy itself.
    #[test]
    fn the_bytes_are_those_that_numpy_writes() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../tests/golden/heatmap.json")).unwrap();
        let wanted: Vec<u8> = serde_json::from_value(golden["npy"].clone()).unwrap();
        let row = npy(&[1.0, 2.0], &[2]);
        assert!(row.len() == 128 + 8 && row.windows(13).any(|part| part == b"'shape': (2,)"));
        assert_eq!(npy(&[1.0, 2.5, -3.0, 0.0, 1e-9, 7.0], &[2, 3]), wanted);
    }
}
