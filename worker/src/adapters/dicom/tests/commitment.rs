//! Scripted archives that are asked for storage commitment.

use std::net::SocketAddr;
use std::sync::Arc;

use dicom_ul::ClientAssociationOptions;
use dicom_ul::association::server::AsyncServerAssociation;
use dicom_ul::pdu::PresentationContextResultReason;
use nightread_archive::commitment::{COMMITMENT_CLASS, COMMITMENT_INSTANCE, CommitmentReport};
use nightread_domain::delivery::CommitmentOutcome;
use tokio::sync::mpsc;

use super::*;
use crate::adapters::dicom::peer::Open;

/// By which association an archive reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The one that it was asked by.
    Same,
    /// The same, before it answers the request.
    SameBefore,
    /// One of its own, to this port and title.
    Own(SocketAddr, &'static str),
    Nothing,
}

/// What an archive reports of what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    All,
    /// The last object failed with this reason.
    LastFailed(u16),
    /// Nothing of the last object.
    LastLeftOut,
    /// All, of a request that nobody made.
    OfAnother,
    NoData,
}

#[derive(Clone, Copy, Debug)]
struct Keeper {
    /// Of the first request, the second, and so on; the last one for all others.
    statuses: [u16; 3],
    by: By,
    says: Says,
    takes_commitments: bool,
    ends: bool,
}

const KEEPS: Keeper =
    Keeper { statuses: [0; 3], by: By::Same, says: Says::All, takes_commitments: true, ends: false };

/// What we answered to reports, and the requests that the archive got.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Stored,
    Asked(String),
    Status(u16),
    Rejected,
}

async fn keeper(script: Keeper) -> (String, mpsc::Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("dicom://ARCHIVE@{}", listener.local_addr().expect("an address"));
    let (sent, got) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sent = sent.clone();
            tokio::spawn(async move {
                let mut options: ServerAssociationOptions<'_, AcceptAny, _> =
                    ServerAssociationOptions::new().accept_any().ae_title("ARCHIVE");
                options = if script.takes_commitments {
                    options.promiscuous(true)
                } else {
                    let classes =
                        ["1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.88.33"];
                    classes.into_iter().fold(options, ServerAssociationOptions::with_abstract_syntax)
                };
                if let Ok(open) = options.establish_async(stream).await {
                    let _ = keep(open, script, &sent).await;
                }
            });
        }
    });
    (address, got)
}

/// The element of a command set that is a number.
fn number(command: &[u8], element: u16) -> Option<u16> {
    let [low, high] = element.to_le_bytes();
    let at = command.windows(8).position(|window| window == [0, 0, low, high, 2, 0, 0, 0])?;
    Some(u16::from_le_bytes([command[at + 8], command[at + 9]]))
}

async fn keep(
    mut open: AsyncServerAssociation<TcpStream>,
    script: Keeper,
    sent: &mpsc::Sender<Got>,
) -> Result<(), dicom_ul::association::Error> {
    let (mut command, mut data, mut asked) = (Vec::new(), Vec::new(), 0);
    loop {
        let values = match open.receive().await? {
            Pdu::PData { data } => data,
            Pdu::ReleaseRQ => return open.send(&Pdu::ReleaseRP).await,
            _ => return Ok(()),
        };
        for value in values {
            let (context, is_last) = (value.presentation_context_id, value.is_last);
            if value.value_type == PDataValueType::Command {
                (command, data) = (value.data, Vec::new());
                if number(&command, 0x0800) != Some(0x0101) {
                    continue;
                }
            } else {
                data.extend(value.data);
                if !is_last {
                    continue;
                }
            }
            let message = number(&command, 0x0110).unwrap_or_default();
            match number(&command, 0x0100) {
                Some(0x0001) => {
                    sent.try_send(Got::Stored).expect("a test");
                    say(&mut open, context, response(0x8001, message, 0)).await?;
                }
                Some(0x0030) => say(&mut open, context, response(0x8030, message, 0)).await?,
                Some(0x8100) => {
                    let status = number(&command, 0x0900).expect("a status");
                    sent.try_send(Got::Status(status)).expect("a test");
                }
                Some(0x0130) => {
                    let request = CommitmentReport::parse(&data).expect("a request");
                    sent.try_send(Got::Asked(request.transaction.clone())).expect("a test");
                    let status = script.statuses[asked.min(2)];
                    asked += 1;
                    if script.by == By::SameBefore {
                        report(&mut open, context, script.says, &request).await?;
                    }
                    say(&mut open, context, response(0x8130, message, status)).await?;
                    if status != 0 {
                        continue;
                    }
                    match script.by {
                        By::Same => report(&mut open, context, script.says, &request).await?,
                        By::Own(to, title) => {
                            let sent = sent.clone();
                            tokio::spawn(async move {
                                report_by_own(to, title, script.says, &request, &sent).await;
                            });
                        }
                        By::SameBefore | By::Nothing => {}
                    }
                    if script.ends {
                        return open.release().await;
                    }
                }
                other => panic!("the archive was asked {other:?}"),
            }
        }
    }
}

async fn say(
    open: &mut AsyncServerAssociation<TcpStream>,
    context: u8,
    data: Vec<u8>,
) -> Result<(), dicom_ul::association::Error> {
    let value = PDataValue {
        presentation_context_id: context,
        value_type: PDataValueType::Command,
        is_last: true,
        data,
    };
    open.send(&Pdu::PData { data: vec![value] }).await
}

fn element(element: u16, group: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = [group.to_le_bytes(), element.to_le_bytes()].concat();
    let padding = value.len() % 2;
    bytes.extend(((value.len() + padding) as u32).to_le_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len() + padding, 0);
    bytes
}

/// Command and data set of a report.
fn event(says: Says, request: &CommitmentReport) -> (Vec<u8>, Vec<u8>) {
    let kind: u16 = if let Says::LastFailed(_) = says { 2 } else { 1 };
    let command = [
        element(0x0002, 0, COMMITMENT_CLASS.as_bytes()),
        element(0x0100, 0, &0x0100_u16.to_le_bytes()),
        element(0x0110, 0, &7_u16.to_le_bytes()),
        element(0x0800, 0, &1_u16.to_le_bytes()),
        element(0x1000, 0, COMMITMENT_INSTANCE.as_bytes()),
        element(0x1002, 0, &kind.to_le_bytes()),
    ]
    .concat();
    let (last, others) = request.committed.split_last().expect("objects");
    let item = |uid: &String| element(0x1155, 0x0008, uid.as_bytes());
    let mut kept: Vec<Vec<u8>> = others.iter().map(item).collect();
    let mut failed = Vec::new();
    match says {
        Says::All | Says::OfAnother => kept.push(item(last)),
        Says::LastFailed(reason) => {
            failed = [item(last), element(0x1197, 0x0008, &reason.to_le_bytes())].concat();
            failed = element(0x1198, 0x0008, &element(0xE000, 0xFFFE, &failed));
        }
        Says::LastLeftOut => {}
        Says::NoData => return (command, vec![1, 2, 3]),
    }
    let kept = kept.iter().flat_map(|item| element(0xE000, 0xFFFE, item)).collect::<Vec<_>>();
    let transaction = if says == Says::OfAnother { "2.25.1" } else { &request.transaction };
    let data = [element(0x1195, 0x0008, transaction.as_bytes()), failed, element(0x1199, 0x0008, &kept)];
    (command, data.concat())
}

async fn report(
    open: &mut AsyncServerAssociation<TcpStream>,
    context: u8,
    says: Says,
    request: &CommitmentReport,
) -> Result<(), dicom_ul::association::Error> {
    let (command, data) = event(says, request);
    say(open, context, command).await?;
    let mut writer = open.send_pdata(context);
    writer.write_all(&data).await.expect("sent");
    writer.finish().await.expect("sent");
    Ok(())
}

/// As archives do that report some time later.
async fn report_by_own(
    to: SocketAddr,
    title: &str,
    says: Says,
    request: &CommitmentReport,
    sent: &mpsc::Sender<Got>,
) {
    let options = ClientAssociationOptions::new()
        .calling_ae_title("ARCHIVE")
        .called_ae_title(title)
        .with_presentation_context(COMMITMENT_CLASS, vec![IMPLICIT])
        .with_role_selection(COMMITMENT_CLASS, false, true);
    let Ok(open) = options.establish_async(to).await else {
        sent.try_send(Got::Rejected).expect("a test");
        return;
    };
    assert_eq!(open.presentation_contexts()[0].reason, PresentationContextResultReason::Acceptance);
    let mut open = Open::new(open);
    let context = open.context(COMMITMENT_CLASS, IMPLICIT).expect("accepted");
    let (command, data) = event(says, request);
    open.command(context, command).await.expect("sent");
    open.data(context, &data).await.expect("sent");
    let answer =
        open.message().await.expect("heard").expect("a message").command.answer().expect("an answer");
    assert_eq!(answer.message, 7);
    sent.try_send(Got::Status(answer.status)).expect("a test");
    open.end().await.expect("released");
}

fn asking(address: String, seconds: u64, reports: &Arc<Reports>) -> Archive {
    let commitment =
        CommitmentOptions { patience: Duration::from_secs(seconds), reports: Arc::clone(reports) };
    Archive::new(ArchiveOptions { commitment: Some(commitment), ..options(address) }).expect("an archive")
}

/// A port for reports, to titles of ours.
async fn listener(reports: &Arc<Reports>) -> SocketAddr {
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    let titles = vec!["NIGHTREAD".to_owned()];
    let listener = ReportListener::bind(here, titles, Arc::clone(reports)).await.expect("a port");
    let address = listener.address().expect("an address");
    tokio::spawn(listener.serve());
    address
}

/// The requests that an archive got so far, and what else.
fn all(got: &mut mpsc::Receiver<Got>) -> (Vec<String>, Vec<Got>) {
    let (mut asked, mut others) = (Vec::new(), Vec::new());
    while let Ok(one) = got.try_recv() {
        match one {
            Got::Asked(transaction) => asked.push(transaction),
            Got::Stored => {}
            other => others.push(other),
        }
    }
    (asked, others)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_delivered_when_the_archive_commits_itself_to_it() {
    let failed = |reason| Keeper { says: Says::LastFailed(reason), ..KEEPS };
    let answers = |status| Keeper { statuses: [status; 3], ..KEEPS };
    for (script, expected) in [
        (KEEPS, ["stored"; 2]),
        (Keeper { by: By::SameBefore, ..KEEPS }, ["stored"; 2]),
        (failed(0x0110), ["stored", "commitment_processing_failure"]),
        (failed(0x0112), ["stored", "commitment_object_missing"]),
        (failed(0x0119), ["stored", "commitment_class_conflict"]),
        (failed(0x0122), ["stored", "commitment_class_unsupported"]),
        (failed(0x0131), ["stored", "commitment_duplicate"]),
        (failed(0x0213), ["stored", "commitment_no_room"]),
        (failed(0xC001), ["stored", "commitment_refused"]),
        (failed(0), ["stored", "commitment_refused"]),
        (Keeper { says: Says::LastLeftOut, ..KEEPS }, ["stored", "commitment_incomplete"]),
        (Keeper { says: Says::OfAnother, ..KEEPS }, ["commitment_timeout"; 2]),
        (Keeper { says: Says::NoData, ..KEEPS }, ["commitment_timeout"; 2]),
        (Keeper { by: By::Nothing, ..KEEPS }, ["commitment_timeout"; 2]),
        (Keeper { by: By::Nothing, ends: true, ..KEEPS }, ["commitment_timeout"; 2]),
        (Keeper { takes_commitments: false, ..KEEPS }, ["commitment_unsupported"; 2]),
        (answers(0x0122), ["commitment_unsupported"; 2]),
        (answers(0x0110), ["commitment_processing_failure"; 2]),
        (answers(0x0213), ["commitment_no_room"; 2]),
        (answers(0x0124), ["commitment_refused"; 2]),
        (answers(0x0131), ["commitment_duplicate"; 2]),
    ] {
        let (address, mut got) = keeper(script).await;
        let archive = asking(address, 1, &Arc::default());
        let sending = archive.send(&objects()).await;
        assert_eq!(codes(&sending.verdicts), expected, "{script:?}");
        let whole = if expected == ["stored"; 2] {
            CommitmentOutcome::Committed
        } else {
            CommitmentOutcome::CommitmentFailed
        };
        assert_eq!(sending.commitment.expect("asked for").outcome(), whole);
        let heard: Vec<_> = all(&mut got).1;
        if script.by == By::Same && script.statuses[2] == 0 && script.takes_commitments {
            let status = match script.says {
                Says::OfAnother => 0x0115,
                Says::NoData => 0x0110,
                _ => 0,
            };
            assert_eq!(heard, [Got::Status(status)], "{script:?}: every report is answered");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_objects_are_the_same_request_and_a_used_uid_is_followed_by_the_next() {
    let (address, mut got) = keeper(Keeper { statuses: [0x0131, 0x0131, 0], ..KEEPS }).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let archive = asking(address.clone(), 2, &Arc::default());
        let sending = archive.send(&objects()).await;
        assert_eq!(codes(&sending.verdicts), ["stored"; 2]);
        let (asked, _) = all(&mut got);
        assert_eq!(asked.len(), 3, "{asked:?}");
        assert_eq!(asked.last(), Some(&sending.commitment.expect("asked for").transaction));
        assert!(
            asked.iter().all(|uid| uid.starts_with("2.25.")) && asked[0] != asked[1] && asked[1] != asked[2]
        );
        seen.push(asked);
    }
    assert_eq!(seen[0], seen[1]);
    // What is not stored is not asked for, and nothing is where the settings do not ask.
    let archive = Archive::new(options(address)).expect("an archive");
    assert!(archive.send(&objects()).await.commitment.is_none() && all(&mut got).0.is_empty());
    let (address, _got) = provider(Provider::Statuses([0, 0xA900])).await;
    let sending = asking(address, 1, &Arc::default()).send(&objects()).await;
    assert!(sending.commitment.is_none() && codes(&sending.verdicts) == ["stored", "delivery_refused"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_come_by_associations_of_the_archives_own() {
    let reports = Arc::default();
    let port = listener(&reports).await;
    let own = Keeper { by: By::Own(port, "NIGHTREAD"), ..KEEPS };
    for (script, expected, heard) in [
        (own, ["stored"; 2], Got::Status(0)),
        (Keeper { ends: true, ..own }, ["stored"; 2], Got::Status(0)),
        (
            Keeper { says: Says::LastFailed(0x0112), ..own },
            ["stored", "commitment_object_missing"],
            Got::Status(0),
        ),
        (Keeper { says: Says::OfAnother, ..own }, ["commitment_timeout"; 2], Got::Status(0x0115)),
        (Keeper { by: By::Own(port, "SOMEBODY"), ..own }, ["commitment_timeout"; 2], Got::Rejected),
    ] {
        let (address, mut got) = keeper(script).await;
        let sending = asking(address, 2, &reports).send(&objects()).await;
        assert_eq!(codes(&sending.verdicts), expected, "{script:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(all(&mut got).1, [heard], "{script:?}");
    }
    // Who says nothing, or something else, takes nobody's place.
    for _ in 0..4 {
        let mut stream = TcpStream::connect(port).await.expect("let in");
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
        let _silent = TcpStream::connect(port).await.expect("let in");
    }
    let (address, _got) = keeper(own).await;
    assert_eq!(codes(&asking(address, 2, &reports).send(&objects()).await.verdicts), ["stored"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_came_too_late_counts_at_the_next_try() {
    let reports: Arc<Reports> = Arc::default();
    let port = listener(&reports).await;
    let (address, mut got) = keeper(Keeper { by: By::Nothing, ..KEEPS }).await;
    let archive = asking(address, 1, &reports);
    let sending = archive.send(&objects()).await;
    assert_eq!(codes(&sending.verdicts), ["commitment_timeout"; 2]);
    let transaction = sending.commitment.expect("asked for").transaction;
    let late = CommitmentReport {
        transaction: transaction.clone(),
        committed: objects().into_iter().map(|object| object.sop_instance).collect(),
        failed: Vec::new(),
    };
    let (sent, mut heard) = mpsc::channel(64);
    report_by_own(port, "NIGHTREAD", Says::All, &late, &sent).await;
    assert_eq!(heard.recv().await, Some(Got::Status(0)));
    assert_eq!(codes(&archive.send(&objects()).await.verdicts), ["stored"; 2]);
    assert_eq!(all(&mut got).0, [transaction], "it was not asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_whether_requests_are_taken() {
    let (address, _got) = keeper(KEEPS).await;
    let said = asking(address, 1, &Arc::default()).answers().await.expect("an answer");
    assert!(said.contains("storage commitment"), "{said}");
    let (address, _got) = keeper(Keeper { takes_commitments: false, ..KEEPS }).await;
    let error = asking(address, 1, &Arc::default()).answers().await.expect_err("none");
    assert_eq!(error.code, ErrorCode::CommitmentUnsupported);
}
