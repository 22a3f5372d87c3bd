//! The closed set of error codes: text, class, meaning and mend, one entry each. The reference is generated from it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ErrorClass;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $class:ident, $meaning:literal, $mend:literal;)*) => {
        /// The closed set of reasons. `as_str` is the metric label, the log field, the dead-letter header and the
        /// `error.code` of a failed-document, so a code never changes its text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The class of this code unless the place of birth knows better.
            pub const fn class(self) -> ErrorClass {
                match self { $(Self::$variant => ErrorClass::$class,)* }
            }

            /// What happened, in one sentence for the reference.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What whoever meets it can do.
            pub const fn mend(self) -> &'static str {
                match self { $(Self::$variant => $mend,)* }
            }
        }
    };
}

error_codes! {
    // Messages.
    MessageUnparseable = "message_unparseable", Permanent,
        "The message is no announcement of a known form.",
        "Correct the sender; compare with `schemas/announcement.v1.json`.";
    MessageTooLarge = "message_too_large", Permanent,
        "The message is larger than an announcement can be.",
        "Announce blobs by name; do not put data into messages.";
    SourceNotAllowed = "source_not_allowed", Permanent,
        "The announcement names an account or a container that this worker may not read.",
        "Add the container to `[sources] containers`, or correct the sender; then redrive.";
    NoRoute = "no_route", Permanent,
        "No route leads from this kind of study to a model.",
        "Add a `[[routes]]` entry, or a model that reads this kind; then redrive.";
    UnknownModel = "unknown_model", Permanent,
        "The announcement names a model that is not installed here.",
        "Install the model, or correct the name; then redrive.";
    WorkerDied = "worker_died", Permanent,
        "Workers died each time they read this study alone.",
        "Read the blob with `nightread process` on a machine of your own and report what ends it; redrive after an upgrade.";
    MessageExpired = "message_expired", Permanent,
        "The broker let the message expire in its lane before a worker took it: a policy or its sender set a time to live.",
        "Remove the `message-ttl` from the policy that covers the lanes (`nightread topology --check` names it); then redrive.";
    QueueFull = "queue_full", Permanent,
        "The broker dropped the message from a lane that was longer or larger than a policy allows.",
        "Remove the limit from the policy that covers the lanes, or add workers; then redrive.";
    MessageRejected = "message_rejected", Permanent,
        "Somebody other than a worker put the message among the dead letters.",
        "Find out who else consumes from the lanes or publishes dead letters; then redrive.";
    AttemptsExhausted = "attempts_exhausted", Permanent,
        "Transient failures used up all attempts.",
        "Read the last error in the letter; redrive when its cause is gone.";
    // Storage.
    BlobNotFound = "blob_not_found", Permanent,
        "The blob was gone when the worker asked for it.",
        "None where it was deleted on purpose; else upload and announce it again.";
    BlobEmpty = "blob_empty", Permanent,
        "The blob has no bytes.",
        "Upload it again.";
    BlobTooLarge = "blob_too_large", Permanent,
        "The blob, or the blobs of a series together, are larger than `[limits] blob_bytes`; or what is kept of them on the disk than `[limits] spool_bytes`.",
        "Raise the limit that the message names where memory or the disk allow it; then redrive or read again.";
    /// The blob was replaced while it was being read.
    BlobChanged = "blob_changed", Transient,
        "The blob was replaced while it was read.",
        "None: it is read again as its new self.";
    BlobArchived = "blob_archived", Permanent,
        "The blob is in the archive tier, or is being brought back from it.",
        "Change its tier: the event of that announces it again; without events announce it when it is back.";
    BlobBusy = "blob_busy", Transient,
        "The blob is still being copied, or somebody holds a lease on it.",
        "None where the copy or the lease ends; else end it, then redrive.";
    ContainerMissing = "container_missing", Transient,
        "The container is not there, or is being deleted.",
        "Make it, or correct `[sources] containers` and `[results] container`; then redrive.";
    StorageForbidden = "storage_forbidden", Transient,
        "Storage refused access (403) for longer than `[limits] refused_seconds`.",
        "Grant the worker's identity the role, or open the firewall; then redrive.";
    StorageUnauthenticated = "storage_unauthenticated", Fatal,
        "Storage did not accept the credentials (401).",
        "Renew the key, signature or identity; check the clock.";
    StorageUnavailable = "storage_unavailable", Transient,
        "Storage did not answer, or answered with a server error.",
        "None: it is tried again; look at the account's health where it lasts.";
    StorageUnwritable = "storage_unwritable", Transient,
        "Results cannot be written to their folder: the disk is full or read-only, or this user may not write there.",
        "Make room or give the right: the message has the folder and the system's own words. The service waits and goes on by itself; repeat `nightread process`.";
    StorageThrottled = "storage_throttled", Transient,
        "Storage asked for fewer requests (429 or 503).",
        "None: it is tried again; fewer workers, or a larger account, where it lasts.";
    StorageTimeout = "storage_timeout", Transient,
        "A request to storage took too long.",
        "None: it is tried again; look at the network where it lasts.";
    StorageRejected = "storage_rejected", Permanent,
        "Storage refused the request as wrong.",
        "Read the detail; most often a name or a setting that the service does not allow.";
    /// Nobody's fault but this machine's.
    SpoolUnavailable = "spool_unavailable", Transient,
        "A large blob found no room on this machine's disk; the study waits and loses no attempt.",
        "Make room in the folder that the detail names, or name a larger one in [storage] spool_dir.";
    /// Another writer kept changing the result under us.
    ResultContended = "result_contended", Transient,
        "Another writer kept changing the result.",
        "None: it is tried again.";
    /// Overwriting it would destroy a reading that this worker cannot judge.
    ResultNewerSchema = "result_newer_schema", Transient,
        "A newer worker has written this result in a form that this one does not know; it is left as it is.",
        "None while workers are being upgraded: a newer one takes the job. After going back to an older version, upgrade again, or move those results away; then redrive.";
    // Blobs that are one series.
    SetMissing = "set_missing", Permanent,
        "The set document that the announcement names is gone.",
        "None where it was removed on purpose; else have the series announced again.";
    SetInvalid = "set_invalid", Permanent,
        "The set document that the announcement names is none, or names what it must not.",
        "Read what is wrong in the message; compare with `schemas/set.v1.json`; then redrive.";
    TooManyInstances = "too_many_instances", Permanent,
        "The series has more blobs than one study may have (4,096).",
        "Announce one series at a time; a longer one is sent as one multi-frame file or one NIfTI.";
    InstancesMissing = "instances_missing", Transient,
        "Fewer blobs lie below the prefix than its announcement says.",
        "None while the upload goes on; else upload what is missing, then redrive.";
    NotOneSeries = "not_one_series", Permanent,
        "What lies below the announced prefix is not the instances of one series, as many as were said.",
        "Put each series below a prefix of its own, or let `nightread assemble` sort the files.";
    /// Not a failed study: the series that it belongs to is announced as a whole.
    PartOfSeries = "part_of_series", Permanent,
        "The blob is one slice of a series that a route carries; the series is read as a whole.",
        "None: `nightread assemble` announces the series when it is there.";
    // Reading an image.
    NotAnImage = "not_an_image", Permanent,
        "The bytes are no format that is read.",
        "Announce images and scans only; `--exclude` leaves files out.";
    UnsupportedMedia = "unsupported_media", Permanent,
        "The format is known by name and not read.",
        "Convert the file as the message says.";
    Truncated = "truncated", Permanent,
        "The file ends before its data do.",
        "Upload it again from its source.";
    HeaderInvalid = "header_invalid", Permanent,
        "The header contradicts itself or its data.",
        "Read what contradicts in the message; export the file again.";
    DecodeFailed = "decode_failed", Permanent,
        "The pixel data do not decode.",
        "Export the file again; report it when other readers decode it.";
    UnsupportedTransferSyntax = "unsupported_transfer_syntax", Permanent,
        "The DICOM transfer syntax is not read.",
        "Store the file in another syntax, for example by `dcmdjpeg` or `gdcmconv --raw`.";
    UnsupportedPhotometric = "unsupported_photometric", Permanent,
        "The photometric interpretation is not read.",
        "Export the image as MONOCHROME1 or MONOCHROME2.";
    WrongModality = "wrong_modality", Permanent,
        "The header names a modality that no routed model reads.",
        "Announce radiographs only, or route the kind to a model that reads it.";
    WrongBodyPart = "wrong_body_part", Permanent,
        "The header names another body part than the chest.",
        "None where it is true; else correct the header.";
    WrongView = "wrong_view", Permanent,
        "The header names a view that is not frontal.",
        "None where it is true; else correct the header.";
    MultiFrame = "multi_frame", Permanent,
        "The file holds more than one frame.",
        "Announce single images.";
    ColourImage = "colour_image", Permanent,
        "The image has colour; radiographs are grey.",
        "Export the image in grey.";
    TooManyPixels = "too_many_pixels", Permanent,
        "The image has more pixels than `[limits] pixels`.",
        "Raise the limit where memory allows it.";
    TooSmall = "too_small", Permanent,
        "The image is smaller than any radiograph.",
        "Announce originals, not thumbnails.";
    InflatesTooLarge = "inflates_too_large", Permanent,
        "The file inflates beyond `[limits] inflated_bytes`.",
        "Raise the limit where the file is trusted.";
    ValueOutOfRange = "value_out_of_range", Permanent,
        "Samples lie outside the range that the header or the settings allow.",
        "Correct the header, or `[images] png16_max`.";
    BlankImage = "blank_image", Permanent,
        "Every pixel has the same value: the image shows nothing.",
        "Look at the image and export it again.";
    ImageUnfit = "image_unfit", Permanent,
        "A step of the model's preprocessing cannot work with this image: no window in its header, one value where a range is needed, too many or too few pixels.",
        "Read which in the message; export the image anew, or route its kind to another model.";
    CodecDied = "codec_died", Permanent,
        "The codec's own process died on this file.",
        "Report the file; other studies are not affected.";
    CodecKilled = "codec_killed", Transient,
        "The codec's own process was killed from outside, as a system does that is short of memory.",
        "Look for the kernel's out-of-memory killer; give the worker more memory, or fewer `[engine] decode_threads`.";
    CodecTimeout = "codec_timeout", Permanent,
        "The codec took longer than its time-out.",
        "Report the file.";
    CodecStarved = "codec_starved", Transient,
        "The codec was given less than half of a processor within its time-out: the machine has more to do than it can.",
        "Give the worker whole cores, or fewer `[engine] decode_threads`.";
    SandboxUnavailable = "sandbox_unavailable", Fatal,
        "This system cannot confine the codecs' processes (seccomp), so compressed images are not decoded on it.",
        "Run on a Linux kernel with seccomp filters, on x86-64 or aarch64; do not take seccomp away from the container.";
    // Reading a scan.
    VolumeHeaderInvalid = "volume_header_invalid", Permanent,
        "The NIfTI header contradicts itself.",
        "Write the file again from its source.";
    UnsupportedDatatype = "unsupported_datatype", Permanent,
        "The NIfTI datatype is not read.",
        "Store the scan as integers or floats.";
    NotFourDimensional = "not_four_dimensional", Permanent,
        "The file is no series of volumes.",
        "Announce 4-D scans; name component maps as the documents say.";
    TooManyVoxels = "too_many_voxels", Permanent,
        "The scan has more voxels than `[limits] voxels`.",
        "Raise the limit where memory allows it.";
    GridMismatch = "grid_mismatch", Permanent,
        "The scan does not lie on the grid of the model's maps.",
        "Bring scans into the maps' space, or set `[scans] resample`.";
    MaskEmpty = "mask_empty", Permanent,
        "No voxel of the mask can be used.",
        "Check that scan and mask cover the same brain.";
    LowCoverage = "low_coverage", Permanent,
        "A quarter or more of the brain mask has no signal: outside of the scan, constant, or not finite.",
        "Check the field of view, the registration and the preprocessing.";
    ConfoundsMissing = "confounds_missing", Permanent,
        "The settings ask for confounds, and the scan has no such file or columns beside it.",
        "Put the `desc-confounds_timeseries.tsv` beside the scan, or correct `[scans] confounds`.";
    ConfoundsInvalid = "confounds_invalid", Permanent,
        "The table of confounds does not fit the scan, or a value that counts is not a number.",
        "Look at the table's rows and at its `n/a`.";
    TooFewVolumes = "too_few_volumes", Permanent,
        "The scan has too few volumes for the number of components and confounds.",
        "Use longer scans, or fewer confounds.";
    CollinearMaps = "collinear_maps", Permanent,
        "The group maps are linear combinations of each other.",
        "Make the group maps anew with fewer components.";
    NonFiniteVoxels = "non_finite_voxels", Permanent,
        "A group map holds NaN or infinity.",
        "Make the group maps anew.";
    NoUsableComponents = "no_usable_components", Permanent,
        "No component could be used.",
        "Look at the flags of the components; check the preprocessing.";
    // Reading a CT volume.
    ArchiveInvalid = "archive_invalid", Permanent,
        "The archive is damaged, encrypted, or contradicts itself.",
        "Pack the DICOM files of one series again, without a password.";
    NoHounsfield = "no_hounsfield", Permanent,
        "The numbers of the volume are not Hounsfield units.",
        "Export the series with its rescale slope and intercept.";
    NoPosition = "no_position", Permanent,
        "A slice, or the volume, does not say where it lies.",
        "Export the series with its positions and orientation.";
    MixedSeries = "mixed_series", Permanent,
        "Less than nine in ten slices are one series of one size and orientation.",
        "Send each series by itself.";
    SeveralVolumes = "several_volumes", Permanent,
        "Slices at one place differ: the series holds several volumes, and nothing tells them apart.",
        "Send each volume by itself.";
    MissingSlices = "missing_slices", Permanent,
        "Slices are missing between others.",
        "Send the whole series; `[volumes] interpolate_missing` makes up for single ones.";
    UnevenSlices = "uneven_slices", Permanent,
        "Steps between slices differ by more than a factor of two.",
        "Send a series of even steps.";
    ShiftedSlices = "shifted_slices", Permanent,
        "Slices do not lie one behind the other.",
        "Look at the positions of the series; export it again.";
    TooFewSlices = "too_few_slices", Permanent,
        "The series has fewer slices than make a volume.",
        "Send the whole series.";
    ExceedsMemory = "exceeds_memory", Permanent,
        "The study needs more memory than `[limits] volume_bytes`, by its headers; or two workers died while they read it alone with little memory left.",
        "Read it on a machine with more memory, or raise the limit where the machine has it; then redrive.";
    /// A worker that has no memory blames no study.
    MemoryRefused = "memory_refused", Fatal,
        "The system gave the worker no memory for a study: for its bytes, or for the network that reads it.",
        "Give the worker more memory, or lower `[limits] jobs` or `memory_bytes`; its supervisor starts it again, and the study is read alone.";
    ExceedsLaneTime = "exceeds_lane_time", Permanent,
        "By the time of its first patches the study would take longer than the broker lets a delivery be unacknowledged.",
        "Read it on a faster machine, or raise the consumer timeout of the lane volumes (a policy, and `[broker] volumes_consumer_timeout_seconds`); then redrive.";
    /// Nobody's fault but the order in which studies came.
    LaneTimeSpent = "lane_time_spent", Transient,
        "Too little of the time that the broker lets a delivery be unacknowledged was left to this study: volumes before it, or other networks that read it, took it. The study waits and loses no attempt.",
        "None: it comes again, and what is stored is not read again. More workers where it lasts, or a longer consumer timeout of the lane volumes.";
    TooFewDescriptors = "too_few_descriptors", Fatal,
        "The system lets this process open fewer files and connections than it can need at one time.",
        "Raise `LimitNOFILE` of the unit (or `ulimit -n`), or lower `[limits] jobs`.";
    // Models and inference.
    ModelMissing = "model_missing", Fatal,
        "A model's folder or file is not there.",
        "Install it, or correct `[models] dir` and the routes.";
    ModelMismatch = "model_mismatch", Fatal,
        "A model's files do not fit its manifest, its version or each other.",
        "Correct what the message names; give changed files or manifests a new version.";
    RuntimeMissing = "runtime_missing", Fatal,
        "ONNX Runtime's library was not found.",
        "Run `make runtime`, or set `[models] runtime`.";
    RuntimeMismatch = "runtime_mismatch", Fatal,
        "ONNX Runtime's library is too old, or lacks the provider.",
        "Install the library that this version names.";
    ProcessorUnfit = "processor_unfit", Fatal,
        "The processor lacks instructions that the precision asked for needs.",
        "Run on a processor that has what the message names, or set `[models] precision` to `fp32` or `int8`.";
    InferenceFailed = "inference_failed", Permanent,
        "The network failed on this study alone.",
        "Report the study and the model.";
    ScoresNotFinite = "scores_not_finite", Permanent,
        "The network gave NaN or infinity.",
        "Check the input; report the study and the model.";
    ScoresNotProbabilities = "scores_not_probabilities", Permanent,
        "A network that is to give probabilities gave a number outside of 0 to 1.",
        "Name the activation that its manifest lacks (`sigmoid`, `softmax`), or export the network with it.";
    EngineClosed = "engine_closed", Transient,
        "The engine was closing.",
        "None: the job is read by another worker.";
    EngineFailed = "engine_failed", Fatal,
        "The inference engine cannot go on.",
        "Read the cause; the worker's supervisor starts it again.";
    // The broker.
    BrokerUnavailable = "broker_unavailable", Transient,
        "The broker did not answer, or the connection broke.",
        "None: it connects again; look at the broker where it lasts.";
    BrokerRejected = "broker_rejected", Fatal,
        "The broker refused: credentials, rights, or a queue that is missing or different.",
        "Correct what the message names; `nightread topology --check` tells what differs.";
    // Azure Monitor.
    MetricsUnavailable = "metrics_unavailable", Transient,
        "Azure Monitor did not answer.",
        "None: the next figures are sent.";
    MetricsRejected = "metrics_rejected", Permanent,
        "Azure Monitor refused the figures.",
        "Check the resource id, the region and the role.";
    // DICOM results.
    NoDicomIdentity = "no_dicom_identity", Permanent,
        "The source is no DICOM file, or one without the UIDs that tell whose study it is: no DICOM result can join it.",
        "None where identities were taken out on purpose; the document is there all the same.";
    NoDicomResult = "no_dicom_result", Permanent,
        "The document tells of a failure, or of a reading that no DICOM object is made of.",
        "Read the document; only radiographs and CT series that were read have DICOM results.";
    SourceChanged = "source_changed", Permanent,
        "The source is not the version any more that the result was read from; nothing was made of it.",
        "Give the file or the series that was read, under the names that its slices had; a new version has a result of its own.";
    ArtefactChanged = "artefact_changed", Permanent,
        "A heatmap, a label map or a preview beside the document is gone, or is not the one that the document names.",
        "Read the study again with `force`; keep results together when they are moved.";
    // Sending to an archive.
    UnknownTarget = "unknown_target", Permanent,
        "The order names an archive that the settings of `nightread deliver` do not have.",
        "Name it under `[deliver]` or `[[targets]]` again, then redrive; or discard the letters of an archive that is no more.";
    DeliveryUnavailable = "delivery_unavailable", Transient,
        "The archive did not answer, broke the connection, or answered with a server error.",
        "None where it comes back; else look at its address and health. Where a connection is reset in mid-transfer, ask whether our AE title is known there.";
    DeliveryTimeout = "delivery_timeout", Transient,
        "The archive took longer to answer than `[deliver] seconds`.",
        "None where it was busy; else raise the limit.";
    DeliveryNoRoom = "delivery_no_room", Transient,
        "The archive has no room (0xA7xx, 507).",
        "Make room there.";
    DeliveryForbidden = "delivery_forbidden", Transient,
        "The archive does not let us in: 401, 403, or an association that was rejected.",
        "Correct the credentials or the AE titles, here or there.";
    DeliveryUnsupported = "delivery_unsupported", Permanent,
        "The archive takes no object of this kind: no presentation context was accepted, or 406 or 415.",
        "Turn the SOP class on there; or choose another by `[dicom] report_class`.";
    DeliveryRefused = "delivery_refused", Permanent,
        "The archive refused an object; its own status or failure reason is in the message.",
        "Read the reason; often a study or a patient that the archive knows otherwise.";
    DeliveryUnconfirmed = "delivery_unconfirmed", Transient,
        "The archive said that all is well and did not name the object among what it stored, or does not list it.",
        "None where it lists the object a little later; else report it to the archive's maker.";
    // Storage commitment of an archive.
    CommitmentUnsupported = "commitment_unsupported", Permanent,
        "The archive stored the objects and takes no request for storage commitment.",
        "Turn Storage Commitment Push Model on there, or set `[deliver] commitment_seconds` to 0; then redrive.";
    CommitmentUnavailable = "commitment_unavailable", Transient,
        "The archive stored the objects, and broke off when it was asked to commit itself to them.",
        "None where it passes; else look at its log for requests of storage commitment.";
    CommitmentTimeout = "commitment_timeout", Transient,
        "The archive stored the objects and did not report in `[deliver] commitment_seconds` that it commits itself to them.",
        "Raise the limit; or name the port of `[deliver] commitment_listen` there, where it reports by an association of its own.";
    CommitmentProcessingFailure = "commitment_processing_failure", Transient,
        "The archive does not commit itself to an object: processing failure (0x0110).",
        "Look at the archive's log, then redrive.";
    CommitmentObjectMissing = "commitment_object_missing", Transient,
        "The archive said that it stored an object, and that it has no such object when it was asked to commit itself to it (0x0112).",
        "None where the next sending passes; else tell the archive's maker, and look for what deletes objects there.";
    CommitmentClassConflict = "commitment_class_conflict", Permanent,
        "The archive does not commit itself to an object: it knows the instance under another SOP class (0x0119).",
        "Look for the SOP Instance UID in the archive; another object has it.";
    CommitmentClassUnsupported = "commitment_class_unsupported", Permanent,
        "The archive does not commit itself to objects of this SOP class (0x0122).",
        "Turn the SOP class on there for storage commitment, or leave the kind out of `[deliver] objects`.";
    CommitmentDuplicate = "commitment_duplicate", Transient,
        "The archive took none of the requests, for their transaction UIDs are in use there (0x0131).",
        "Wait until it has done with the former requests, then redrive.";
    CommitmentNoRoom = "commitment_no_room", Transient,
        "The archive does not commit itself to an object: resource limitation (0x0213).",
        "Make room there.";
    CommitmentRefused = "commitment_refused", Permanent,
        "The archive does not commit itself to an object, for a reason of its own; it is in the message.",
        "Read the reason in the archive's conformance statement.";
    CommitmentIncomplete = "commitment_incomplete", Transient,
        "The archive's report of a storage commitment does not name an object that was asked for.",
        "None where the next report names it; else tell the archive's maker.";
    // The worker.
    SettingsInvalid = "settings_invalid", Fatal,
        "A setting is missing, unknown or wrong.",
        "Correct it; `nightread check` tells all of them at once.";
    ShuttingDown = "shutting_down", Transient,
        "The worker was stopping.",
        "None: the job is read by another worker.";
    Internal = "internal", Fatal,
        "A fault in Nightread itself.",
        "Report it with the log.";
}

impl ErrorCode {
    /// The code of this text.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }

    /// Whether what it tells of may pass while the blob stays the version that it is. A failed-document with such a code
    /// is not final: the next announcement reads the blob again.
    pub const fn may_pass(self) -> bool {
        matches!(self, Self::BlobArchived | Self::BlobBusy | Self::AttemptsExhausted) || self.is_outage()
    }

    /// Whether it tells of storage and not of the blob.
    pub const fn is_outage(self) -> bool {
        self.is_refusal()
            || matches!(
                self,
                Self::StorageUnavailable
                    | Self::StorageUnwritable
                    | Self::StorageThrottled
                    | Self::StorageTimeout
            )
    }

    /// Whether storage answered, and did not let us in.
    pub const fn is_refusal(self) -> bool {
        matches!(self, Self::StorageForbidden | Self::StorageUnauthenticated | Self::ContainerMissing)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::of(&text).ok_or_else(|| serde::de::Error::custom(format!("unknown error code {text:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_distinct_and_survive_json() {
        let texts: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            let json = serde_json::to_string(code).expect("codes serialise");
            assert_eq!(serde_json::from_str::<ErrorCode>(&json).expect("codes parse"), *code);
            assert!(code.meaning().ends_with('.') && code.mend().ends_with('.'), "{code} is explained");
        }
    }
}
