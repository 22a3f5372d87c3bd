//! What can be typed.

pub mod announce;
pub mod assemble;
pub mod backlog;
pub mod check;
pub mod common;
pub mod dead;
pub mod deliver;
pub mod dicom;
pub mod models;
pub mod names;
pub mod prepare;
pub mod relay;
pub mod results;
pub mod simulate;
pub mod webhook;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use nightread_domain::result::NOTICE;

pub use self::announce::{AnnounceArgs, LaneName};
pub use self::assemble::AssembleArgs;
use self::backlog::BacklogArgs;
use self::check::Purpose;
pub use self::common::{Common, Format};
use self::dead::DeadArgs;
pub use self::deliver::DeliverArgs;
use self::dicom::DicomArgs;
use self::models::{ModelsArgs, ModelsCommand};
use self::names::NameArgs;
use self::prepare::PrepareArgs;
pub use self::relay::RelayArgs;
use self::results::ResultsArgs;
use self::simulate::SimulateArgs;
pub use self::webhook::WebhookArgs;
use crate::telemetry::logs::Verbosity;

/// Reads chest X-rays and resting-state fMRI on CPUs. Research software: not a medical device.
#[derive(Debug, Parser)]
#[command(name = "nightread", version, about, arg_required_else_help = true, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Tell more: -v what is done, -vv details. NIGHTREAD_LOG goes before it
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Tell of failures only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

impl Cli {
    /// What was typed; wrong use and `--help` end the program.
    pub fn from_command_line() -> Self {
        Self::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit())
    }

    pub fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Usual,
            (false, 1) => Verbosity::Verbose,
            (false, _) => Verbosity::Debug,
        }
    }
}

/// The whole command line. Every page of help ends with what Nightread is not.
pub fn command() -> clap::Command {
    noticed(Cli::command())
}

fn noticed(command: clap::Command) -> clap::Command {
    let after = command
        .get_after_help()
        .map_or_else(String::new, |text| format!("{}\n\n", flowing(&text.to_string())));
    command.after_help(format!("{after}{NOTICE}")).mut_subcommands(noticed)
}

/// Joins the lines of a paragraph, so that they are broken where the terminal ends and nowhere else. Indented lines are
/// examples, and stay.
fn flowing(text: &str) -> String {
    let mut whole = String::new();
    let mut before = "";
    for line in text.lines() {
        let goes_on =
            is_prose(before) && is_prose(line) && !before.ends_with(':') && !line.starts_with("Exit status:");
        if !whole.is_empty() {
            whole.push(if goes_on { ' ' } else { '\n' });
        }
        whole.push_str(line);
        before = line;
    }
    whole
}

fn is_prose(line: &str) -> bool {
    !line.is_empty() && !line.starts_with(' ')
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read files and folders here and now, through the same pipeline as the service
    Process(ProcessArgs),
    /// Measure how fast this machine reads, and how it is best split
    Bench(BenchArgs),
    /// Serve: consume announcements, read studies, store results, until told to stop
    Run(RunArgs),
    /// Declare or check the broker's exchanges and queues
    Topology(TopologyArgs),
    /// List, show, redrive or discard what was given up
    Dead(DeadArgs),
    /// Announce many blobs: relabel a data set, or make up for lost events
    Announce(Box<AnnounceArgs>),
    /// Carry Event Grid's announcements from an Azure Storage queue to RabbitMQ, until told to stop
    Relay(RelayArgs),
    /// Sort the files of arriving series, and announce each series as a whole, until told to stop
    Assemble(AssembleArgs),
    /// Send results to archives as DICOM objects, until told to stop
    Deliver(DeliverArgs),
    /// Take announcements over HTTP, for development and on premises, until told to stop
    Webhook(WebhookArgs),
    /// Tell how much work waits, in seconds for each worker, and publish it
    Backlog(BacklogArgs),
    /// Turn what was read into tables
    Results(Box<ResultsArgs>),
    /// Make DICOM objects of results
    Dicom(DicomArgs),
    /// Validate settings and models, and print every problem at once
    Check(CheckArgs),
    /// List the models that are there; begin, check, compare and publish one
    Models(ModelsArgs),
    /// Write the tensors that a model takes, for other programs
    Prepare(PrepareArgs),
    /// Make group component maps of a cohort of resting-state scans
    GroupIca(GroupIcaArgs),
    /// Write a simulated resting-state scan, to try the rest with
    SimulateScan(SimulateScanArgs),
    /// Simulate a fleet: backlog, time to result and machine-hours under the deployed autoscale rules
    Simulate(Box<SimulateArgs>),
    /// Print a script that completes nightread's commands and options in a shell
    #[command(after_help = "\
Example:
  nightread completions bash > ~/.local/share/bash-completion/completions/nightread")]
    Completions {
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the manual pages, one a command (for packages)
    #[command(hide = true)]
    Man {
        #[arg(value_name = "DIR")]
        out: PathBuf,
    },
    /// Decode images for the parent process (internal)
    #[command(hide = true)]
    CodecChild,
    /// Print what others may rely on, as JSON (internal)
    #[command(hide = true)]
    Contract,
    /// Write the reference pages that are made from the code (internal)
    #[command(hide = true)]
    Reference {
        #[arg(value_name = "DIR")]
        out: PathBuf,
    },
}

impl Cli {
    /// Where the settings of a command that opens models come from; `None` for the other commands.
    pub fn opens_models_by(&self) -> Option<&Common> {
        match &self.command {
            Command::Process(args) => Some(&args.common),
            Command::Bench(args) => Some(&args.common),
            Command::Run(args) => Some(&args.common),
            Command::Check(args) => Some(&args.common),
            Command::Models(args) => match &args.command {
                Some(ModelsCommand::Check(args)) => Some(&args.common),
                Some(ModelsCommand::Parity(args)) => Some(&args.common),
                Some(ModelsCommand::Gate(args)) => Some(&args.common),
                Some(ModelsCommand::New(_) | ModelsCommand::Push(_)) | None => None,
            },
            _ => None,
        }
    }
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread process chest.dcm --out results
  nightread process /data/xrays scan.nii.gz --out results --format json
  nightread process /data/xrays --out results --model padchest-26 --models ~/models
  nightread process /data/bids --root /data/bids --out results --include '*_bold.nii.gz' --exclude derivatives
  find /data -name '*.dcm' -print0 | nightread process - --out results
  nightread process /data/xrays --out results --table results.parquet
  nightread process /data/xrays --out results --heatmaps                     of positive findings, also where results are
  nightread process /data/xrays --out results --heatmaps='Pneumonia,Mass'    of these labels

Exit status: 0 every input has a good result, 1 some have not, 2 wrong use.

Inputs that have a result already are skipped, also when they were copied or touched since (their SHA-256 tells); --force \
reads them again. One that lacks files which are asked for beside it is read for them, and keeps what it has. A full or read-only disk ends the run at once; what was read by then is stored.

Folders are searched. Links to files are read and links to folders are not; tables, sidecars, documents and hidden files \
are left out. What was left out is counted.")]
pub struct ProcessArgs {
    /// Files and folders; @LIST: names from a file, - from standard input, one a line or each ended by a NUL
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Where result documents go: DIR/<model>/<version>/local/<path>.json
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Name results by their inputs' paths below this folder, instead of by the whole path; all inputs must be below it
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    #[command(flatten)]
    pub names: NameArgs,
    /// Read everything with this model
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Studies in flight at once
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// fp32, int8, bf16, or auto: the faster of fp32 and int8 [default: the settings, then fp32]
    #[arg(long, value_name = "NAME")]
    pub precision: Option<String>,
    /// Store heatmaps: of positive findings, of all, or of these labels
    #[arg(
        long,
        value_name = "positives|all|LABEL,...",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "positives"
    )]
    pub heatmaps: Option<String>,
    /// Read again what has a result
    #[arg(long)]
    pub force: bool,
    /// Write a table of these inputs' results too, those that were skipped among them: .parquet, .csv or .jsonl
    #[arg(long, value_name = "FILE")]
    pub table: Option<PathBuf>,
    /// Also write an HTML report on these studies, as `results report` does: images and all
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread bench --model padchest-26                        the grid, on generated 16-bit images of 2000 x 2000
  nightread bench /data/xrays --format json                  on your own
  nightread bench --bulk 500                                 500 images with the split that `nightread run` would take
  NIGHTREAD_ENGINE_SESSIONS=2 nightread bench --bulk 500     with pinned sessions; taskset limits the cores

Each image goes the whole way: read from a file, decoded, prepared, inferred, its result stored in a temporary folder.
Models of scans are measured from the tensor on, components in eights.
Columns: sessions x threads inside one + decode threads; images a second, and of the best; time of one image in ms with
all permits in use (median, p95) and alone (median); use of the cores; share of the processor time that was neither
decoding, preparing nor inferring.")]
pub struct BenchArgs {
    /// Images to read instead of generated ones: files and folders
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The model to measure [default: the one that the routes give images to, then the first of the routes]
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// fp32, int8, bf16, or auto: the faster of fp32 and int8 [default: the settings, then fp32]
    #[arg(long, value_name = "NAME")]
    pub precision: Option<String>,
    /// No grid: read N images with the split of the settings, measured where they say auto
    #[arg(long, value_name = "N")]
    pub bulk: Option<usize>,
    /// Time for each row of the grid in each round
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub seconds: f64,
    /// The grid is gone through so often, and medians shown
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub rounds: usize,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread run --config /etc/nightread/worker.toml
  NIGHTREAD_BROKER_URL=amqps://... NIGHTREAD_MODELS_PRECISION=fp32 nightread run
  nightread run --lanes ingest,bulk                          leave scans to other workers
  nightread run --lanes volumes --jobs 1                     read one scan and end, for a scaler that starts one run a message

With --jobs nothing more is taken once so many deliveries are in flight; these are finished, however long they take, and the
run ends with status 0. It also ends when a minute passes in which none comes.

SIGTERM and SIGINT drain: intake stops, jobs in flight finish inside [worker] drain_seconds. A second signal gives
them back at once. Exit status: 0 drained or given back, 1 the worker could not go on, 2 wrong use.")]
pub struct RunArgs {
    /// Take from these lanes only. The quarantine goes with ingest [default: all]
    #[arg(long, value_name = "LANE,...", value_enum, value_delimiter = ',')]
    pub lanes: Vec<LaneName>,
    /// Take so many deliveries, finish them, and end
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread topology                 declare what is missing; changes nothing that is there
  nightread topology --check         only look; exit 1 when something is missing or different")]
pub struct TopologyArgs {
    #[command(flatten)]
    pub common: Common,
    /// Declare nothing
    #[arg(long)]
    pub check: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread check --config /etc/nightread/worker.toml        what the settings are for, signing in to what they name
  nightread check --for process --models ~/models            the models, each opened and tried with one item
  nightread check --for run,backlog --offline --config FILE  without broker and storage

It opens every model that is routed to and runs one item through it; it signs in to the broker and looks at its topology;
for `run` it reads the containers, and writes and deletes one blob `nightread-check-<number>` in the results container.
It publishes nothing and takes no message. A broker's rights to consume and to publish cannot be tried without doing so.
Exit status: 0 no problem, 1 problems, all of them told.")]
pub struct CheckArgs {
    #[command(flatten)]
    pub common: Common,
    /// What is to be started with these settings [default: what they are for]
    #[arg(long = "for", value_name = "COMMAND", value_enum, value_delimiter = ',')]
    pub purpose: Vec<Purpose>,
    /// Look at nothing outside this machine
    #[arg(long)]
    pub offline: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  nightread group-ica scans/*.nii.gz --components 20 --mask brain.nii.gz --out group

Writes maps.nii.gz, mask.nii.gz (the voxels that vary in every scan), mixing.tsv, components.tsv (explained variance and
stability), and maps.toml: the [maps] table of a model manifest, which dual regression uses. The same seed and scans give
the same maps. Memory holds one scan and a bounded state, whatever the number of scans.")]
pub struct GroupIcaArgs {
    /// 4-D NIfTI scans on one grid
    #[arg(required = true, value_name = "SCAN")]
    pub scans: Vec<PathBuf>,
    /// Number of components
    #[arg(long, value_name = "K")]
    pub components: usize,
    /// 3-D NIfTI brain mask, binary or a probability (half of its greatest is the border); interpolated when it is on
    /// another grid
    #[arg(long)]
    pub mask: PathBuf,
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Random starts of FastICA; the best is kept
    #[arg(long, default_value_t = 10)]
    pub restarts: usize,
    /// Interpolate scans whose grid differs from the first one's
    #[arg(long)]
    pub resample: bool,
    /// Do not divide time courses by their standard deviation in later regressions on these maps
    #[arg(long)]
    pub no_des_norm: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  nightread simulate-scan --networks models/fmri-networks-demo/maps.nii.gz --out simulated-scan.nii.gz

The scan holds the given networks with a subject's own place, strength and time courses, and the artefacts of real scans.
Its header says that it is simulated, and so does every result read from it. The same seed gives the same scan.")]
pub struct SimulateScanArgs {
    /// NIfTI file of networks: 4-D, one map a volume, or a 3-D atlas, one network a label
    #[arg(long, value_name = "FILE")]
    pub networks: PathBuf,
    /// 3-D NIfTI brain mask; without one, the brain is where the networks are
    #[arg(long, value_name = "FILE")]
    pub mask: Option<PathBuf>,
    /// The scan: 16-bit NIfTI, compressed when the name ends in .gz
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[arg(long, default_value_t = 160)]
    pub volumes: usize,
    /// Seconds from volume to volume
    #[arg(long, default_value_t = 2.0)]
    pub tr: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_its_prose_flows() {
        command().debug_assert();
        let text = "Examples:\n  a b\n  c\n\nOne line\nand another.\nExit status: 0 good,\n1 bad.";
        let flowed = "Examples:\n  a b\n  c\n\nOne line and another.\nExit status: 0 good, 1 bad.";
        assert_eq!(flowing(text), flowed);
    }
}
