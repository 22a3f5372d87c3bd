//! Which model reads which blob: rules over container, prefix and what the bytes are.

use crate::blob::BlobRef;
use crate::error::{ErrorCode, JobError, Stage};
use crate::media::Media;
use crate::task::Task;

/// One rule; the first that fits wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `None` fits every allowed container.
    pub container: Option<String>,
    /// Start of the blob name; empty fits all.
    pub prefix: String,
    pub task: Task,
    pub model: String,
}

/// The ordered rules of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    pub rules: Vec<Rule>,
}

impl Routing {
    /// The model for a blob whose bytes were sniffed.
    ///
    /// # Errors
    /// `no_route` when no rule fits what its bytes are.
    pub fn route(&self, blob: &BlobRef, media: Media) -> Result<&str, JobError> {
        let rule = self.matching(blob).find(|rule| rule.task.reads(media));
        rule.map(|rule| rule.model.as_str()).ok_or_else(|| {
            let studies = Task::that_reads(media).studies();
            let text = format!("no model is configured for {studies} here");
            JobError::new(Stage::Decode, ErrorCode::NoRoute, text)
        })
    }

    /// The model under whose name a failure is written when the bytes never told what they are.
    pub fn fallback(&self, blob: &BlobRef) -> Option<&str> {
        self.matching(blob).next().map(|rule| rule.model.as_str())
    }

    /// Every model that could be meant for a blob whose bytes are not known yet, without repetition.
    pub fn candidates(&self, blob: &BlobRef) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for rule in self.matching(blob) {
            if !names.contains(&rule.model.as_str()) {
                names.push(&rule.model);
            }
        }
        names
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

    fn rule(container: Option<&str>, prefix: &str, task: Task, model: &str) -> Rule {
        Rule {
            container: container.map(str::to_owned),
            prefix: prefix.to_owned(),
            task,
            model: model.to_owned(),
        }
    }

    fn blob(text: &str) -> BlobRef {
        BlobRef::parse(text).expect("a sound name")
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
        assert_eq!(routing.route(&blob("incoming/ward/x"), Media::Png).expect("routed"), "a");
        assert_eq!(routing.route(&blob("incoming/other"), Media::Png).expect("routed"), "b");
        assert_eq!(routing.route(&blob("incoming/ward/x"), Media::Nifti).expect("routed"), "c");
        assert_eq!(routing.fallback(&blob("other/x")), Some("b"));
        let refused = Routing::default().route(&blob("other/x"), Media::Nifti).expect_err("no rules");
        assert_eq!(refused.code, ErrorCode::NoRoute);
    }
}
