//! What can go wrong with a job: a stable code, a class that decides what happens next, and the stage it happened in.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an error means for the job and for the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// May pass by itself: retried in the process, then through a delay queue.
    Transient,
    /// Will fail the same way every time: a failed-document, or a dead letter for a bad message.
    Permanent,
    /// The worker itself cannot go on: deliveries are returned and the process exits non-zero.
    Fatal,
}

/// The step of the job in which an error was born.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Announce,
    Fetch,
    Decode,
    Preprocess,
    Infer,
    Report,
    Store,
    Settle,
    Start,
}

impl Stage {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::Fetch => "fetch",
            Self::Decode => "decode",
            Self::Preprocess => "preprocess",
            Self::Infer => "infer",
            Self::Report => "report",
            Self::Store => "store",
            Self::Settle => "settle",
            Self::Start => "start",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $class:ident;)*) => {
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
        }
    };
}

error_codes! {
    // Messages.
    MessageUnparseable = "message_unparseable", Permanent;
    MessageTooLarge = "message_too_large", Permanent;
    SourceNotAllowed = "source_not_allowed", Permanent;
    NoRoute = "no_route", Permanent;
    UnknownModel = "unknown_model", Permanent;
    WorkerDied = "worker_died", Permanent;
    AttemptsExhausted = "attempts_exhausted", Permanent;
    // Storage.
    BlobNotFound = "blob_not_found", Permanent;
    BlobEmpty = "blob_empty", Permanent;
    BlobTooLarge = "blob_too_large", Permanent;
    /// The blob was replaced while it was being read.
    BlobChanged = "blob_changed", Transient;
    StorageForbidden = "storage_forbidden", Permanent;
    StorageUnauthenticated = "storage_unauthenticated", Fatal;
    StorageUnavailable = "storage_unavailable", Transient;
    StorageThrottled = "storage_throttled", Transient;
    StorageTimeout = "storage_timeout", Transient;
    StorageRejected = "storage_rejected", Permanent;
    /// Another writer kept changing the result under us.
    ResultContended = "result_contended", Transient;
    // Reading a picture.
    NotAnImage = "not_an_image", Permanent;
    UnsupportedMedia = "unsupported_media", Permanent;
    Truncated = "truncated", Permanent;
    HeaderInvalid = "header_invalid", Permanent;
    DecodeFailed = "decode_failed", Permanent;
    UnsupportedTransferSyntax = "unsupported_transfer_syntax", Permanent;
    UnsupportedPhotometric = "unsupported_photometric", Permanent;
    WrongModality = "wrong_modality", Permanent;
    WrongBodyPart = "wrong_body_part", Permanent;
    WrongView = "wrong_view", Permanent;
    MultiFrame = "multi_frame", Permanent;
    ColourImage = "colour_image", Permanent;
    TooManyPixels = "too_many_pixels", Permanent;
    TooSmall = "too_small", Permanent;
    InflatesTooLarge = "inflates_too_large", Permanent;
    ValueOutOfRange = "value_out_of_range", Permanent;
    CodecDied = "codec_died", Permanent;
    CodecTimeout = "codec_timeout", Permanent;
    // Reading a scan.
    VolumeHeaderInvalid = "volume_header_invalid", Permanent;
    UnsupportedDatatype = "unsupported_datatype", Permanent;
    NotFourDimensional = "not_four_dimensional", Permanent;
    TooManyVoxels = "too_many_voxels", Permanent;
    GridMismatch = "grid_mismatch", Permanent;
    MaskEmpty = "mask_empty", Permanent;
    TooFewVolumes = "too_few_volumes", Permanent;
    CollinearMaps = "collinear_maps", Permanent;
    NonFiniteVoxels = "non_finite_voxels", Permanent;
    NoUsableComponents = "no_usable_components", Permanent;
    // Models and inference.
    ModelMissing = "model_missing", Fatal;
    ModelMismatch = "model_mismatch", Fatal;
    RuntimeMissing = "runtime_missing", Fatal;
    RuntimeMismatch = "runtime_mismatch", Fatal;
    InferenceFailed = "inference_failed", Permanent;
    ScoresNotFinite = "scores_not_finite", Permanent;
    EngineClosed = "engine_closed", Transient;
    EngineFailed = "engine_failed", Fatal;
    // The broker.
    BrokerUnavailable = "broker_unavailable", Transient;
    BrokerRejected = "broker_rejected", Fatal;
    // Azure Monitor.
    MetricsUnavailable = "metrics_unavailable", Transient;
    MetricsRejected = "metrics_rejected", Permanent;
    // The worker.
    SettingsInvalid = "settings_invalid", Fatal;
    ShuttingDown = "shutting_down", Transient;
    Internal = "internal", Fatal;
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
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| serde::de::Error::custom(format!("unknown error code {text:?}")))
    }
}

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// One failure of one job. The message is for people, names no patient, and is written into the failed-document.
#[derive(Debug)]
pub struct JobError {
    pub stage: Stage,
    pub code: ErrorCode,
    pub class: ErrorClass,
    pub message: String,
    /// What the other side asked us to wait, when it said so.
    pub retry_after: Option<Duration>,
    source: Option<Source>,
}

impl JobError {
    /// An error of the code's usual class.
    pub fn new(stage: Stage, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { stage, code, class: code.class(), message: message.into(), retry_after: None, source: None }
    }

    #[must_use]
    pub fn with_class(mut self, class: ErrorClass) -> Self {
        self.class = class;
        self
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    pub fn is_transient(&self) -> bool {
        self.class == ErrorClass::Transient
    }

    pub fn is_fatal(&self) -> bool {
        self.class == ErrorClass::Fatal
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} in {})", self.message, self.code, self.stage)
    }
}

impl StdError for JobError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
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
        }
    }
}
