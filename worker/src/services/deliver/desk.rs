//! One order: from the document that stands to what the archive says of its objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use nightread_archive::{ReportClass, SegForm, study_digest};
use nightread_domain::delivery::DeliveryOrder;
use nightread_domain::retry::Delay;
use nightread_domain::{
    BlobRef, BlobStore, Disposition, ErrorClass, ErrorCode, JobError, Message, ResultDocument, Stage, Status,
    Task,
};
use nightread_engine::Catalogue;

use super::making::Making;
use super::records::{Delivered, Records, content};
use super::sources::Sources;
use super::target::{Target, unknown, worst};
use crate::adapters::dicom::Reports;
use crate::app;
use crate::pipeline::disposition::given_time;
use crate::pipeline::store::existing;
use crate::services::dicom::objects::{self, Labels, MOST_FILE_BYTES, SourceReading};
use crate::settings::{Limits, Settings};
use crate::telemetry::metrics;

/// Told of an order that [`waits_for_people`] too long: one time counts for all that they have to mend.
const WAITED: &str = "nobody has mended this";

/// How long a result waits for an archive that is away beside others: short at first, for most outages are.
const WAITS: [Duration; 2] = [Delay::Seconds30.length(), Delay::Minutes5.length()];
/// From so many minutes after it was announced on.
const LONG_AFTER: u64 = 600;

/// What all orders share.
#[derive(Debug)]
pub(super) struct Desk {
    sources: Sources,
    results: Arc<dyn BlobStore>,
    results_container: String,
    records: Records,
    models: Catalogue,
    report: ReportClass,
    segmentation: SegForm,
    reading: SourceReading,
    limits: Limits,
    /// Results that are being sent, with their archives: of two orders of one, the second finds what the first has recorded.
    sending: Mutex<BTreeSet<(String, BlobRef)>>,
    pub targets: BTreeMap<String, Arc<Target>>,
}

/// What became of an order.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The archive has every object.
    Delivered,
    /// It had them already.
    Known,
    /// There is no object to send, and why.
    Nothing(ErrorCode),
    Failed(JobError),
}

impl Outcome {
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Known => "known",
            Self::Nothing(_) => "nothing",
            Self::Failed(_) => "failed",
        }
    }

    const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Delivered | Self::Known => None,
            Self::Nothing(code) => Some(*code),
            Self::Failed(error) => Some(error.code),
        }
    }
}

/// A failure, and whether it is the archive's.
struct Failure {
    error: JobError,
    is_archives: bool,
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        Self { error, is_archives: false }
    }
}

impl Desk {
    /// # Errors
    /// `settings_invalid` for an archive that no settings reach; those of the stores.
    pub fn new(settings: &Settings, reports: &Arc<Reports>) -> Result<Self> {
        let stores = app::stores(settings)?;
        let threshold = settings.limits.outage_failures;
        let targets = settings.targets.iter().map(|target| {
            Ok::<_, JobError>((target.name.clone(), Arc::new(Target::new(target, threshold, reports)?)))
        });
        let models = match app::described(settings, None) {
            Ok(models) => models,
            // Codes that a registry has are not left out because it is away.
            Err(error) if settings.registry.is_some() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "no model's manifest is there: results of radiographs wait until it is");
                Catalogue::default()
            }
        };
        for broken in models.problems() {
            tracing::warn!(%broken, "what this model read waits until its manifest is mended");
        }
        Ok(Self {
            records: Records { store: Arc::clone(&stores.results) },
            sources: Sources::new(settings, &stores)?,
            results: stores.results,
            results_container: stores.results_container,
            models,
            report: settings.report_class,
            segmentation: settings.segmentation_form,
            // Codecs of compressed slices run in children; one is started now, where CT series may come.
            reading: SourceReading::new(&settings.limits, Some(Arc::new(app::codec(&settings.limits)?))),
            limits: settings.limits.clone(),
            sending: Mutex::default(),
            targets: targets.collect::<Result<_, _>>()?,
        })
    }

    pub fn results(&self) -> Arc<dyn BlobStore> {
        Arc::clone(&self.results)
    }

    /// Why no archive takes anything, while none does.
    pub fn no_archive(&self) -> Option<String> {
        let why = |target: &Arc<Target>| {
            target.why_closed().map(|why| format!("{}: {} ({})", target.name(), why.message, why.code))
        };
        let all: Option<Vec<_>> = self.targets.values().map(why).collect();
        all.map(|all| all.join("; "))
    }

    /// Carries an order out, counts it, and says what becomes of its message.
    pub async fn serve(&self, message: &Message) -> Disposition {
        let Ordered { order, result, target } = match self.order(message) {
            Ok(found) => found,
            Err(error) => {
                metrics::delivery_ended("", "failed", Some(error.code), Duration::ZERO);
                return Disposition::DeadLetter { error };
            }
        };
        // An archive that is away costs its results nothing, and storage no reading of them.
        if let Some(why) = target.why_closed() {
            return put_off(why, message);
        }
        let Some(_turn) = self.turn(target, &result) else { return behind() };
        let began = Instant::now();
        let (outcome, is_archives) = match self.deliver(&order, &result, target).await {
            Ok(outcome) => (outcome, false),
            Err(Failure { error, .. }) if is_nothing(error.code) => (Outcome::Nothing(error.code), false),
            Err(Failure { error, is_archives }) => (Outcome::Failed(error), is_archives),
        };
        metrics::delivery_ended(target.name(), outcome.as_str(), outcome.code(), began.elapsed());
        tracing::info!(
            delivery_target = target.name(),
            outcome = outcome.as_str(),
            code = outcome.code().map_or("", ErrorCode::as_str),
            elapsed_ms = began.elapsed().as_secs_f64() * 1e3,
            "delivery ended"
        );
        match outcome {
            Outcome::Delivered | Outcome::Known | Outcome::Nothing(_) => Disposition::Done,
            Outcome::Failed(error) if is_archives => put_off(error, message),
            Outcome::Failed(error) if waits_for_people(&error) => {
                given_time(error, message.attributes.refused_since, self.limits.refused, WAITED)
            }
            Outcome::Failed(error) if error.code.is_outage() && error.class != ErrorClass::Permanent => {
                put_off(error, message)
            }
            Outcome::Failed(error) => self.of_failure(error, message.attributes.attempt),
        }
    }

    /// The right to send this result to this archive, until it is dropped; none while somebody has it.
    fn turn(&self, target: &Target, result: &BlobRef) -> Option<Turn<'_>> {
        let key = (target.name().to_owned(), result.clone());
        let is_first = self.sending.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        is_first.then_some(Turn { sending: &self.sending, key })
    }

    fn order(&self, message: &Message) -> Result<Ordered<'_>, JobError> {
        let order = DeliveryOrder::parse(&message.body)?;
        let result = BlobRef::parse(&order.result)?;
        if result.container() != self.results_container {
            let text = "the order names a document in another container than that of the results";
            return Err(JobError::new(Stage::Deliver, ErrorCode::SourceNotAllowed, text));
        }
        let target = self.targets.get(&order.target).ok_or_else(|| unknown(&order.target))?;
        Ok(Ordered { order, result, target })
    }

    async fn deliver(
        &self,
        order: &DeliveryOrder,
        result: &BlobRef,
        target: &Target,
    ) -> Result<Outcome, Failure> {
        let Some(document) = existing(&*self.results, result).await? else {
            let text = "the document that the order names is gone";
            return Err(JobError::new(Stage::Deliver, ErrorCode::BlobNotFound, text).into());
        };
        if document.status != Status::Ok {
            return Ok(Outcome::Nothing(ErrorCode::NoDicomResult));
        }
        let labels = match Labels::of(&self.models, &document.model.name) {
            // Segments have their codes in the document. Which labels of a radiograph are grades the manifest alone tells.
            Err(absent) if absent.code == ErrorCode::ModelMissing && document.task != Task::Radiograph => {
                Labels::default()
            }
            found => found?,
        };
        let kinds = &target.settings.objects;
        let content = content(&document, &labels, (self.report, self.segmentation), kinds)?;
        if self.records.has(target.name(), result, &content).await? {
            return Ok(Outcome::Known);
        }
        let document = Arc::new(document);
        let predecessors: Arc<[_]> = self.records.predecessors(target.name(), result).await?.into();
        let (study, mut room) = self.sources.fetched(order, &document).await?;
        let making = Making {
            document: Arc::clone(&document),
            study,
            files: self.files_of(&document).await?,
            labels,
            report: self.report,
            segmentation: self.segmentation,
            kinds: kinds.clone(),
            predecessors: Arc::clone(&predecessors),
            reading: self.reading.clone(),
        };
        let objects = making.objects().await?;
        let Some(first) = objects.first() else {
            return Ok(Outcome::Nothing(ErrorCode::NoDicomResult));
        };
        let study = study_digest(&first.study);
        let predecessor = predecessors.iter().find(|before| before.study_sha256 == study);
        // Nothing but the objects is needed while the archive takes its time.
        room.lower(objects.iter().map(|object| object.file.len() as u64).sum());
        let sending = target.send(&objects).await;
        for (object, _) in objects.iter().zip(&sending.verdicts).filter(|(_, verdict)| verdict.is_stored()) {
            metrics::object_delivered(target.name(), object.kind.as_str());
        }
        let failed = worst(&sending.verdicts);
        let is_archives = target.saw(result, failed);
        let delivered = Delivered {
            target: target.name(),
            result,
            content: &content,
            document: &document,
            objects: &objects,
            sending: &sending,
            study_sha256: study,
            predecessor,
        };
        // Also that an archive does not commit itself to what it stored, which is no delivery.
        if failed.is_none() || sending.commitment.is_some() {
            self.records.write(delivered).await?;
        }
        match failed {
            None => Ok(Outcome::Delivered),
            Some(error) => Err(Failure { error: error.clone(), is_archives }),
        }
    }

    async fn files_of(&self, document: &ResultDocument) -> Result<Vec<(String, Bytes)>, JobError> {
        let mut files = Vec::new();
        for artefact in objects::files_of(document) {
            let place = BlobRef::new(self.results_container.as_str(), artefact.path.as_str())?;
            let found = self.results.read(&place, MOST_FILE_BYTES).await?;
            files.push(objects::file(artefact, found.map(|(bytes, _)| bytes))?);
        }
        Ok(files)
    }

    /// What becomes of an order that failed by itself.
    fn of_failure(&self, error: JobError, attempt: u32) -> Disposition {
        // A heatmap that a reading is replacing just now is followed by its document.
        let may_pass = error.is_transient() || error.code == ErrorCode::ArtefactChanged;
        if !may_pass || attempt.saturating_add(1) >= self.limits.attempts {
            return Disposition::DeadLetter { error };
        }
        let delay = error.retry_after.unwrap_or_else(|| Delay::after(attempt).length());
        Disposition::RetryAfter { delay: delay.max(Delay::Seconds5.length()), error }
    }
}

/// An order that names what there is.
struct Ordered<'d> {
    order: DeliveryOrder,
    result: BlobRef,
    target: &'d Arc<Target>,
}

struct Turn<'d> {
    sending: &'d Mutex<BTreeSet<(String, BlobRef)>>,
    key: (String, BlobRef),
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// What no archive could be sent, and nobody can mend: said in the account, and no dead letter.
const fn is_nothing(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NoDicomIdentity | ErrorCode::NoDicomResult)
}

/// Whether the container of the study did not let us in, or the manifest of its model is broken or not there: nobody else's matter, and
/// it may be so for ever. Where the results' storage does not let us in, which is said to be of their stage, all orders wait.
fn waits_for_people(error: &JobError) -> bool {
    let is_refused_by_source =
        error.code.is_refusal() && error.class != ErrorClass::Permanent && error.stage != Stage::Store;
    is_refused_by_source || matches!(error.code, ErrorCode::ModelMismatch | ErrorCode::ModelMissing)
}

/// Without an attempt: what was to be sent is not to blame.
fn put_off(error: JobError, message: &Message) -> Disposition {
    let waited = message.attributes.age(crate::flow::unix_now()).unwrap_or_default();
    let usual = if waited < LONG_AFTER { WAITS[0] } else { WAITS[1] };
    let delay = error.retry_after.unwrap_or(usual).max(Delay::Seconds5.length());
    Disposition::Postpone { delay, error: error.with_class(ErrorClass::Transient), refused_since: None }
}

/// Another order of the same result is being carried out.
fn behind() -> Disposition {
    let error = JobError::new(Stage::Deliver, ErrorCode::DeliveryUnavailable, "the result is being sent");
    let error = error.with_class(ErrorClass::Transient);
    Disposition::Postpone { delay: Delay::Seconds5.length(), error, refused_since: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::dicom::ObjectVerdict;

    fn verdicts(codes: &[Option<ErrorCode>]) -> Vec<ObjectVerdict> {
        let verdict = |code: &Option<ErrorCode>| match code {
            None => ObjectVerdict::Stored(None),
            Some(code) => ObjectVerdict::Failed(JobError::new(Stage::Deliver, *code, "no")),
        };
        codes.iter().map(verdict).collect()
    }

    #[test]
    fn an_archive_that_is_away_decides_before_what_it_refused() {
        use ErrorCode::{DeliveryRefused, DeliveryUnavailable, DeliveryUnconfirmed};
        for (codes, expected) in [
            (&[None, None][..], None),
            (&[None, Some(DeliveryUnconfirmed), Some(DeliveryRefused)], Some(DeliveryRefused)),
            (&[Some(DeliveryRefused), Some(DeliveryUnavailable)], Some(DeliveryUnavailable)),
            (&[Some(DeliveryUnconfirmed), None], Some(DeliveryUnconfirmed)),
        ] {
            assert_eq!(worst(&verdicts(codes)).map(|error| error.code), expected);
        }
    }
}
