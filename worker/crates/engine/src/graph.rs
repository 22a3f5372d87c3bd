//! What an ONNX file says of itself: what goes in, what comes out, and how it was exported. No runtime is needed.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::Path;

use bytes::Buf;
use nightread_domain::{ErrorCode, JobError, Stage};

use crate::digest::Digesting;
use crate::onnx::{self, Dimension, Graph, OnnxModel, ValueInfo};

/// An ONNX file, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphFacts {
    /// What wrote it, with its version; empty where it does not say.
    pub producer: String,
    /// Version of ONNX's own operators.
    pub opset: i64,
    /// Without those that have a value already.
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// Files beside it that hold its tensors.
    pub data_files: BTreeSet<String>,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// An input or an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub element: Element,
    /// Slowest first; `None` where the file does not say how many there are.
    pub sides: Option<Vec<Side>>,
    /// The operator that gives it; of outputs only.
    pub operator: Option<String>,
}

/// The length of an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    Fixed(usize),
    /// Left open, perhaps under a name.
    Open(String),
}

/// The type of a tensor's values, by its number in onnx.proto.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element(pub i32);

impl Element {
    pub const fn is_float32(self) -> bool {
        self.0 == onnx::FLOAT
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "float32",
            2 => "uint8",
            3 => "int8",
            4 => "uint16",
            5 => "int16",
            6 => "int32",
            7 => "int64",
            8 => "text",
            9 => "bool",
            10 => "float16",
            11 => "float64",
            16 => "bfloat16",
            number => return write!(f, "type {number}"),
        })
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(length) => write!(f, "{length}"),
            Self::Open(name) if name.is_empty() => f.write_str("?"),
            Self::Open(name) => f.write_str(name),
        }
    }
}

/// `image float32 [batch, 1, 224, 224]`.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.element)?;
        match &self.sides {
            Some(sides) => {
                let sides: Vec<_> = sides.iter().map(Side::to_string).collect();
                write!(f, " [{}]", sides.join(", "))
            }
            None => f.write_str(" of an unknown shape"),
        }
    }
}

impl GraphFacts {
    /// Reads the file, which may have many gigabytes of weights, in little memory.
    ///
    /// # Errors
    /// `model_missing` where it cannot be read; `model_mismatch` where it is no ONNX file, in words that say what it is where that
    /// is known.
    pub fn read(path: &Path) -> Result<Self, JobError> {
        let unreadable = |error: std::io::Error| {
            let text = format!("{} cannot be read", path.display());
            JobError::new(Stage::Start, ErrorCode::ModelMissing, text).with_source(error)
        };
        let refused = |words: String| {
            let text = format!("{} {words}", path.display());
            JobError::new(Stage::Start, ErrorCode::ModelMismatch, text)
        };
        let mut bytes = Digesting::open(path).map_err(unreadable)?;
        if let Some(what) = foreign(bytes.chunk()) {
            return Err(refused(format!("is no ONNX file: {what}")));
        }
        let model = onnx::decoded(&mut bytes).map_err(refused)?;
        let sha256 = bytes.finish().map_err(unreadable)?;
        let data_files = onnx::files_of(&model).map_err(refused)?;
        Ok(Self::of(model, data_files, sha256))
    }

    fn of(model: OnnxModel, data_files: BTreeSet<String>, sha256: String) -> Self {
        let OnnxModel { producer_name, producer_version, opset_import, graph, .. } = model;
        let opset = opset_import.iter().find(|opset| opset.domain.is_empty());
        let graph = graph.unwrap_or_default();
        // Files of old list every weight as an input too.
        let valued: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        let inputs = graph.input.iter().filter(|input| !valued.contains(input.name.as_str()));
        let inputs = inputs.map(|input| port(input, None)).collect();
        let outputs = graph.output.iter().map(|output| port(output, operator(&graph, &output.name)));
        Self {
            producer: format!("{producer_name} {producer_version}").trim().to_owned(),
            opset: opset.map_or(0, |opset| opset.version),
            inputs,
            outputs: outputs.collect(),
            data_files,
            sha256,
        }
    }
}

fn port(value: &ValueInfo, operator: Option<String>) -> Port {
    let tensor = value.r#type.as_ref().and_then(|of| of.tensor.as_ref());
    Port {
        name: value.name.clone(),
        element: Element(tensor.map_or(0, |tensor| tensor.elem_type)),
        sides: tensor
            .and_then(|tensor| tensor.shape.as_ref())
            .map(|shape| shape.dim.iter().map(side).collect()),
        operator,
    }
}

fn side(dimension: &Dimension) -> Side {
    match dimension.value.and_then(|length| usize::try_from(length).ok()) {
        Some(length) => Side::Fixed(length),
        None => Side::Open(dimension.param.clone().unwrap_or_default()),
    }
}

/// The operator that gives an output.
fn operator(graph: &Graph, output: &str) -> Option<String> {
    let node = graph.node.iter().find(|node| node.output.iter().any(|name| name == output))?;
    Some(node.op_type.clone())
}

/// What a file is that is often taken for ONNX, and what makes ONNX of it.
fn foreign(head: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| head.starts_with(magic);
    if starts(b"PK\x03\x04") {
        Some(
            "it is a zip archive, as torch.save and TorchScript write them; load it in Python, and export the module by torch.onnx.export",
        )
    } else if starts(b"\x89HDF") {
        Some("it is HDF5, as Keras writes it; convert it by tf2onnx")
    } else if head.get(4..8) == Some(b"TFL3") {
        Some("it is TensorFlow Lite; convert it by tf2onnx")
    } else if starts(b"\x80\x02") || starts(b"\x80\x04") || starts(b"\x80\x05") {
        Some("it is a Python pickle; load it where it was made, and export the module by torch.onnx.export")
    } else if head.get(8) == Some(&b'{') && head.get(3..8) == Some(&[0; 5]) {
        Some(
            "it is safetensors, weights without a network; load them into the module, and export that by torch.onnx.export",
        )
    } else if starts(b"version https://git-lfs") {
        Some("it stands for a file that Git LFS has not fetched; run git lfs pull")
    } else if starts(b"<") || starts(b"<!") {
        Some("it is a page of the web; the download gave a page instead of the file")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::onnx::{Node, Opset, Shape, Tensor, TensorType, Type};

    fn value(name: &str, elem_type: i32, sides: &[Option<i64>]) -> ValueInfo {
        let dim = sides
            .iter()
            .map(|side| Dimension { value: *side, param: side.is_none().then(|| "batch".to_owned()) });
        let tensor = TensorType { elem_type, shape: Some(Shape { dim: dim.collect() }) };
        ValueInfo { name: name.to_owned(), r#type: Some(Type { tensor: Some(tensor) }) }
    }

    #[test]
    fn a_graph_tells_its_ports() {
        let node = Node {
            op_type: "Sigmoid".to_owned(),
            output: vec!["probabilities".to_owned()],
            ..Node::default()
        };
        let graph = Graph {
            node: vec![node],
            initializer: vec![Tensor { name: "w".to_owned(), ..Tensor::default() }],
            input: vec![value("image", 1, &[None, Some(3), Some(224), Some(224)]), value("w", 1, &[Some(2)])],
            output: vec![
                value("probabilities", 10, &[None, Some(14)]),
                ValueInfo { name: "free".to_owned(), r#type: None },
            ],
            ..Graph::default()
        };
        let model = OnnxModel {
            producer_name: "pytorch".to_owned(),
            producer_version: "2.9".to_owned(),
            opset_import: vec![
                Opset { domain: "com.microsoft".to_owned(), version: 1 },
                Opset { domain: String::new(), version: 17 },
            ],
            graph: Some(graph),
            ..OnnxModel::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        let facts = GraphFacts::read(&path).unwrap();
        assert_eq!((facts.producer.as_str(), facts.opset), ("pytorch 2.9", 17));
        let told: Vec<_> = facts.inputs.iter().chain(&facts.outputs).map(Port::to_string).collect();
        assert_eq!(
            told,
            [
                "image float32 [batch, 3, 224, 224]",
                "probabilities float16 [batch, 14]",
                "free type 0 of an unknown shape"
            ]
        );
        assert_eq!(facts.outputs[0].operator.as_deref(), Some("Sigmoid"));
        assert_eq!(facts.sha256, crate::digest::of_file(&path).unwrap());
    }

    #[test]
    fn what_is_no_onnx_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        for (bytes, word) in [
            (&b"PK\x03\x04rest"[..], "TorchScript"),
            (b"\x89HDF\r\n", "Keras"),
            (b"\x1c\0\0\0TFL3", "Lite"),
            (b"\x80\x04\x95", "pickle"),
            (b"\x40\0\0\0\0\0\0\0{\"w\":", "safetensors"),
            (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
            (b"<!DOCTYPE html>", "page"),
            (b"words that mean nothing", "no ONNX file"),
            (b"", "no graph"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = GraphFacts::read(&path).unwrap_err();
            assert!(error.code == ErrorCode::ModelMismatch && error.message.contains(word), "{error}");
        }
        let error = GraphFacts::read(&folder.path().join("absent")).unwrap_err();
        assert_eq!(error.code, ErrorCode::ModelMissing);
    }
}
