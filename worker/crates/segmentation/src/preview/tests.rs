use super::*;
use crate::labels::LabelValues;

/// 20 x 16 x 10 voxels of 2 x 2 x 5 mm: an organ at the patient's right, in front, near the head; nothing else is bright.
fn volume(affine: [[f64; 4]; 3], place: impl Fn([usize; 3]) -> bool) -> (LabelMap, Grid<i16>) {
    let shape = [20, 16, 10];
    let inside = |at: usize| place([at % 20, at / 20 % 16, at / 320]);
    let values = LabelValues::U8((0..3200).map(|at| u8::from(inside(at))).collect());
    let hu = (0..3200).map(|at| if inside(at) { 240 } else { -160 }).collect();
    (LabelMap { shape, affine, values }, Grid { shape, affine, values: hu })
}

fn ras() -> (LabelMap, Grid<i16>) {
    let affine = [[2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 5.0, 0.0]];
    volume(affine, |[x, y, z]| x >= 15 && y >= 12 && z >= 8)
}

fn lps() -> (LabelMap, Grid<i16>) {
    let affine = [[-2.0, 0.0, 0.0, 38.0], [0.0, -2.0, 0.0, 30.0], [0.0, 0.0, -5.0, 45.0]];
    volume(affine, |[x, y, z]| x < 5 && y < 4 && z < 2)
}

fn organ() -> [Name; 1] {
    [Name { index: 1, name: "liver".to_owned(), laterality: None }]
}

/// Where in a view the organ is: its shares of the way from left to right and from top to bottom.
fn seen(labels: &LabelMap, hu: &Grid<i16>, plane: Plane) -> [[f64; 2]; 2] {
    let frame = Frame::new(&labels.affine).unwrap();
    let (slices, _) = fullest(labels, &frame);
    let view = View::new(labels, hu, &frame, plane, slices[frame.through(plane)], 0.5);
    let inside = |at: &usize| view.labels[*at] == 1;
    let of = |place: fn(usize, usize) -> usize, size: usize| {
        let places = (0..view.labels.len()).filter(inside).map(|at| place(at, view.width));
        let (first, last) = (places.clone().min().unwrap(), places.max().unwrap());
        [first as f64 / size as f64, (last + 1) as f64 / size as f64]
    };
    [of(|at, width| at % width, view.width), of(|at, width| at / width, view.height)]
}

#[test]
fn right_and_front_are_left_and_heads_are_up() {
    for (labels, hu) in [ras(), lps()] {
        assert_eq!(seen(&labels, &hu, Plane::Axial), [[0.0, 0.25], [0.0, 0.25]]);
        assert_eq!(seen(&labels, &hu, Plane::Coronal), [[0.0, 0.25], [0.0, 0.2]]);
        assert_eq!(seen(&labels, &hu, Plane::Sagittal), [[0.0, 0.25], [0.0, 0.2]]);
    }
}

#[test]
fn millimetres_are_square_and_voxels_need_not_be() {
    let (labels, hu) = ras();
    let frame = Frame::new(&labels.affine).unwrap();
    let sizes = Plane::ALL.map(|plane| {
        let view = View::new(&labels, &hu, &frame, plane, 0, 0.5);
        (view.width, view.height)
    });
    assert_eq!(sizes, [(80, 64), (80, 100), (64, 100)]);
}

#[test]
fn the_same_patient_gives_the_same_bytes_however_it_is_stored() {
    let images = [ras(), lps(), lps()].map(|(labels, hu)| preview(&labels, &hu, &organ()).unwrap());
    assert!(images[1] == images[2], "twice the same");
    assert!(images[0] == images[1], "stored in another order");
    let mut reader = png::Decoder::new(std::io::Cursor::new(&images[0].png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width as usize, info.height as usize), (images[0].width, images[0].height));
    assert!(pixels.chunks_exact(3).any(|pixel| pixel == colour(1)));
    assert!(pixels.chunks_exact(3).any(|pixel| pixel == TEXT));
}

#[test]
fn contours_are_the_borders_of_segments_alone() {
    let labels = vec![0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1];
    let view = View { width: 4, height: 4, grey: vec![0; 16], labels };
    let contour: Vec<_> = (0..16).map(|at| view.contour(at % 4, at / 4)).collect();
    assert_eq!(contour, [0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn colours_of_a_hundred_labels_differ_and_are_bright() {
    let colours: Vec<_> = (1..120).map(colour).collect();
    for (index, one) in colours.iter().enumerate() {
        assert!(one.iter().any(|&channel| channel > 150), "{one:?}");
        assert!(!colours[..index].contains(one), "{one:?}");
    }
}

#[test]
fn a_volume_without_segments_or_of_one_voxel_is_painted() {
    let (mut labels, hu) = ras();
    labels.values = LabelValues::U8(vec![0; 3200]);
    assert!(preview(&labels, &hu, &organ()).is_ok());
    let affine = labels.affine;
    let one = LabelMap { shape: [1, 1, 1], affine, values: LabelValues::U16(vec![300]) };
    let names =
        [Name {
            index: 300, name: "ein sehr langer Name, länger als das Bild ".repeat(9), laterality: None
        }];
    assert!(preview(&one, &Grid { shape: [1, 1, 1], affine, values: vec![7] }, &names).is_ok());
}

#[test]
fn what_cannot_be_painted_is_refused() {
    let (mut labels, mut hu) = ras();
    labels.affine[2][2] = 0.0;
    assert_eq!(preview(&labels, &hu, &[]), Err(PreviewError::NoExtent));
    hu.values.pop();
    assert!(matches!(preview(&labels, &hu, &[]), Err(PreviewError::OtherGrid { .. })));
}
