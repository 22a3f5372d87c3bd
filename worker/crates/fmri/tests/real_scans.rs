//! The whole chain on 32 real resting-state scans: group ICA, dual regression, and what they must show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;

use std::path::Path;

use common::dense::dense;
use common::{correlation, data, read_all, rest32};
use nightread_fmri::ica::{GroupIca, Options, group_ica};
use nightread_fmri::{GroupMaps, dual_regression, regression};
use nightread_volume::{FileSource, Grid, ScanSource};

const COMPONENTS: usize = 20;

fn decompose(paths: &[std::path::PathBuf], mask: &Path, seed: u64) -> GroupIca {
    let scans: Vec<FileSource> = paths.iter().cloned().map(FileSource).collect();
    let runs: Vec<&dyn ScanSource> = scans.iter().map(|scan| scan as &dyn ScanSource).collect();
    let options = Options { seed, ..Options::new(COMPONENTS) };
    group_ica(&runs, &FileSource(mask.to_path_buf()), &options, &mut |_| {}).unwrap()
}

fn wide(map: &[f32]) -> impl Iterator<Item = f64> + Clone + '_ {
    map.iter().map(|&x| f64::from(x))
}

/// Share of every coarse voxel that each of the seven networks fills, on a mask's voxels.
fn network_shares(labels: &Path, grid: &Grid, mask: &[u32]) -> Vec<Vec<f64>> {
    let (header, values, _) = read_all(&std::fs::read(labels).unwrap()).unwrap();
    let inverse = grid.affine.inverse().unwrap();
    let mut shares = vec![vec![0.0; grid.len()]; 7];
    for (v, label) in values.iter().enumerate().filter(|(_, label)| **label > 0.5) {
        let at = inverse.apply(header.grid.world(v)).map(f64::round);
        if (0..3).all(|axis| at[axis] >= 0.0 && at[axis] < grid.dims[axis] as f64) {
            let [i, j, k] = at.map(|x| x as usize);
            shares[label.round() as usize - 1][i + grid.dims[0] * (j + grid.dims[1] * k)] += 1.0;
        }
    }
    shares.iter().map(|share| mask.iter().map(|&v| share[v as usize]).collect()).collect()
}

/// Correlation of every map with its best match among others, greedily one to one.
fn matched(a: &GroupIca, b: &GroupIca) -> Vec<f64> {
    let mut pairs: Vec<(f64, usize, usize)> = (0..COMPONENTS)
        .flat_map(|i| (0..COMPONENTS).map(move |j| (i, j)))
        .map(|(i, j)| (correlation(wide(&a.maps[i]), wide(&b.maps[j])).abs(), i, j))
        .collect();
    pairs.sort_by(|x, y| y.0.total_cmp(&x.0));
    let (mut rows, mut columns, mut out) = ([false; COMPONENTS], [false; COMPONENTS], Vec::new());
    for (value, i, j) in pairs {
        if !rows[i] && !columns[j] {
            (rows[i], columns[j]) = (true, true);
            out.push(value);
        }
    }
    out
}

#[test]
fn thirty_two_scans_show_the_networks_and_regress_as_the_equations_say() {
    let test = "thirty_two_scans_show_the_networks_and_regress_as_the_equations_say";
    let Some(paths) = rest32(test) else { return };
    let Some(mask) = data(test, "fmri/templates/MNI152NLin6_res-2x2x2_T1w_descr-brainmask.nii.gz") else {
        return;
    };
    let Some(labels) = data(test, "fmri/templates/Yeo-7-liberal_space-MNI152NLin6_res-2x2x2.nii.gz") else {
        return;
    };

    let group = decompose(&paths, &mask, 1);
    assert!(group.converged);
    let shares = network_shares(&labels, &group.grid, &group.mask);
    let best = |network: usize| {
        let all = group.maps.iter().map(|map| correlation(wide(map), shares[network].iter().copied()));
        all.fold(f64::MIN, f64::max)
    };
    eprintln!(
        "voxels {}, best Yeo-7 correlations {:.3?}",
        group.mask.len(),
        (0..7).map(best).collect::<Vec<_>>()
    );
    for (network, least) in [(0, 0.6), (1, 0.45), (6, 0.35)] {
        assert!(best(network) >= least, "network {} correlates at {}", network + 1, best(network));
    }

    let mut agreement = matched(&group, &decompose(&paths, &mask, 2));
    agreement.sort_by(f64::total_cmp);
    let median = f64::midpoint(agreement[9], agreement[10]);
    eprintln!("two seeds: median matched correlation {median:.4}, least {:.4}", agreement[0]);
    assert!(median >= 0.9);

    let rows: Vec<Vec<f64>> = group.maps.iter().map(|map| wide(map).collect()).collect();
    let maps = GroupMaps::new(group.grid, group.mask.clone(), &rows).unwrap();
    let options = regression::Options { z_maps: true, ..regression::Options::default() };
    let (mut own, mut worst, mut least) = (0, 0f64, 1f64);
    for path in &paths {
        let out = dual_regression(&FileSource(path.clone()), &maps, &options).unwrap();
        let (header, values, _) = read_all(&std::fs::read(path).unwrap()).unwrap();
        let y: Vec<Vec<f64>> = values
            .chunks(header.grid.len())
            .map(|volume| group.mask.iter().map(|&v| volume[v as usize]).collect())
            .collect();
        let want = dense(&y, &rows, true);
        for k in 0..COMPONENTS {
            let beta = &out.maps.betas[k];
            least = least.min(correlation(wide(beta), want.betas[k].iter().copied()));
            let scale = want.betas[k].iter().fold(0f64, |m, x| m.max(x.abs()));
            for (got, want) in wide(beta).zip(&want.betas[k]) {
                worst = worst.max((got - want).abs() / scale);
            }
            let to_group: Vec<f64> =
                group.maps.iter().map(|map| correlation(wide(beta), wide(map))).collect();
            own += usize::from((0..COMPONENTS).all(|j| to_group[j] <= to_group[k]));
        }
    }
    let all = paths.len() * COMPONENTS;
    eprintln!(
        "dense equations: least correlation {least:.9}, greatest relative error {worst:.2e}; own component {own} of {all}"
    );
    assert!(least >= 0.9999 && worst <= 1e-4);
    assert!(own as f64 >= 0.99 * all as f64);
}
