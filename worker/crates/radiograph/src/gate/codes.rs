//! Code values of views and regions: DICOM PS3.16, CID 4010 (DX View), 4011 (DX View Modifier), 4009 and 4031 (anatomic
//! regions), in SNOMED CT and in the SNOMED RT values that older files have. Values of the schemes do not overlap, so the
//! scheme is not asked for.

use super::Reading;
use crate::radiograph::View;

/// What a code of CID 4010 says of the view; `None` for one that is not in it.
pub(super) fn view(code: &str) -> Option<Reading> {
    Some(match code {
        "272479007" | "R-40888" | "R-10214" => Reading::Frontal(Some(View::Pa)),
        "399348003" | "R-10206" => Reading::Frontal(Some(View::Ap)),
        "399033003" | "R-10202" => Reading::Frontal(None),
        _ if VIEWS.iter().any(|(sct, rt, _)| code == *sct || code == *rt) => Reading::Other,
        _ => return None,
    })
}

/// What a code of CID 4010 or 4011 that is not plainly frontal means, for people.
pub(super) fn meaning(code: &str) -> Option<&'static str> {
    let all = VIEWS.iter().chain(MODIFIERS);
    all.filter(|(sct, rt, _)| code == *sct || code == *rt).map(|(.., meaning)| *meaning).next()
}

/// Whether a region's code is the chest or the lungs; `None` for a code that is not known.
pub(super) fn is_chest(code: &str) -> Option<bool> {
    match code {
        // Chest, thorax, thoracic cavity, lungs, entire ones of these.
        "51185008" | "816094009" | "T-D3000" | "302551006" | "43799004" | "T-D3300" | "39607008"
        | "T-28000" | "181216001" | "74101002" | "CHEST" => Some(true),
        // Of CID 4031: what holds the chest and more, or a part of it.
        "416550000" | "R-FAB55" | "416775004" | "R-FAB56" | "417437006" | "R-FAB52" | "416319003"
        | "R-FAB54" | "416152001" | "R-FAB53" | "113197003" | "T-11300" | "56873002" | "T-11210"
        | "122495006" | "T-11502" | "1217257000" | "1217256009" | "86598002" | "T-280A0" => Some(false),
        _ => None,
    }
}

type Entry = (&'static str, &'static str, &'static str);

/// SNOMED CT, SNOMED RT, meaning: views that are not plainly frontal.
const VIEWS: &[Entry] = &[
    ("399160007", "R-10204", "frontal oblique"),
    ("399312000", "R-10208", "antero-posterior oblique"),
    ("399038007", "R-10210", "right posterior oblique"),
    ("399006002", "R-10212", "left posterior oblique"),
    ("399059000", "R-10216", "postero-anterior oblique"),
    ("399356000", "R-40985", "right anterior oblique"),
    ("399356000", "R-10218", "right anterior oblique"),
    ("399135007", "R-10220", "left anterior oblique"),
    ("30730003", "G-A145", "sagittal"),
    ("30730003", "R-10222", "sagittal"),
    ("399260004", "R-10224", "medial-lateral"),
    ("260427002", "R-40783", "lateral oblique"),
    ("399368009", "R-10226", "medio-lateral oblique"),
    ("399352003", "R-10228", "lateral-medial"),
    ("399099002", "R-10230", "latero-medial oblique"),
    ("260426006", "R-40782", "medial oblique"),
    ("399198007", "R-10232", "right lateral"),
    ("399236003", "R-10234", "right oblique"),
    ("399173006", "R-10236", "left lateral"),
    ("399184004", "R-10238", "left oblique"),
    ("399061009", "R-10241", "axial"),
    ("399162004", "R-10242", "cranio-caudal"),
    ("399196006", "R-10244", "caudo-cranial"),
    ("399004004", "R-10246", "oblique axial"),
    ("399288005", "R-10248", "oblique cranio-caudal"),
    ("399225005", "R-10250", "oblique caudo-cranial"),
    ("399132005", "R-10252", "frontal-oblique axial"),
    ("399325008", "R-10254", "sagittal-oblique axial"),
    ("399255003", "R-10256", "submentovertical"),
    ("399360002", "R-10257", "verticosubmental"),
    ("399182000", "R-102C1", "oblique"),
    ("399110001", "R-102C2", "tangential"),
    ("399071006", "R-102C3", "plantodorsal"),
    ("399335002", "R-102C4", "dorsoplantar"),
    ("399272005", "R-102C5", "parietoacanthial"),
    ("399242004", "R-102C6", "acanthioparietal"),
    ("399351005", "R-102C7", "orbitoparietal"),
    ("399316002", "R-102C8", "parieto-orbital"),
    ("399067008", "R-102CD", "lateral"),
    ("119376003", "G-8300", "tissue specimen"),
    ("260499007", "R-40810", "occlusal projection"),
];

/// CID 4011.
const MODIFIERS: &[Entry] = &[
    ("272476000", "R-40885", "transthoracic"),
    ("272466003", "R-4087B", "transforamenal"),
    ("118438002", "G-D00B", "transoral"),
    ("278318001", "R-40554", "transorbital"),
    ("286866000", "R-421A4", "mouth closed"),
    ("111069", "111069", "cross-table"),
];
