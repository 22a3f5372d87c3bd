//! The part of an image that a network saw, and where it is painted.

use std::ops::Range;

use nightread_steps::Field;

/// What of a network's field lies in the image: bands that were put around the image are left out. It is painted in the
/// image's proportions, its longer side as long as that of a square, in whose middle it lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    pub across: Axis,
    pub down: Axis,
}

/// One axis of it. Places are in pixels of the image, from the outer edge of its first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// First place and length of the field.
    field: [f64; 2],
    /// First place and length of what of it lies in the image.
    shown: [f64; 2],
    /// Pixels of the image.
    side: usize,
    /// Pixels that are painted, and those of the square before them.
    pub pixels: usize,
    pub offset: usize,
}

impl Part {
    /// `sides` of the image, width and height; `size` of the square. `None` when the field does not meet the image.
    pub fn new(field: &Field, sides: [usize; 2], size: usize) -> Option<Self> {
        let fields = [[field.x, field.width], [field.y, field.height]];
        let [across, down] = [0, 1].map(|axis| inside(fields[axis], sides[axis]));
        let (across, down) = (across?, down?);
        let longer = across[1].max(down[1]);
        let [across, down] = [(across, 0), (down, 1)].map(|(shown, axis)| {
            let pixels = ((size as f64 * shown[1] / longer).round() as usize).clamp(1, size);
            Axis { field: fields[axis], shown, side: sides[axis], pixels, offset: (size - pixels) / 2 }
        });
        Some(Self { across, down })
    }
}

/// What of a field lies among `side` pixels: its first place and its length.
fn inside([first, length]: [f64; 2], side: usize) -> Option<[f64; 2]> {
    let (from, to) = (first.max(0.0), (first + length).min(side as f64));
    (from < to).then_some([from, to - from])
}

impl Axis {
    /// Where the centres of the painted pixels lie on a map of `cells` over the whole field, in cells from the first one's
    /// centre.
    pub fn cells(&self, cells: usize) -> Vec<f64> {
        let ([first, length], [from, shown]) = (self.field, self.shown);
        let place = |pixel: usize| from - first + (pixel as f64 + 0.5) * shown / self.pixels as f64;
        (0..self.pixels).map(|pixel| place(pixel) * cells as f64 / length - 0.5).collect()
    }

    /// The pixels of the image under a painted one: at least one.
    pub fn source(&self, pixel: usize) -> Range<usize> {
        let [from, shown] = self.shown;
        let place = |pixel: usize| (from + pixel as f64 * shown / self.pixels as f64) as usize;
        let first = place(pixel).min(self.side - 1);
        first..place(pixel + 1).clamp(first + 1, self.side)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(x: f64, y: f64, width: f64, height: f64, sides: [usize; 2], size: usize) -> Part {
        Part::new(&Field { x, y, width, height }, sides, size).unwrap()
    }

    #[test]
    fn bands_are_left_out_and_proportions_kept() {
        // 200 x 100, made square with bands of 50 above and below.
        let banded = part(0.0, -50.0, 200.0, 200.0, [200, 100], 64);
        let (across, down) = (banded.across, banded.down);
        assert_eq!((across.pixels, across.offset, down.pixels, down.offset), (64, 0, 32, 16));
        assert_eq!(down.cells(4), (0..32).map(|o| 0.5 + (f64::from(o) + 0.5) / 16.0).collect::<Vec<_>>());
        assert_eq!((down.source(0), down.source(31)), (0..3, 96..100));
        // The whole of it, squeezed by the network: painted as it is.
        let squeezed = part(0.0, 0.0, 200.0, 100.0, [200, 100], 64);
        assert_eq!((squeezed.across.pixels, squeezed.down.pixels), (64, 32));
        assert_eq!(squeezed.down.cells(32), (0..32).map(f64::from).collect::<Vec<_>>());
    }

    #[test]
    fn every_painted_pixel_has_pixels_of_the_image() {
        for (sides, size) in [([1, 1], 512), ([3, 500], 64), ([500, 3], 64), ([301, 257], 97)] {
            let [width, height] = sides.map(|side| side as f64);
            for shift in [-0.75, 0.0, 0.4] {
                let part = part(shift * width, 0.3, width, height / 1.7, sides, size);
                for axis in [part.across, part.down] {
                    for pixel in 0..axis.pixels {
                        let source = axis.source(pixel);
                        assert!(source.start < source.end && source.end <= axis.side, "{axis:?} {pixel}");
                    }
                }
            }
        }
        assert_eq!(Part::new(&Field { x: 9.0, y: 0.0, width: 5.0, height: 5.0 }, [9, 9], 64), None);
    }
}
