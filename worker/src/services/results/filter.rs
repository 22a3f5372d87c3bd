//! Which documents are asked for.

use nightread_domain::{ResultDocument, Status};
use time::OffsetDateTime;

use crate::cli::results::FilterArgs;

/// All conditions; a document meets every one. One that has not been given asks for nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Any of these.
    pub models: Vec<String>,
    /// Any of these, without precision.
    pub versions: Vec<String>,
    pub precision: Option<String>,
    pub status: Option<Status>,
    /// The start of the study's name, without its container.
    pub prefix: Option<String>,
    pub read_from: Option<OffsetDateTime>,
    /// Not this moment itself.
    pub read_to: Option<OffsetDateTime>,
}

impl From<&FilterArgs> for Filter {
    fn from(args: &FilterArgs) -> Self {
        Self {
            models: args.model.clone(),
            versions: args.model_version.clone(),
            precision: args.precision.clone(),
            status: args.status.map(Into::into),
            prefix: args.prefix.clone(),
            read_from: args.read_from,
            read_to: args.read_to,
        }
    }
}

impl Filter {
    pub fn takes(&self, document: &ResultDocument) -> bool {
        let model = &document.model;
        is_any(&self.models, &model.name)
            && is_any(&self.versions, &model.version)
            && self.precision.as_ref().is_none_or(|precision| *precision == model.precision)
            && self.status.is_none_or(|status| status == document.status)
            && self.prefix.as_ref().is_none_or(|prefix| document.study.name.starts_with(prefix))
            && self.read_from.is_none_or(|from| document.read_at >= from)
            && self.read_to.is_none_or(|to| document.read_at < to)
    }

    /// What the names of documents in a container begin with. One model, or one version of it, need not be looked for among
    /// the documents of others.
    pub fn start_of_names(&self) -> String {
        match (self.models.as_slice(), self.versions.as_slice(), &self.precision) {
            ([model], [version], Some(precision)) => format!("{model}/{version}-{precision}/"),
            ([model], [version], None) => format!("{model}/{version}-"),
            ([model], _, _) => format!("{model}/"),
            _ => String::new(),
        }
    }
}

fn is_any(wanted: &[String], found: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted == found)
}
