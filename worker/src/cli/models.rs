//! What can be typed after `nightread models`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::common::{Common, Format};

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ModelsArgs {
    #[command(subcommand)]
    pub command: Option<ModelsCommand>,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Begin the folder of a model from an ONNX file
    New(NewArgs),
    /// Try one model: its manifest, what its file says of itself, and how it behaves
    Check(CheckModelArgs),
    /// Hold a model of radiographs against your own Python script, image by image
    Parity(ParityArgs),
    /// Measure whether a model decides in bf16 as in FP32, and write that into its manifest
    Gate(GateArgs),
    /// Publish a model in a container that workers fetch it from
    Push(PushArgs),
}

/// What is made of FP32 weights without files of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Gateable {
    Bf16,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread prepare /data/xrays --model my-network --models my-models --out items.npz
  nightread models gate my-network --precision bf16 --items items.npz --truth truth.csv --models my-models

Runs in FP32, on ONNX Runtime's own kernels, and in bfloat16, on OpenVINO, what `nightread prepare` wrote, and holds the two against each \
other on the items that are for evaluation. Where at least 99 % of them get the same decisions, and the mean AUC (of a softmax the \
accuracy) loses at most 0.005, the manifest gets [weights.bf16] with these figures, and `--precision bf16` is offered; else it stays as \
it is. It needs a processor with AMX (amx_bf16) and refuses any other by its name before it runs anything.

The CSV has a row for each file: `file` (its name in the archive, or the end of it), a column for each label with 1, 0 or nothing (not \
known), or `class` with the label's name for a softmax; `patient` and `split` (`calibration`, `evaluation`, or nothing) where they are \
known. Without `split` all items are judged by.

Exit status: 0 the manifest has the record, 1 bf16 is refused, 2 something is missing or wrong: one line for each.")]
pub struct GateArgs {
    /// The model
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What is measured; INT8 is made and measured by models/quantise/quantise.py
    #[arg(long, value_enum)]
    pub precision: Gateable,
    /// Arrays that `nightread prepare` wrote
    #[arg(long, value_name = "FILE.npz")]
    pub items: PathBuf,
    /// What is true of them
    #[arg(long, value_name = "FILE.csv")]
    pub truth: PathBuf,
    /// Leave out files that only one of the two has
    #[arg(long)]
    pub leave_out: bool,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread models push my-network --to models/prod --models my-models --config worker.toml

Writes every file that the manifest names, the card and licences, into CONTAINER/PREFIX/NAME/DIGEST of the account (or the folder) of \
[storage], and prints the pin: the line that [models] pinned takes. The digest is that of the list of files, SHA256SUMS, which is \
written last. A version that is there is never written over: pushing the same files again changes nothing and prints its pin, and other \
files under the same name and version are refused, with the pin that stands. Raise version in the manifest.

Exit status: 0 the version is there, 1 it is not, 2 wrong use.")]
pub struct PushArgs {
    /// The model, by the name of its folder
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The registry
    #[arg(long, value_name = "CONTAINER[/PREFIX]")]
    pub to: String,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread models new my-network --from export.onnx --models my-models

Copies the file, and those that it keeps weights in, and writes a manifest with what the file tells: names, shapes, digests. What \
only you know stands in it as comments, and nothing is read with the model before it is there: `nightread models check` tells what \
is missing. The way in (how an image becomes the network's input) is the part to be careful with.

Exit status: 0 the folder is there, 1 it is not, 2 wrong use.")]
pub struct NewArgs {
    /// The model's name, and that of its folder: lower-case letters, digits, hyphens
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The network
    #[arg(long, value_name = "FILE.onnx")]
    pub from: PathBuf,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread models check my-network --models my-models

Tells every mistake in the manifest; what in the graph keeps it from being run here, and the call of torch.onnx.export that mends \
it; then opens the network and runs made-up items: the same one twice, two side by side and alone, to find an export in training mode.

Exit status: 0 nothing was found, 1 something was, 2 wrong use.")]
pub struct CheckModelArgs {
    /// The model
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread models parity my-network --reference my_script.py /data/xrays
  nightread models parity my-network --reference my_script.py chest.dcm --python .venv/bin/python --tolerance 1e-4

The script has a function `prepare(path)` that gives the array which the network is given, with or without a batch of one, and may \
have `predict(path)` that gives a probability for each label of the manifest, in their order or by name. Both are held against what \
is done here, image by image. It is run by Python with NumPy; what it imports must be there.

Exit status: 0 all images agree, 1 some do not, 2 wrong use.")]
pub struct ParityArgs {
    /// The model
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Your script
    #[arg(long, value_name = "SCRIPT.py")]
    pub reference: PathBuf,
    /// Images and folders
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The Python that runs the script
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    pub python: PathBuf,
    /// Greatest difference of an array, as a share of the range of its values (of the manifest's value_range where that is narrower)
    #[arg(long, value_name = "SHARE", default_value_t = 1e-5)]
    pub tolerance: f64,
    /// Greatest difference of a probability
    #[arg(long, value_name = "P", default_value_t = 1e-4)]
    pub probability: f64,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
