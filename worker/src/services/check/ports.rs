//! Whether a command could listen where its settings say.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use nightread_domain::{ErrorCode, JobError, Stage};
use reqwest::Client;

use crate::adapters::tls;

/// Another Nightread on this machine answers at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the health endpoints there are those of a Nightread that runs.
pub(super) async fn is_nightread(address: SocketAddr) -> bool {
    let ask = async {
        let client = tls::client(Client::builder().no_proxy().timeout(PATIENCE)).ok()?;
        let answer = client.get(format!("http://{address}/metrics")).send().await.ok()?;
        Some(answer.text().await.ok()?.contains("nightread_build_info"))
    };
    ask.await.unwrap_or_default()
}

/// `settings_invalid` when nobody could listen there now. Taken by the command that `runs` already it is no problem.
pub(super) fn free(address: SocketAddr, runs: bool) -> Result<String, JobError> {
    match TcpListener::bind(address) {
        Ok(_) => Ok("free".to_owned()),
        Err(error) if runs && error.kind() == io::ErrorKind::AddrInUse => {
            Ok("taken by a Nightread that runs here".to_owned())
        }
        Err(error) => {
            let text = format!("cannot listen on {address}");
            Err(JobError::new(Stage::Start, ErrorCode::SettingsInvalid, text).with_source(error))
        }
    }
}
