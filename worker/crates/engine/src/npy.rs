//! Arrays as NumPy keeps them (NEP 1), of single precision.

const MAGIC: &[u8] = b"\x93NUMPY";

/// Shape and values of a `.npy` file, row-major. Errors are words, of the file: `must hold float32`.
pub fn read(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>), String> {
    let (header, data) = split(bytes).ok_or("is no .npy file")?;
    let header = String::from_utf8_lossy(header);
    if !header.contains("'descr': '<f4'") {
        return Err("must hold float32, little-endian: save it with .astype(\"<f4\")".to_owned());
    }
    if !header.contains("'fortran_order': False") {
        return Err("must lie row by row: save it with np.ascontiguousarray".to_owned());
    }
    let shape = header.split_once("'shape': (").and_then(|(_, rest)| Some(rest.split_once(')')?.0));
    let sides = shape.unwrap_or_default().split(',').map(str::trim).filter(|side| !side.is_empty());
    let sides: Result<Vec<usize>, _> = sides.map(str::parse).collect();
    let sides = sides.map_err(|_| "is no .npy file: it has no shape".to_owned())?;
    let count = sides.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
    if count.and_then(|count| count.checked_mul(size_of::<f32>())) != Some(data.len()) {
        return Err(format!("has {} bytes of values for the shape {sides:?}", data.len()));
    }
    let values = data.chunks_exact(size_of::<f32>());
    let values = values.map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    Ok((sides, values.collect()))
}

/// The header, and the values after it. Its length has two bytes in version 1, four later.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (version, rest) = (*rest.first()?, rest.get(2..)?);
    let (length, rest) = if version == 1 {
        let (length, rest) = rest.split_first_chunk::<2>()?;
        (usize::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        (u32::from_le_bytes(*length) as usize, rest)
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, values: &[f32]) -> Vec<u8> {
        let mut bytes = [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    #[test]
    fn single_precision_row_by_row_is_read_and_nothing_else() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }\n";
        let whole = file(header, &[1.5, -2.0]);
        assert_eq!(read(&whole).unwrap(), (vec![1, 2], vec![1.5, -2.0]));
        assert_eq!(read(&file(&header.replace("(1, 2)", "(2,)"), &[1.0, 2.0])).unwrap().0, [2]);
        for (from, to, words) in [
            ("<f4", "<f8", "float32"),
            ("False", "True", "row by row"),
            ("(1, 2)", "(2, 2)", "8 bytes of values"),
            ("(1, 2)", "(1, x)", "no shape"),
        ] {
            let found = read(&file(&header.replace(from, to), &[1.0, 2.0])).unwrap_err();
            assert!(found.contains(words), "{found}");
        }
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "cut at {end}");
        }
    }
}
