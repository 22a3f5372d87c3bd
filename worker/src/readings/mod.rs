//! From bytes to findings: decode and preprocess on the CPU pool, infer in the engine.

mod components;
mod derivatives;
mod heatmaps;
pub mod instance;
mod radiograph;
pub mod segmentation;
mod sidecars;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use nightread_dicom::IsolatedCodec;
use nightread_domain::result::{ArtefactKind, Payload};
use nightread_domain::storing::{BidsName, HeatmapLabels, Wanted};
use nightread_domain::study::Part;
use nightread_domain::{BlobStore, ErrorCode, FetchedStudy, JobError, Media, Stage, Task, Warning};
use nightread_radiograph::DecodeLimits;
use nightread_volume::foreign;
use serde_json::Value;

use crate::compute::cpu::CpuPool;
use crate::compute::models::Models;
use crate::compute::verified::Model;
use crate::flow::budget::{ByteBudget, Room};
use crate::flow::timing::Timing;
use crate::settings::{ScanSettings, VolumeSettings};

pub(crate) use radiograph::Way;
pub use segmentation::LaneTime;

/// What reading any input needs besides the model.
#[derive(Clone, Debug)]
pub struct ReadingOptions {
    pub decode: DecodeLimits,
    /// True maximum of 16-bit PNG and TIFF samples, where it is not 65535.
    pub stored_max: Option<u32>,
    /// Bytes of one radiograph, at most.
    pub image_bytes: u64,
    /// Of which findings of a radiograph a heatmap is made; of none without.
    pub heatmaps: Option<HeatmapLabels>,
    /// Whether the arrays behind them are kept too.
    pub write_heatmap_arrays: bool,
    /// Whether what networks make of radiographs before their labels is kept.
    pub write_embeddings: bool,
    pub codec: Option<Arc<dyn IsolatedCodec>>,
    /// Its children have the low priority of the threads that start them, so they serve no others.
    pub codec_of_volumes: Option<Arc<dyn IsolatedCodec>>,
    pub scans: ScanSettings,
    /// Whether the files beside a scan belong to it.
    pub sidecars: bool,
    pub scan_limits: nightread_volume::Limits,
    /// Threads of one regression.
    pub scan_threads: usize,
    pub volumes: VolumeSettings,
    /// What the broker leaves to the delivery of a volume; where none waits for it, it has as long as it likes.
    pub volume_time: Option<LaneTime>,
}

/// What was read, ready for the document.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub input: BTreeMap<String, Value>,
    pub payload: Option<Payload>,
    pub warnings: Vec<Warning>,
    /// Files that go beside the document.
    pub artefacts: Vec<Artefact>,
}

/// A file that goes beside the document.
#[derive(Clone, Debug)]
pub struct Artefact {
    pub kind: ArtefactKind,
    /// The label that it is about, where it is about one.
    pub of: Option<String>,
    /// End of its file name: `z.nii.gz`.
    pub suffix: String,
    /// How BIDS names it, where it is derived from a scan.
    pub bids: Option<Derivative>,
    pub body: Bytes,
}

/// What a file is by BIDS: its name, and what its JSON sidecar says of it beside where it comes from.
#[derive(Clone, Debug)]
pub struct Derivative {
    pub name: BidsName,
    pub about: BTreeMap<String, Value>,
}

/// Bytes that are nothing that is read here: named where that is known.
pub fn unknown(head: &[u8], name: &str) -> JobError {
    if let Some(error) = foreign(head, name) {
        return error;
    }
    if let Some(what) = nightread_radiograph::foreign(head) {
        return JobError::new(Stage::Decode, ErrorCode::UnsupportedMedia, format!("the blob is {what}"));
    }
    let text = "the bytes are no image or scan that is read here";
    JobError::new(Stage::Decode, ErrorCode::NotAnImage, text)
}

/// A blob that was fetched and now cannot be read any more.
pub fn unreadable(error: std::io::Error) -> JobError {
    JobError::new(Stage::Decode, ErrorCode::StorageUnavailable, "reading what was fetched failed")
        .with_source(error)
}

/// What reads studies: open models, decode threads, and how the settings want it done.
#[derive(Debug)]
pub struct Reader {
    pub models: Models,
    pub cpu: CpuPool,
    /// For volumes alone.
    pub cpu_of_volumes: CpuPool,
    pub options: ReadingOptions,
    /// Where the files beside a scan are.
    pub beside: Arc<dyn BlobStore>,
    /// What volumes take beside their files.
    pub bytes_of_volumes: ByteBudget,
}

impl Reader {
    /// The files that are asked for beside a document of `model`, and that it can give.
    pub fn wanted(&self, model: &Model) -> Wanted<'_> {
        match model.manifest.task {
            Task::Radiograph => Wanted {
                heatmaps: self.options.heatmaps.as_ref().filter(|_| model.manifest.output.has_cam()),
                heatmap_arrays: self.options.write_heatmap_arrays,
                embedding: self.options.write_embeddings && model.manifest.output.embedding.is_some(),
                ..Wanted::default()
            },
            Task::Components => Wanted {
                of_scans: &self.options.scans.files,
                min_dof: components::MIN_DOF,
                ..Wanted::default()
            },
            Task::Segmentation => Wanted { of_volumes: &self.options.volumes.files, ..Wanted::default() },
        }
    }

    /// Does what all of `models` need of `study` once; stage times go into `timing`. `room` is what its blobs have in memory, `arrived`
    /// when its delivery came, where one waits for it.
    ///
    /// # Errors
    /// What is every model's: `wrong_modality` when none of them reads what it is; what cannot be decoded; `lane_time_spent`.
    pub async fn open<'b>(
        &'b self,
        study: FetchedStudy,
        media: Media,
        models: &[Arc<Model>],
        mut room: Room<'b>,
        arrived: Option<Instant>,
        timing: &mut Timing,
    ) -> Result<Opened<'b>, JobError> {
        let task = models.iter().map(|model| model.manifest.task).find(|task| task.reads(media));
        let Some(task) = task else {
            let asked = models.first().map_or(Task::that_reads(media), |model| model.manifest.task);
            return Err(mismatch(media, asked));
        };
        let models: Vec<_> = models.iter().filter(|model| model.manifest.task == task).cloned().collect();
        let content = match task {
            Task::Radiograph => {
                let prepared = radiograph::open(study.into_only()?, &models, self, &mut room, timing).await?;
                Content::Radiograph(prepared)
            }
            Task::Components => Content::Scan(study.into_only()?),
            Task::Segmentation => {
                Content::Volume(Box::new(segmentation::open(study, &models, self, arrived, timing).await?))
            }
        };
        Ok(Opened { media, content, _room: room })
    }
}

/// A study whose bytes were read, for each of its models in turn.
#[derive(Debug)]
pub struct Opened<'b> {
    media: Media,
    content: Content<'b>,
    /// Held until the last model has read it.
    _room: Room<'b>,
}

#[derive(Debug)]
enum Content<'b> {
    Radiograph(radiograph::PreparedRadiograph),
    /// Each model regresses it on maps of its own: there is nothing that two of them share.
    Scan(Part),
    Volume(Box<segmentation::Decoded<'b>>),
}

impl Opened<'_> {
    /// Reads it with `model`, once; stage times go into `timing`.
    ///
    /// # Errors
    /// `wrong_modality` when the model reads something else; those of the task's own reading.
    pub async fn read(
        &mut self,
        reader: &Reader,
        model: &Arc<Model>,
        timing: &mut Timing,
    ) -> Result<Reading, JobError> {
        match (&mut self.content, model.manifest.task) {
            (Content::Radiograph(prepared), Task::Radiograph) => {
                radiograph::read(prepared, model, reader, timing).await
            }
            (Content::Scan(part), Task::Components) => {
                components::read(part.clone(), model, reader, timing).await
            }
            (Content::Volume(decoded), Task::Segmentation) => {
                segmentation::read(decoded, model, reader, timing).await
            }
            (_, task) => Err(mismatch(self.media, task)),
        }
    }
}

fn mismatch(media: Media, task: Task) -> JobError {
    let got = Task::that_reads(media).study();
    let text = format!("{got} was announced for a model that reads {}", task.studies());
    JobError::new(Stage::Decode, ErrorCode::WrongModality, text)
}
