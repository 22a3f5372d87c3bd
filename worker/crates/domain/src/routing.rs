//! Which models read which blob: rules over container, prefix and what the bytes are.

use crate::blob::BlobRef;
use crate::error::{ErrorCode, JobError, Stage};
use crate::media::Media;
use crate::study::Study;
use crate::task::Task;

/// One rule; the first that fits wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `None` fits every allowed container.
    pub container: Option<String>,
    /// Start of the blob name; empty fits all.
    pub prefix: String,
    pub task: Task,
    /// Never empty, each once: all of them read it, in this order.
    pub models: Vec<String>,
    /// Its blobs are instances of series, which are read as wholes.
    pub instances: bool,
}

/// The ordered rules of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    pub rules: Vec<Rule>,
}

impl Routing {
    /// The models for a study whose bytes were sniffed.
    ///
    /// # Errors
    /// `no_route` when no rule fits what its bytes are.
    pub fn route(&self, study: &Study, media: Media) -> Result<&[String], JobError> {
        let kind = study.kind();
        let rule = self.matching(study.name()).find(|rule| rule.task.takes(kind, media));
        rule.map(|rule| rule.models.as_slice()).ok_or_else(|| {
            let studies = Task::that_takes(kind, media).studies();
            let hint = match media {
                Media::Zip | Media::Tar | Media::TarGz => {
                    "; an archive is read as the DICOM files of one CT series: send other files one by one"
                }
                _ => "",
            };
            let text = format!("no model is configured for {studies} here{hint}");
            JobError::new(Stage::Decode, ErrorCode::NoRoute, text)
        })
    }

    /// The models under whose names a failure is written when the bytes never told what they are; none without a rule.
    pub fn fallback(&self, blob: &BlobRef) -> &[String] {
        self.matching(blob).next().map_or(&[], |rule| &rule.models)
    }

    /// The models of each rule that could be meant for a blob whose bytes are not known yet.
    pub fn alternatives(&self, blob: &BlobRef) -> Vec<&[String]> {
        self.matching(blob).map(|rule| rule.models.as_slice()).collect()
    }

    /// Every model that could be meant for such a blob, without repetition.
    pub fn candidates(&self, blob: &BlobRef) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for model in self.matching(blob).flat_map(|rule| &rule.models) {
            if !names.contains(&model.as_str()) {
                names.push(model);
            }
        }
        names
    }

    /// Every model that a rule names, with repetitions.
    pub fn models(&self) -> impl Iterator<Item = &String> {
        self.rules.iter().flat_map(|rule| &rule.models)
    }

    /// The first rule that carries this blob as an instance of a series.
    pub fn of_instances(&self, blob: &BlobRef) -> Option<&Rule> {
        self.matching(blob).find(|rule| rule.instances)
    }

    fn matching<'s, 'b>(&'s self, blob: &'b BlobRef) -> impl Iterator<Item = &'s Rule> + use<'s, 'b> {
        self.rules.iter().filter(|rule| {
            rule.container.as_deref().is_none_or(|container| container == blob.container())
                && blob.name().starts_with(&rule.prefix)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::ETag;
    use crate::study::{Member, Series};

    fn rule(container: Option<&str>, prefix: &str, task: Task, model: &str) -> Rule {
        Rule {
            container: container.map(str::to_owned),
            prefix: prefix.to_owned(),
            task,
            models: vec![model.to_owned()],
            instances: false,
        }
    }

    fn blob(text: &str) -> BlobRef {
        BlobRef::parse(text).expect("a sound name")
    }

    fn routed(routing: &Routing, name: &str, media: Media) -> String {
        routing.route(&Study::from(blob(name)), media).expect("routed").join(" ")
    }

    #[test]
    fn the_first_fitting_rule_wins() {
        let routing = Routing {
            rules: vec![
                rule(Some("incoming"), "ward/", Task::Radiograph, "a"),
                rule(None, "", Task::Radiograph, "b"),
                rule(None, "", Task::Components, "c"),
            ],
        };
        assert_eq!(routed(&routing, "incoming/ward/x", Media::Png), "a");
        assert_eq!(routed(&routing, "incoming/other", Media::Png), "b");
        assert_eq!(routed(&routing, "incoming/ward/x", Media::Nifti), "c");
        assert_eq!(routing.fallback(&blob("other/x")), ["b"]);
        let other = Study::from(blob("other/x"));
        let refused = Routing::default().route(&other, Media::Nifti).expect_err("no rules");
        assert_eq!(refused.code, ErrorCode::NoRoute);
    }

    #[test]
    fn a_rule_names_all_models_that_are_to_read() {
        let both = Rule {
            models: vec!["a".to_owned(), "b".to_owned()],
            ..rule(Some("incoming"), "", Task::Radiograph, "a")
        };
        let routing = Routing { rules: vec![both, rule(None, "", Task::Radiograph, "b")] };
        let study = blob("incoming/x");
        assert_eq!(routed(&routing, "incoming/x", Media::Png), "a b");
        assert_eq!(routing.fallback(&study), ["a", "b"]);
        assert_eq!(routing.candidates(&study), ["a", "b"], "each once");
        assert_eq!(routing.alternatives(&study), [&["a".to_owned(), "b".to_owned()][..], &["b".to_owned()]]);
        assert!(
            routing.alternatives(&blob("other/x")).len() == 1
                && Routing::default().fallback(&study).is_empty()
        );
    }

    #[test]
    fn a_series_is_a_ct_volume_and_a_file_of_one_slice_is_a_radiograph() {
        let rules = Task::ALL.map(|task| rule(None, "", task, task.as_str())).to_vec();
        let routing = Routing { rules };
        let one = Member { blob: blob("incoming/1.dcm"), etag: ETag("1".to_owned()) };
        let series = Study::Series(Series::new(blob("incoming/ct"), vec![one]).expect("a series"));
        assert_eq!(routing.route(&series, Media::Dicom).expect("routed"), ["segmentation"]);
        assert_eq!(routed(&routing, "incoming/1.dcm", Media::Dicom), "radiograph");
        for volume in [Media::DicomVolume, Media::Zip, Media::Tar, Media::TarGz] {
            assert_eq!(routed(&routing, "incoming/x", volume), "segmentation");
        }
        assert_eq!(routed(&routing, "incoming/x", Media::NiftiGz), "components");
        let refused = routing.route(&series, Media::Png).expect_err("no series of images");
        assert_eq!(refused.code, ErrorCode::NoRoute);
    }

    #[test]
    fn instances_are_carried_by_a_rule_that_says_so_wherever_it_stands() {
        let carries = Rule { instances: true, ..rule(Some("incoming"), "ct/", Task::Radiograph, "b") };
        let routing = Routing { rules: vec![rule(None, "", Task::Radiograph, "a"), carries.clone()] };
        assert_eq!(routing.of_instances(&blob("incoming/ct/1")), Some(&carries));
        assert_eq!(routing.of_instances(&blob("incoming/1")), None);
        assert_eq!(routing.of_instances(&blob("other/ct/1")), None);
    }
}
