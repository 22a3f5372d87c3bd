//! Steps that move pixels: crops, bands, and the resizes of six libraries.

mod axis;
mod frame;
mod opencv;
mod pillow;
mod skimage;
mod torch;

pub(crate) use frame::{crop, crop_offset, pad_square};

use crate::plane::{Plane, Values};
use crate::step::{Edge, Resizer};

/// To `width` x `height`, each at least 1. What a library does not read, the plan has refused.
pub(crate) fn resize(
    plane: Plane,
    library: Resizer,
    edge: Option<Edge>,
    width: usize,
    height: usize,
) -> Plane {
    let from = (plane.width, plane.height);
    let to = (width, height);
    let values = match (library, plane.values) {
        (Resizer::PillowBilinear, values) => pillow::resize(values, from, to, &pillow::BILINEAR),
        (Resizer::PillowBicubic, values) => pillow::resize(values, from, to, &pillow::BICUBIC),
        (Resizer::PillowLanczos, values) => pillow::resize(values, from, to, &pillow::LANCZOS),
        (Resizer::TorchvisionAntialias, values) => torch::antialiased(values, from, to),
        (Resizer::OpencvLinear, values) => opencv::linear(values, from, to),
        (Resizer::OpencvArea, values) => opencv::area(values, from, to),
        (library, values) => {
            let values = Plane { width: from.0, height: from.1, values }.floats();
            Values::Floats(match library {
                Resizer::Monai => torch::area(&values, from, to),
                _ => skimage::resize(&values, from, to, edge.unwrap_or(Edge::Reflect)),
            })
        }
    };
    Plane { width, height, values }
}
