//! The words of many languages for a chest and for the views of one.
//!
//! Words come upper-case and decoded; accents are taken off before they are looked up. A word that is not here means nothing:
//! a body part of unknown words is refused, a view of unknown words is unverified.

/// The words of a header's text, without accents.
pub(super) fn words(text: &str) -> Vec<String> {
    let folded: String = text.chars().flat_map(char::to_uppercase).filter_map(fold).collect();
    folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Whether a list of words holds this one.
fn is_in(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|each| each == word)
}

/// One letter without its accent; `None` for an accent of its own.
fn fold(c: char) -> Option<char> {
    Some(match c {
        '\u{300}'..='\u{36F}' => return None,
        'À'..='Å' | 'Ā' | 'Ă' | 'Ą' => 'A',
        'Ά' => 'Α',
        'Ç' | 'Ć' | 'Ĉ' | 'Ċ' | 'Č' => 'C',
        'Ď' | 'Đ' => 'D',
        'È'..='Ë' | 'Ē'..='Ě' => 'E',
        'Ĝ' | 'Ğ' | 'Ġ' | 'Ģ' => 'G',
        'Ì'..='Ï' | 'Ĩ' | 'Ī' | 'Ĭ' | 'Į' | 'İ' => 'I',
        'Ĺ' | 'Ļ' | 'Ľ' | 'Ł' => 'L',
        'Ñ' | 'Ń' | 'Ņ' | 'Ň' => 'N',
        'Ò'..='Ö' | 'Ø' | 'Ō' | 'Ŏ' | 'Ő' => 'O',
        'Ŕ' | 'Ŗ' | 'Ř' => 'R',
        'Ś' | 'Ŝ' | 'Ş' | 'Š' | 'Ș' => 'S',
        'Ţ' | 'Ť' | 'Ț' => 'T',
        'Ù'..='Ü' | 'Ũ' | 'Ū' | 'Ŭ' | 'Ů' | 'Ű' | 'Ų' => 'U',
        'Ý' | 'Ÿ' => 'Y',
        'Ź' | 'Ż' | 'Ž' => 'Z',
        'Ё' => 'Е',
        'Ώ' => 'Ω',
        other => other,
    })
}

/// Whether the words name a chest and nothing else: one name of it, and qualifiers.
pub(super) fn is_chest(text: &str) -> bool {
    let words = words(text);
    let compact = words.concat();
    let rest: Vec<&str> = words.iter().map(String::as_str).filter(|word| !is_qualifier(word)).collect();
    let named = !rest.is_empty()
        && (NAMES_OF_WORDS.contains(&rest.join(" ").as_str()) || rest.iter().all(|word| is_in(NAMES, word)));
    named || is_in(COMPACT, &compact)
}

/// The chest or the lungs, as a whole name.
const NAMES: &str = "\
    CHEST CHESTS THORAX TORAX CXR LUNG LUNGS PULMONARY HEMITHORAX LUNGE LUNGEN BRUSTKORB BETTLUNGE BETTTHORAX \
    LUNGENAUFNAHME THORAXAUFNAHME BORSTKAS LONGEN LUNGOR LUNGER LUNGORNA BROSTKORG BRYSTKASSE RONTGENTHORAX \
    KEUHKOT RINTAKEHA THORAKS TORAKS POUMON POUMONS POITRINE PULMON PULMONES PECHO PULMAO PULMOES POLMONE POLMONI \
    TORACE TORACIS TELETORAX TELETORACE PLAMANI KLP PLUCA HRUDNIK PLICE PLUCE PLJUCA MELLKAS TUDO GOGUS AKCIGER \
    AKCIGERLER DADA PARU NGUC PHOI KRUSKURVIS ГРУДЬ ГРУДНАЯ ОГК ЛЕГКИЕ ЛЕГКИХ ЛЕГЕНІ ΘΩΡΑΚΑΣ ΘΩΡΑΚΟΣ ΠΝΕΥΜΟΝΕΣ 胸 \
    胸部 胸廓 肺 肺部 胸部正位 胸正位 胸片 흉부 가슴 폐 ทรวงอก ปอด صدر الصدر חזה \
    ";
const NAMES_OF_WORDS: &[&str] = &[
    "THORACIC CAGE",
    "THORACIC CAVITY",
    "CAGE THORACIQUE",
    "CUTIE TORACICA",
    "KLATKA PIERSIOWA",
    "GRUDNI KOS",
    "PLUCNE KRIDLA",
    "KRUTINES LASTA",
    "ГРУДНАЯ КЛЕТКА",
    "ГРУДНАЯ ПОЛОСТЬ",
    "ОРГАНЫ ГРУДНОЙ КЛЕТКИ",
    "ГРУДНА КЛІТКА",
    "ГРЪДЕН КОШ",
    "БЕЛИ ДРОБОВЕ",
    "בית חזה",
];

/// Names run together with their qualifiers.
const COMPACT: &str = "\
    CHESTPA CHESTAP PACHEST APCHEST CHESTPORT PORTCHEST PORTABLECHEST CHESTPORTABLE CHESTXRAY XRAYCHEST XRCHEST \
    THORAXPA THORAXAP TORAXPA TORAXAP CHESTFRONTAL \
    ";

/// What may stand beside a name: "CHEST ABDOMEN" is another examination, so every further word must be one of these.
fn is_qualifier(word: &str) -> bool {
    const QUALIFIERS: &str = "\
        PA AP FRONTAL FRONT FACE FRENTE VIEW VIEWS VW VWS PROJECTION PROJECTIONS IMAGE FILM ROUTINE STANDARD STD BASIC \
        GENERAL SINGLE ONE TWO DUAL BOTH COMPLETE LIMITED FOLLOWUP FU REPEAT SCREENING SCREEN PREOP POSTOP CHECKUP \
        PORT PORTABLE MOBILE BEDSIDE BED ICU CCU NICU PICU ER ED TRAUMA WARD UPRIGHT ERECT STANDING SITTING SUPINE \
        RECUMBENT SEMIERECT SEMI STAND TABLE BUCKY GRID INFANT INFANTS NEWBORN NEONATE NEONATAL BABY CHILD CHILDREN \
        PEDIATRIC PAEDIATRIC PEDS PED PAED PEDI TODDLER ADULT ADULTS TEEN MALE FEMALE LARGE SMALL MEDIUM OBESE \
        INSPIRATION EXPIRATION INSP EXP INSPIRATORY EXPIRATORY XR CR DX DR RAY RAYS XRAY XRAYS RX RTG RADIOGRAPH \
        RADIOGRAPHY RADIOGRAPHIE RADIOGRAFIA RONTGEN HIGH KV LOW DOSE HARD SOFT AND OF THE WITH IN ON FOR TO OR ENTIRE \
        WHOLE STRUCTURE DE DES DU LA LE LES DEL DELLA DO DA ET Y E UND IM EN I EBENEN EBENE LIEGEND STEHEND SITZEND \
        BETT AUFNAHME KIND KINDER SAUGLING UBERSICHT DEBOUT COUCHE LIT ENFANT INCIDENCES INCIDENCE PIE DECUBITO \
        PORTATIL NINO INFANTIL PROYECCIONES LETTO PROIEZIONI BAMBINO LIGGEND LIGGANDE STAANDE STAENDE BARN KLATKI \
        PIERSIOWEJ ПРЯМАЯ 正位 后前位 正面 後前 \
        ";
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    // "2", "2V", "2VIEWS".
    let counted = digits > 0
        && matches!(&word[digits..], "" | "V" | "VW" | "VIEW" | "VIEWS" | "W" | "F" | "E" | "P" | "PROJ");
    is_in(QUALIFIERS, word) || word.chars().count() == 1 && word.is_ascii() || counted || is_other_view(word)
}

/// Whether a code's meaning is that of a chest. It is prose ("Entire thorax"), so one word of it decides, unless another says
/// that there is more in the image, or only a part of the chest.
pub(super) fn means_chest(meaning: &str) -> bool {
    const MORE: &str = "\
        ABDOMEN PELVIS NECK HEAD SPINE VERTEBRA VERTEBRAE RIB RIBS STERNUM WALL APEX JOINT \
        ";
    let words = words(meaning);
    let [is_named, is_more] = [NAMES, MORE].map(|names| words.iter().any(|word| is_in(names, word)));
    is_chest(meaning) || is_named && !is_more
}

/// Whether one of the words is one of these.
pub(super) fn has(words: &[String], names: &[&str]) -> bool {
    words.iter().any(|word| names.contains(&word.as_str()))
}

/// A frontal view, in a word.
pub(super) fn is_frontal(word: &str) -> bool {
    const NAMES: &str = "\
        PA AP FRONTAL FRONTALE FRONTALNA FRONTALNY FRONT FACE FRENTE FRONTALI PRZEDNIA PREDOZADNI ZADOPREDNI ПРЯМАЯ \
        ФРОНТАЛЬНАЯ 正位 正面 后前位 前后位 後前 前後 정면 \
        ";
    is_in(NAMES, word)
}

/// Words that say no more than that nobody said anything.
pub(super) fn is_unknown(text: &str) -> bool {
    const NOTHING: &str = "\
        UNKNOWN OTHER OTHERS DEFAULT NONE UNDEFINED UNSPECIFIED NA NIL NULL MISC ANY EMPTY GENERAL VARIOUS \
        NOTSPECIFIED NOTDEFINED UNBEKANNT ANDERE INCONNU AUTRE AUTRES DESCONOCIDO OTRO OTROS OUTRO OUTROS ALTRO \
        SCONOSCIUTO UNK BODYPART BODY \
        ";
    is_in(NOTHING, &words(text).concat())
}

/// A side view, in a word.
fn is_lateral(word: &str) -> bool {
    const NAMES: &str = "\
        LL RL LAT LATS LLAT RLAT LATL LATR LTLAT RTLAT LATLT LATRT SINISTROLATERAL DEXTROLATERAL CROSSTABLE XTABLE \
        SEIT SEITE SEITL SEITLICH SEITLICHE SEITENAUFNAHME SEITBILD PROFIELOPNAME DWARS DWARSE ZIJDELINGS ZIJDELINGSE \
        SIDOBILD SIDBILD SIDO SIDEBILLEDE SIDEBILDE SIDEOPTAGELSE SIVU SIVUKUVA SIVUSUUNTA PROFIL PROFILE PROFILS \
        PERFIL PERFIS PROFILO LATEROLATERAL LATEROLATERALE COSTADO COTE BOCZNE BOCZNA BOCZNY BOK BOKIEM BOCNI BOCNY \
        BOCNA BOCNO PROFILNI PROFILNA OLDALIRANYU OLDAL OLDALFELVETEL YAN NGHIENG SONINIS БОК БОКОВАЯ БОКОВОЙ БОКОВОЕ \
        БОКОВАЯПРОЕКЦИЯ БІЧНА БОКОВА ПРОФИЛНА ΠΛΑΓΙΑ ΠΡΟΦΙΛ 侧位 側位 侧面 側面 左侧位 右侧位 左側位 右側位 左側面 右側面 胸部侧位 胸部側面 胸侧位 측면 측면상 \
        جانبي جانبية צד צידי \
        ";
    // LATERAL, LATERALE, LATERALIS, LATEROMEDIAL and the like of most languages.
    is_in(NAMES, word)
        || word.starts_with("LATER")
        || word.ends_with("LATERAL") && word != "BILATERAL" && word != "UNILATERAL"
}

/// Whether these words name another view than a plain frontal one.
pub(super) fn are_other_view(words: &[String]) -> bool {
    // In the Romance languages every lying is a decubitus: on the back it is a frontal view.
    let on_the_back = words.iter().any(|word| ["SUPIN", "DORSAL"].iter().any(|stem| word.starts_with(stem)));
    words.iter().any(|word| is_other_view(word) && !(on_the_back && word.starts_with("DECUBIT")))
}

/// Another view than a plain frontal one, in a word.
fn is_other_view(word: &str) -> bool {
    const NAMES: &str = "\
        LLO RLO LAO RAO LPO RPO OBL LLD RLD DECUB DECUBITUS DECUBITO APICAL APICALE APICES AXIAL AXIALE TANGENTIAL \
        TANGENTIELL TANGENZIALE SAGITTAL SAGITTALE SAGITAL TAN XTL SCHRAG SCHRAEG SCHRAGE SKRA SKOS SKOSNE SIKMA \
        APICOLORDOTIC TRANSTHORACIC TRANSORAL TRANSORBITAL TRANSFORAMENAL CEPHALAD CAUDAD КОСАЯ 斜位 사위 SPITZENAUFNAHME \
        ";
    is_lateral(word)
        || is_in(NAMES, word)
        || ["OBLIQ", "OBLIC", "OBLIK", "LORDO", "DECUBIT"].iter().any(|stem| word.starts_with(stem))
        || word.contains("LORDOTI")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_do_not_matter() {
        assert_eq!(words("Tórax"), ["TORAX"]);
        assert_eq!(words("To\u{301}rax"), ["TORAX"]);
        assert_eq!(words("göğüs; PŁUCA/hrudník"), ["GOGUS", "PLUCA", "HRUDNIK"]);
    }

    #[test]
    fn each_word_stands_in_its_list_in_the_form_it_is_looked_up_in() {
        for name in NAMES.split_whitespace().chain(NAMES_OF_WORDS.iter().copied()) {
            assert_eq!(words(name).join(" "), name);
            assert!(is_chest(name), "{name}");
        }
    }
}
