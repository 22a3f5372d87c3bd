//! A private Azurite.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;

use azure_core::credentials::Secret;
use azure_core::http::Url;
use nightread::adapters::storage::azure::{Account, AzureOptions, AzureStore};
use tempfile::TempDir;

use crate::parts::{Ending, Part, free_port, root, skipped};
use crate::wait;

/// The account and key that every Azurite has.
const ACCOUNT: &str = "devstoreaccount1";
pub const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Blob storage for tests: ours, or the one that `NIGHTREAD_TEST_STORAGE` names.
#[derive(Debug)]
pub struct Azurite {
    part: Option<Part>,
    connection_string: String,
    address: Option<SocketAddr>,
    folder: Option<TempDir>,
}

impl Azurite {
    /// One for this test binary; `None` (said by name) when there is nothing to start.
    pub async fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: tokio::sync::OnceCell<Option<Azurite>> = tokio::sync::OnceCell::const_new();
        let shared = SHARED
            .get_or_init(|| async {
                if let Ok(connection_string) = std::env::var("NIGHTREAD_TEST_STORAGE") {
                    let address = address_of(&connection_string);
                    return Some(Self { part: None, connection_string, address, folder: None });
                }
                Self::start().await
            })
            .await
            .as_ref();
        if shared.is_none() {
            skipped(test, "Azurite");
        }
        shared
    }

    /// One of our own, on a free port, with its data in a folder that goes with it.
    pub async fn start() -> Option<Self> {
        program()?;
        let port = free_port();
        let folder =
            tempfile::Builder::new().prefix("nightread-azurite-").tempdir().expect("a temporary folder");
        let mut azurite = Self {
            part: None,
            connection_string: connection_string(port),
            address: Some(SocketAddr::from(([127, 0, 0, 1], port))),
            folder: Some(folder),
        };
        azurite.resume().await;
        Some(azurite)
    }

    /// Starts it again, on the same port and data.
    pub async fn resume(&mut self) {
        let (Some(address), Some(folder), Some(program)) = (self.address, &self.folder, program()) else {
            panic!("only an Azurite of our own can be started");
        };
        let location = folder.path().join("data");
        let command = [
            "node",
            program.to_str().expect("a UTF-8 path"),
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            &address.port().to_string(),
            "--location",
            location.to_str().expect("a UTF-8 path"),
            "--silent",
            "--disableTelemetry",
            // The SDK speaks a newer service version than Azurite knows.
            "--skipApiVersionCheck",
        ];
        self.part = Some(Part::start("azurite", &command, &[], folder.path()));
        wait::until("Azurite to listen", || async { tokio::net::TcpStream::connect(address).await.ok() })
            .await;
    }

    /// Ends it; its data stays.
    pub fn pause(&mut self, how: Ending) {
        if let Some(part) = self.part.take() {
            part.end(how);
        }
    }

    pub fn connection_string(&self) -> &str {
        &self.connection_string
    }

    /// Where it listens; `None` for a given storage that no proxy can go before, because it speaks TLS.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    pub fn store(&self) -> AzureStore {
        store(&self.connection_string)
    }
}

/// The connection string of an Azurite on this port, or of a proxy before one.
pub fn connection_string(port: u16) -> String {
    format!(
        "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    )
}

/// The connection string of an Azurite queue service on this port.
pub fn queue_connection_string(port: u16) -> String {
    format!(
        "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};QueueEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    )
}

/// A service of an account, as its signatures name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Blob,
    Queue,
}

/// The address of an Azurite on this port, or of a proxy before one, with `below` it and a signature for everything; and the
/// signature itself.
pub fn sas_url(port: u16, service: Service, below: &str) -> (String, String) {
    let services = if service == Service::Blob { "b" } else { "q" };
    let (permissions, types, version) = ("rwdlacup", "sco", "2022-11-02");
    let (starts, ends, protocol) = ("2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "https,http");
    let to_sign = format!(
        "{ACCOUNT}\n{permissions}\n{services}\n{types}\n{starts}\n{ends}\n\n{protocol}\n{version}\n\n"
    );
    let signature = azure_core::hmac::hmac_sha256(&to_sign, &Secret::new(KEY)).expect("a signature");
    let mut url: Url = format!("http://127.0.0.1:{port}/{ACCOUNT}{below}").parse().expect("an address");
    url.query_pairs_mut().extend_pairs([
        ("sv", version),
        ("ss", services),
        ("srt", types),
        ("sp", permissions),
        ("st", starts),
        ("se", ends),
        ("spr", protocol),
        ("sig", &signature),
    ]);
    (url.into(), signature)
}

fn address_of(connection_string: &str) -> Option<SocketAddr> {
    let endpoint =
        connection_string.split(';').find_map(|field| field.strip_prefix("BlobEndpoint=http://"))?;
    endpoint.split('/').next()?.parse().ok()
}

/// A store over a connection string, as a worker makes it.
pub fn store(connection_string: &str) -> AzureStore {
    let account = Account::connection_string(connection_string).expect("a sound connection string");
    AzureStore::new(account, AzureOptions::default()).expect("a store")
}

pub(crate) fn program() -> Option<PathBuf> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = PROGRAM.get_or_init(|| {
        let path = root().join(".cache/azurite/node_modules/azurite/dist/src/blob/main.js");
        let node = std::process::Command::new("node").arg("--version").output();
        (path.is_file() && node.is_ok_and(|output| output.status.success())).then_some(path)
    });
    found.clone()
}
