//! Headers as scanners and archives write them, and documents of what was read of them.

use std::collections::BTreeMap;

use dicom_core::value::PrimitiveValue;
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;
use nightread_archive::{Concept, Scale, SourceInstance};
use nightread_domain::ETag;
use nightread_domain::result::{
    EnsembleFacts, Finding, ModelFacts, NOTICE, Payload, ResultDocument, SCHEMA, Status, StudyFacts,
    StudyKind, WorkerFacts,
};
use nightread_domain::task::Task;
use time::OffsetDateTime;

pub const STUDY: &str = "1.2.826.0.1.3680043.2.1143.1";
pub const SERIES: &str = "1.2.826.0.1.3680043.2.1143.1.1";
pub const INSTANCE: &str = "1.2.826.0.1.3680043.2.1143.1.1.1";
pub const FRAME: &str = "1.2.826.0.1.3680043.2.1143.1.9";

/// A header in the making: values as bytes, in whatever encoding they are.
#[derive(Clone, Debug)]
pub struct Header(BTreeMap<Tag, (VR, Vec<u8>)>);

impl Header {
    pub fn with(mut self, tag: Tag, vr: VR, value: &[u8]) -> Self {
        self.0.insert(tag, (vr, value.to_vec()));
        self
    }

    pub fn without(mut self, tag: Tag) -> Self {
        self.0.remove(&tag);
        self
    }

    pub fn value(&self, tag: Tag) -> &[u8] {
        &self.0[&tag].1
    }

    pub fn file(&self) -> Vec<u8> {
        let elements = self.0.iter().map(|(tag, (vr, value))| {
            let mut value = value.clone();
            if value.len() % 2 == 1 {
                value.push(if *vr == VR::UI { 0 } else { b' ' });
            }
            if *vr == VR::DS {
                return DataElement::new(
                    *tag,
                    *vr,
                    PrimitiveValue::from(String::from_utf8_lossy(&value).into_owned()),
                );
            }
            DataElement::new(*tag, *vr, PrimitiveValue::U8(value.into()))
        });
        let object = InMemDicomObject::from_element_iter(elements);
        let mut bytes = vec![0; 128];
        bytes.extend_from_slice(b"DICM");
        let mut meta = Vec::new();
        let syntax = b"1.2.840.10008.1.2.1\0";
        meta.extend_from_slice(&[0x02, 0, 0x10, 0, b'U', b'I', syntax.len() as u8, 0]);
        meta.extend_from_slice(syntax);
        bytes.extend_from_slice(&meta);
        object.write_dataset_with_ts(&mut bytes, &EXPLICIT_VR_LITTLE_ENDIAN.erased()).expect("a data set");
        bytes
    }

    pub fn source(&self) -> SourceInstance {
        SourceInstance::open(&self.file(), 1 << 20).expect("a source")
    }

    /// Of the series whose slice this is.
    pub fn source_of_series(&self) -> SourceInstance {
        SourceInstance::of_series(&self.file(), 1 << 20).expect("a source")
    }
}

/// An ordinary chest X-ray of computed radiography.
pub fn cr() -> Header {
    let header = Header(BTreeMap::new())
        .with(tags::SPECIFIC_CHARACTER_SET, VR::CS, b"ISO_IR 100")
        .with(tags::SOP_CLASS_UID, VR::UI, uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE.as_bytes())
        .with(tags::SOP_INSTANCE_UID, VR::UI, INSTANCE.as_bytes())
        .with(tags::STUDY_DATE, VR::DA, b"20260102")
        .with(tags::STUDY_TIME, VR::TM, b"101112")
        .with(tags::ACCESSION_NUMBER, VR::SH, b"A-17")
        .with(tags::MODALITY, VR::CS, b"CR")
        .with(tags::MANUFACTURER, VR::LO, b"Maker of devices")
        .with(tags::REFERRING_PHYSICIAN_NAME, VR::PN, b"M\xFCller^J\xFCrgen")
        .with(tags::STUDY_DESCRIPTION, VR::LO, b"THORAX")
        .with(tags::PATIENT_NAME, VR::PN, b"Garc\xEDa^Jos\xE9")
        .with(tags::PATIENT_ID, VR::LO, b"P1")
        .with(tags::PATIENT_BIRTH_DATE, VR::DA, b"19600102")
        .with(tags::PATIENT_SEX, VR::CS, b"M")
        .with(tags::PATIENT_COMMENTS, VR::LT, b"a secret")
        .with(tags::PATIENT_ADDRESS, VR::LO, b"a street");
    header
        .with(tags::STUDY_INSTANCE_UID, VR::UI, STUDY.as_bytes())
        .with(tags::SERIES_INSTANCE_UID, VR::UI, SERIES.as_bytes())
        .with(tags::STUDY_ID, VR::SH, b"S1")
}

pub fn dx() -> Header {
    cr().with(tags::SOP_CLASS_UID, VR::UI, uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION.as_bytes())
        .with(tags::MODALITY, VR::CS, b"DX")
        .with(tags::SPECIFIC_CHARACTER_SET, VR::CS, b"ISO_IR 192")
        .with(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "Ñandú^Zoë".as_bytes())
        .with(tags::PATIENT_NAME, VR::PN, "Łukasz^Ågot".as_bytes())
        .with(tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, b"-0430")
}

pub fn ct() -> Header {
    cr().with(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE.as_bytes())
        .with(tags::MODALITY, VR::CS, b"CT")
        .with(tags::FRAME_OF_REFERENCE_UID, VR::UI, FRAME.as_bytes())
        .with(tags::POSITION_REFERENCE_INDICATOR, VR::LO, b"SN")
}

/// Every kind of radiograph's header that a report must be written for, by name.
pub fn radiographs() -> Vec<(&'static str, Header)> {
    let mut all = vec![("cr", cr()), ("dx", dx())];
    all.extend(people(
        &cr(),
        ["japanese", "korean", "chinese", "unnamed", "unknown", "no_birth_date", "bare"],
    ));
    // As the public RG1 has it.
    all.push(("no_spacing", cr().with(tags::PIXEL_SPACING, VR::DS, b"0\\0")));
    all
}

/// Every kind of a slice's header that speaks for a CT series, by name.
pub fn series() -> Vec<(&'static str, Header)> {
    let names =
        ["ct_japanese", "ct_korean", "ct_chinese", "ct_unnamed", "ct_unknown", "ct_no_birth_date", "ct_bare"];
    let mut all = people(&ct(), names);
    let utf8 = ct()
        .with(tags::SPECIFIC_CHARACTER_SET, VR::CS, b"ISO_IR 192")
        .with(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "Ñandú^Zoë".as_bytes())
        .with(tags::PATIENT_NAME, VR::PN, "Łukasz^Ågot".as_bytes());
    all.extend([("ct", ct()), ("ct_utf8", utf8)]);
    all
}

/// Headers that say otherwise whose image it is: in three scripts, in an encoding that nobody names or knows, without a birth date,
/// without nearly everything.
fn people(image: &Header, names: [&'static str; 7]) -> Vec<(&'static str, Header)> {
    let jis = b"Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B";
    let korean =
        b"Hong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7=\x1B$)C\xC8\xAB^\x1B$)C\xB1\xE6\xB5\xBF";
    let named = |charset: &[u8], name: &[u8]| {
        image
            .clone()
            .with(tags::SPECIFIC_CHARACTER_SET, VR::CS, charset)
            .with(tags::REFERRING_PHYSICIAN_NAME, VR::PN, b"")
            .with(tags::PATIENT_NAME, VR::PN, name)
    };
    let headers = [
        named(b"\\ISO 2022 IR 87", jis),
        named(b"\\ISO 2022 IR 149", korean),
        named(b"GB18030", b"Wang^XiaoDong=\xCD\xF5^\xD0\xA1\xB6\xAB"),
        // Latin-1 that nobody names.
        image.clone().without(tags::SPECIFIC_CHARACTER_SET),
        image.clone().with(tags::SPECIFIC_CHARACTER_SET, VR::CS, b"LATIN1"),
        image.clone().without(tags::PATIENT_BIRTH_DATE).without(tags::PATIENT_SEX),
        image
            .clone()
            .without(tags::SPECIFIC_CHARACTER_SET)
            .without(tags::PATIENT_NAME)
            .without(tags::PATIENT_ID)
            .without(tags::REFERRING_PHYSICIAN_NAME)
            .without(tags::STUDY_DATE)
            .without(tags::STUDY_TIME)
            .without(tags::ACCESSION_NUMBER)
            .without(tags::STUDY_ID),
    ];
    names.into_iter().zip(headers).collect()
}

pub fn finding(label: &str, probability: f32, threshold: f32) -> Finding {
    Finding {
        label: label.to_owned(),
        logit: (probability / (1.0 - probability)).ln(),
        probability,
        threshold,
        positive: probability >= threshold,
    }
}

pub fn document(findings: Vec<Finding>) -> ResultDocument {
    ResultDocument {
        schema: SCHEMA.to_owned(),
        status: Status::Ok,
        notice: NOTICE.to_owned(),
        task: Task::Radiograph,
        study: StudyFacts {
            kind: StudyKind::Blob,
            container: "images".to_owned(),
            name: "a.dcm".to_owned(),
            version: Some(ETag("0x1".to_owned())),
            last_modified: None,
            bytes: Some(1),
            sha256: Some("cd".repeat(32)),
            media: None,
        },
        model: ModelFacts {
            name: "cxr-demo".to_owned(),
            version: "1.0.1".to_owned(),
            precision: "fp32".to_owned(),
            weights_sha256: "ab".repeat(32),
            manifest_sha256: Some("ef".repeat(32)),
            execution_provider: "cpu".to_owned(),
            preprocessing: "xrv-1".to_owned(),
            ensemble: None,
        },
        input: BTreeMap::new(),
        payload: Some(Payload::Findings { findings, measurements: Vec::new() }),
        artefacts: Vec::new(),
        warnings: Vec::new(),
        timing_ms: BTreeMap::from([("total".to_owned(), 1.0)]),
        worker: WorkerFacts { version: "0.1.0".to_owned() },
        read_at: OffsetDateTime::from_unix_timestamp(1_790_000_000).expect("a moment"),
        error: None,
    }
}

/// Three labels, of which two are positive, and one has a code.
pub fn usual() -> ResultDocument {
    document(vec![
        finding("Pneumonia", 0.977_21, 0.158_237),
        finding("Aortic Atheromatosis", 0.5, 0.5),
        finding("Effusion", 0.08, 0.5),
    ])
}

pub fn codes() -> Vec<(String, Concept)> {
    let code = |value: &str, meaning: &str| Concept {
        value: value.to_owned(),
        scheme: "SCT".to_owned(),
        meaning: meaning.to_owned(),
    };
    vec![
        ("Pneumonia".to_owned(), code("233604007", "Pneumonia")),
        ("Effusion".to_owned(), code("60046008", "Pleural effusion")),
    ]
}

/// A finding, and grades in order of which an image has one.
pub fn graded() -> ResultDocument {
    document(vec![
        finding("Pneumonia", 0.977_21, 0.158_237),
        finding("none", 0.831, 0.5),
        finding("mild", 0.119, 0.5),
        finding("severe", 0.05, 0.5),
    ])
}

pub fn scales() -> [Scale; 1] {
    let grades = ["none", "mild", "severe"].map(str::to_owned).to_vec();
    [Scale { name: Some("Oedema grade".to_owned()), grades }]
}

/// What two of three networks find.
pub fn voted() -> ResultDocument {
    let mut document = document(vec![finding("Pneumonia", 2.0 / 3.0, 0.5)]);
    document.model.ensemble = Some(EnsembleFacts { combine: "vote".to_owned(), members: Vec::new() });
    document
}

/// A small RGB picture.
pub fn png(shade: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 5, 3);
    encoder.set_color(png::ColorType::Rgb);
    let pixels: Vec<u8> = (0..45).map(|n| n * 5 + shade % 5).collect();
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels)).expect("a PNG");
    bytes
}
