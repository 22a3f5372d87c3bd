//! Stored values and Hounsfield units.

use nightread_ct::{CtLimits, estimate, from_parts};
use nightread_dicom::InProcess;

use crate::fixtures::*;

fn all(files: &mut [Dicom], change: impl Fn(&mut Dicom)) {
    files.iter_mut().for_each(change);
}

#[test]
fn each_slice_has_its_own_rescale() {
    let mut files = series(8);
    for (k, file) in files.iter_mut().enumerate() {
        file.decimals(SLOPE, &[1.0 + 0.25 * k as f64]).decimals(INTERCEPT, &[-1000.5 - k as f64]);
    }
    let volume = read(&files).unwrap();
    for k in 0..8 {
        let hu = f64::from(stored(k, 5, 6)) * (1.0 + 0.25 * k as f64) - 1000.5 - k as f64;
        assert_eq!(at(&volume, 6, 5, k), hu.round() as i16);
    }
}

#[test]
fn what_is_not_in_hounsfield_units_is_refused() {
    let changes: [fn(&mut Dicom); 6] = [
        |file| {
            file.without(SLOPE);
        },
        |file| {
            file.without(INTERCEPT);
        },
        |file| {
            file.decimals(SLOPE, &[0.0]);
        },
        |file| {
            file.text(RESCALE_TYPE, "LO", "US");
        },
        |file| {
            file.text(PHOTOMETRIC, "CS", "MONOCHROME1");
        },
        |file| {
            file.text(SLOPE, "DS", "one");
        },
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut files = series(8);
        change(&mut files[5]);
        assert_eq!(refusal(&files), "no_hounsfield", "change {n}");
    }
    let mut said = series(8);
    all(&mut said, |file| {
        file.text(RESCALE_TYPE, "LO", "HU");
    });
    assert!(read(&said).unwrap().warnings.is_empty());
}

#[test]
fn padding_becomes_air() {
    let mut files = series(8);
    let mut padded = words(2);
    padded[5] = 63_536; // -2000 as a signed word, outside of the twelve bits.
    files[2].words(&padded);
    let error = read(&files).unwrap_err();
    assert_eq!(error.cause.unwrap().code.as_str(), "value_out_of_range");
    files[2].number(PADDING, 63_536);
    let volume = read(&files).unwrap();
    assert_eq!((at(&volume, 5, 0, 2), at(&volume, 6, 0, 2)), (-1024, stored(2, 0, 6) as i16 - 1024));
    assert_eq!(volume.facts["voxels_set_to_air"], 1);

    // Within 16 stored bits, and far above what is measured.
    let mut wide = series(8);
    all(&mut wide, |file| {
        file.number(STORED, 16).number(HIGH_BIT, 15).number(PADDING, 65_535);
    });
    let mut padded = words(4);
    padded[0] = 65_535;
    padded[1] = 60_000;
    wide[4].words(&padded);
    let volume = read(&wide).unwrap();
    assert_eq!((at(&volume, 0, 0, 4), at(&volume, 1, 0, 4)), (-1024, i16::MAX));
    assert_eq!(warnings(&volume), ["values_lowered"]);

    // A header that calls water padding does not make holes of it.
    let mut water = series(8);
    all(&mut water, |file| {
        file.number(PADDING, 1024);
    });
    let mut watery = words(1);
    watery[3] = 1024;
    water[1].words(&watery);
    assert_eq!(at(&read(&water).unwrap(), 3, 0, 1), 0);
}

#[test]
fn values_below_air_are_air_and_none_below_zero_is_a_doubt() {
    let mut deep = series(8);
    all(&mut deep, |file| {
        file.decimals(INTERCEPT, &[-3024.0]);
    });
    assert!(read(&deep).unwrap().values.iter().all(|&hu| hu >= -1024));
    let mut bright = series(8);
    all(&mut bright, |file| {
        file.decimals(INTERCEPT, &[0.0]);
    });
    assert_eq!(warnings(&read(&bright).unwrap()), ["not_hounsfield"]);
}

#[test]
fn signed_values_of_twelve_bits_keep_their_sign() {
    for extended in [true, false] {
        let mut files = series(8);
        for (k, file) in files.iter_mut().enumerate() {
            let bits = if extended { 0xFFFF } else { 0x0FFF };
            let signed: Vec<u16> =
                words(k).into_iter().map(|word| (word as i16 - 1024) as u16 & bits).collect();
            file.number(SIGNED, 1).decimals(INTERCEPT, &[0.0]).words(&signed);
        }
        assert!(read(&files).unwrap().values == read(&series(8)).unwrap().values, "extended: {extended}");
    }
}

/// JPEG 2000 whose codestream is signed, by OpenJPEG: pixel x, y of 64 x 64 is 40 (x - y) - 300 + x y % 7. A reader that takes the
/// signed numbers for the file's unsigned ones, or the other way, gives others.
#[test]
fn a_signed_codestream_keeps_its_sign() {
    let mut files = series(8);
    for file in &mut files {
        file.number(ROWS_TAG, 64)
            .number(COLUMNS_TAG, 64)
            .number(STORED, 16)
            .number(HIGH_BIT, 15)
            .number(SIGNED, 1)
            .decimals(INTERCEPT, &[1500.0]);
    }
    let frame = include_bytes!("signed.j2k").to_vec();
    let packed = |files: &[Dicom]| {
        let one =
            |(k, file): (usize, &Dicom)| part(k, file.encapsulated(JPEG_2000, std::slice::from_ref(&frame)));
        files.iter().enumerate().map(one).collect::<Vec<_>>()
    };
    let volume = read_parts(&packed(&files)).unwrap();
    for (x, y) in [(0i16, 0i16), (63, 0), (0, 63), (17, 40), (40, 17)] {
        let expected = (40 * (x - y) - 300 + x * y % 7 + 1500).max(-1024);
        assert_eq!(at(&volume, x as usize, y as usize, 3), expected);
    }
    for file in &mut files {
        file.number(SIGNED, 0);
    }
    let error = read_parts(&packed(&files)).unwrap_err();
    assert_eq!(error.cause.unwrap().code.as_str(), "value_out_of_range", "a header that denies the sign");
}

#[test]
fn run_lengths_give_the_same_numbers() {
    let files = series(8);
    let packed: Vec<_> = files
        .iter()
        .enumerate()
        .map(|(k, file)| part(k, file.encapsulated(RLE, &[rle(&words(k))])))
        .collect();
    let (a, b) = (read_parts(&packed).unwrap(), read(&files).unwrap());
    assert!(a.values == b.values && a.affine == b.affine);
    assert_eq!(a.facts["transfer_syntax"], RLE);
}

/// An enhanced CT: everything in functional groups, frames out of order.
pub fn enhanced(count: usize) -> Dicom {
    let mut file = slice(0);
    for tag in [POSITION, ORIENTATION, SPACING, SLOPE, INTERCEPT, THICKNESS, INSTANCE_NUMBER] {
        file.without(tag);
    }
    let group = |tag: Tag, fill: &dyn Fn(&mut Dicom)| {
        let mut item = Dicom::default();
        fill(&mut item);
        (tag, item)
    };
    let item_of = |groups: Vec<(Tag, Dicom)>| {
        let mut item = Dicom::default();
        for (tag, inside) in groups {
            item.sequence(tag, &[inside]);
        }
        item
    };
    let shared = item_of(vec![
        group((0x0020, 0x9116), &|item| {
            item.decimals(ORIENTATION, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        }),
        group((0x0028, 0x9110), &|item| {
            item.decimals(SPACING, &[COLUMN_MM, ROW_MM]);
        }),
    ]);
    let order: Vec<usize> = (0..count).map(|n| (n * 5) % count).collect();
    let frames: Vec<Dicom> = order
        .iter()
        .map(|&k| {
            item_of(vec![
                group((0x0020, 0x9113), &|item| {
                    item.decimals(POSITION, &[-100.0, -200.0, 50.0 + 2.0 * k as f64]);
                }),
                group((0x0028, 0x9145), &|item| {
                    item.decimals(INTERCEPT, &[-1024.0 - k as f64]).decimals(SLOPE, &[1.0]).text(
                        RESCALE_TYPE,
                        "LO",
                        "HU",
                    );
                }),
            ])
        })
        .collect();
    let pixels: Vec<u16> = order.iter().flat_map(|&k| words(k)).collect();
    file.text(SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.2.1")
        .text(FRAMES, "IS", &count.to_string())
        .sequence(SHARED, &[shared])
        .sequence(PER_FRAME, &frames)
        .words(&pixels);
    file
}

#[test]
fn frames_of_one_file_are_a_volume() {
    let count = 12;
    let mut files = series(count);
    for (k, file) in files.iter_mut().enumerate() {
        file.decimals(INTERCEPT, &[-1024.0 - k as f64]);
    }
    let many = read(&files).unwrap();
    let one = enhanced(count);
    let order: Vec<usize> = (0..count).map(|n| (n * 5) % count).collect();
    let packed: Vec<Vec<u8>> = order.iter().map(|&k| rle(&words(k))).collect();
    for bytes in [one.bytes(), one.encapsulated(RLE, &packed)] {
        let parts = [part("enhanced", bytes)];
        for threads in [1, 3] {
            let volume = from_parts(&parts, &CtLimits { threads, ..limits() }, &InProcess).unwrap();
            assert!(volume.values == many.values && volume.affine == many.affine);
            assert_eq!(volume.slices.iter().map(|slice| slice.frame as usize).collect::<Vec<_>>(), {
                let mut frames = vec![0; count];
                order.iter().enumerate().for_each(|(frame, &k)| frames[k] = frame);
                frames
            });
            assert!(volume.warnings.is_empty(), "{:?}", volume.warnings);
        }
        assert_eq!(estimate(&parts, &limits(), &InProcess).unwrap().voxels, (count * ROWS * COLUMNS) as u64);
    }
    let mut cut = one.clone();
    cut.words(&words(0));
    assert_eq!(read(&[cut]).unwrap_err().cause.unwrap().code.as_str(), "header_invalid");
    let mut groupless = one.clone();
    groupless.sequence(PER_FRAME, &[]);
    assert_eq!(refusal(&[groupless]), "no_hounsfield");
    let mut endless = one;
    endless.text(FRAMES, "IS", "4000000000");
    assert_eq!(refusal(&[endless]), "too_large");
}
