//! Asks `nightread deliver` to send what is stored to the archives of the settings.

use async_trait::async_trait;
use nightread_domain::delivery::DeliveryOrder;
use nightread_domain::ports::{Audience, Notice, Sink, Standing};
use nightread_domain::{JobError, Status};
use sha2::{Digest, Sha256};

use crate::adapters::amqp::topology;
use crate::services::dicom::tasks::of_task;

/// One order for each archive, once the settlement publishes it.
#[derive(Debug)]
pub(super) struct DeliveryOrders {
    pub targets: Vec<String>,
}

#[async_trait]
impl Sink for DeliveryOrders {
    async fn take(&self, Standing { job, document, path }: Standing<'_>) -> Result<Vec<Notice>, JobError> {
        // Of some tasks there are no objects; of a failure there is nothing to say to an archive.
        if document.status != Status::Ok || of_task(document.task).make.is_none() {
            return Ok(Vec::new());
        }
        let order = |target: &String| {
            let etag = document.study.version.as_ref().map_or("", |etag| etag.0.as_str());
            let id = Sha256::digest(format!("{path}\n{etag}\n{}\n{target}", document.read_at));
            Ok(Notice {
                audience: Audience::Workers,
                id: hex::encode(&id[..16]),
                topic: format!("{}.{target}", topology::DELIVERY_KEY),
                correlation_id: job.correlation_id.clone(),
                content_type: "application/json",
                body: DeliveryOrder::new(path, target).of(&job.study).body()?,
            })
        };
        self.targets.iter().map(order).collect()
    }
}
