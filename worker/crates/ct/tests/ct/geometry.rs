//! Where slices lie: steps, gaps, tilts, duplicates.

use nightread_ct::{CtLimits, estimate, from_parts};
use nightread_dicom::InProcess;

use crate::fixtures::*;

/// A series whose slices lie at these places along z, the numbers of which rise by 10 HU a millimetre.
fn placed(places: &[f64]) -> Vec<Dicom> {
    let place = |(k, &z): (usize, &f64)| {
        let mut file = slice(k);
        let words: Vec<u16> = (0..ROWS * COLUMNS).map(|n| (n as f64 + 10.0 * z).round() as u16).collect();
        file.decimals(POSITION, &[-100.0, -200.0, z]).words(&words);
        file
    };
    places.iter().enumerate().map(place).collect()
}

#[test]
fn an_even_series_is_its_slices() {
    let volume = read(&series(10)).unwrap();
    assert_eq!(volume.shape, [COLUMNS, ROWS, 10]);
    assert_eq!(
        volume.affine,
        [[-ROW_MM, 0.0, 0.0, 100.0], [0.0, -COLUMN_MM, 0.0, 200.0], [0.0, 0.0, 2.0, 50.0]]
            .map(|row| row.map(|x| x + 0.0))
    );
    for (i, j, k) in [(0, 0, 0), (15, 0, 3), (3, 11, 9), (7, 5, 4)] {
        assert_eq!(at(&volume, i, j, k), stored(k, j, i) as i16 - 1024);
    }
    assert!(volume.warnings.is_empty() && volume.skipped.is_empty(), "{:?}", volume.warnings);
    assert_eq!(volume.slices[3].instance_uid.as_deref(), Some("1.2.3.3"));
    assert!((volume.slices[3].position_mm - 56.0).abs() < 1e-9);
    assert_eq!(volume.facts["slice_thickness_mm"], 3.0);
    assert_eq!(volume.facts["slice_step_mm"], 2.0);
    assert_eq!(volume.facts["axes"], "LPS");
}

#[test]
fn neither_order_nor_threads_nor_locations_change_the_volume() {
    let files = series(12);
    let whole = read(&files).unwrap();
    let mut turned = files.clone();
    turned.reverse();
    turned.swap(2, 7);
    let again = read(&turned).unwrap();
    assert!(whole.values == again.values && whole.affine == again.affine && whole.warnings == again.warnings);
    for threads in [2, 5, 40] {
        let some = from_parts(&parts(&files), &CtLimits { threads, ..limits() }, &InProcess).unwrap();
        assert!(some == whole, "{threads} threads");
    }
}

#[test]
fn of_several_broken_files_the_first_is_told_whatever_the_threads() {
    let mut files = series(12);
    for k in [5, 3, 9] {
        files[k].words(&[1, 2, 3]);
    }
    for threads in [1, 2, 5] {
        for _ in 0..10 {
            let error =
                from_parts(&parts(&files), &CtLimits { threads, ..limits() }, &InProcess).unwrap_err();
            assert_eq!(error.code.as_str(), "unreadable");
            assert!(error.text.starts_with("3: "), "{threads} threads: {}", error.text);
            assert_eq!(error.cause.unwrap().code.as_str(), "header_invalid");
        }
    }
}

#[test]
fn a_missing_slice_is_refused_or_made_up() {
    let files = placed(&[0.0, 2.0, 4.0, 8.0, 10.0, 12.0]);
    assert_eq!(refusal(&files), "missing_slices");
    let lenient = CtLimits { interpolate_missing: true, ..limits() };
    let volume = from_parts(&parts(&files), &lenient, &InProcess).unwrap();
    assert_eq!(warnings(&volume), ["slices_interpolated"]);
    assert_eq!((volume.shape[2], volume.slices.len()), (7, 6));
    for k in 0..7 {
        assert_eq!(i32::from(at(&volume, 3, 2, k)), -1024 + 2 * COLUMNS as i32 + 3 + 20 * k as i32);
    }
    let two = placed(&[0.0, 2.0, 4.0, 10.0, 12.0, 14.0]);
    assert_eq!(from_parts(&parts(&two), &lenient, &InProcess).unwrap_err().code.as_str(), "missing_slices");
}

#[test]
fn holes_in_a_row_are_told_by_their_numbers() {
    let mut files = placed(&[0.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0]);
    let wide = read(&files).unwrap();
    assert_eq!(warnings(&wide), ["uneven_slices"], "a protocol with two steps");
    files[6].text(INSTANCE_NUMBER, "IS", "8");
    assert_eq!(refusal(&files), "missing_slices");
}

#[test]
fn uneven_steps_are_made_even() {
    let places = [0.0, 1.0, 3.0, 4.5, 6.5, 8.0];
    let volume = read(&placed(&places)).unwrap();
    assert_eq!(warnings(&volume), ["uneven_slices"]);
    // Median 1.5 mm, 8 mm in all: 6 steps.
    assert_eq!(volume.shape[2], 7);
    assert!((volume.affine[2][2] - 8.0 / 6.0).abs() < 1e-12);
    for k in 0..7 {
        let expected = -1024.0 + 10.0 * 8.0 / 6.0 * k as f64;
        assert!((f64::from(at(&volume, 0, 0, k)) - expected).abs() <= 1.0, "{k}");
    }
    let real: Vec<f64> = volume.slices.iter().map(|slice| slice.position_mm).collect();
    assert_eq!(real, places);
    assert_eq!(refusal(&placed(&[0.0, 1.0, 2.0, 3.0, 4.0, 6.6, 7.6])), "uneven_slices");
}

#[test]
fn rounded_positions_are_even() {
    let places: Vec<f64> = (0..40).map(|k| (f64::from(k) * 0.625 * 100.0).round() / 100.0).collect();
    let volume = read(&placed(&places)).unwrap();
    assert!(volume.warnings.is_empty(), "{:?}", volume.warnings);
    assert_eq!(volume.shape[2], 40);
}

#[test]
fn a_tilt_shears_the_affine() {
    let tilted = |k: usize| {
        let mut file = slice(k);
        file.decimals(POSITION, &[-100.0, -200.0 + 0.5 * k as f64, 50.0 + 2.0 * k as f64]);
        file
    };
    let files: Vec<_> = (0..8).map(tilted).collect();
    let volume = read(&files).unwrap();
    assert_eq!(warnings(&volume), ["gantry_tilt"]);
    for k in 0..8u8 {
        let k = f64::from(k);
        let place = [100.0, 200.0 - 0.5 * k, 50.0 + 2.0 * k];
        assert_near(world(&volume.affine, [0.0, 0.0, k]), place, 1e-9);
    }
    assert_eq!(at(&volume, 3, 4, 5), stored(5, 4, 3) as i16 - 1024);
}

#[test]
fn a_slice_beside_the_line_is_refused() {
    let mut files = series(8);
    files[4].decimals(POSITION, &[-90.0, -200.0, 58.0]);
    assert_eq!(refusal(&files), "shifted_slices");
}

#[test]
fn the_same_image_twice_is_dropped() {
    let mut files = series(8);
    let mut again = slice(3);
    again.text(INSTANCE_UID, "UI", "1.2.3.999");
    files.insert(1, again);
    let volume = read(&files).unwrap();
    assert_eq!(warnings(&volume), ["duplicate_slices"]);
    assert!(volume.values == read(&series(8)).unwrap().values);
    assert_eq!((volume.skipped.len(), volume.skipped[0].why), (1, "duplicate"));
}

#[test]
fn two_phases_are_told_apart_or_refused() {
    let phase = |acquisition: &str, darker: u16| {
        let change = move |k: usize| {
            let mut file = slice(k);
            let words: Vec<u16> = words(k).into_iter().map(|word| word - darker).collect();
            file.text(ACQUISITION, "IS", acquisition)
                .text(CONTENT_TIME, "TM", &format!("12000{k}.{acquisition}"))
                .words(&words);
            file
        };
        (0..8).map(change).collect::<Vec<_>>()
    };
    let mut files = phase("2", 40);
    files.extend(phase("1", 0));
    let volume = read(&files).unwrap();
    assert_eq!(warnings(&volume), ["several_volumes"]);
    assert!(volume.values == read(&series(8)).unwrap().values, "the first acquired of equal ones");
    assert!(volume.skipped.len() == 8 && volume.skipped.iter().all(|skip| skip.why == "another_volume"));

    // Headers alone do not tell which is taken: phases that lie beside each other are no broken line.
    let beside: Vec<Dicom> = files
        .iter()
        .enumerate()
        .map(|(n, file)| {
            let mut file = file.clone();
            let aside = if n < 8 && n % 3 == 0 { -7.0 } else { 0.0 };
            let z = 50.0 + 2.0 * (n % 8) as f64;
            file.decimals(POSITION, &[-100.0 + aside, -200.0, z]).clone()
        })
        .collect();
    let told = estimate(&parts(&beside), &limits(), &InProcess).unwrap();
    let taken = read(&beside[8..]).unwrap();
    assert!(told.voxels == taken.values.len() as u64 && told.bytes >= 2 * told.voxels, "{told:?}");

    for file in &mut files {
        file.without(ACQUISITION);
    }
    assert_eq!(refusal(&files), "several_volumes", "times of slices are no times of volumes");
    for (n, file) in files.iter_mut().enumerate() {
        file.text(CONTENT_TIME, "TM", if n < 8 { "120100" } else { "120000" });
    }
    let by_time = read(&files).unwrap();
    assert!(by_time.values == volume.values && warnings(&by_time) == ["several_volumes"]);
    // Two halves that overlap in one slice are one scan that nobody may cut.
    let mut halves = phase("1", 0)[..5].to_vec();
    halves.extend(phase("2", 40)[4..].to_vec());
    assert_eq!(refusal(&halves), "several_volumes");
}

#[test]
fn few_and_thick_slices() {
    assert_eq!(refusal(&series(3)), "too_few_slices");
    assert_eq!(refusal(&series(1)), "part_of_series");
    let standard = from_parts(&parts(&series(9)), &CtLimits::default(), &InProcess).unwrap_err();
    assert_eq!(standard.code.as_str(), "too_few_slices");
    let thick = read(&placed(&[0.0, 7.0, 14.0, 21.0, 28.0])).unwrap();
    assert_eq!(warnings(&thick), ["thick_slices"]);
}

#[test]
fn holes_among_numbers_are_a_doubt() {
    let mut files = series(8);
    files[7].text(INSTANCE_NUMBER, "IS", "12");
    assert_eq!(warnings(&read(&files).unwrap()), ["instance_number_holes"]);
}

#[test]
fn placeless_slices_are_refused() {
    for (tag, value) in [
        (POSITION, &[1.0, 2.0][..]),
        (ORIENTATION, &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
        (ORIENTATION, &[2.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        (SPACING, &[0.0, 1.0]),
        (SPACING, &[1.0]),
    ] {
        let mut files = series(8);
        for file in &mut files {
            file.decimals(tag, value);
        }
        assert_eq!(refusal(&files), "no_position", "{tag:?} {value:?}");
    }
}

#[test]
fn the_estimate_is_that_of_the_volume_and_limits_hold() {
    let files = parts(&series(20));
    let told = estimate(&files, &limits(), &InProcess).unwrap();
    assert_eq!(told.voxels, (COLUMNS * ROWS * 20) as u64);
    assert!(told.bytes > 2 * told.voxels && told.bytes < 2 * told.voxels + 32 * 1024, "{told:?}");
    let small = CtLimits { max_voxels: told.voxels - 1, ..limits() };
    for error in [
        estimate(&files, &small, &InProcess).unwrap_err(),
        from_parts(&files, &small, &InProcess).unwrap_err(),
    ] {
        assert_eq!(error.code.as_str(), "too_large");
    }
    // Even steps would be many: a slab of thin slices with one far away is refused before they are made.
    assert_eq!(refusal(&placed(&[0.0, 0.02, 0.04, 0.06, 900.0])), "missing_slices");
    let few = CtLimits { max_files: 19, ..limits() };
    assert_eq!(from_parts(&files, &few, &InProcess).unwrap_err().code.as_str(), "too_large");
}

/// Images that watch the contrast arrive lie at one place outside of the volume, each an acquisition of its own.
#[test]
fn the_estimate_knows_the_volume_also_beside_images_that_lie_at_one_place_outside_of_it() {
    let mut files = series(20);
    for file in &mut files {
        file.text(ACQUISITION, "IS", "1");
    }
    let alone = estimate(&parts(&files), &limits(), &InProcess).unwrap();
    for n in 0..10 {
        let mut watching = slice(20 + n);
        watching.text(ACQUISITION, "IS", &(n + 2).to_string()).decimals(POSITION, &[-100.0, -200.0, 300.0]);
        files.push(watching);
    }
    let volume = read(&files).unwrap();
    assert_eq!(warnings(&volume), ["several_volumes"]);
    let told = estimate(&parts(&files), &limits(), &InProcess).unwrap();
    assert_eq!((told.place.shape, told.place.affine), (volume.shape, volume.affine));
    assert_eq!(told.voxels, alone.voxels);
    // Headers differ by some bytes.
    assert!(told.bytes.abs_diff(alone.bytes) < 64, "{told:?} {alone:?}");
}

/// A part of another phase reaches farther than the one that is taken.
#[test]
fn the_estimate_is_that_of_the_phase_that_is_taken() {
    let mut files = series(20);
    for file in &mut files {
        file.text(ACQUISITION, "IS", "1");
    }
    let taken = read(&files).unwrap();
    for k in 10..21 {
        let darker: Vec<u16> = words(k).into_iter().map(|word| word - 40).collect();
        let mut other = slice(k);
        other.text(ACQUISITION, "IS", "2").words(&darker);
        files.push(other);
    }
    let volume = read(&files).unwrap();
    assert!(warnings(&volume) == ["several_volumes"] && volume.shape == taken.shape);
    let told = estimate(&parts(&files), &limits(), &InProcess).unwrap();
    assert_eq!((told.place.shape, told.place.affine), (volume.shape, volume.affine));
}

#[test]
fn the_estimate_counts_a_second_volume_wherever_layers_are_made() {
    let even = estimate(&parts(&series(8)), &limits(), &InProcess).unwrap();
    let files = placed(&[0.0, 2.0, 4.0, 6.0, 7.5, 9.9, 11.9, 13.9]);
    let volume = read(&files).unwrap();
    assert_eq!(warnings(&volume), ["uneven_slices"]);
    assert_eq!(volume.shape[2], 8, "as many layers as slices");
    let uneven = estimate(&parts(&files), &limits(), &InProcess).unwrap();
    // Headers differ by some bytes.
    assert!(uneven.bytes + 64 >= even.bytes + 2 * even.voxels, "{uneven:?} {even:?}");
}
