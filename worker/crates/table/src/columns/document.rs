//! Study, model, outcome: what a document says once.

use nightread_domain::Media;

use crate::cell::{Cell, Kind};
use crate::column::{Head, Located};

/// A column, and how its cell is made.
pub(super) struct OfDocument {
    pub head: Head,
    pub cell: fn(Located<'_>) -> Cell,
}

const fn column(
    name: &'static str,
    kind: Kind,
    field: &'static str,
    cell: fn(Located<'_>) -> Cell,
) -> OfDocument {
    own(name, kind, field, "", cell)
}

/// With a meaning that the schema does not say.
const fn own(
    name: &'static str,
    kind: Kind,
    field: &'static str,
    meaning: &'static str,
    cell: fn(Located<'_>) -> Cell,
) -> OfDocument {
    OfDocument { head: Head { name, kind, field, meaning }, cell }
}

pub(super) const COLUMNS: &[OfDocument] = &[
    column("study_container", Kind::Text, "study.container", |of| Cell::text(&*of.document.study.container)),
    column("study_name", Kind::Text, "study.name", |of| Cell::text(&*of.document.study.name)),
    column("study_kind", Kind::Text, "study.kind", |of| Cell::text(of.document.study.kind.as_str())),
    column("study_version", Kind::Text, "study.version", |of| {
        Cell::some_text(of.document.study.version.as_ref().map(|etag| etag.0.as_str()))
    }),
    column("study_last_modified", Kind::Time, "study.last_modified", |of| {
        Cell::time(of.document.study.last_modified)
    }),
    column("study_bytes", Kind::Integer, "study.bytes", |of| {
        of.document.study.bytes.map_or(Cell::Null, Cell::integer)
    }),
    column("study_sha256", Kind::Text, "study.sha256", |of| {
        Cell::some_text(of.document.study.sha256.as_deref())
    }),
    column("study_media", Kind::Text, "study.media", |of| {
        Cell::some_text(of.document.study.media.map(Media::as_str))
    }),
    column("task", Kind::Text, "task", |of| Cell::text(of.document.task.as_str())),
    column("status", Kind::Text, "status", |of| Cell::text(of.document.status.as_str())),
    column("model_name", Kind::Text, "model.name", |of| Cell::text(&*of.document.model.name)),
    column("model_version", Kind::Text, "model.version", |of| Cell::text(&*of.document.model.version)),
    column("model_precision", Kind::Text, "model.precision", |of| Cell::text(&*of.document.model.precision)),
    column("model_weights_sha256", Kind::Text, "model.weights_sha256", |of| {
        Cell::text(&*of.document.model.weights_sha256)
    }),
    column("model_manifest_sha256", Kind::Text, "model.manifest_sha256", |of| {
        Cell::some_text(of.document.model.manifest_sha256.as_deref())
    }),
    column("model_execution_provider", Kind::Text, "model.execution_provider", |of| {
        Cell::text(&*of.document.model.execution_provider)
    }),
    column("model_preprocessing", Kind::Text, "model.preprocessing", |of| {
        Cell::text(&*of.document.model.preprocessing)
    }),
    column("model_ensemble", Kind::Json, "model.ensemble", |of| {
        of.document.model.ensemble.as_ref().map_or(Cell::Null, Cell::json)
    }),
    column("error_code", Kind::Text, "error.code", |of| {
        Cell::some_text(of.document.error.as_ref().map(|error| error.code.as_str()))
    }),
    column("error_stage", Kind::Text, "error.stage", |of| {
        Cell::some_text(of.document.error.as_ref().map(|error| error.stage.as_str()))
    }),
    column("error_message", Kind::Text, "error.message", |of| {
        Cell::some_text(of.document.error.as_ref().map(|error| error.message.as_str()))
    }),
    own("warning_count", Kind::Integer, "warnings", "How many warnings there are.", |of| {
        Cell::integer(of.document.warnings.len())
    }),
    own(
        "warning_codes",
        Kind::Text,
        "warnings[].code",
        "The codes of the warnings with spaces between; null without a warning.",
        warning_codes,
    ),
    own("warnings", Kind::Json, "warnings", "All warnings: a list of `code` and `message`.", |of| {
        Cell::json(&of.document.warnings)
    }),
    own("artefacts", Kind::Json, "artefacts", "All files beside the document, with every field.", |of| {
        Cell::json(&of.document.artefacts)
    }),
    column("read_at", Kind::Time, "read_at", |of| Cell::time(Some(of.document.read_at))),
    column("worker_version", Kind::Text, "worker.version", |of| Cell::text(&*of.document.worker.version)),
    column("schema", Kind::Text, "schema", |of| Cell::text(&*of.document.schema)),
    column("notice", Kind::Text, "notice", |of| Cell::text(&*of.document.notice)),
    own(
        "document_path",
        Kind::Text,
        "",
        "Where the document lies: below the folder, in the container, or on this machine.",
        |of| Cell::text(of.path),
    ),
    own("document_etag", Kind::Text, "", "The store's mark of the document's version.", |of| {
        Cell::text(of.etag)
    }),
];

fn warning_codes(of: Located<'_>) -> Cell {
    let codes: Vec<&str> = of.document.warnings.iter().map(|warning| &*warning.code).collect();
    if codes.is_empty() { Cell::Null } else { Cell::Text(codes.join(" ")) }
}
