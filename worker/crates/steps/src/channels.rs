//! From one plane to the network's channels.

use crate::step::{Channels, Layout};

/// `(x - mean) / std` of each channel, in float32; the planes one after another, or the channels of a pixel.
pub(crate) fn spread(values: &[f32], channels: &Channels) -> Vec<f32> {
    let count = channels.count;
    let statistics: Vec<(f32, f32)> = (0..count)
        .map(|channel| {
            let of = |list: &[f64], none: f64| list.get(channel).copied().unwrap_or(none) as f32;
            (of(&channels.mean, 0.0), of(&channels.std, 1.0))
        })
        .collect();
    match channels.layout {
        Layout::Nchw => {
            let planes =
                statistics.iter().flat_map(|&(mean, std)| values.iter().map(move |v| (v - mean) / std));
            planes.collect()
        }
        Layout::Nhwc => {
            let pixels =
                values.iter().flat_map(|v| statistics.iter().map(move |&(mean, std)| (v - mean) / std));
            pixels.collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_own_statistics() {
        let mut channels =
            Channels { count: 3, mean: vec![0.0, 1.0, 2.0], std: vec![1.0, 2.0, 4.0], layout: Layout::Nchw };
        assert_eq!(spread(&[2.0, 6.0], &channels), [2.0, 6.0, 0.5, 2.5, 0.0, 1.0]);
        channels.layout = Layout::Nhwc;
        assert_eq!(spread(&[2.0, 6.0], &channels), [2.0, 0.5, 0.0, 6.0, 2.5, 1.0]);
    }
}
