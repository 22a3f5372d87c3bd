//! Any volume, written as a series in any orientation, order and rescale, comes back with its numbers and its place.

use nightread_ct::CtVolume;
use proptest::prelude::*;

use crate::fixtures::*;

/// What a series is made of.
#[derive(Clone, Debug)]
struct Made {
    size: [usize; 3],
    spacing: [f64; 2],
    step: f64,
    /// A unit quaternion: how the patient lies.
    turn: [f64; 4],
    origin: [f64; 3],
    slope: f64,
    intercept: f64,
    order: Vec<usize>,
    seed: u64,
}

fn rotation([a, b, c, d]: [f64; 4]) -> [[f64; 3]; 3] {
    [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ]
}

impl Made {
    fn axes(&self) -> [[f64; 3]; 3] {
        let turned = rotation(self.turn);
        [0, 1, 2].map(|axis| [turned[0][axis], turned[1][axis], turned[2][axis]])
    }

    fn stored(&self, i: usize, j: usize, k: usize) -> u16 {
        let mixed = (i as u64 * 73 + j as u64 * 151 + k as u64 * 283 + self.seed) * 2_654_435_761;
        (mixed >> 7) as u16 & 0x0FFF
    }

    fn files(&self) -> Vec<Dicom> {
        let [row, column, normal] = self.axes();
        let [columns, rows, count] = self.size;
        let made = |&k: &usize| {
            let position: Vec<f64> =
                (0..3).map(|axis| self.origin[axis] + self.step * k as f64 * normal[axis]).collect();
            let words: Vec<u16> =
                (0..rows * columns).map(|n| self.stored(n % columns, n / columns, k)).collect();
            let mut file = slice(k);
            file.number(ROWS_TAG, rows as u16)
                .number(COLUMNS_TAG, columns as u16)
                .decimals(POSITION, &position)
                .decimals(ORIENTATION, &[row, column].concat())
                .decimals(SPACING, &self.spacing)
                .decimals(SLOPE, &[self.slope])
                .decimals(INTERCEPT, &[self.intercept])
                .text(INSTANCE_NUMBER, "IS", &((k * 7) % count).to_string())
                .words(&words);
            file
        };
        self.order.iter().map(made).collect()
    }

    /// Where a voxel lies, in NIfTI's system, by the definition of the attributes (PS3.3 C.7.6.2.1.1).
    fn place(&self, voxel: [usize; 3]) -> [f64; 3] {
        let [row, column, normal] = self.axes();
        let [i, j, k] = voxel.map(|n| n as f64);
        let lps = [0, 1, 2].map(|axis| {
            self.origin[axis]
                + row[axis] * self.spacing[1] * i
                + column[axis] * self.spacing[0] * j
                + normal[axis] * self.step * k
        });
        [-lps[0], -lps[1], lps[2]]
    }

    /// What is wrong with a volume of this series.
    fn fault(&self, volume: &CtVolume) -> Option<String> {
        if volume.shape != self.size || !volume.warnings.is_empty() {
            return Some(format!("{:?} {:?}", volume.shape, volume.warnings));
        }
        let [columns, rows, count] = self.size;
        for voxel in [
            [0, 0, 0],
            [columns - 1, 0, 0],
            [0, rows - 1, 0],
            [0, 0, count - 1],
            [columns - 1, rows - 1, count - 1],
        ] {
            let (real, said) = (self.place(voxel), world(&volume.affine, voxel.map(|n| n as f64)));
            if (0..3).any(|axis| (real[axis] - said[axis]).abs() > 1e-6) {
                return Some(format!("voxel {voxel:?} lies at {real:?}, not at {said:?}"));
            }
        }
        for k in 0..count {
            for j in 0..rows {
                for i in 0..columns {
                    let hu = (f64::from(self.stored(i, j, k)) * self.slope + self.intercept).round();
                    let hu = hu.max(-1024.0);
                    if at(volume, i, j, k) != hu as i16 {
                        return Some(format!("voxel {i} {j} {k} is {}, not {hu}", at(volume, i, j, k)));
                    }
                }
            }
        }
        None
    }
}

fn made() -> impl Strategy<Value = Made> {
    let size = (2usize..9, 2usize..9, 4usize..10);
    let numbers =
        (0.3..3.0f64, 0.3..3.0f64, 0.5..5.0f64, -300.0..300.0f64, -300.0..300.0f64, -900.0..900.0f64);
    let turn = prop_oneof![
        // Axial, feet first, coronal, sagittal, upside down: turns by quarters.
        proptest::sample::select(vec![
            [1.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 1.0],
            [0.5f64.sqrt(), 0.5f64.sqrt(), 0.0, 0.0],
            [0.5, 0.5, 0.5, 0.5],
            [0.5, -0.5, 0.5, -0.5],
        ]),
        (-1.0..1.0f64, -1.0..1.0f64, -1.0..1.0f64, 0.1..1.0f64).prop_map(|(a, b, c, d)| {
            let length = (a * a + b * b + c * c + d * d).sqrt();
            [a / length, b / length, c / length, d / length]
        }),
    ];
    (size, numbers, turn, 0.2..2.0f64, -1100.0..0.0f64, any::<u64>()).prop_flat_map(
        |((columns, rows, count), (a, b, step, x, y, z), turn, slope, intercept, seed)| {
            Just((0..count).collect::<Vec<_>>()).prop_shuffle().prop_map(move |order| Made {
                size: [columns, rows, count],
                spacing: [a, b],
                step,
                turn,
                origin: [x, y, z],
                slope,
                // Below zero somewhere, so that no doubt about units is raised.
                intercept: intercept - 500.0,
                order,
                seed: seed >> 40,
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn numbers_and_places_come_back(made in made()) {
        let volume = read(&made.files()).unwrap();
        // Random numbers of few voxels may all be above zero.
        let mut volume = volume;
        volume.warnings.retain(|warning| warning.code.as_str() != "not_hounsfield");
        prop_assert_eq!(made.fault(&volume), None);

        // A check that a mirror passes would be none.
        let mut mirrored = volume.clone();
        for row in &mut mirrored.affine {
            row[3] += row[0] * (mirrored.shape[0] - 1) as f64;
            row[0] = -row[0];
        }
        prop_assert!(made.fault(&mirrored).is_some());
        let mut shifted = volume.clone();
        shifted.affine[2][3] += 0.01;
        prop_assert!(made.fault(&shifted).is_some());
    }
}
