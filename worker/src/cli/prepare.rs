//! What can be typed after `nightread prepare`.

use std::path::PathBuf;

use clap::Args;

use super::common::{Common, Format};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread prepare /data/xrays --model my-network --out prepared.npz
  nightread prepare chest.dcm --out chest.npz --format json

Writes what the model would be given: one float32 array for each file, of the shape of the manifest's input, under the \
file's path. Read it with numpy.load, to hold it against your own script, to calibrate or to train. No model is opened.

Exit status: 0 every file has its array, 1 some have none, 2 wrong use.")]
pub struct PrepareArgs {
    /// Files and folders; @LIST: names from a file, - from standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The archive to write, .npz
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Prepare for this model [default: the one of radiographs, where there is one]
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
