//! Takes the reports of storage commitments that archives bring by associations of their own (PS3.4, J.3.3), and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dicom_ul::association::server::{AccessControl, Negotiation, ServerAssociationOptions};
use dicom_ul::pdu::{AssociationRJServiceUserReason, RequestorRoles, UserIdentity};
use nightread_archive::commitment::COMMITMENT_CLASS;
use nightread_domain::{ErrorCode, JobError, Stage};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::line::IMPLICIT;
use super::peer::Open;
use super::reports::Reports;

/// Associations at one time; others wait to be let in.
const MOST_ASSOCIATIONS: usize = 16;
const MOST_PDU_BYTES: u32 = 64 << 10;
/// Between two PDUs.
const PATIENCE: Duration = Duration::from_secs(10);
/// For a whole association.
const LONGEST: Duration = Duration::from_mins(1);
/// After a connection that the system did not let in.
const BREATH: Duration = Duration::from_millis(200);

/// A port where reports come in.
#[derive(Debug)]
pub struct ReportListener {
    listener: TcpListener,
    titles: Arc<[String]>,
    reports: Arc<Reports>,
}

impl ReportListener {
    /// `titles`: our own application entity titles, by one of which archives must call us.
    ///
    /// # Errors
    /// `settings_invalid` where nobody can listen there.
    pub async fn bind(
        address: SocketAddr,
        titles: Vec<String>,
        reports: Arc<Reports>,
    ) -> Result<Self, JobError> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let text = format!("cannot listen on {address} ([deliver] commitment_listen)");
            JobError::new(Stage::Start, ErrorCode::SettingsInvalid, text).with_source(error)
        })?;
        reports.listen();
        Ok(Self { listener, titles: titles.into(), reports })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes reports. Ends never.
    pub async fn serve(self) {
        let permits = Arc::new(Semaphore::new(MOST_ASSOCIATIONS));
        loop {
            let permit = Arc::clone(&permits).acquire_owned().await;
            let Ok((stream, peer)) = self.listener.accept().await else {
                tokio::time::sleep(BREATH).await;
                continue;
            };
            let (titles, reports) = (Arc::clone(&self.titles), Arc::clone(&self.reports));
            tokio::spawn(async move {
                if !matches!(timeout(LONGEST, take(stream, titles, &reports)).await, Ok(Some(()))) {
                    tracing::debug!(%peer, "an association with reports did not end in order");
                }
                drop(permit);
            });
        }
    }
}

/// Takes the reports of one association; `None` where it did not end in order.
async fn take(stream: TcpStream, titles: Arc<[String]>, reports: &Reports) -> Option<()> {
    let options = ServerAssociationOptions::new()
        .ae_access_control(OurTitles(titles))
        .with_negotiation(ReportsOnly)
        .with_abstract_syntax(COMMITMENT_CLASS)
        .with_transfer_syntax(IMPLICIT)
        .max_pdu_length(MOST_PDU_BYTES)
        .read_timeout(PATIENCE)
        .write_timeout(PATIENCE);
    let mut open = Open::new(options.establish_async(stream).await.ok()?);
    while let Some(message) = open.message().await.ok()? {
        // Anything but a report: nobody may ask it here.
        message.command.event()?;
        reports.hear(&mut open, &message).await.ok()?;
    }
    Some(())
}

/// Lets in who calls one of our titles.
struct OurTitles(Arc<[String]>);

impl AccessControl for OurTitles {
    fn check_access(
        &self,
        _this_title: &str,
        _calling_title: &str,
        called_title: &str,
        _identity: Option<&UserIdentity>,
    ) -> Result<(), AssociationRJServiceUserReason> {
        let is_ours = self.0.iter().any(|title| title.trim() == called_title.trim());
        is_ours.then_some(()).ok_or(AssociationRJServiceUserReason::CalledAETitleNotRecognized)
    }
}

/// Whoever opens the association is the provider of storage commitment, and we are its user (PS3.7, D.3.3.4).
struct ReportsOnly;

impl Negotiation for ReportsOnly {
    fn negotiate_roles(&self, sop_class: &str, _user: bool, provider: bool) -> Option<RequestorRoles> {
        let is_ours = sop_class.trim_end_matches('\0') == COMMITMENT_CLASS;
        is_ours.then_some(RequestorRoles { scu: false, scp: provider })
    }
}
