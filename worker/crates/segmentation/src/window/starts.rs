//! Where patches begin along one axis.

/// How a peer places patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Even steps of at most `step` patches, the last patch at the end of the grid (nnU-Net's
    /// `compute_steps_for_sliding_window`; `step` is its `tile_step_size`).
    NnUnet,
    /// Steps of whole voxels, the last patch moved back to the end of the grid (MONAI's `dense_patch_slices`;
    /// `step` is 1 - `overlap`).
    Monai,
}

/// Starts of patches of `patch` voxels on a grid of `length` voxels, `length >= patch`, ascending, each once.
pub fn starts(rule: Rule, length: usize, patch: usize, step: f64) -> Vec<usize> {
    match rule {
        Rule::NnUnet => even(length, patch, step),
        Rule::Monai => dense(length, patch, step),
    }
}

fn even(length: usize, patch: usize, step: f64) -> Vec<usize> {
    let last = length - patch;
    let count = (last as f64 / (patch as f64 * step)).ceil() as usize + 1;
    // NumPy rounds halves to even.
    let wide = if count > 1 { last as f64 / (count - 1) as f64 } else { 0.0 };
    let mut starts: Vec<usize> = (0..count).map(|i| (wide * i as f64).round_ties_even() as usize).collect();
    // Steps under a voxel place two patches at one start (nnU-Net reads both, and both give the same).
    starts.dedup();
    starts
}

fn dense(length: usize, patch: usize, step: f64) -> Vec<usize> {
    let interval = if length == patch { patch } else { ((patch as f64 * step) as usize).max(1) };
    let mut starts = vec![0];
    while let Some(&last) = starts.last()
        && last + patch < length
    {
        starts.push((last + interval).min(length - patch));
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of nnU-Net's own comment, and numbers printed by its function (2.8.1).
    #[test]
    fn even_steps_are_those_of_nnunet() {
        assert_eq!(starts(Rule::NnUnet, 110, 64, 0.5), [0, 23, 46]);
        assert_eq!(starts(Rule::NnUnet, 64, 64, 0.5), [0]);
        assert_eq!(starts(Rule::NnUnet, 300, 128, 0.8), [0, 86, 172]);
        // 17 voxels in two steps: 8.5 becomes 8, a half to even.
        assert_eq!(starts(Rule::NnUnet, 37, 20, 0.5), [0, 8, 17]);
        assert_eq!(starts(Rule::NnUnet, 39, 20, 0.5), [0, 10, 19]);
    }

    /// Numbers printed by MONAI 1.6.1 for `_get_scan_interval` and `dense_patch_slices`.
    #[test]
    fn dense_steps_are_those_of_monai() {
        assert_eq!(starts(Rule::Monai, 287, 96, 0.75), [0, 72, 144, 191]);
        assert_eq!(starts(Rule::Monai, 96, 96, 0.75), [0]);
        assert_eq!(starts(Rule::Monai, 97, 96, 0.75), [0, 1]);
        assert_eq!(starts(Rule::Monai, 168, 96, 0.75), [0, 72]);
        assert_eq!(starts(Rule::Monai, 7, 4, 0.1), [0, 1, 2, 3]);
    }

    #[test]
    fn patches_cover_the_grid_for_any_step() {
        for rule in [Rule::NnUnet, Rule::Monai] {
            for length in 1..40 {
                for patch in 1..=length {
                    for step in [0.01, 0.3, 0.5, 0.8, 1.0] {
                        let starts = starts(rule, length, patch, step);
                        assert_eq!((starts[0], starts[starts.len() - 1]), (0, length - patch));
                        let gaps = starts.windows(2).map(|pair| pair[1] - pair[0]);
                        assert!(gaps.clone().all(|gap| gap > 0 && gap <= patch), "{starts:?}");
                    }
                }
            }
        }
    }
}
