//! Scripted archives: each answer gives each object the verdict that it deserves.

mod commitment;

use std::time::Duration;

use dicom_ul::association::server::{AcceptAny, ServerAssociationOptions};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use nightread_archive::{Object, Options, SourceInstance, of_radiograph};
use nightread_domain::{ErrorCode, ResultDocument};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const IMPLICIT: &str = "1.2.840.10008.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";

/// A capture and a report of one chest X-ray.
fn objects() -> Vec<Object> {
    let mut file = vec![0; 128];
    file.extend_from_slice(b"DICM");
    let mut element = |group: u16, element: u16, vr: &[u8; 2], value: &str| {
        let mut value = value.as_bytes().to_vec();
        if value.len() % 2 == 1 {
            value.push(0);
        }
        file.extend_from_slice(&group.to_le_bytes());
        file.extend_from_slice(&element.to_le_bytes());
        file.extend_from_slice(vr);
        file.extend_from_slice(&(value.len() as u16).to_le_bytes());
        file.extend_from_slice(&value);
    };
    element(0x0002, 0x0010, b"UI", EXPLICIT);
    element(0x0008, 0x0016, b"UI", "1.2.840.10008.5.1.4.1.1.1");
    element(0x0008, 0x0018, b"UI", "1.2.3.4.5.1");
    element(0x0008, 0x0060, b"CS", "CR");
    element(0x0010, 0x0010, b"PN", "Doe^Jane");
    element(0x0020, 0x000D, b"UI", "1.2.3.4");
    element(0x0020, 0x000E, b"UI", "1.2.3.4.5");
    let source = SourceInstance::open(&file, 1 << 20).expect("a source");
    let document: ResultDocument = serde_json::from_value(json!({
        "schema": "nightread.result.v2", "status": "ok", "notice": "n", "task": "radiograph",
        "study": {"kind": "blob", "container": "local", "name": "a.dcm", "version": "1", "last_modified": null,
            "bytes": 1, "sha256": "ab", "media": "dicom"},
        "model": {"name": "m", "version": "1.0.0", "precision": "fp32", "weights_sha256": "w",
            "execution_provider": "cpu", "preprocessing": "p"},
        "findings": [{"label": "Pneumonia", "logit": 3.0, "probability": 0.95, "threshold": 0.5, "positive": true}],
        "artefacts": [], "warnings": [], "timing_ms": {"total": 1.0}, "worker": {"version": "1"},
        "read_at": "2026-01-01T00:00:00Z"}))
    .expect("a document");
    of_radiograph(&source, &document, &[], &[], &Options::default()).expect("objects")
}

fn options(address: String) -> ArchiveOptions {
    ArchiveOptions {
        address,
        authorization: Some("Basic c2VjcmV0".to_owned()),
        calling_title: "NIGHTREAD".to_owned(),
        authorities: Vec::new(),
        timeout: Duration::from_secs(2),
        read_back: false,
        commitment: None,
    }
}

fn codes(verdicts: &[ObjectVerdict]) -> Vec<&'static str> {
    let code = |verdict: &ObjectVerdict| match verdict {
        ObjectVerdict::Stored(None) => "stored",
        ObjectVerdict::Stored(Some(_)) => "stored with a remark",
        ObjectVerdict::Failed(error) => error.code.as_str(),
    };
    verdicts.iter().map(code).collect()
}

/// What an archive does with a request.
#[derive(Clone, Debug)]
enum Script {
    /// Status, further headers, body.
    Says(u16, &'static str, String),
    Hangs,
    Resets,
    /// Answers byte by byte, and never to the end.
    Drips,
}

/// An archive whose answers to POST are scripted, and whose queries list these instances.
async fn web(script: Script, lists: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}/dicom-web", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (script, lists) = (script.clone(), lists.clone());
            tokio::spawn(answer(stream, script, lists));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, script: Script, lists: Vec<String>) {
    while let Some((head, body)) = request(&mut stream).await {
        assert!(head.contains("authorization: Basic c2VjcmV0"), "{head}");
        let (status, headers, body) = if head.starts_with("GET ") {
            let found = lists.iter().find(|uid| head.contains(uid.as_str()));
            let found = found.map(|uid| json!([{"00080018": {"vr": "UI", "Value": [uid]}}]).to_string());
            (if found.is_some() { 200 } else { 204 }, "", found.unwrap_or_default())
        } else {
            assert!(head.starts_with("POST /dicom-web/studies HTTP/1.1"), "{head}");
            assert!(!head.contains("chunked") && body.windows(4).any(|window| window == b"DICM"), "{head}");
            match script.clone() {
                Script::Says(status, headers, body) => (status, headers, body),
                Script::Hangs => return tokio::time::sleep(Duration::from_mins(1)).await,
                Script::Resets => {
                    stream.set_zero_linger().expect("reset at the end");
                    return;
                }
                Script::Drips => {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
                    loop {
                        let _ = stream.write_all(b" ").await;
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
            }
        };
        let length = body.len();
        let text = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}");
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// One request, whose body has its length.
async fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        let mut more = vec![0; 65536];
        let read = stream.read(&mut more).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&more[..read]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let whole = end + 4 + length.unwrap_or(0_usize);
        while bytes.len() < whole {
            let read = stream.read(&mut more).await.ok().filter(|read| *read > 0)?;
            bytes.extend_from_slice(&more[..read]);
        }
        return Some((head, bytes[end + 4..].to_vec()));
    }
}

/// The answer to a STOW request that stored some and failed others, as Orthanc gives it.
fn stowed(stored: &[&Object], failed: &[(&Object, u16)]) -> String {
    let named = |object: &Object| {
        json!({"00081150": {"vr": "UI", "Value": [object.sop_class]},
               "00081155": {"vr": "UI", "Value": [object.sop_instance]}})
    };
    let failed = failed.iter().map(|(object, reason)| {
        let mut item = named(object);
        item["00081197"] = json!({"vr": "US", "Value": [reason]});
        item
    });
    let (stored, failed): (Vec<_>, Vec<_>) =
        (stored.iter().map(|object| named(object)).collect(), failed.collect());
    json!({"00081199": {"vr": "SQ", "Value": stored}, "00081198": {"vr": "SQ", "Value": failed}}).to_string()
}

async fn verdicts(script: Script, lists: Vec<String>) -> Vec<&'static str> {
    let archive = Archive::new(options(web(script, lists).await)).expect("an archive");
    codes(&archive.send(&objects()).await.verdicts)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_object_is_judged_by_what_the_answer_says_of_it() {
    let made = objects();
    let (capture, report) = (&made[0], &made[1]);
    let says = |status, body: String| Script::Says(status, "", body);
    let both = stowed(&[capture, report], &[]);
    for (what, script, expected) in [
        ("all stored", says(200, both.clone()), ["stored", "stored"]),
        ("in a list", says(200, format!("[{both}]")), ["stored", "stored"]),
        ("202 in part", says(202, stowed(&[capture], &[(report, 0xA700)])), ["stored", "delivery_no_room"]),
        ("400, and one was stored", says(400, stowed(&[capture], &[])), ["stored", "delivery_refused"]),
        (
            "409",
            says(409, stowed(&[], &[(capture, 0x0110), (report, 0x0122)])),
            ["delivery_refused", "delivery_unsupported"],
        ),
        (
            "409, known already",
            says(409, stowed(&[capture], &[(report, 0x0111)])),
            ["stored", "stored with a remark"],
        ),
        (
            "0xA900 and 0xC000",
            says(409, stowed(&[], &[(capture, 0xA900), (report, 0xC000)])),
            ["delivery_refused"; 2],
        ),
        (
            "not authorised",
            says(409, stowed(&[], &[(capture, 0x0124), (report, 0xB000)])),
            ["delivery_forbidden", "stored with a remark"],
        ),
        ("200 and nothing named", says(200, "{}".to_owned()), ["delivery_unconfirmed"; 2]),
        ("200 and no JSON", says(200, "<html>".to_owned()), ["delivery_unconfirmed"; 2]),
        ("401", says(401, String::new()), ["delivery_forbidden"; 2]),
        ("404", says(404, String::new()), ["delivery_unsupported"; 2]),
        (
            "302",
            Script::Says(302, "location: http://127.0.0.1:1/\r\n", String::new()),
            ["delivery_refused"; 2],
        ),
        ("503", says(503, String::new()), ["delivery_unavailable"; 2]),
        ("507", says(507, String::new()), ["delivery_no_room"; 2]),
        ("hangs", Script::Hangs, ["delivery_timeout"; 2]),
        ("is slow", Script::Drips, ["delivery_timeout"; 2]),
        ("resets", Script::Resets, ["delivery_unavailable"; 2]),
    ] {
        assert_eq!(verdicts(script, Vec::new()).await, expected, "{what}");
    }
    let many = "x".repeat(5 << 20);
    assert_eq!(
        verdicts(says(200, many), Vec::new()).await,
        ["delivery_unconfirmed"; 2],
        "an answer without end"
    );
    // What it lists is stored, whatever it said.
    let lists = vec![report.sop_instance.clone()];
    let failed = says(409, stowed(&[], &[(capture, 0x0110), (report, 0x0110)]));
    assert_eq!(verdicts(failed, lists.clone()).await, ["delivery_refused", "stored with a remark"]);
    // And with the setting, what it does not list is not.
    let address = web(says(200, both), lists).await;
    let archive = Archive::new(ArchiveOptions { read_back: true, ..options(address) }).expect("an archive");
    assert_eq!(codes(&archive.send(&made).await.verdicts), ["delivery_unconfirmed", "stored"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_away_is_told_and_addresses_are_judged() {
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address")
    };
    for address in [format!("http://{nobody}"), format!("dicom://ANY@{nobody}")] {
        let archive = Archive::new(options(address)).expect("an archive");
        assert_eq!(codes(&archive.send(&objects()).await.verdicts), ["delivery_unavailable"; 2]);
        assert_eq!(archive.answers().await.expect_err("away").code, ErrorCode::DeliveryUnavailable);
    }
    for wrong in [
        "pacs:104",
        "dicom://pacs:104",
        "dicom://A@pacs",
        "dicom://A@:104",
        "dicom://A_TITLE_WITH_17_C@pacs:104",
        "ftp://pacs/",
        "https://",
        "https://user:secret@pacs/dicom-web",
    ] {
        let error = Archive::new(options(wrong.to_owned())).expect_err(wrong);
        assert_eq!(error.code, ErrorCode::SettingsInvalid, "{wrong}");
        assert!(!error.message.contains("secret"));
    }
    let archive = Archive::new(options(web(Script::Hangs, vec![]).await)).expect("an archive");
    assert!(archive.answers().await.expect("an answer").contains("204"));
}

/// What a scripted storage provider does.
#[derive(Clone, Copy, Debug)]
enum Provider {
    /// One status for each object, in their order.
    Statuses([u16; 2]),
    /// Takes nothing but implicit VR little endian.
    Implicit,
    /// Takes no SOP class of ours.
    NoClass,
    /// Answers the first, and goes.
    GoesAfterOne,
    Hangs,
    Rejects,
}

/// Takes one association after the other; what it was sent goes into the channel.
async fn provider(script: Provider) -> (String, tokio::sync::mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("dicom://ARCHIVE@{}", listener.local_addr().expect("an address"));
    let (sent, got) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sent = sent.clone();
            tokio::spawn(async move {
                let _ = serve(stream, script, &sent).await;
            });
        }
    });
    (address, got)
}

async fn serve(
    stream: TcpStream,
    script: Provider,
    sent: &tokio::sync::mpsc::Sender<(String, Vec<u8>)>,
) -> Result<(), dicom_ul::association::Error> {
    let mut options: ServerAssociationOptions<'_, AcceptAny, _> =
        ServerAssociationOptions::new().accept_any().ae_title("ARCHIVE");
    match script {
        Provider::NoClass => options = options.with_abstract_syntax("1.2.840.10008.1.1"),
        Provider::Implicit => options = options.promiscuous(true).with_transfer_syntax(IMPLICIT),
        _ => options = options.promiscuous(true),
    }
    let mut open = if let Provider::Rejects = script {
        options.accept_called_ae_title().ae_title("SOMEBODY").establish_async(stream).await?
    } else {
        return serve_open(&mut options.establish_async(stream).await?, script, sent).await;
    };
    serve_open(&mut open, script, sent).await
}

async fn serve_open(
    open: &mut dicom_ul::association::server::AsyncServerAssociation<TcpStream>,
    script: Provider,
    sent: &tokio::sync::mpsc::Sender<(String, Vec<u8>)>,
) -> Result<(), dicom_ul::association::Error> {
    let (mut nth, mut data, mut message) = (0, Vec::new(), 1_u16);
    loop {
        match open.receive().await? {
            Pdu::PData { data: values } => {
                for value in values {
                    let context = value.presentation_context_id;
                    let mut reply = None;
                    if value.value_type == PDataValueType::Command {
                        message = u16::from_le_bytes([value.data[value.data.len() - 1], 0]).max(message);
                        if is_echo(&value.data) {
                            reply = Some((0x8030, 0));
                        }
                    } else {
                        data.extend(value.data);
                        if value.is_last {
                            let syntax = open.presentation_contexts().iter().find(|one| one.id == context);
                            let syntax = syntax.map(|one| one.transfer_syntax.clone()).unwrap_or_default();
                            let _ = sent.send((syntax, std::mem::take(&mut data))).await;
                            let status = match script {
                                Provider::Statuses(statuses) => statuses[nth],
                                Provider::GoesAfterOne if nth == 1 => return Ok(()),
                                Provider::Hangs => return std::future::pending().await,
                                _ => 0,
                            };
                            nth += 1;
                            reply = Some((0x8001, status));
                        }
                    }
                    if let Some((field, status)) = reply {
                        let data = response(field, nth.max(1) as u16, status);
                        let value = PDataValue {
                            presentation_context_id: context,
                            value_type: PDataValueType::Command,
                            is_last: true,
                            data,
                        };
                        open.send(&Pdu::PData { data: vec![value] }).await?;
                    }
                }
            }
            Pdu::ReleaseRQ => {
                open.send(&Pdu::ReleaseRP).await?;
                return Ok(());
            }
            _ => return Ok(()),
        }
    }
}

fn is_echo(command: &[u8]) -> bool {
    command.windows(10).any(|window| window == [0, 0, 0, 1, 2, 0, 0, 0, 0x30, 0])
}

fn response(field: u16, message: u16, status: u16) -> Vec<u8> {
    let mut set = Vec::new();
    for (element, value) in [(0x0100_u16, field), (0x0120, message), (0x0800, 0x0101), (0x0900, status)] {
        set.extend_from_slice(&[0, 0]);
        set.extend_from_slice(&element.to_le_bytes());
        set.extend_from_slice(&[2, 0, 0, 0]);
        set.extend_from_slice(&value.to_le_bytes());
    }
    set
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_of_c_store_are_classed() {
    for (script, expected) in [
        (Provider::Statuses([0, 0]), ["stored", "stored"]),
        (Provider::Statuses([0xB000, 0x0111]), ["stored with a remark", "stored with a remark"]),
        (Provider::Statuses([0xA700, 0]), ["delivery_no_room", "stored"]),
        (Provider::Statuses([0xA900, 0xC000]), ["delivery_refused", "delivery_refused"]),
        (Provider::Statuses([0x0122, 0x0124]), ["delivery_unsupported", "delivery_forbidden"]),
        (Provider::Implicit, ["stored", "stored"]),
        (Provider::NoClass, ["delivery_unsupported", "delivery_unsupported"]),
        (Provider::GoesAfterOne, ["stored", "delivery_unavailable"]),
        (Provider::Hangs, ["delivery_timeout", "delivery_timeout"]),
        (Provider::Rejects, ["delivery_forbidden", "delivery_forbidden"]),
    ] {
        let (address, mut got) = provider(script).await;
        let archive = Archive::new(options(address)).expect("an archive");
        let made = objects();
        assert_eq!(codes(&archive.send(&made).await.verdicts), expected, "{script:?}");
        if let Provider::Statuses(_) | Provider::Implicit = script {
            for object in &made {
                let (syntax, data) = got.recv().await.expect("an object");
                let expected = match script {
                    Provider::Implicit => object.implicit_data_set().expect("written").expect("plain"),
                    _ => object.data_set().to_vec(),
                };
                assert_eq!(syntax, if let Provider::Implicit = script { IMPLICIT } else { EXPLICIT });
                assert!(data == expected, "{script:?}: the data set came as it was");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_says_what_it_cannot_know() {
    let (address, _got) = provider(Provider::Statuses([0, 0])).await;
    let archive = Archive::new(options(address)).expect("an archive");
    assert!(archive.answers().await.expect("an answer").contains("cannot be known"));
    let (address, _got) = provider(Provider::Rejects).await;
    let archive = Archive::new(options(address)).expect("an archive");
    let error = archive.answers().await.expect_err("rejected");
    assert_eq!(error.code, ErrorCode::DeliveryForbidden);
    assert!(error.message.contains("NIGHTREAD"), "{}", error.message);
}
