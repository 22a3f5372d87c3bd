//! One named tensor of an ONNX file's graph, with its values: a classifier's weights.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use prost::Message;

use crate::onnx::{Entry, FLOAT};

#[derive(Clone, PartialEq, prost::Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Graph {
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Tensor>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(float, repeated, tag = "4")]
    float_data: Vec<f32>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<Entry>,
}

/// Shape and values of the initialiser `name` of the graph in `file`, wherever its values lie. Errors are words.
pub(crate) fn read(file: &Path, name: &str) -> Result<(Vec<usize>, Vec<f32>), String> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    let model = Model::decode(bytes.as_slice()).map_err(|error| format!("is no ONNX file: {error}"))?;
    let all = model.graph.unwrap_or_default().initializer;
    let Some(tensor) = all.into_iter().find(|tensor| tensor.name == name) else {
        return Err(format!(
            "has no initialiser {name:?}: name another, or save the weights as .npy (weights_file)"
        ));
    };
    if tensor.data_type != FLOAT {
        return Err(format!(
            "has an initialiser {name:?} that is not float32: save the weights as .npy (weights_file)"
        ));
    }
    let sides = tensor.dims.iter().map(|side| usize::try_from(*side));
    let shape: Vec<usize> =
        sides.collect::<Result<_, _>>().map_err(|_| format!("has no shape of {name:?}"))?;
    let count = shape.iter().try_fold(size_of::<f32>(), |product, side| product.checked_mul(*side));
    let bytes = count.ok_or_else(|| format!("has an initialiser {name:?} of no size"))?;
    let values =
        tensor.values(file, bytes).map_err(|words| format!("has an initialiser {name:?} {words}"))?;
    Ok((shape, values))
}

impl Tensor {
    /// Errors are words.
    fn values(self, file: &Path, bytes: usize) -> Result<Vec<f32>, String> {
        if self.external_data.is_empty() && self.raw_data.is_empty() {
            let whole = self.float_data.len() * size_of::<f32>() == bytes;
            return if whole { Ok(self.float_data) } else { Err("without all its values".to_owned()) };
        }
        let raw = if self.external_data.is_empty() { self.raw_data } else { self.external(file, bytes)? };
        if raw.len() != bytes {
            return Err("without all its values".to_owned());
        }
        let values = raw.chunks_exact(size_of::<f32>());
        Ok(values.map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect())
    }

    /// The bytes in a file beside, which was compared with the manifest's list of files before. Errors are words.
    fn external(&self, file: &Path, bytes: usize) -> Result<Vec<u8>, String> {
        let entry = |key: &str| {
            self.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
        };
        let location = entry("location").ok_or("that lies nowhere")?;
        let offset = entry("offset").map_or(Ok(0), str::parse).map_err(|_| "at no sound offset")?;
        let open = File::open(file.with_file_name(location)).map_err(|error| error.to_string())?;
        let length = open.metadata().map_err(|error| error.to_string())?.len();
        if length < bytes as u64 {
            return Err("without all its values".to_owned());
        }
        let mut raw = vec![0; bytes];
        open.read_exact_at(&mut raw, offset).map_err(|error| error.to_string())?;
        Ok(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(format!("{name}.onnx"))
    }

    #[test]
    fn an_initialiser_is_had_from_the_graph_or_the_file_beside() {
        let (shape, values) = read(&model("linear"), "weight").unwrap();
        assert_eq!((shape.as_slice(), values.len()), ([16, 3].as_slice(), 48));
        assert!((values[0] + 1.0 / 64.0).abs() < 1e-9 && values[1].abs() < 1e-9, "{values:?}");
        assert_eq!(read(&model("external"), "weight").unwrap(), (shape, values));
    }

    #[test]
    fn what_is_not_there_or_of_another_type_is_refused_with_a_way_out() {
        for (file, name, words) in [
            ("linear", "weights", "no initialiser \"weights\""),
            ("doubles", "weight", "not float32"),
            ("absent", "weight", "cannot be read"),
        ] {
            let found = read(&model(file), name).unwrap_err();
            assert!(found.contains(words), "{found}");
        }
    }
}
