//! JPEG with loss. Grey images are put together here, block by block, of the library's parts, so that each block's
//! coefficients can be looked at on their way; colour is left to the library, after such a look.

use libjpeg_turbo_rs::common::quant_table::QuantTable;
use libjpeg_turbo_rs::decode::bitstream::BitReader;
use libjpeg_turbo_rs::decode::entropy::{McuDecoder, resolve_mcu_plan};
use libjpeg_turbo_rs::decode::idct::idct_8x8_12bit;
use libjpeg_turbo_rs::decode::marker::{JpegMetadata, MarkerReader, ScanInfo};
use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat, read_coefficients, simd};
use nightread_domain::error::{ErrorCode, JobError};

use super::plausible::{Plausible, in_rows};
use super::promises::{check, one_component};
use super::{CodecImage, CodecRequest};
use crate::error::refuse;
use crate::samples::Samples;

/// A progressive image has about ten scans; each costs a pass over all its pixels.
const MAX_SCANS: usize = 64;

pub(super) fn decode(request: &CodecRequest<'_>) -> Result<CodecImage, JobError> {
    let mut reader = MarkerReader::new(request.frame);
    reader.set_scan_cap(MAX_SCANS);
    let metadata = reader.read_markers().map_err(jpeg_error)?;
    let frame = &metadata.frame;
    let precision = check(request, (frame.width.into(), frame.height.into()), frame.precision.into())?;
    if metadata.extraneous_bytes != 0 {
        return Err(refuse(ErrorCode::DecodeFailed, "the JPEG is malformed: bytes lie between its segments"));
    }
    // Coefficients that have to be kept are words.
    let kept = 2 * frame.components.len() as u64 * u64::from(request.columns) * u64::from(request.rows);
    if !is_sequential(&metadata) && kept > request.working_bytes {
        return Err(refuse(
            ErrorCode::InflatesTooLarge,
            format!("the JPEG's coefficients take {kept} bytes"),
        ));
    }
    let samples = match (precision, frame.components.len()) {
        (8, 1) => {
            let transform = simd::detect().idct_islow;
            Samples::U8(grey(request, &metadata, |block, table, samples| {
                transform(block, &table.values, samples);
            })?)
        }
        (12, 1) => Samples::U16(grey(request, &metadata, twelve_bits)?),
        (8, 3) => Samples::U8(colour(request, &metadata)?),
        (_, 1) => {
            return Err(refuse(
                ErrorCode::UnsupportedMedia,
                format!("a JPEG of {precision} bits is not read"),
            ));
        }
        (_, other) => {
            one_component(other)?;
            Samples::U8(Vec::new())
        }
    };
    Ok(CodecImage { precision, samples })
}

/// One block of 12-bit samples, as libjpeg gives it.
fn twelve_bits(block: &[i16; 64], table: &QuantTable, samples: &mut [u16; 64]) {
    // A plausible block holds no product of more than 16 bits.
    let dequantised =
        std::array::from_fn(|k| i32::from(block[k]).wrapping_mul(table.values[k].into()) as i16);
    *samples = idct_8x8_12bit(&dequantised).map(|sample| (sample.saturating_add(2048)).clamp(0, 4095) as u16);
}

/// Puts a grey image together of its blocks: each through `transform`.
fn grey<T: Copy + Default>(
    request: &CodecRequest<'_>,
    metadata: &JpegMetadata,
    transform: impl Fn(&[i16; 64], &QuantTable, &mut [T; 64]),
) -> Result<Vec<T>, JobError> {
    let table = quantisers(metadata, 0)?;
    let mut image = GreyImage::new(request, table, metadata.frame.precision, transform);
    if is_sequential(metadata) {
        let scan = metadata.scans.first().ok_or_else(|| malformed("it has no scan"))?;
        each_block(request.frame, metadata, scan, |_, x, y, block| image.take(x, y, block))?;
    } else {
        let coefficients = read_coefficients(request.frame).map_err(jpeg_error)?;
        let [component] = &coefficients.components[..] else { return Err(malformed("it is not grey")) };
        for y in 0..image.rows.div_ceil(8) {
            let row = component.blocks[y * component.blocks_x..].iter().take(image.across);
            for (x, block) in row.enumerate() {
                image.take(x, y, &in_rows(block))?;
            }
        }
    }
    Ok(image.samples)
}

/// A grey image in the making: eight of its rows stand in a strip until the last block across has come.
struct GreyImage<'a, T, F> {
    table: &'a QuantTable,
    plausible: Plausible,
    transform: F,
    columns: usize,
    rows: usize,
    /// Blocks across the image.
    across: usize,
    strip: Vec<T>,
    block: [T; 64],
    samples: Vec<T>,
}

impl<'a, T, F> GreyImage<'a, T, F>
where
    T: Copy + Default,
    F: Fn(&[i16; 64], &QuantTable, &mut [T; 64]),
{
    fn new(request: &CodecRequest<'_>, table: &'a QuantTable, precision: u8, transform: F) -> Self {
        let (columns, rows) = (request.columns as usize, request.rows as usize);
        let across = columns.div_ceil(8);
        Self {
            table,
            plausible: Plausible::new(table, precision),
            transform,
            columns,
            rows,
            across,
            strip: vec![T::default(); 64 * across],
            block: [T::default(); 64],
            samples: Vec::with_capacity(columns * rows),
        }
    }

    /// Takes the coefficients of the block at column `x` and row `y` of the blocks; they come in row order.
    fn take(&mut self, x: usize, y: usize, coefficients: &[i16; 64]) -> Result<(), JobError> {
        self.plausible.check(coefficients)?;
        (self.transform)(coefficients, self.table, &mut self.block);
        let width = 8 * self.across;
        for (line, row) in self.strip.chunks_exact_mut(width).zip(self.block.as_chunks::<8>().0) {
            line[8 * x..8 * x + 8].copy_from_slice(row);
        }
        if x + 1 == self.across {
            for line in self.strip.chunks_exact(width).take(self.rows - 8 * y) {
                self.samples.extend_from_slice(&line[..self.columns]);
            }
        }
        Ok(())
    }
}

/// Channel 0 of RGB.
fn colour(request: &CodecRequest<'_>, metadata: &JpegMetadata) -> Result<Vec<u8>, JobError> {
    let components = 0..metadata.frame.components.len();
    let plausible = components
        .map(|index| Ok(Plausible::new(quantisers(metadata, index)?, metadata.frame.precision)))
        .collect::<Result<Vec<_>, JobError>>()?;
    if is_sequential(metadata) {
        for scan in &metadata.scans {
            each_block(request.frame, metadata, scan, |index, _, _, block| plausible[index].check(block))?;
        }
    } else {
        let coefficients = read_coefficients(request.frame).map_err(jpeg_error)?;
        for (component, plausible) in coefficients.components.iter().zip(&plausible) {
            component.blocks.iter().try_for_each(|block| plausible.check(&in_rows(block)))?;
        }
    }
    let limits = DecodeLimits {
        max_pixels: u64::from(request.columns) * u64::from(request.rows),
        max_scans: MAX_SCANS,
        max_memory: Some(request.working_bytes),
        ..DecodeLimits::default()
    };
    let decoder = Decoder::new_with_limits(request.frame, limits)
        .map_err(jpeg_error)?
        .with_output_format(PixelFormat::Rgb)
        .with_stop_on_warning(true);
    let image = decoder.decode_image().map_err(jpeg_error)?;
    Ok(image.data.into_iter().step_by(3).collect())
}

/// Whether blocks come whole and one after another, in Huffman's code.
fn is_sequential(metadata: &JpegMetadata) -> bool {
    !metadata.frame.is_progressive && !metadata.is_arithmetic
}

fn quantisers(metadata: &JpegMetadata, component: usize) -> Result<&QuantTable, JobError> {
    let index = metadata.frame.components[component].quant_table_index;
    let table = metadata.quant_tables.get(usize::from(index)).and_then(Option::as_ref);
    table.ok_or_else(|| malformed("a quantisation table is missing"))
}

/// Hands every block of a sequential scan, in row order, to `take`: component, column and row of the block.
fn each_block(
    bytes: &[u8],
    metadata: &JpegMetadata,
    scan: &ScanInfo,
    mut take: impl FnMut(usize, usize, usize, &[i16; 64]) -> Result<(), JobError>,
) -> Result<(), JobError> {
    let frame = &metadata.frame;
    let plan = resolve_mcu_plan(frame, &scan.header, &scan.dc_huffman_tables, &scan.ac_huffman_tables)
        .map_err(jpeg_error)?;
    let sampling: Vec<(usize, usize)> = frame
        .components
        .iter()
        .map(|component| (component.horizontal_sampling.into(), component.vertical_sampling.into()))
        .collect();
    let (across, down) = sampling.iter().fold((1, 1), |(across, down), &(h, v)| (h.max(across), v.max(down)));
    let (width, height) = (usize::from(frame.width), usize::from(frame.height));
    // A scan of one component has its blocks in rows, others have them in units of each component's share (T.81 A.2).
    let (columns, rows) = match &plan[..] {
        [one] => {
            let (h, v) = sampling[one.comp_idx];
            ((width * h).div_ceil(8 * across), (height * v).div_ceil(8 * down))
        }
        _ => (width.div_ceil(8 * across), height.div_ceil(8 * down)),
    };
    let parts: Vec<_> = plan
        .iter()
        .map(|part| (part, if plan.len() == 1 { (1, 1) } else { sampling[part.comp_idx] }))
        .collect();

    let data = bytes.get(scan.data_offset..).ok_or_else(|| jpeg_error(JpegError::UnexpectedEof))?;
    let mut reader = BitReader::new(data);
    let mut decoder = McuDecoder::new(frame.components.len());
    let mut block = [0; 64];
    let interval = usize::from(scan.restart_interval);
    let mut left = interval;
    for y in 0..rows {
        for x in 0..columns {
            if interval > 0 && left == 0 {
                reader.reset();
                decoder.reset();
                left = interval;
            }
            left = left.saturating_sub(1);
            for &(part, (h, v)) in &parts {
                for (down, across) in (0..v).flat_map(|down| (0..h).map(move |across| (down, across))) {
                    let read = decoder.decode_block(
                        &mut reader,
                        part.comp_idx,
                        part.dc_table,
                        part.ac_table,
                        &mut block,
                    );
                    // What was read past the end of the data is none of it.
                    if reader.insufficient_data() {
                        return Err(jpeg_error(JpegError::UnexpectedEof));
                    }
                    read.map_err(jpeg_error)?;
                    take(part.comp_idx, x * h + across, y * v + down, &block)?;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn malformed(how: &str) -> JobError {
    refuse(ErrorCode::DecodeFailed, format!("the JPEG is malformed: {how}"))
}

pub(super) fn jpeg_error(error: JpegError) -> JobError {
    let code = match error {
        JpegError::UnexpectedEof => ErrorCode::Truncated,
        JpegError::LimitExceeded { .. } => ErrorCode::InflatesTooLarge,
        JpegError::Unsupported(_) => ErrorCode::UnsupportedMedia,
        _ => ErrorCode::DecodeFailed,
    };
    refuse(code, format!("the JPEG cannot be decoded: {error}")).with_source(error)
}
