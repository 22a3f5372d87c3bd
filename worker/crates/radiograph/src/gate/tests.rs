use nightread_dicom::Code;
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
        let header = Header { body_part: None, regions: vec![meaning(region)], ..chest() };
        assert_eq!(judge(&header, &GatePolicy::default()), expected, "{region}");
    }
}

fn meaning(text: &str) -> Code {
    Code { value: None, meaning: Some(text.into()) }
}

fn coded(value: &str) -> Code {
    Code { value: Some(value.into()), meaning: None }
}

#[test]
fn a_chest_by_other_names() {
    let with = |part: &str| {
        judge(&Header { body_part: Some(part.to_uppercase()), ..chest() }, &GatePolicy::default())
            .map(|(_, codes)| codes)
    };
    for part in [
        "Chest 2 views",
        "CHEST 2V",
        "CHEST 1V",
        "CHEST TWO VIEWS",
        "CHEST ROUTINE",
        "INFANT CHEST",
        "PEDIATRIC CHEST",
        "CHEST/INFANT",
        "CHEST, PORTABLE",
        "ADULT CHEST PA",
        "XR CHEST 1 VIEW",
        "CHEST X-RAY",
        "Tórax",
        "TÓRAX PA",
        "tórax portátil",
        "Poumons",
        "POUMON",
        "Radiographie du thorax",
        "Thorax de face",
        "Lunge",
        "LUNGEN",
        "Thorax 2 Ebenen",
        "Thorax liegend",
        "BRUSTKORB",
        "Torace",
        "Tórace",
        "Pulmão",
        "Klatka piersiowa",
        "PŁUCA",
        "Hrudník",
        "Göğüs",
        "AKCİĞER",
        "BRÖSTKORG",
        "Грудная клетка",
        "Лёгкие",
        "胸部",
        "胸",
        "흉부",
        "ΘΏΡΑΚΑΣ",
        "CHEST\\LUNG",
        "THORAX\\CHEST",
        "CHEST\\UNKNOWN",
        "CHESTPORT",
    ] {
        assert_eq!(with(part), Ok(vec![]), "{part}");
    }
    for part in ["UNKNOWN", "OTHER", "Default", "UNSPECIFIED", "not specified", "N/A", "UNKNOWN\\OTHER"] {
        assert_eq!(with(part), Ok(vec!["unverified_body_part".to_owned()]), "{part}");
    }
    for part in [
        "CHEST\\ABDOMEN",
        "CHEST AND ABDOMEN",
        "THORACIC SPINE",
        "RIBS",
        "CHEST RIBS",
        "THORAX ABDOMEN",
        "BRUSTWIRBELSÄULE",
        "Main",
        "KNIE",
        "Épaule",
        "ABDOMEN 2 VIEWS",
        "INFANT",
        "2 VIEWS",
        "PORTABLE",
        "BREAST",
        "胸椎",
    ] {
        assert_eq!(with(part), Err(ErrorCode::WrongBodyPart), "{part}");
    }
    for part in [
        "CHEST LATERAL",
        "THORAX SEITLICH",
        "TORAX PERFIL",
        "CHEST DECUBITUS",
        "CHEST LORDOTIC",
        "CHEST OBLIQUE",
    ] {
        assert_eq!(with(part), Err(ErrorCode::WrongView), "{part}");
    }
    assert_eq!(with("CHEST PA AND LAT"), Ok(vec![]));
}

#[test]
fn regions_by_code() {
    let with = |regions: Vec<Code>| {
        let header = Header { body_part: Some("UNKNOWN".into()), regions, ..chest() };
        judge(&header, &GatePolicy::default()).map(|(_, codes)| codes)
    };
    for code in ["51185008", "T-D3000", "816094009", "39607008", "T-28000"] {
        assert_eq!(with(vec![coded(code)]), Ok(vec![]), "{code}");
        let local = Code { meaning: Some("BRUST".into()), ..coded(code) };
        assert_eq!(with(vec![local]), Ok(vec![]), "{code}");
    }
    for code in ["416550000", "R-FAB55", "113197003", "T-11300", "122495006"] {
        assert_eq!(with(vec![coded(code)]), Err(ErrorCode::WrongBodyPart), "{code}");
    }
    assert_eq!(with(vec![coded("T-15460")]), Ok(vec!["unverified_body_part".to_owned()]));
    assert_eq!(with(vec![meaning("CHEST AND ABDOMEN")]), Err(ErrorCode::WrongBodyPart));
    assert_eq!(with(vec![coded("51185008"), meaning("KNEE")]), Err(ErrorCode::WrongBodyPart));
}

#[test]
fn views_by_code_modifier_and_language() {
    let judged = |views: Vec<Code>, view_modifiers: Vec<Code>, position: Option<&str>| {
        let header =
            Header { views, view_modifiers, view_position: position.map(str::to_uppercase), ..chest() };
        judge(&header, &GatePolicy::default())
    };
    for (code, view) in [
        ("R-10214", View::Pa),
        ("R-40888", View::Pa),
        ("272479007", View::Pa),
        ("R-10206", View::Ap),
        ("399348003", View::Ap),
    ] {
        assert_eq!(judged(vec![coded(code)], vec![], None).unwrap().0, Some(view), "{code}");
    }
    for code in [
        "R-10236",
        "399173006",
        "R-10232",
        "399198007",
        "R-102CD",
        "399067008",
        "R-10210",
        "399135007",
        "R-10241",
        "R-102C2",
        "R-10228",
        "260427002",
        "R-10204",
    ] {
        // Whatever the view position says, and as a modifier too.
        for position in [None, Some("PA")] {
            assert_eq!(judged(vec![coded(code)], vec![], position), Err(ErrorCode::WrongView), "{code}");
            assert_eq!(
                judged(vec![coded("R-10214"), coded(code)], vec![], position),
                Err(ErrorCode::WrongView)
            );
        }
        assert_eq!(judged(vec![coded("R-10214")], vec![coded(code)], None), Err(ErrorCode::WrongView));
    }
    for modifier in [
        meaning("LORDOTIC"),
        meaning("APICAL LORDOTIC"),
        meaning("LORDOTISCH"),
        coded("R-10244"),
        coded("399162004"),
        coded("111069"),
        coded("R-40885"),
    ] {
        let refused = judged(vec![coded("R-10214")], vec![modifier.clone()], Some("PA"));
        assert_eq!(refused, Err(ErrorCode::WrongView), "{modifier:?}");
    }
    let plain = judged(vec![coded("R-10214")], vec![meaning("ERECT")], None);
    assert_eq!(plain, Ok((Some(View::Pa), vec![])));
    for text in [
        "Seitlich links",
        "links seitlich",
        "Profil gauche",
        "de profil",
        "Perfil",
        "laterale",
        "LATERALE SX",
        "latéral",
        "Lateralis",
        "Latero-laterale",
        "lateral esquerdo",
        "Boczne",
        "BOČNÍ",
        "Yan",
        "dwars",
        "Oldalirányú",
        "боковая проекция",
        "侧位",
        "側面",
        "측면",
        "L LAT",
        "LATERAL",
        "Schräg",
        "oblicua",
        "Lordotisch",
        "décubitus",
        "oblique",
    ] {
        let text = text.to_uppercase();
        assert_eq!(judged(vec![meaning(&text)], vec![], None), Err(ErrorCode::WrongView), "{text}");
        assert_eq!(judged(vec![], vec![], Some(&text)), Err(ErrorCode::WrongView), "{text}");
    }
    for (text, view) in [
        ("P.A.", Some(View::Pa)),
        ("postéro-antérieur", Some(View::Pa)),
        ("posteroanteriore", Some(View::Pa)),
        ("anteroposterior", Some(View::Ap)),
        ("A-P", Some(View::Ap)),
        ("face", None),
        ("frontal", None),
        ("正位", None),
    ] {
        let judged = judged(vec![meaning(&text.to_uppercase())], vec![], None).unwrap();
        assert_eq!(judged.0, view, "{text}");
        assert!(!judged.1.contains(&"unverified_view".to_owned()), "{text}");
    }
}

#[test]
fn orientations() {
    let with = |orientation: &str, position: Option<&str>| {
        let header = Header {
            patient_orientation: Some(orientation.into()),
            view_position: position.map(str::to_owned),
            ..chest()
        };
        judge(&header, &GatePolicy::default()).map(|(_, codes)| codes.contains(&"image_turned".to_owned()))
    };
    for orientation in
        ["A\\F", "P\\F", "A\\H", "P\\H", "F\\A", "F\\P", "H\\A", "H\\P", "AL\\F", "P\\FL", "FA\\AL"]
    {
        assert_eq!(with(orientation, None), Err(ErrorCode::WrongView), "{orientation}");
        assert_eq!(with(orientation, Some("PA")), Err(ErrorCode::WrongView), "{orientation}");
    }
    for orientation in ["L\\F", "LA\\F", "L\\FP", "LP\\FA", "L", "L\\", ""] {
        assert_eq!(with(orientation, Some("PA")), Ok(false), "{orientation}");
    }
    for orientation in ["R\\F", "L\\H", "R\\H", "F\\L", "F\\R", "H\\L", "RP\\FA", "A\\L", "R", "\\H"] {
        assert_eq!(with(orientation, Some("PA")), Ok(true), "{orientation}");
    }
}

#[test]
fn padding_is_judged_as_the_model_sees_it() {
    for (photometric, padding, warned) in [
        ("MONOCHROME1", 0u16, true),
        ("MONOCHROME1", 2000, true),
        ("MONOCHROME1", 4095, false),
        ("MONOCHROME1", 0xFFFF, false),
        ("MONOCHROME2", 0, false),
        ("MONOCHROME2", 4095, true),
        ("MONOCHROME2", 63, false),
    ] {
        let header = Header {
            photometric: Some(photometric.into()),
            padding: Some(padding),
            bits_stored: Some(12),
            ..chest()
        };
        let codes = judge(&header, &GatePolicy::default()).unwrap().1;
        assert_eq!(codes.contains(&"padding_not_black".to_owned()), warned, "{photometric} {padding}");
    }
}

#[test]
fn views() {
    let with = |view: Option<&str>, meaning: Option<&str>, orientation: Option<&str>| {
        let header = Header {
            view_position: view.map(str::to_owned),
            views: meaning.map(super::tests::meaning).into_iter().collect(),
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
    for orientation in ["L\\F", "R\\F", "A\\L", "A", ""] {
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

/// An image of a view AP, an age of 50 and 20 x 30 pixels, as it was judged under `policy`; and its warnings in order of their codes.
fn judged_under(policy: &GatePolicy) -> (Radiograph, Vec<Warning>) {
    let header = Header {
        modality: None,
        sop_class: None,
        view_position: Some("AP".into()),
        age_years: Some(50.0),
        ..chest()
    };
    let limits = DecodeLimits { max_pixels: 1000, max_inflated_bytes: 1 << 20, min_side: 10 };
    let mut facts = Facts::new(Media::Dicom);
    facts.age_years = header.age_years;
    let mut warnings = Vec::new();
    judge_dicom(&header, policy, &mut facts, &mut warnings).expect("a chest");
    judge_size(20, 30, &limits, policy, &mut warnings).expect("a size");
    let samples = nightread_dicom::Samples::U8(vec![7; 600]);
    let image = Radiograph::new(20, 30, samples, 255, facts, warnings.clone()).expect("sound");
    (image, in_order(warnings))
}

fn in_order(mut warnings: Vec<Warning>) -> Vec<Warning> {
    warnings.sort_by(|a, b| a.code.cmp(&b.code));
    warnings
}

#[test]
fn an_image_judged_for_one_model_is_doubted_for_another_as_if_it_were_judged_for_that() {
    let views = [vec![View::Pa], vec![View::Ap], vec![View::Pa, View::Ap], Vec::new()];
    let ages = [None, Some((0.0, 40.0)), Some((18.0, 90.0)), Some((60.0, 90.0))];
    let sides = [None, Some((10, 40)), Some((25, 40)), Some((10, 25))];
    let policies: Vec<GatePolicy> = views
        .iter()
        .flat_map(|views| ages.iter().map(move |age| (views.clone(), *age)))
        .flat_map(|(views, age)| sides.iter().map(move |side| (views.clone(), age, *side)))
        .map(|(accepted_views, age_years, side_px)| GatePolicy { accepted_views, age_years, side_px })
        .collect();
    for one in &policies {
        let (image, _) = judged_under(one);
        assert_eq!(one.warnings(&image), image.warnings(), "its own, in their order");
        for other in &policies {
            assert_eq!(in_order(other.warnings(&image)), judged_under(other).1, "{other:?} after {one:?}");
        }
    }
}
