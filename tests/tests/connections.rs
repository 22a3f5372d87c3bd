//! What is said of a connection that fails, by the binary: to whom, why, in the words of whoever refused, one kind told from
//! another, and no secret.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use nightread_tests::azurite::Azurite;
use nightread_tests::parts::{free_port, skipped};
use nightread_tests::rabbit::{Rabbit, Tls};
use nightread_tests::server::{Answer, ScriptedServer};
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings};
use serde_json::Value;
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

const UNKNOWN: &str = "no-such-host.invalid";

/// Of the name that an operating system could not look up, whatever its reason.
const NOT_FOUND: &str = "failed to lookup address information";

/// Shown in no message.
const SECRET: &str = "HUSHHUSHHUSHHUSH";

/// The one problem that `nightread check` finds of a kind.
fn problem(settings: &WorkerSettings, purpose: &str, kind: &str) -> String {
    let ran = settings.command(&["check", "--format", "json", "--for", purpose]).output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(!said.contains(SECRET), "a secret is shown: {said}");
    let answer: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("no JSON: {said}"));
    let problems = answer["problems"].as_array().expect("a list").iter().filter_map(Value::as_str);
    let of_kind: Vec<_> = problems.filter(|problem| problem.starts_with(kind)).collect();
    assert_eq!((ran.status.code(), of_kind.len()), (Some(1), 1), "{answer:#}");
    of_kind[0].to_owned()
}

/// Each holds what is beside it, and without its place no two are the same.
fn told_apart(told: &[(String, Vec<String>)]) {
    let mut seen = BTreeSet::new();
    for (said, wanted) in told {
        let missing: Vec<_> = wanted.iter().filter(|words| !said.contains(words.as_str())).collect();
        assert!(missing.is_empty(), "{missing:?} is not in {said:?}");
        let mut bare = said.clone();
        for words in wanted {
            if words.contains(':') {
                bare = bare.replace(words.as_str(), "");
            }
        }
        assert!(seen.insert(bare), "said of two kinds: {said}");
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A broker with a plain and a TLS port.
async fn secured() -> Option<Rabbit> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    Rabbit::start(Some(Tls { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() })).await
}

fn port_of(url: &str) -> u16 {
    let place = url.rsplit('@').next().expect("a place").split('/').next().expect("a host");
    place.rsplit(':').next().expect("a port").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_cannot_be_reached_is_named_with_the_reason() {
    let test = "a_broker_that_cannot_be_reached_is_named_with_the_reason";
    if !Worker::is_built(test) {
        return;
    }
    let Some(rabbit) = secured().await else { return skipped(test, "RabbitMQ") };
    let plain = port_of(&rabbit.url());
    let tls = port_of(&rabbit.tls_url().expect("a TLS listener"));
    let (closed, web) = (free_port(), ScriptedServer::start(|_| Answer::new(200, "hello")).await);
    let web = port_of(&web.url().replace("http://", "x@"));
    let mut told = Vec::new();
    for (scheme, host, port, wanted) in [
        ("amqp", "127.0.0.1", closed, "Connection refused"),
        ("amqp", UNKNOWN, 5672, NOT_FOUND),
        ("amqps", "127.0.0.1", plain, "InvalidContentType"),
        ("amqp", "localhost", tls, "speaks TLS there: amqps:// is meant"),
        ("amqps", "localhost", tls, "UnknownIssuer"),
        ("amqp", "127.0.0.1", web, "AMQP 0-9-1"),
    ] {
        let url = format!("{scheme}://guest:{SECRET}@{host}:{port}/t0");
        let said = problem(&WorkerSettings::new(&url), "announce", "broker: ");
        let place = format!("{host}:{port}");
        told.push((said, words(&["broker_unavailable", &place, wanted])));
    }
    let wrong = format!("amqp://guest:{SECRET}@127.0.0.1:{plain}/t0");
    let said = problem(&WorkerSettings::new(&wrong), "announce", "broker: ");
    told.push((said, words(&["broker_rejected", &format!("127.0.0.1:{plain}"), "ACCESS_REFUSED"])));
    told_apart(&told);
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_cannot_be_reached_is_named_with_the_reason() {
    let test = "storage_that_cannot_be_reached_is_named_with_the_reason";
    if !Worker::is_built(test) {
        return;
    }
    let (Some(rabbit), Some(azurite)) = (secured().await, Azurite::shared(test).await) else {
        return skipped(test, "RabbitMQ or Azurite");
    };
    let Some(plain) = azurite.address() else { return skipped(test, "an Azurite without TLS") };
    let url = rabbit.declared().await.url;
    let speaks_tls = port_of(&rabbit.tls_url().expect("a TLS listener"));
    let settings = |scheme: &str, host: &str, port: u16| {
        let storage = format!(
            "DefaultEndpointsProtocol={scheme};AccountName=account;AccountKey={SECRET};BlobEndpoint={scheme}://{host}:{port}/account;"
        );
        WorkerSettings::new(&url).azure(&storage, "incoming", "results")
    };
    let closed = free_port();
    let mut told = Vec::new();
    for (scheme, host, port, wanted) in [
        ("http", "127.0.0.1", closed, "Connection refused"),
        ("http", UNKNOWN, 80, NOT_FOUND),
        ("https", "127.0.0.1", plain.port(), "InvalidContentType"),
        ("https", "localhost", speaks_tls, "UnknownIssuer"),
        ("http", "localhost", speaks_tls, "invalid HTTP version"),
    ] {
        let said = problem(&settings(scheme, host, port), "run", "container results: ");
        let place = format!("{host}:{port}");
        told.push((said, words(&["storage_unavailable", &place, wanted])));
    }
    told_apart(&told);

    // The service waits for it, and says the same.
    let folder = TempDir::new().expect("a folder");
    let worker = Worker::start(&settings("http", "127.0.0.1", closed), folder.path());
    let ready = wait::until("the worker to say what it waits for", || async {
        worker.get("/ready").await.filter(|ready| ready.contains("storage: "))
    })
    .await;
    let place = format!("127.0.0.1:{closed}");
    for said in [ready, worker.log()] {
        assert!(said.contains(&place) && said.contains("Connection refused"), "{said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}

/// Asks Entra ID for `identity`'s token, which it refuses.
fn entra(asked: &str) -> Answer {
    let description = "AADSTS700016: Application with identifier 'clinic' was not found in the directory 'Hospital'.\r\nTrace ID: 1\r\nTimestamp: 2026-01-01 00:00:00Z";
    let body = serde_json::json!({
        "error": "unauthorized_client", "error_description": description, "error_codes": [700_016],
        "error_uri": "https://login.microsoftonline.com/error?code=700016",
    });
    let is_asked = asked.starts_with("/tenant/oauth2/v2.0/token");
    Answer::new(if is_asked { 400 } else { 404 }, body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_refused_is_told_in_azure_s_own_words() {
    let test = "an_identity_that_is_refused_is_told_in_azure_s_own_words";
    if !Worker::is_built(test) {
        return;
    }
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    let url = rabbit.declared().await.url;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let authority =
        ScriptedServer::start_secured(made.cert.der().clone(), key, |asked| entra(&asked.path)).await;
    let not_assigned = ScriptedServer::start(|_| {
        Answer::new(400, r#"{"error":"invalid_request","error_description":"Identity not found"}"#)
    })
    .await;
    let work = TempDir::new().expect("a folder");
    let (trusted, federated) = (work.path().join("ca.pem"), work.path().join("token"));
    std::fs::write(&trusted, made.cert.pem()).expect("a file");
    std::fs::write(&federated, SECRET).expect("a file");
    let path = |path: &std::path::Path| path.to_str().expect("a UTF-8 path").to_owned();
    let closed = free_port();
    let settings = |identity: &str| {
        WorkerSettings::new(&url)
            .with("NIGHTREAD_STORAGE_KIND", "azure")
            .with("NIGHTREAD_STORAGE_ACCOUNT_URL", "https://account.blob.invalid")
            .with("NIGHTREAD_SOURCES_CONTAINERS", "incoming")
            .with("NIGHTREAD_RESULTS_CONTAINER", "results")
            .with("IDENTITY_ENDPOINT", identity)
            .with("IDENTITY_HEADER", SECRET)
    };
    let cluster = settings(&not_assigned.url())
        .with("AZURE_TENANT_ID", "tenant")
        .with("AZURE_CLIENT_ID", "clinic")
        .with("AZURE_FEDERATED_TOKEN_FILE", &path(&federated))
        .with("AZURE_AUTHORITY_HOST", &authority.url())
        .with("SSL_CERT_FILE", &path(&trusted));
    let said = problem(&cluster, "run", "container results: ");
    let asked = authority.asked();
    assert!(asked.iter().any(|asked| asked.path == "/tenant/oauth2/v2.0/token"), "{asked:?}: {said}");
    let all = [
        "storage_unauthenticated",
        "managed identity gives no token",
        "400 invalid_request: Identity not found",
        "workload identity gives no token",
        "AADSTS700016: Application with identifier 'clinic' was not found in the directory 'Hospital'.",
        "azure cli gives no token",
    ];
    let away = problem(&settings(&format!("http://127.0.0.1:{closed}/token")), "run", "container results: ");
    let place = format!("127.0.0.1:{closed}");
    let refused =
        ["storage_unauthenticated", "managed identity gives no token", &place, "Connection refused"];
    told_apart(&[(said, words(&all)), (away, words(&refused))]);

    // The service says the same in its log, on one line.
    let worker = Worker::start(&cluster, work.path());
    let line = wait::until("the worker to say why it is not ready", || async {
        worker.log().lines().find(|line| line.contains("not ready")).map(str::to_owned)
    })
    .await;
    assert!(line.contains("AADSTS700016") && line.contains("Identity not found"), "{line}");
    assert!(!worker.log().contains(SECRET), "no token is shown");
}
