//! Network matrices against nilearn's `ConnectivityMeasure`: `golden/connectivity.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use nightread_fmri::{NetworkMatrix, connectivity};
use serde_json::Value;

/// The courses of `golden/connectivity.py`, rows of volumes.
fn courses(volumes: usize, components: usize) -> Vec<f64> {
    let f = |n: usize| n as f64;
    let at = |t: usize, k: usize| {
        let (t, k) = (f(t), f(k));
        let own = (0.37 * (k + 1.0) * t + 0.2 * t * t + k).sin();
        let shared = (0.21 * t).cos() * (0.5 * k).cos() + (0.11 * t + 1.0).sin() * (0.9 * k).sin();
        (own + 1.5 * shared) * (1.0 + 3.0 * k) + 10.0 * k
    };
    (0..volumes).flat_map(|t| (0..components).map(move |k| at(t, k))).collect()
}

fn worst(matrix: &NetworkMatrix, golden: &Value) -> f64 {
    let mut worst = 0.0f64;
    for (i, row) in golden.as_array().unwrap().iter().enumerate() {
        for (j, x) in row.as_array().unwrap().iter().enumerate() {
            worst = worst.max((matrix.get(i, j).unwrap() - x.as_f64().unwrap()).abs());
        }
    }
    worst
}

#[test]
fn matrices_are_those_of_nilearn() {
    let golden: Vec<Value> = serde_json::from_str(include_str!("golden/connectivity.json")).unwrap();
    assert_eq!(golden.len(), 2);
    for case in &golden {
        let of = |name: &str| case[name].as_u64().unwrap() as usize;
        let (volumes, components) = (of("volumes"), of("components"));
        let found = connectivity(&courses(volumes, components), components);
        let correlation = worst(&found.correlation, &case["correlation"]);
        assert!(correlation < 1e-9, "correlations differ by {correlation}");
        let partial = worst(&found.partial, &case["partial"]);
        assert!(partial < 1e-6, "partial correlations differ by {partial}");
        let shrinkage = case["shrinkage"].as_f64().unwrap();
        assert!((found.shrinkage.unwrap() - shrinkage).abs() < 1e-9);
        let z: f64 = found.correlation.fisher_z().rows().flatten().flatten().map(|z| z.abs()).sum();
        let golden_z = case["fisher_z_sum_of_magnitudes"].as_f64().unwrap();
        assert!((z / golden_z - 1.0).abs() < 1e-9, "{z} is not {golden_z}");
    }
}
