use proptest::prelude::*;

use super::*;
use crate::blob::BlobRef;

fn account_at(endpoint: &str) -> AllowedSources {
    AllowedSources::new([endpoint], ["incoming"], "results").expect("sound settings")
}

fn resolves(allowed: &AllowedSources, url: &str) -> bool {
    let job = Announcement {
        location: Location::Url(url.to_owned()),
        model: None,
        force: false,
        correlation_id: None,
    };
    job.resolve(allowed).is_ok()
}

#[test]
fn an_account_is_known_by_all_its_names() {
    for (endpoint, announced) in [
        ("https://a.blob.core.windows.net", "https://a.dfs.core.windows.net"),
        ("https://a.blob.core.windows.net/", "https://A.DFS.core.windows.net:443"),
        ("https://a.dfs.core.windows.net", "https://a.blob.core.windows.net"),
        ("https://a.z12.blob.storage.azure.net", "https://a.z12.dfs.storage.azure.net"),
        ("https://a.blob.core.chinacloudapi.cn", "https://a.dfs.core.chinacloudapi.cn"),
        ("https://a.privatelink.blob.core.windows.net", "https://a.blob.core.windows.net"),
        ("https://a.privatelink.blob.core.windows.net", "https://a.dfs.core.windows.net"),
        ("https://images.hospital.example", "https://images.hospital.example"),
    ] {
        let allowed = account_at(endpoint);
        for endpoint in [endpoint, announced] {
            let url = format!("{}/incoming/a.png", endpoint.trim_end_matches('/'));
            assert!(resolves(&allowed, &url), "{url}");
        }
    }
    let account = account_at("https://a.blob.core.windows.net");
    for other in [
        "https://b.dfs.core.windows.net/incoming/a.png",
        "http://a.dfs.core.windows.net/incoming/a.png",
        "https://a.queue.core.windows.net/incoming/a.png",
        "https://a.dfs.core.windows.net.evil.example/incoming/a.png",
        "https://blob.core.windows.net/incoming/a.png",
    ] {
        assert!(!resolves(&account, other), "{other}");
    }
}

#[test]
fn urls_of_the_configured_account_become_blobs() {
    for (url, container, name) in [
        ("https://nightread.blob.core.windows.net/incoming/a/b.png", "incoming", "a/b.png"),
        ("HTTPS://NightRead.Blob.Core.Windows.Net:443/incoming/b.png", "incoming", "b.png"),
        ("http://127.0.0.1:10000/devstoreaccount1/archive/a%20b%2Fc%23%3F%2B.png", "archive", "a b/c#?+.png"),
        ("https://nightread.blob.core.windows.net/incoming/r%C3%B6ntgen 1.png", "incoming", "röntgen 1.png"),
        ("https://nightread.blob.core.windows.net/incoming/100%25.png", "incoming", "100%.png"),
        ("https://nightread.blob.core.windows.net/incoming/a%2525b.png", "incoming", "a%25b.png"),
        ("https://nightread.blob.core.windows.net/incoming/a%252Fb.png", "incoming", "a%2Fb.png"),
        ("https://nightread.blob.core.windows.net/incoming/%252e%252e/b.png", "incoming", "%2e%2e/b.png"),
        ("https://nightread.blob.core.windows.net/incoming/a%255C%2500.png", "incoming", "a%5C%00.png"),
        ("https://nightread.blob.core.windows.net/incoming/a//b..c", "incoming", "a//b..c"),
    ] {
        let expected = Resolved::Blob(BlobRef::new(container, name).expect("sound"));
        assert_eq!(resolve_url(url).expect(url), expected);
    }
    let own = resolve_url("https://nightread.blob.core.windows.net/results/m/1/x.json").expect("known");
    assert_eq!(own, Resolved::OwnResult);
}

#[test]
fn hostile_urls_are_refused() {
    let account = "https://nightread.blob.core.windows.net";
    for url in [
        "https://evil.example/incoming/a.png".to_owned(),
        "https://nightread.blob.core.windows.net.evil.example/incoming/a".to_owned(),
        "https://evil.example/nightread.blob.core.windows.net/incoming/a".to_owned(),
        "http://nightread.blob.core.windows.net/incoming/a".to_owned(),
        "https://nightread.blob.core.windows.net:8443/incoming/a".to_owned(),
        "https://nightread.blob.core.windows.net./incoming/a".to_owned(),
        "https://127.0.0.1:10000/devstoreaccount1/incoming/a".to_owned(),
        "http://127.0.0.1:10000/otheraccount/incoming/a".to_owned(),
        "http://127.0.0.1:10000/devstoreaccount1x/incoming/a".to_owned(),
        "http://127.0.0.1:+10000/devstoreaccount1/incoming/a".to_owned(),
        "http://127.0.0.1:110000/devstoreaccount1/incoming/a".to_owned(),
        "file:///etc/passwd".to_owned(),
        "//nightread.blob.core.windows.net/incoming/a".to_owned(),
        "incoming/a".to_owned(),
        String::new(),
        "https://nightread.blob.core.windows.net@evil.example/incoming/a".to_owned(),
        "https://user:pw@nightread.blob.core.windows.net/incoming/a".to_owned(),
        "https://evil.example\\@nightread.blob.core.windows.net/incoming/a".to_owned(),
        format!("{account}\\incoming\\a"),
        format!("{account}/incoming/a?sv=2024&sig=x"),
        format!("{account}/incoming/a#part"),
        format!("{account}/incoming/../results/a"),
        format!("{account}/incoming/%2e%2e/results/a"),
        format!("{account}/incoming/%2E%2E%2Fresults%2Fa"),
        format!("{account}/incoming/..%2fa"),
        format!("{account}/incoming/a%5c..%5cb"),
        format!("{account}/incoming/a%00.png"),
        format!("{account}/incoming/a%0d%0aHost:%20evil"),
        format!("{account}/incoming/%2fa"),
        format!("{account}/incoming/%ff%fe"),
        format!("{account}/incoming/100%.png"),
        format!("{account}/incoming/a%2"),
        format!("{account}/incoming/a\nb"),
        format!("{account}/incoming"),
        format!("{account}/incoming/"),
        format!("{account}//incoming/a"),
        format!("{account}/incoming%2fa"),
        format!("{account}/%69ncoming/a"),
        format!("{account}/Incoming/a"),
        format!("{account}/secrets/a"),
        format!("{account}/incoming/{}", "x".repeat(1025)),
    ] {
        let error = resolve_url(&url).expect_err(&url);
        assert_eq!(error.code, ErrorCode::SourceNotAllowed, "{url}");
        assert!(!error.message.contains("sig="), "an error never quotes a signature");
    }
}

fn resolve(blob: &str) -> Result<Resolved, JobError> {
    let native = Native { blob: blob.to_owned(), model: None, force: false, correlation_id: None };
    Announcement::from(native).resolve(&allowed())
}

#[test]
fn paths_are_taken_literally_and_checked() {
    let by_url = resolve("https://nightread.blob.core.windows.net/incoming/a%20b.png").expect("allowed");
    assert_eq!(by_url, Resolved::Blob(BlobRef::new("incoming", "a b.png").expect("sound")));
    let literal = BlobRef::new("incoming", "a%20b.png").expect("sound");
    assert_eq!(resolve("incoming/a%20b.png").expect("allowed"), Resolved::Blob(literal));
    assert_eq!(resolve("results/x.json").expect("known"), Resolved::OwnResult);
    for path in ["secrets/x", "incoming/../results/x", "/incoming/x", "incoming", "https://h/incoming/x"] {
        assert_eq!(resolve(path).expect_err(path).code, ErrorCode::SourceNotAllowed);
    }
}

#[test]
fn settings_that_would_feed_the_fleet_to_itself_are_refused() {
    for (endpoints, inputs) in [
        (vec![AZURE], vec!["incoming", "results"]),
        (vec!["ftp://x/"], vec!["incoming"]),
        (vec![], vec!["UPPER"]),
    ] {
        let error = AllowedSources::new(endpoints, inputs, "results").expect_err("refused");
        assert_eq!(error.code, ErrorCode::SettingsInvalid);
    }
    let folder = AllowedSources::new([], ["incoming"], "results").expect("a folder has no endpoints");
    let url = Location::Url("https://nightread.blob.core.windows.net/incoming/a".to_owned());
    let job = Announcement { location: url, model: None, force: false, correlation_id: None };
    assert_eq!(job.resolve(&folder).expect_err("no URLs").code, ErrorCode::SourceNotAllowed);
}

/// Text near the forms that are read, so that the generator reaches past the first check.
fn near_announcement() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "\"specversion\"",
        "\"1.0\"",
        "\"type\"",
        "\"Microsoft.Storage.BlobCreated\"",
        "\"id\"",
        "\"source\"",
        "\"data\"",
        "\"url\"",
        "\"eventType\"",
        "\"blob\"",
        "\"incoming/a\"",
        "\"force\"",
        "true",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "null",
        "1e999",
        "\"\\ud800\"",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

fn near_url() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "https://",
        "http://",
        "nightread.blob.core.windows.net",
        "127.0.0.1",
        ":10000",
        "/devstoreaccount1",
        "/incoming",
        "/results",
        "/",
        "..",
        "%2e",
        "%2F",
        "%25",
        "%00",
        "%",
        "@",
        "?",
        "#",
        "\\",
        "[::1]",
        ":",
        "ü",
        "a.png",
    ]);
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..400), binary: bool) {
        let mut message = message(body);
        if binary {
            message.attributes.cloud_event.insert("type".to_owned(), "Microsoft.Storage.BlobCreated".to_owned());
        }
        let _ = parse(&message);
        let _ = split(&message);
    }

    #[test]
    fn near_announcements_never_panic(body in near_announcement()) {
        if let Ok(parsed) = parse(&message(body)) {
            for announced in parsed {
                if let Announced::Job(job) = announced {
                    let _ = job.resolve(&allowed());
                }
            }
        }
    }

    #[test]
    fn whatever_resolves_lies_in_an_allowed_container_and_stays_in_it(url in near_url()) {
        if let Ok(Resolved::Blob(blob)) = resolve_url(&url) {
            prop_assert!(["incoming", "archive"].contains(&blob.container()));
            prop_assert!(!blob.name().split(['/', '\\']).any(|segment| segment == ".."));
            let ours = url.starts_with("https://nightread.blob.core.windows.net/")
                || url.starts_with("http://127.0.0.1:10000/devstoreaccount1/");
            prop_assert!(ours, "{url}");
        }
    }

    #[test]
    fn an_encoded_name_comes_back(name in "[a-z0-9 ü#?+&=~()'-]{1,20}") {
        let encoded = hex::encode_upper(&name).as_bytes().chunks(2).fold(String::new(), |url, pair| {
            url + "%" + &String::from_utf8_lossy(pair)
        });
        let url = format!("https://nightread.blob.core.windows.net/incoming/{encoded}");
        let expected = Resolved::Blob(BlobRef::new("incoming", name).expect("sound"));
        prop_assert_eq!(resolve_url(&url).expect("resolves"), expected);
    }
}
