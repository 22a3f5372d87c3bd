//! What all jobs share.

use std::sync::Arc;

use nightread_domain::routing::Routing;
use nightread_domain::storing::Identity;
use nightread_domain::{BlobStore, JobError};

use super::outage::Outages;
use super::resolving::Shelves;
use super::version;
use crate::compute::digests::Digests;
use crate::flow::budget::ByteBudget;
use crate::flow::failpoint::Failpoint;
use crate::flow::spool::SpoolBudget;
use crate::readings::Reader;
use crate::settings::Limits;

/// What all jobs share.
#[derive(Debug)]
pub struct Tools {
    /// Watched: what jobs meet there tells the outages.
    pub source: Arc<dyn BlobStore>,
    pub results: Arc<dyn BlobStore>,
    pub results_container: String,
    /// The only containers that series may have their blobs in.
    pub source_containers: Vec<String>,
    pub identity: Identity,
    pub routing: Routing,
    pub reader: Reader,
    pub digests: Digests,
    pub limits: Limits,
    pub failpoint: Option<Failpoint>,
    /// What jobs learn of storage from each other.
    pub outages: Arc<Outages>,
    /// Taken before bytes in flight are.
    pub bytes_in_files: SpoolBudget,
    pub bytes_in_flight: ByteBudget,
}

impl Tools {
    /// Where series are resolved.
    pub(super) fn shelves(&self) -> Shelves<'_> {
        Shelves { source: &*self.source, results: &*self.results, results_container: &self.results_container }
    }

    /// `model_mismatch` when results of a model's version were made by another model; or what storage says.
    pub async fn versions_agree(&self) -> Result<(), JobError> {
        for model in self.reader.models.iter() {
            version::agrees(&*self.results, &self.results_container, model).await?;
        }
        Ok(())
    }
}
