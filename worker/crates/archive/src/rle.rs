//! RLE Lossless of 8-bit frames (PS3.5, annex G).

/// The longest run and the longest literal.
const LONGEST: usize = 128;

/// One frame of bytes, each row packed for itself, of even length.
pub(crate) fn frame(pixels: &[u8], columns: usize) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[0] = 1;
    bytes[4] = 64;
    for row in pixels.chunks(columns.max(1)) {
        pack(row, &mut bytes);
    }
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}

/// PackBits: runs of two and more, literals between them.
fn pack(row: &[u8], packed: &mut Vec<u8>) {
    let mut at = 0;
    while at < row.len() {
        let run = run_at(row, at);
        if run > 1 {
            packed.push((257 - run) as u8);
            packed.push(row[at]);
            at += run;
            continue;
        }
        let mut end = at + 1;
        // Two equal bytes inside of a literal cost as much as the run would.
        while end < row.len() && end - at < LONGEST && run_at(row, end) < 3 {
            end += 1;
        }
        packed.push((end - at - 1) as u8);
        packed.extend_from_slice(&row[at..end]);
        at = end;
    }
}

fn run_at(row: &[u8], at: usize) -> usize {
    row[at..].iter().take(LONGEST).take_while(|byte| **byte == row[at]).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpacked(packed: &[u8], length: usize) -> Vec<u8> {
        let (mut bytes, mut at) = (Vec::new(), 64);
        while bytes.len() < length {
            let head = usize::from(packed[at]);
            if head < 128 {
                bytes.extend_from_slice(&packed[at + 1..at + 2 + head]);
                at += head + 2;
            } else {
                bytes.extend(std::iter::repeat_n(packed[at + 1], 257 - head));
                at += 2;
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            pixels in prop::collection::vec(prop_oneof![Just(0_u8), Just(0), 0_u8..4], 1..2000),
            columns in 1_usize..600,
        ) {
            let packed = frame(&pixels, columns);
            prop_assert_eq!(packed.len() % 2, 0);
            prop_assert_eq!(unpacked(&packed, pixels.len()), pixels);
        }
    }
}
