//! Findings and measurements of radiographs, components of scans and segments of CT volumes.

use nightread_domain::ResultDocument;
use nightread_domain::result::{
    ArtefactKind, Component, ComponentMap, Finding, Laterality, Measurement, Segment,
};

use crate::cell::{Cell, Kind};
use crate::column::Head;

/// One of them, with its document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub document: &'a ResultDocument,
    pub of: Of<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Of<'a> {
    Finding(&'a Finding),
    Measurement(&'a Measurement),
    Component(&'a Component),
    Segment(&'a Segment),
}

/// What a document was read into, in its order.
pub(crate) fn items(document: &ResultDocument) -> impl Iterator<Item = Item<'_>> {
    let findings = document.findings().iter().map(Of::Finding);
    let components = document.components().iter().map(Of::Component);
    let segments = document.segments().iter().map(Of::Segment);
    let measurements = document.measurements().iter().map(Of::Measurement);
    findings.chain(measurements).chain(components).chain(segments).map(move |of| Item { document, of })
}

/// A column, and how its cell is made.
pub(crate) struct OfItem {
    pub head: Head,
    pub cell: fn(Item<'_>) -> Cell,
}

/// Columns that findings, components and segments share.
pub(crate) const SHARED: &[OfItem] = &[
    column(
        "label",
        Kind::Text,
        "findings[].label",
        "Name of the finding, the measurement or the segment, or label of the component; null where the scan does not cover it.",
        |item| match item.of {
            Of::Finding(finding) => Cell::text(&*finding.label),
            Of::Measurement(measurement) => Cell::text(&*measurement.label),
            Of::Component(component) => Cell::some_text(component.label.as_deref()),
            Of::Segment(segment) => Cell::text(&*segment.label),
        },
    ),
    column(
        "probability",
        Kind::Single,
        "findings[].probability",
        "Of the label: after activation and calibration, in [0, 1]; null of segments and measurements.",
        |item| match item.of {
            Of::Finding(finding) => Cell::single(finding.probability),
            Of::Component(component) => Cell::single(component.probability),
            Of::Segment(_) | Of::Measurement(_) => Cell::Null,
        },
    ),
];

/// Columns of findings besides.
pub(crate) const FINDING: &[OfItem] = &[
    column("logit", Kind::Single, "findings[].logit", "", |item| {
        item.finding().map_or(Cell::Null, |finding| Cell::single(finding.logit))
    }),
    column(
        "threshold",
        Kind::Single,
        "findings[].threshold",
        "From which probability on it is positive.",
        |item| item.finding().map_or(Cell::Null, |finding| Cell::single(finding.threshold)),
    ),
    column("positive", Kind::Flag, "findings[].positive", "", |item| {
        Cell::flag(item.finding().map(|finding| finding.positive))
    }),
    column(
        "heatmap_path",
        Kind::Text,
        "artefacts[].path",
        "Of this finding's heatmap, where one was made.",
        heatmap,
    ),
];

/// Columns of measurements besides.
pub(crate) const MEASUREMENT: &[OfItem] = &[
    column("measurement_value", Kind::Single, "measurements[].value", "", |item| {
        item.measurement().map_or(Cell::Null, |measurement| Cell::single(measurement.value))
    }),
    column("measurement_unit", Kind::Text, "measurements[].unit", "", |item| {
        Cell::some_text(item.measurement().map(|measurement| measurement.unit.as_str()))
    }),
];

/// Columns of components besides.
pub(crate) const COMPONENT: &[OfItem] = &[
    column("component_index", Kind::Integer, "components[].index", "", |item| {
        item.component().map_or(Cell::Null, |component| Cell::integer(component.index))
    }),
    column("component_family", Kind::Text, "components[].family", "", |item| {
        Cell::some_text(item.component().map(|component| component.family.as_str()))
    }),
    column(
        "component_top",
        Kind::Json,
        "components[].top",
        "The most probable labels: a list of `label` and `probability`.",
        |item| item.component().map_or(Cell::Null, |component| Cell::json(&component.top)),
    ),
    column(
        "component_peak_x_mm",
        Kind::Number,
        "components[].map.peak_mni_mm",
        "x of the peak in MNI152.",
        |item| Cell::number(item.map().map(|map| map.peak_mni_mm[0])),
    ),
    column(
        "component_peak_y_mm",
        Kind::Number,
        "components[].map.peak_mni_mm",
        "y of the peak in MNI152.",
        |item| Cell::number(item.map().map(|map| map.peak_mni_mm[1])),
    ),
    column(
        "component_peak_z_mm",
        Kind::Number,
        "components[].map.peak_mni_mm",
        "z of the peak in MNI152.",
        |item| Cell::number(item.map().map(|map| map.peak_mni_mm[2])),
    ),
    column(
        "component_peak_z_score",
        Kind::Number,
        "components[].map.peak_z",
        "Signed z at the peak; null without statistics, with too few degrees of freedom, or where the scan does not cover the component.",
        |item| Cell::number(item.map().and_then(|map| map.peak_z)),
    ),
    column("component_group_correlation", Kind::Number, "components[].map.group_correlation", "", |item| {
        Cell::number(item.map().and_then(|map| map.group_correlation))
    }),
    column("component_peak_at_chance", Kind::Flag, "components[].map.peak_at_chance", "", |item| {
        Cell::flag(item.map().and_then(|map| map.peak_at_chance))
    }),
    column(
        "component_flags",
        Kind::Json,
        "components[].flags",
        "Doubts about this component: a list of texts.",
        |item| item.component().map_or(Cell::Null, |component| Cell::json(&component.flags)),
    ),
];

/// Columns of segments besides.
pub(crate) const SEGMENT: &[OfItem] = &[
    column("segment_value", Kind::Integer, "segments[].value", "Its number in the label map.", |item| {
        item.segment().map_or(Cell::Null, |segment| Cell::integer(segment.value))
    }),
    column("segment_code", Kind::Text, "segments[].code.value", "", |item| {
        Cell::some_text(item.segment().and_then(|segment| Some(segment.code.as_ref()?.value.as_str())))
    }),
    column("segment_code_scheme", Kind::Text, "segments[].code.scheme", "", |item| {
        Cell::some_text(item.segment().and_then(|segment| Some(segment.code.as_ref()?.scheme.as_str())))
    }),
    column("segment_code_meaning", Kind::Text, "segments[].code.meaning", "", |item| {
        Cell::some_text(item.segment().and_then(|segment| Some(segment.code.as_ref()?.meaning.as_str())))
    }),
    column("segment_laterality", Kind::Text, "segments[].laterality", "", |item| {
        Cell::some_text(item.segment().and_then(|segment| segment.laterality).map(Laterality::as_str))
    }),
    column("segment_voxels", Kind::Integer, "segments[].voxels", "0 where it was not found.", |item| {
        item.segment().map_or(Cell::Null, |segment| Cell::integer(segment.voxels))
    }),
    column("segment_volume_ml", Kind::Number, "segments[].volume_ml", "", |item| {
        Cell::number(item.segment().map(|segment| segment.volume_ml))
    }),
    column("segment_mean_hu", Kind::Number, "segments[].mean_hu", "", |item| {
        Cell::number(item.segment().and_then(|segment| segment.mean_hu))
    }),
    column("segment_sd_hu", Kind::Number, "segments[].sd_hu", "", |item| {
        Cell::number(item.segment().and_then(|segment| segment.sd_hu))
    }),
    column(
        "segment_bbox_mm",
        Kind::Json,
        "segments[].bbox_mm",
        "Lowest and highest corner: two lists of right, anterior and superior.",
        |item| {
            item.segment()
                .and_then(|segment| segment.bbox_mm)
                .map_or(Cell::Null, |corners| Cell::json(&corners))
        },
    ),
    column("segment_touches_border", Kind::Flag, "segments[].touches_border", "", |item| {
        Cell::flag(item.segment().map(|segment| segment.touches_border))
    }),
    column("segment_confidence", Kind::Single, "segments[].confidence", "", |item| {
        item.segment().and_then(|segment| segment.confidence).map_or(Cell::Null, Cell::single)
    }),
];

const fn column(
    name: &'static str,
    kind: Kind,
    field: &'static str,
    meaning: &'static str,
    cell: fn(Item<'_>) -> Cell,
) -> OfItem {
    OfItem { head: Head { name, kind, field, meaning }, cell }
}

impl<'a> Item<'a> {
    fn finding(self) -> Option<&'a Finding> {
        match self.of {
            Of::Finding(finding) => Some(finding),
            Of::Component(_) | Of::Segment(_) | Of::Measurement(_) => None,
        }
    }

    fn component(self) -> Option<&'a Component> {
        match self.of {
            Of::Component(component) => Some(component),
            Of::Finding(_) | Of::Segment(_) | Of::Measurement(_) => None,
        }
    }

    fn segment(self) -> Option<&'a Segment> {
        match self.of {
            Of::Segment(segment) => Some(segment),
            Of::Finding(_) | Of::Component(_) | Of::Measurement(_) => None,
        }
    }

    fn measurement(self) -> Option<&'a Measurement> {
        match self.of {
            Of::Measurement(measurement) => Some(measurement),
            Of::Finding(_) | Of::Component(_) | Of::Segment(_) => None,
        }
    }

    fn map(self) -> Option<&'a ComponentMap> {
        self.component().and_then(|component| component.map.as_ref())
    }
}

fn heatmap(item: Item<'_>) -> Cell {
    let Some(finding) = item.finding() else { return Cell::Null };
    let own = Some(finding.label.as_str());
    let mut artefacts = item.document.artefacts.iter();
    let found = artefacts.find(|file| file.kind == ArtefactKind::Heatmap && file.of.as_deref() == own);
    Cell::some_text(found.map(|file| file.path.as_str()))
}
