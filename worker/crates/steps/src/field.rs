//! What of an image the network sees.

/// A rectangle of the image, in its pixels; it reaches beyond the image where bands were put around it. The network's input
/// is this rectangle, stretched to the input's sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}
