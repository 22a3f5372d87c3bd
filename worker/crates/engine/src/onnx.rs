//! The part of the ONNX format (onnx.proto, Apache-2.0) that says where tensors lie, and what goes in and comes out. A graph may
//! keep any of its tensors in other files: initialisers, constants in attributes, and those of graphs inside attributes and
//! functions.

use std::collections::BTreeSet;

use bytes::Buf;
use prost::Message;

pub(crate) const FLOAT: i32 = 1;
/// `data_location` of a tensor in another file.
const EXTERNAL: i32 = 1;
/// A node that holds what one processor's compiler made, in the graph or in a file that no tensor names.
const COMPILED: &str = "EPContext";

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OnnxModel {
    #[prost(string, tag = "2")]
    pub producer_name: String,
    #[prost(string, tag = "3")]
    pub producer_version: String,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<Opset>,
    #[prost(message, repeated, tag = "20")]
    pub training_info: Vec<Training>,
    #[prost(message, repeated, tag = "25")]
    pub functions: Vec<Function>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Opset {
    /// Empty for the operators of ONNX itself.
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(int64, tag = "2")]
    pub version: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Training {
    #[prost(message, optional, tag = "1")]
    pub initialization: Option<Graph>,
    #[prost(message, optional, tag = "2")]
    pub algorithm: Option<Graph>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Function {
    #[prost(message, repeated, tag = "7")]
    pub node: Vec<Node>,
    #[prost(message, repeated, tag = "11")]
    pub attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "15")]
    pub sparse_initializer: Vec<SparseTensor>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ValueInfo {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<Type>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Type {
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TensorType {
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// A length, or the name of one that is left open.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Dimension {
    #[prost(int64, optional, tag = "1")]
    pub value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub param: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Node {
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Attribute {
    #[prost(message, optional, tag = "5")]
    pub tensor: Option<Tensor>,
    #[prost(message, optional, tag = "6")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "10")]
    pub tensors: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<Graph>,
    #[prost(message, optional, tag = "22")]
    pub sparse_tensor: Option<SparseTensor>,
    #[prost(message, repeated, tag = "23")]
    pub sparse_tensors: Vec<SparseTensor>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SparseTensor {
    #[prost(message, optional, tag = "1")]
    pub values: Option<Tensor>,
    #[prost(message, optional, tag = "2")]
    pub indices: Option<Tensor>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<Entry>,
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Entry {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

impl Tensor {
    pub fn is_external(&self) -> bool {
        self.data_location == EXTERNAL
    }

    /// An entry of where the data lie: `location`, `offset`, `length`.
    pub fn external(&self, key: &str) -> Option<&str> {
        self.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    }
}

/// The files beside an ONNX file that hold its tensors, as it names them. Errors are words.
pub(crate) fn data_files(bytes: impl Buf) -> Result<BTreeSet<String>, String> {
    decoded(bytes).and_then(|model| files_of(&model))
}

/// The messages of a file that has a graph. Errors are words.
pub(crate) fn decoded(bytes: impl Buf) -> Result<OnnxModel, String> {
    let model = OnnxModel::decode(bytes).map_err(|error| format!("is no ONNX file: {error}"))?;
    if model.graph.is_none() {
        return Err("is no ONNX file: it has no graph".to_owned());
    }
    Ok(model)
}

/// As [`data_files`].
pub(crate) fn files_of(model: &OnnxModel) -> Result<BTreeSet<String>, String> {
    let mut found = Found::default();
    found.graphs(&model.graph);
    for training in &model.training_info {
        found.graphs(training.initialization.iter().chain(&training.algorithm));
    }
    for function in &model.functions {
        found.nodes(&function.node);
        found.attributes(&function.attribute);
    }
    match found.problem {
        None => Ok(found.files),
        Some(problem) => Err(problem),
    }
}

#[derive(Debug, Default)]
struct Found {
    files: BTreeSet<String>,
    /// The first one.
    problem: Option<String>,
}

impl Found {
    fn graphs<'g>(&mut self, graphs: impl IntoIterator<Item = &'g Graph>) {
        for graph in graphs {
            self.tensors(&graph.initializer);
            self.sparse(&graph.sparse_initializer);
            self.nodes(&graph.node);
        }
    }

    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            if node.op_type == COMPILED {
                let words =
                    format!("holds what was compiled for one processor ({COMPILED}) instead of a graph");
                self.problem.get_or_insert(words);
            }
            self.attributes(&node.attribute);
        }
    }

    fn attributes(&mut self, attributes: &[Attribute]) {
        for attribute in attributes {
            self.tensors(attribute.tensor.iter().chain(&attribute.tensors));
            self.sparse(attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors));
            self.graphs(attribute.graph.iter().chain(&attribute.graphs));
        }
    }

    fn sparse<'t>(&mut self, tensors: impl IntoIterator<Item = &'t SparseTensor>) {
        for tensor in tensors {
            self.tensors(tensor.values.iter().chain(&tensor.indices));
        }
    }

    fn tensors<'t>(&mut self, tensors: impl IntoIterator<Item = &'t Tensor>) {
        for tensor in tensors.into_iter().filter(|tensor| tensor.is_external()) {
            if let Some(location) = tensor.external("location") {
                self.files.insert(location.to_owned());
            } else {
                let words = format!("keeps tensor {:?} in another file without naming it", tensor.name);
                self.problem.get_or_insert(words);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn external(location: &str) -> Tensor {
        let entry = Entry { key: "location".to_owned(), value: location.to_owned() };
        Tensor { data_location: EXTERNAL, external_data: vec![entry], ..Tensor::default() }
    }

    fn with(attribute: Attribute) -> Node {
        Node { op_type: "Constant".to_owned(), attribute: vec![attribute], ..Node::default() }
    }

    fn sparse(values: &str, indices: &str) -> SparseTensor {
        SparseTensor { values: Some(external(values)), indices: Some(external(indices)) }
    }

    fn graph_of(initialiser: &str) -> Graph {
        Graph { initializer: vec![external(initialiser)], ..Graph::default() }
    }

    /// What is said against a model of this graph.
    fn refused(graph: Graph) -> String {
        let model = OnnxModel { graph: Some(graph), ..OnnxModel::default() };
        data_files(model.encode_to_vec().as_slice()).unwrap_err()
    }

    #[test]
    fn no_place_where_a_tensor_can_stand_is_passed_over() {
        let inner = Graph {
            node: vec![with(Attribute { tensors: vec![external("attribute-list")], ..Attribute::default() })],
            initializer: vec![external("inner")],
            ..Graph::default()
        };
        let branch = Graph { initializer: vec![external("branch")], ..Graph::default() };
        let graph = Graph {
            node: vec![
                with(Attribute { tensor: Some(external("attribute")), ..Attribute::default() }),
                with(Attribute { graph: Some(inner), graphs: vec![branch], ..Attribute::default() }),
                with(Attribute {
                    sparse_tensor: Some(sparse("sparse-attribute", "sparse-attribute-indices")),
                    sparse_tensors: vec![sparse("sparse-list", "sparse-list-indices")],
                    ..Attribute::default()
                }),
            ],
            initializer: vec![external("initialiser"), Tensor::default()],
            sparse_initializer: vec![sparse("sparse", "sparse-indices")],
            ..Graph::default()
        };
        let function = Function {
            node: vec![with(Attribute { tensor: Some(external("function")), ..Attribute::default() })],
            attribute: vec![Attribute { tensor: Some(external("function-default")), ..Attribute::default() }],
        };
        let model = OnnxModel {
            graph: Some(graph),
            training_info: vec![Training {
                initialization: Some(graph_of("start")),
                algorithm: Some(graph_of("step")),
            }],
            functions: vec![function],
            ..OnnxModel::default()
        };
        let wanted = [
            "attribute",
            "attribute-list",
            "branch",
            "function",
            "function-default",
            "initialiser",
            "inner",
            "sparse",
            "sparse-attribute",
            "sparse-attribute-indices",
            "sparse-indices",
            "sparse-list",
            "sparse-list-indices",
            "start",
            "step",
        ];
        let found = data_files(model.encode_to_vec().as_slice()).unwrap();
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn what_names_no_file_or_is_no_graph_is_refused() {
        let nameless = Tensor { data_location: EXTERNAL, name: "w".to_owned(), ..Tensor::default() };
        let words = refused(Graph { initializer: vec![nameless], ..Graph::default() });
        assert!(words.contains("\"w\"") && words.contains("without naming"), "{words}");
        let compiled = Node { op_type: COMPILED.to_owned(), ..Node::default() };
        let words = refused(Graph { node: vec![compiled], ..Graph::default() });
        assert!(words.contains("compiled"), "{words}");
        assert!(data_files(&b""[..]).is_err() && data_files(&b"not ONNX at all"[..]).is_err());
    }
}
