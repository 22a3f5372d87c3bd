//! Small images whose reading is known: the one-node model answers with their mean.

use bytes::Bytes;

/// The name and version under which the one-node model's results lie.
pub const MODEL_PATH: &str = "one-node/1.0.0-fp32";

/// A square grey PNG of one value but for a pixel, since an image of one value is refused; made distinct by `number` in a text
/// chunk.
pub fn grey(value: u8, side: u32, number: usize) -> Bytes {
    let mut body = Vec::new();
    let mut encoder = png::Encoder::new(&mut body, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.add_text_chunk("number".to_owned(), number.to_string()).expect("a sound chunk");
    let mut writer = encoder.write_header().expect("a header");
    let mut pixels = vec![value; (side * side) as usize];
    pixels[0] ^= 1;
    writer.write_image_data(&pixels).expect("pixels");
    writer.finish().expect("an end");
    body.into()
}

/// An image that does not compress, of about `side * side` bytes.
pub fn noise(side: u32, seed: u64) -> Bytes {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    let mut pixels = vec![0; (side * side) as usize];
    StdRng::seed_from_u64(seed).fill_bytes(&mut pixels);
    let mut body = Vec::new();
    let mut encoder = png::Encoder::new(&mut body, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&pixels).expect("pixels");
    writer.finish().expect("an end");
    body.into()
}

/// What the one-node model says of [`grey`]: the mean in [-1024, 1024].
pub fn logit(value: u8) -> f64 {
    (f64::from(value) / 255.0 * 2.0 - 1.0) * 1024.0
}

/// Where the result of a blob lies, in the results container.
pub fn result_name(container: &str, name: &str) -> String {
    format!("{MODEL_PATH}/{container}/{name}.json")
}
