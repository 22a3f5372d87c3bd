//! An optimised graph as it lies in a folder: the graph, and a file of its larger initialisers beside it.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array1, Axis, Slice};
use ort::value::{DynValue, Tensor};
use prost::Message;
use twox_hash::XxHash3_128;

use crate::cache::{GRAPH, WEIGHTS};
use crate::onnx;

const CACHE_LINE: usize = 64;
const BLOCK: usize = 1 << 16;

/// What was read of a stored graph.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The single-precision initialisers of the weights file, by name. Kernels of 8-bit weights pack them for each session and
    /// cannot share that: those are read by the sessions.
    pub weights: Vec<(String, Arc<DynValue>)>,
    /// Of every byte of both files.
    pub digest: String,
}

impl Stored {
    /// Reads the graph in `folder`, each file once. Errors are words.
    pub(crate) fn read(folder: &Path) -> Result<Self, String> {
        let graph = std::fs::read(folder.join(GRAPH)).map_err(|error| error.to_string())?;
        let mut digest = XxHash3_128::default();
        digest.write(&graph);
        let model = onnx::OnnxModel::decode(graph.as_slice()).map_err(|error| error.to_string())?;
        let all = model.graph.unwrap_or_default().initializer.into_iter();
        let outside = all.filter(|tensor| tensor.is_external() && tensor.data_type == onnx::FLOAT);
        let mut outside = outside.map(Initialiser::of).collect::<Result<Vec<_>, _>>()?;
        outside.sort_by_key(|initialiser| initialiser.offset);
        let mut weights = Vec::with_capacity(outside.len());
        match File::open(folder.join(WEIGHTS)) {
            Err(error) if error.kind() == ErrorKind::NotFound && outside.is_empty() => {}
            Err(error) => return Err(error.to_string()),
            Ok(file) => {
                let mut file =
                    Digested { file: BufReader::with_capacity(BLOCK, file), digest: &mut digest, at: 0 };
                for initialiser in outside {
                    file.pass_to(&initialiser)?;
                    weights.push(initialiser.load(&mut file)?);
                }
                file.pass(u64::MAX).map_err(|error| error.to_string())?;
            }
        }
        Ok(Self { weights, digest: format!("{:032x}", digest.finish_128()) })
    }
}

/// A file of which every byte that is read or passed is digested.
struct Digested<'d> {
    file: BufReader<File>,
    digest: &'d mut XxHash3_128,
    at: u64,
}

impl Digested<'_> {
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact(bytes)?;
        self.digest.write(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Up to the initialiser: what lies before it is of another kind, or fills up a page.
    fn pass_to(&mut self, initialiser: &Initialiser) -> Result<(), String> {
        let gap = initialiser.offset.checked_sub(self.at);
        let gap = gap.ok_or_else(|| initialiser.unreadable("it overlaps another one"))?;
        self.pass(gap).map_err(|error| initialiser.unreadable(error))
    }

    /// Past so many bytes, or to the end of the file.
    fn pass(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let block = self.file.fill_buf()?;
            let here = block.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            if here == 0 {
                return Ok(());
            }
            self.digest.write(&block[..here]);
            self.file.consume(here);
            self.at += here as u64;
            count -= here as u64;
        }
        Ok(())
    }
}

/// One single-precision tensor in the weights file.
#[derive(Debug)]
struct Initialiser {
    name: String,
    dims: Vec<i64>,
    offset: u64,
}

impl Initialiser {
    fn of(tensor: onnx::Tensor) -> Result<Self, String> {
        if tensor.external("location") != Some(WEIGHTS) {
            return Err(format!("initialiser {} lies in another file", tensor.name));
        }
        let offset = tensor.external("offset").map_or(Ok(0), str::parse);
        let offset = offset.map_err(|_| format!("initialiser {} has no sound offset", tensor.name))?;
        Ok(Self { name: tensor.name, dims: tensor.dims, offset })
    }

    fn load(self, file: &mut Digested<'_>) -> Result<(String, Arc<DynValue>), String> {
        let dims: Vec<usize> = self.dims.iter().map(|dim| *dim as usize).collect();
        let len = dims.iter().try_fold(1_usize, |len, dim| len.checked_mul(*dim));
        // A graph that is damaged may ask for any length; the file has no more than it has.
        let largest = file.file.get_ref().metadata().map_err(|error| self.unreadable(error))?.len();
        let fits =
            |len: &usize| len.checked_mul(size_of::<f32>()).is_some_and(|bytes| bytes as u64 <= largest);
        let len = len.filter(fits).ok_or_else(|| self.unreadable("it is longer than its file"))?;
        // ONNX Runtime takes only memory of its caller, and kernels read whole cache lines of it.
        let mut values = Array1::from_elem(len + CACHE_LINE / size_of::<f32>(), 0_f32);
        let skipped = values.as_ptr().align_offset(CACHE_LINE);
        values.slice_axis_inplace(Axis(0), Slice::from(skipped..skipped + len));
        let bytes = values.as_slice_mut().map(bytemuck::cast_slice_mut);
        let bytes = bytes.ok_or_else(|| self.unreadable("its memory has gaps"))?;
        file.fill(bytes).map_err(|error| self.unreadable(error))?;
        let values = values.into_shape_with_order(dims).map_err(|error| self.unreadable(error))?;
        let value = Tensor::from_array(values).map_err(|error| self.unreadable(error.message()))?;
        Ok((self.name, Arc::new(value.into_dyn())))
    }

    fn unreadable(&self, what: impl Display) -> String {
        format!("initialiser {} cannot be read: {what}", self.name)
    }
}
