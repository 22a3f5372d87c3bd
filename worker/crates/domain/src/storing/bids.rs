//! Names of BIDS derivatives: what lies beside the document of a scan that has a BIDS name itself.
//!
//! `sub-01_task-rest_space-MNI152NLin2009cAsym_res-2_desc-preproc_bold.nii.gz` read with the model `fmri-networks-demo` gives
//! `sub-01_task-rest_space-MNI152NLin2009cAsym_seg-fmrinetworksdemo_stat-z_desc-preproc0123456789abcdef_statmap.nii.gz`.
//!
//! Entities stand in BIDS's order. `res` and `den` are left out, because maps are on the grid of the model. `desc` keeps the
//! scan's own and ends with the first 16 digits of its SHA-256, so that a name belongs to one version of the scan.

/// Entities that are told anew, or that what is derived has not.
const LEFT_OUT: [&str; 6] = ["res", "den", "seg", "atlas", "stat", "desc"];

/// The last part of a derivative's name: `stat` where it has one, the suffix, and the extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BidsName {
    pub stat: Option<&'static str>,
    pub suffix: &'static str,
    pub extension: &'static str,
}

impl BidsName {
    /// The file name of what is derived from the scan `file`; `None` where that is no BIDS name of a scan.
    pub fn of(self, file: &str, model: &str, digest: &str) -> Option<String> {
        let entities = entities(file)?;
        let kept = entities.iter().filter(|(key, _)| !LEFT_OUT.contains(key));
        let mut parts: Vec<String> = kept.map(|(key, value)| format!("{key}-{value}")).collect();
        let label: String = model.chars().filter(char::is_ascii_alphanumeric).collect();
        parts.push(format!("seg-{label}"));
        parts.extend(self.stat.map(|stat| format!("stat-{stat}")));
        let desc = entities.iter().find(|(key, _)| *key == "desc").map_or("", |(_, value)| value);
        parts.push(format!("desc-{desc}{digest}"));
        parts.push(format!("{}.{}", self.suffix, self.extension));
        Some(parts.join("_"))
    }
}

/// Keys and values of a scan's BIDS name, in their order: it begins with `sub`, ends in `bold`, and all between are
/// `key-value` of letters and digits.
fn entities(file: &str) -> Option<Vec<(&str, &str)>> {
    let stem = file.strip_suffix(".nii.gz").or_else(|| file.strip_suffix(".nii"))?;
    let (entities, suffix) = stem.rsplit_once('_')?;
    if suffix != "bold" {
        return None;
    }
    let entities: Option<Vec<(&str, &str)>> = entities
        .split('_')
        .map(|entity| entity.split_once('-').filter(|(key, value)| is_word(key) && is_word(value)))
        .collect();
    entities.filter(|entities| entities.first().is_some_and(|(key, _)| *key == "sub"))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    const Z: BidsName = BidsName { stat: Some("z"), suffix: "statmap", extension: "nii.gz" };

    #[test]
    fn derivatives_of_bids_scans_have_bids_names() {
        let digest = "0123456789abcdef";
        let name = |file: &str| Z.of(file, "fmri-networks-demo", digest);
        assert_eq!(
            name("sub-01_ses-a_task-rest_run-2_space-MNI152NLin6Asym_res-2_desc-preproc_bold.nii.gz")
                .as_deref(),
            Some(
                "sub-01_ses-a_task-rest_run-2_space-MNI152NLin6Asym_seg-fmrinetworksdemo_stat-z_\
                 desc-preproc0123456789abcdef_statmap.nii.gz"
            )
        );
        let courses = BidsName { stat: None, suffix: "timeseries", extension: "tsv" };
        assert_eq!(
            courses.of("sub-01_task-rest_bold.nii", "m", digest).as_deref(),
            Some("sub-01_task-rest_seg-m_desc-0123456789abcdef_timeseries.tsv")
        );
        for other in [
            "scan.nii.gz",
            "sub-01_task-rest_T1w.nii.gz",
            "task-rest_sub-01_bold.nii.gz",
            "sub-01_rest_bold.nii.gz",
            "sub-_task-rest_bold.nii.gz",
            "sub-01_task-re/st_bold.nii.gz",
            "sub-01_task-rest_bold.json",
            "bold.nii.gz",
            "",
        ] {
            assert_eq!(name(other), None, "{other}");
        }
    }
}
