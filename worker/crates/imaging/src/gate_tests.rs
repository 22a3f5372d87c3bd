use nightread_domain::media::Media;

use super::*;

fn judge(header: &Header, policy: &GatePolicy) -> Result<(Option<View>, Vec<String>), ErrorCode> {
    let mut facts = Facts::new(Media::Dicom);
    let mut warnings = Vec::new();
    judge_dicom(header, policy, &mut facts, &mut warnings).map_err(|error| error.code)?;
    Ok((facts.view, warnings.into_iter().map(|warning| warning.code).collect()))
}

fn chest() -> Header {
    Header {
        modality: Some("CR".into()),
        body_part: Some("CHEST".into()),
        view_position: Some("PA".into()),
        ..Header::default()
    }
}

#[test]
fn a_plain_chest_passes_without_a_word() {
    assert_eq!(judge(&chest(), &GatePolicy::default()), Ok((Some(View::Pa), vec![])));
}

#[test]
fn modalities() {
    for modality in ["CR", "DX", "DR", "RG"] {
        let header = Header { modality: Some(modality.into()), ..chest() };
        assert!(judge(&header, &GatePolicy::default()).is_ok(), "{modality}");
    }
    for modality in ["CT", "MR", "US", "MG", "OT", "SC", "PX", "XA", "RF", "SEG", "NM", "C R"] {
        let header = Header { modality: Some(modality.into()), ..chest() };
        assert_eq!(judge(&header, &GatePolicy::default()), Err(ErrorCode::WrongModality), "{modality}");
    }
    for (sop_class, expected) in [
        (Some(COMPUTED_RADIOGRAPHY), Ok(vec![])),
        (Some("1.2.840.10008.5.1.4.1.1.1.1"), Ok(vec![])),
        (Some(SECONDARY_CAPTURE), Ok(vec!["unverified_modality".to_owned()])),
        (None, Ok(vec!["unverified_modality".to_owned()])),
        (Some("1.2.840.10008.5.1.4.1.1.2"), Err(ErrorCode::WrongModality)),
    ] {
        let header = Header { modality: None, sop_class: sop_class.map(str::to_owned), ..chest() };
        let codes = judge(&header, &GatePolicy::default()).map(|(_, codes)| codes);
        assert_eq!(codes, expected, "{sop_class:?}");
    }
}

#[test]
fn body_parts() {
    let with = |part: &str| {
        judge(&Header { body_part: Some(part.into()), ..chest() }, &GatePolicy::default())
            .map(|(_, codes)| codes)
    };
    for part in
        ["CHEST", "THORAX", "TORAX", "LUNG", "CHEST PA", "CHEST_AP", "PORT CHEST", "CHEST 1", "CHESTPA"]
    {
        assert_eq!(with(part), Ok(vec![]), "{part}");
    }
    for part in ["EXTREMITY", "ABDOMEN", "TSPINE", "CHESTABDOMEN", "CHEST ABDOMEN", "HAND", "RIB", "1"] {
        assert_eq!(with(part), Err(ErrorCode::WrongBodyPart), "{part}");
    }
    assert_eq!(with("CHEST LAT"), Err(ErrorCode::WrongView));

    let unnamed = Header { body_part: None, ..chest() };
    assert_eq!(
        judge(&unnamed, &GatePolicy::default()),
        Ok((Some(View::Pa), vec!["unverified_body_part".to_owned()]))
    );
    for (region, expected) in [
        ("CHEST", Ok((Some(View::Pa), vec![]))),
        ("ENTIRE THORAX", Ok((Some(View::Pa), vec![]))),
        ("THORACIC SPINE", Err(ErrorCode::WrongBodyPart)),
    ] {
        let header = Header { body_part: None, region_meaning: Some(region.into()), ..chest() };
        assert_eq!(judge(&header, &GatePolicy::default()), expected, "{region}");
    }
}

#[test]
fn views() {
    let with = |view: Option<&str>, meaning: Option<&str>, orientation: Option<&str>| {
        let header = Header {
            view_position: view.map(str::to_owned),
            view_meaning: meaning.map(str::to_owned),
            patient_orientation: orientation.map(str::to_owned),
            ..chest()
        };
        judge(&header, &GatePolicy::default())
    };
    let codes = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>();
    assert_eq!(with(Some("AP"), None, None), Ok((Some(View::Ap), codes(&["view_ap"]))));
    assert_eq!(with(None, Some("POSTERO-ANTERIOR"), None), Ok((Some(View::Pa), vec![])));
    assert_eq!(with(None, Some("ANTERO-POSTERIOR"), None), Ok((Some(View::Ap), codes(&["view_ap"]))));
    assert_eq!(with(None, Some("FRONTAL"), None), Ok((None, vec![])));
    assert_eq!(with(None, None, None), Ok((None, codes(&["unverified_view"]))));
    assert_eq!(with(Some("X 17"), None, Some("L\\F")), Ok((None, codes(&["unverified_view"]))));
    for view in ["LL", "RL", "LAT", "LATERAL", "LLAT", "LLD", "RLD", "LLO", "RAO", "OBLIQUE", "AP LORDOTIC"] {
        assert_eq!(with(Some(view), None, None), Err(ErrorCode::WrongView), "{view}");
    }
    for meaning in ["LEFT LATERAL", "ANTERO-POSTERIOR OBLIQUE", "TANGENTIAL", "LATERAL-MEDIAL"] {
        assert_eq!(with(None, Some(meaning), None), Err(ErrorCode::WrongView), "{meaning}");
    }
    for orientation in ["A\\F", "P\\F", "P\\H"] {
        assert_eq!(with(None, None, Some(orientation)), Err(ErrorCode::WrongView), "{orientation}");
        assert_eq!(with(Some("PA"), None, Some(orientation)), Err(ErrorCode::WrongView), "{orientation}");
    }
    for orientation in ["L\\F", "R\\F", "A\\L", "AL\\F", "A", ""] {
        assert!(with(Some("PA"), None, Some(orientation)).is_ok(), "{orientation}");
    }
}

#[test]
fn the_models_training_decides_the_warnings() {
    let both = GatePolicy { accepted_views: vec![View::Pa, View::Ap], ..GatePolicy::default() };
    let ap = Header { view_position: Some("AP".into()), ..chest() };
    assert_eq!(judge(&ap, &both), Ok((Some(View::Ap), vec![])));
    let only_ap = GatePolicy { accepted_views: vec![View::Ap], ..GatePolicy::default() };
    assert_eq!(judge(&chest(), &only_ap), Ok((Some(View::Pa), vec!["view_pa".to_owned()])));

    let children = GatePolicy { age_years: Some((1.0, 5.0)), ..GatePolicy::default() };
    for (age, warned) in
        [(Some(0.5), true), (Some(1.0), false), (Some(5.0), false), (Some(40.0), true), (None, false)]
    {
        let header = Header { age_years: age, ..chest() };
        let codes = judge(&header, &children).unwrap().1;
        assert_eq!(codes.contains(&"outside_training_age".to_owned()), warned, "{age:?}");
    }
}

#[test]
fn sizes() {
    let limits = DecodeLimits { max_pixels: 1000, max_inflated_bytes: 1 << 20, min_side: 10 };
    let policy = GatePolicy { side_px: Some((20, 40)), ..GatePolicy::default() };
    let judge = |width, height| {
        let mut warnings = Vec::new();
        judge_size(width, height, &limits, &policy, &mut warnings)
            .map(|()| warnings.len())
            .map_err(|error| error.code)
    };
    assert_eq!(judge(20, 40), Ok(0));
    assert_eq!(judge(19, 40), Ok(1));
    assert_eq!(judge(20, 41), Ok(1));
    assert_eq!(judge(9, 40), Err(ErrorCode::TooSmall));
    assert_eq!(judge(0, 40), Err(ErrorCode::HeaderInvalid));
    assert_eq!(judge(65535, 65535), Err(ErrorCode::TooManyPixels));
    assert_eq!(judge(u32::MAX, u32::MAX), Err(ErrorCode::TooManyPixels));
}
