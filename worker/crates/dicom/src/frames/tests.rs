use super::*;

fn layout(stored: u16, width: u16, signed: bool) -> Layout {
    Layout { stored, width, shift: 0, overlay: 0, signed, padding: None }
}

/// A signed value of 12 bits, sign-extended to 16 or not, and what has bits of its own above.
#[test]
fn signs_of_fewer_bits_than_the_word() {
    let twelve = layout(12, 16, true);
    for (word, value) in
        [(0, 0), (1, 1), (0x07FF, 2047), (0x0800, -2048), (0xF800, -2048), (0x0FFF, -1), (0xFFFF, -1)]
    {
        assert!(twelve.fits(word), "{word:04X}");
        assert_eq!(twelve.value(word), value, "{word:04X}");
    }
    for word in [0x1000, 0xF000, 0xF7FF, 0x8800] {
        assert!(!twelve.fits(word), "{word:04X}");
    }
    let unsigned = layout(12, 16, false);
    assert_eq!((unsigned.value(0x0FFF), unsigned.fits(0xFFFF)), (4095, false));
    let whole = layout(16, 16, true);
    assert_eq!((whole.value(0x8000), whole.value(0x7FFF)), (-32768, 32767));
}

/// -2000 outside of the field of view, in an image whose 12 bits cannot hold it.
#[test]
fn a_padding_value_may_lie_outside_the_stored_bits() {
    let words = Samples::U16(vec![0, 4095, 63_536]);
    let without = layout(12, 16, false);
    assert!(!without.all_fit(&words));
    let with = Layout { padding: Some(63_536), ..without };
    assert!(with.all_fit(&words));
    assert_eq!(with.values(&words), [0, 4095, -2000]);
}

#[test]
fn bits_that_lie_higher_are_moved_and_overlays_taken_away() {
    let high = Layout { shift: 4, ..layout(12, 16, true) };
    assert!(high.fits(0x8000) && !high.fits(0x8001));
    assert_eq!((high.value(0x8000), high.value(0x7FF0)), (-2048, 2047));
    let overlay = Layout { overlay: 0x1000, ..layout(12, 16, false) };
    assert!(overlay.fits(0x1FFF) && !overlay.fits(0x2FFF));
    assert_eq!(overlay.value(0x1FFF), 4095);
}

#[test]
fn frames_are_found_by_count_by_table_or_by_their_beginnings() {
    let jpeg: &[u8] = &[0xFF, 0xD8, 0xFF, 0xE0];
    let rest: &[u8] = &[1, 2];
    let found =
        |offsets: &[u32]| Fragments { fragments: vec![jpeg, rest, jpeg, rest], offsets: offsets.to_vec() };
    assert_eq!(split(&found(&[]), 4).unwrap(), [0..1, 1..2, 2..3, 3..4]);
    assert_eq!(split(&found(&[0, 22]), 2).unwrap(), [0..2, 2..4]);
    assert_eq!(split(&found(&[]), 2).unwrap(), [0..2, 2..4]);
    for (offsets, count) in [(&[0, 21][..], 2), (&[22, 0], 2), (&[], 1), (&[], 3)] {
        assert_eq!(
            split(&found(offsets), count).unwrap_err().code,
            ErrorCode::HeaderInvalid,
            "{offsets:?} {count}"
        );
    }
}
