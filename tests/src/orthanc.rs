//! A private Orthanc with DICOMweb.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::parts::{Part, free_port, skipped};
use crate::wait;

/// Where Debian puts the server.
const SERVER: &str = "/usr/sbin/Orthanc";
/// Where Debian puts its plug-ins.
const PLUGINS: &str = "/usr/share/orthanc/plugins";

/// An archive of our own, on free ports, with its data in a folder that goes with it.
#[derive(Debug)]
pub struct Orthanc {
    part: Option<Part>,
    http: u16,
    dicom: u16,
    /// Where it brings reports of storage commitments.
    reports: u16,
    folder: TempDir,
}

impl Orthanc {
    /// `None` (said by name) where it or dcmtk is not installed. It knows the title NIGHTREAD.
    pub async fn start(test: &str) -> Option<Self> {
        let plugin = Path::new(PLUGINS).join("libOrthancDicomWeb.so");
        let has_dcmtk = Command::new("storescu").arg("--version").output().is_ok();
        if !Path::new(SERVER).is_file() || !plugin.is_file() || !has_dcmtk {
            skipped(test, "Orthanc with its DICOMweb plug-in, or dcmtk,");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("nightread-orthanc-").tempdir().expect("a folder");
        let mut orthanc =
            Self { part: None, http: free_port(), dicom: free_port(), reports: free_port(), folder };
        std::fs::write(orthanc.config(), orthanc.settings(&plugin).to_string()).expect("its settings");
        orthanc.resume().await;
        Some(orthanc)
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("orthanc.json")
    }

    fn settings(&self, plugin: &Path) -> Value {
        let data = self.folder.path().join("data");
        json!({
            "Name": "ARCHIVE", "StorageDirectory": data, "IndexDirectory": data, "Plugins": [plugin],
            "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "HttpPort": self.http,
            "DicomAet": "ARCHIVE", "DicomPort": self.dicom, "DicomCheckCalledAet": true,
            "DicomAlwaysAllowEcho": true, "DicomAlwaysAllowStore": false, "UnknownSopClassAccepted": false,
            "DicomModalities": {"nightread": ["NIGHTREAD", "127.0.0.1", self.reports]},
            "DicomWeb": {"Enable": true, "Root": "/dicom-web/"}
        })
    }

    /// Starts it again, on the same ports and data.
    pub async fn resume(&mut self) {
        let config = self.config();
        let command = [SERVER, config.to_str().expect("a UTF-8 path")];
        self.part = Some(Part::start("orthanc", &command, &[], self.folder.path()));
        let (http, dicom) = (self.http, self.dicom);
        wait::until("Orthanc to listen", || async move {
            tokio::net::TcpStream::connect(("127.0.0.1", http)).await.ok()?;
            tokio::net::TcpStream::connect(("127.0.0.1", dicom)).await.ok()
        })
        .await;
    }

    /// Ends it; its data stays.
    pub fn stop(&mut self) {
        self.part = None;
    }

    /// The address of its DICOMweb services.
    pub fn web(&self) -> String {
        format!("http://127.0.0.1:{}/dicom-web", self.http)
    }

    /// Where it listens for associations.
    pub fn dicom_address(&self) -> std::net::SocketAddr {
        std::net::SocketAddr::from(([127, 0, 0, 1], self.dicom))
    }

    /// The address for associations, under this title of its own.
    pub fn associations(&self, title: &str) -> String {
        format!("dicom://{title}@127.0.0.1:{}", self.dicom)
    }

    /// Where it expects us to listen for its reports of storage commitments.
    pub fn reports_to(&self) -> std::net::SocketAddr {
        std::net::SocketAddr::from(([127, 0, 0, 1], self.reports))
    }

    /// Puts a file, or the files of a folder, into it, as a scanner does.
    pub fn store(&self, file: &Path) -> Output {
        let port = self.dicom.to_string();
        let command = ["+sd", "-aet", "NIGHTREAD", "-aec", "ARCHIVE", "127.0.0.1", &port];
        Command::new("storescu").args(command).arg(file).output().expect("storescu runs")
    }

    /// The instances that it lists of a study: modality and SOP Instance UID, sorted.
    pub async fn instances(&self, study: &str) -> Vec<(String, String)> {
        let url = format!("{}/studies/{study}/instances?includefield=00080060", self.web());
        let answer = crate::server::get(&url).await.expect("an answer");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let found: Vec<Value> = serde_json::from_str(body).unwrap_or_default();
        let text =
            |instance: &Value, tag: &str| instance[tag]["Value"][0].as_str().unwrap_or_default().to_owned();
        let mut found: Vec<_> =
            found.iter().map(|instance| (text(instance, "00080060"), text(instance, "00080018"))).collect();
        found.sort();
        found
    }
}
