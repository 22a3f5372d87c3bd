use std::collections::BTreeMap;

use super::raw::Origin;
use super::*;

fn merged(file: &str, environment: &[(&str, &str)]) -> (RawSettings, Problems) {
    let mut problems = Problems::default();
    let environment: BTreeMap<_, _> = environment.iter().copied().collect();
    let raw = RawSettings::merge(
        Some(file),
        &|name| environment.get(name).map(|value| (*value).to_owned()),
        &[],
        &mut problems,
    );
    (raw, problems)
}

#[test]
fn defaults_are_valid() {
    let (raw, mut problems) = merged("", &[]);
    let settings = Settings::validate(&raw, &mut problems).expect("complete");
    assert!(problems.is_empty(), "{problems}");
    assert_eq!(settings.results_container, "results");
}

#[test]
fn the_environment_beats_the_file_and_the_file_beats_the_default() {
    let (raw, problems) = merged("[limits]\nattempts = 3\njobs = 5", &[("NIGHTREAD_LIMITS_JOBS", "7")]);
    assert!(problems.is_empty(), "{problems}");
    assert_eq!((raw.integer(keys::LIMITS_ATTEMPTS), raw.integer(keys::LIMITS_JOBS)), (Some(3), Some(7)));
    for (name, from) in
        [("attempts", Origin::File), ("jobs", Origin::Environment), ("pixels", Origin::Default)]
    {
        let row = raw.shown().into_iter().find(|(key, _, _)| key.name == name);
        assert_eq!(row.map(|(_, _, origin)| origin), Some(from), "{name}");
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let file = r#"
        [storage]
        kind = "tape"
        [sources]
        containers = ["results", "In"]
        [limits]
        attempts = "many"
        pixel = 3
        [engine]
        sessions = 0
        [models]
        precision = "fp8"
        [[routes]]
        task = "sound"
        [[routes]]
        task = "components"
        [[routes]]
        task = "radiograph"
        model = "a"
        models = ["b"]
        [[routes]]
        task = "radiograph"
        models = ["a", "b", "a"]
        [[routes]]
        task = "radiograph"
        models = []
        [[routes]]
        task = "radiograph"
        models = [1]
    "#;
    let (raw, mut problems) = merged(file, &[("NIGHTREAD_RESULTS_PUBLISH", "perhaps")]);
    Settings::validate(&raw, &mut problems);
    let told = problems.to_string();
    for part in [
        "kind: folder or azure",
        "feed itself",
        "\"In\"",
        "[limits] attempts",
        "unknown setting [limits] pixel",
        "[engine] sessions",
        "fp32, int8 or bf16",
        "task is radiograph or components",
        "model is missing",
        "3: it has model and models",
        "4: models names a twice",
        "5: models names none",
        "6: models is a list of names",
        "[results] publish",
    ] {
        assert!(told.contains(part), "{part:?} is not told in:\n{told}");
    }
}

#[test]
fn an_earlier_name_is_refused_with_the_name_of_now() {
    for [section, former, room, now] in keys::RENAMED {
        assert!(keys::find(room, now).is_some() && keys::find(section, former).is_none());
        let (_, problems) = merged(&format!("[{section}]\n{former} = 2"), &[]);
        assert_eq!(problems.to_string(), format!("[{section}] {former} is called [{room}] {now} now"));
        let (former, now) = (keys::variable(section, former), keys::variable(room, now));
        let (_, problems) = merged("", &[(&former, "2")]);
        assert_eq!(problems.to_string(), format!("{former} is called {now} now"));
    }
}

#[test]
fn a_setting_for_tests_is_unknown_to_everybody_else() {
    let (raw, problems) = merged("", &[("NIGHTREAD_WORKER_FAILPOINT", "after_fetch")]);
    assert!(problems.is_empty() && raw.text(keys::WORKER_FAILPOINT).is_none());
    let (_, problems) = merged("[worker]\nfailpoint = \"after_fetch\"", &[]);
    assert_eq!(problems.to_string(), "unknown setting [worker] failpoint");
    let tested = [(keys::TESTING, "1"), ("NIGHTREAD_WORKER_FAILPOINT", "after_fetch")];
    let (raw, problems) = merged("", &tested);
    assert!(problems.is_empty(), "{problems}");
    assert_eq!(raw.text(keys::WORKER_FAILPOINT), Some("after_fetch"));
    assert!(raw.shown().iter().any(|(key, _, _)| **key == keys::WORKER_FAILPOINT), "and it is told");
}

#[test]
fn secrets_never_show() {
    let url = "amqp://user:hunter2@localhost";
    let (raw, mut problems) = merged("", &[("NIGHTREAD_BROKER_URL", url)]);
    let settings = Settings::validate(&raw, &mut problems).expect("complete");
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert!(raw.shown().iter().all(|(_, shown, _)| !shown.contains("hunter2")));
    assert_eq!(settings.broker.expect("a broker").url.reveal(), url);
}

/// With these hosts: what is taken, whether a problem is told of it, and what is doubted.
fn with_hosts(hosts: &str) -> (Vec<String>, bool, Vec<String>) {
    let url = ("NIGHTREAD_BROKER_URL", "amqp://user:hunter2@localhost");
    let (raw, mut problems) = merged("", &[url, ("NIGHTREAD_BROKER_HOSTS", hosts)]);
    let settings = Settings::validate(&raw, &mut problems).expect("settings");
    let hosts = settings.broker.expect("a broker").hosts;
    (hosts, problems.iter().any(|problem| problem.contains("[broker] hosts")), doubts::of(&raw))
}

#[test]
fn brokers_of_a_cluster_are_hosts_and_nothing_else() {
    let (hosts, has_problem, doubts) = with_hosts("broker-2, broker-3:5671, 10.0.0.4, [::1]:5672");
    assert_eq!((hosts.len(), has_problem), (4, false));
    assert!(doubts.iter().any(|doubt| doubt.contains("[broker] hosts")), "they are reached without TLS");
    assert!(with_hosts("127.0.0.1:5673,localhost").2.is_empty(), "nobody is on the way");
    for wrong in ["amqp://broker-2", "user:hunter2@broker-2", "broker-2/vhost", "broker-2:port", "broker-2,"]
    {
        assert!(with_hosts(wrong).1, "{wrong} is no host");
    }
}

#[test]
fn what_is_secret_in_an_address_is_not_shown() {
    for (variable, value, shown, hidden) in [
        (
            "NIGHTREAD_STORAGE_ACCOUNT_URL",
            "https://a.blob.core.windows.net/?sv=1&sig=hunter2",
            "https://a.blob.core.windows.net/?[redacted]",
            "hunter2",
        ),
        (
            "NIGHTREAD_RELAY_QUEUE_URL",
            "https://user:hunter2@a.queue.core.windows.net/q",
            "https://[redacted]@a.queue.core.windows.net/q",
            "hunter2",
        ),
        ("NIGHTREAD_STORAGE_ACCOUNT_URL", "https://a.example", "https://a.example", "hunter2"),
        ("NIGHTREAD_MODELS_DIR", "/models?/a@b", "/models?/a@b", "hunter2"),
    ] {
        let (raw, _) = merged("", &[(variable, value)]);
        let rows = raw.shown();
        let row = rows.iter().find(|(key, _, _)| key.variable() == variable).expect("a row");
        assert_eq!(row.1, shown);
        assert!(rows.iter().all(|(_, shown, _)| !shown.contains(hidden)));
    }
}

#[test]
fn every_setting_is_shown_also_when_nobody_set_it() {
    let (raw, _) = merged("", &[]);
    let rows = raw.shown();
    assert_eq!(rows.len(), keys::published().count());
    let unset = rows.iter().find(|(key, _, _)| key.variable() == "NIGHTREAD_BROKER_URL").expect("a row");
    assert_eq!((unset.1.as_str(), unset.2), ("", Origin::Unset));
}

#[test]
fn what_anybody_on_the_way_can_read_is_doubted() {
    for (variable, value) in [
        ("NIGHTREAD_BROKER_URL", "amqp://u:hunter2@broker.example:5672/%2f"),
        ("NIGHTREAD_BACKLOG_MANAGEMENT_URL", "http://u:hunter2@10.0.0.4:15672"),
        ("NIGHTREAD_STORAGE_SAS_URL", "http://a.example/?sig=hunter2"),
        ("NIGHTREAD_STORAGE_CONNECTION_STRING", "BlobEndpoint=http://a.example/x;AccountKey=hunter2"),
        ("NIGHTREAD_STORAGE_CONNECTION_STRING", "DefaultEndpointsProtocol=http;AccountKey=hunter2"),
        ("NIGHTREAD_WORKER_FAILPOINT", "after_store"),
        ("NIGHTREAD_MODELS_RUNTIME_TELEMETRY", "true"),
    ] {
        let found = doubts::of(&merged("", &[(variable, value), (keys::TESTING, "1")]).0);
        assert!(found.len() == 1 && !found[0].contains("hunter2"), "{variable}: {found:?}");
    }
    for (variable, value) in [
        ("NIGHTREAD_BROKER_URL", "amqps://u:p@broker.example:5671/%2f"),
        ("NIGHTREAD_BROKER_URL", "amqp://u:p@127.0.0.1:5672"),
        ("NIGHTREAD_BROKER_URL", "amqp://u:p@[::1]:5672/%2f"),
        ("NIGHTREAD_BROKER_URL", "amqp://localhost"),
        ("NIGHTREAD_BACKLOG_MANAGEMENT_URL", "https://broker.example:15671"),
        ("NIGHTREAD_STORAGE_CONNECTION_STRING", "DefaultEndpointsProtocol=https;AccountKey=x"),
        (
            "NIGHTREAD_STORAGE_CONNECTION_STRING",
            "DefaultEndpointsProtocol=http;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;AccountKey=x",
        ),
    ] {
        let found = doubts::of(&merged("", &[(variable, value), (keys::TESTING, "1")]).0);
        assert!(found.is_empty(), "{variable}={value}");
    }
}

#[test]
fn archives_of_rows_take_what_they_leave_out_from_the_section_but_no_authorization() {
    let file = r#"
[deliver]
archive = "https://pacs.example/dicom-web"
authorization = "Basic hunter2"
seconds = 30
commitment_seconds = 20
commitment_listen = "127.0.0.1:11112"

[[targets]]
name = "registry"
archive = "dicom://REGISTRY@registry.example:104"
objects = ["sr"]
"#;
    let (raw, mut problems) = merged(file, &[("NIGHTREAD_DELIVER_NAME", "pacs")]);
    let settings = Settings::validate(&raw, &mut problems).expect("settings");
    assert!(problems.is_empty(), "{problems}");
    let [pacs, registry] = settings.targets.as_slice() else { panic!("{:?}", settings.targets) };
    assert_eq!((pacs.name.as_str(), pacs.objects.len()), ("pacs", 3));
    assert!(pacs.authorization.is_some() && registry.authorization.is_none());
    assert_eq!((registry.timeout, registry.objects.as_slice()), (pacs.timeout, &[Kind::Report][..]));
    assert_eq!((pacs.commitment, registry.commitment), (None, Some(Duration::from_secs(20))));
    assert_eq!(settings.commitment_listen.map(|address| address.port()), Some(11112));
    for (row, told) in [
        ("name = \"pacs\"", "name and archive"),
        ("name = \"pacs\"\narchive = \"https://other.example\"", "two archives are called \"pacs\""),
        ("name = \"Not so\"\narchive = \"https://other.example\"", "the archive's name"),
        ("name = \"vna\"\narchive = \"https://other.example\"\nobjects = [\"pdf\"]", "objects"),
        ("name = \"vna\"\narchive = \"https://other.example\"\nseconds = 0", "seconds"),
        ("name = \"vna\"\narchive = \"https://other.example\"\nport = 1", "port"),
        (
            "name = \"vna\"\narchive = \"https://other.example\"\ncommitment_seconds = 9",
            "[[targets]] 1 commitment_seconds",
        ),
    ] {
        let file =
            format!("[deliver]\nname = \"pacs\"\narchive = \"https://pacs.example\"\n[[targets]]\n{row}\n");
        let (raw, mut problems) = merged(&file, &[]);
        let _settings = Settings::validate(&raw, &mut problems);
        assert!(problems.to_string().contains(told), "{row}: {problems}");
    }
    for (name, told) in
        [("commitment_seconds = 9", "there is none"), ("commitment_listen = \"here\"", "an address")]
    {
        let (raw, mut problems) =
            merged(&format!("[deliver]\narchive = \"https://pacs.example\"\n{name}\n"), &[]);
        let _settings = Settings::validate(&raw, &mut problems);
        assert!(problems.to_string().contains(told), "{name}: {problems}");
    }
}

#[test]
fn a_registry_goes_with_storage_and_without_a_folder_of_models() {
    let pin = format!("cxr@sha256:{}", "a".repeat(64));
    let base = "[storage]\nfolder = \"/data\"\n";
    let of = |text: &str, flags: &[(keys::Key, String)]| {
        let mut problems = Problems::default();
        let raw = RawSettings::merge(Some(text), &|_| None, flags, &mut problems);
        let settings = Settings::validate(&raw, &mut problems).expect("settings");
        (settings.registry, problems.to_string())
    };
    let sound = format!(
        "{base}[models]\nregistry = \"models/prod\"\nregistry_cache = \"/cache\"\npinned = [\"{pin}\"]\n"
    );
    let (registry, problems) = of(&sound, &[]);
    let registry = registry.expect("a registry");
    assert_eq!((problems.as_str(), registry.pins.len()), ("", 1));
    assert_eq!(
        (registry.place.to_string().as_str(), registry.cache),
        ("models/prod", PathBuf::from("/cache"))
    );
    // What `--models` gives.
    let flags = [(keys::MODELS_DIR, "models".to_owned()), (keys::MODELS_REGISTRY, String::new())];
    assert_eq!(of(&sound, &flags), (None, String::new()));

    for (text, told) in [
        (format!("{sound}dir = \"/models\"\n"), "leave the other out"),
        (sound.replace("[storage]\nfolder", "[storage]\nspool_dir"), "is a container of [storage]"),
        (sound.replace("models/prod", "results/prod"), "need one of their own"),
        (sound.replace("models/prod", "incoming"), "need one of their own"),
        (sound.replace("models/prod", "https://a/models"), "is not CONTAINER or CONTAINER/PREFIX"),
        (sound.replace("registry = \"models/prod\"", ""), "no [models] registry"),
        (sound.replace(&format!("\"{pin}\""), &format!("\"{pin}\", \"{pin}\"")), "cxr is there twice"),
        (sound.replace("@sha256:", "@md5:"), "is not NAME@sha256:DIGEST"),
        (format!("{sound}[limits]\nmodel_bytes = 0\n"), "[limits] model_bytes"),
    ] {
        let (_, problems) = of(&text, &[]);
        assert!(problems.contains(told), "{text}: {problems}");
    }

    // Optimised graphs have a folder of their own, whatever it is called.
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("cache");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&folder, place.path().join("link")).unwrap();
    let within = |name: &str| place.path().join(name).display().to_string();
    let entry = format!("cache/{}/x", "a".repeat(64));
    for (models, graphs, is_refused) in [
        ("cache", "cache", true),
        ("cache/", "cache/./", true),
        ("cache", "link", true),
        ("link/new", "cache/new", true),
        ("cache", entry.as_str(), true),
        (entry.as_str(), "cache", true),
        ("cache", "off", false),
        ("cache", "cache2", false),
        // As it is by default.
        ("cache/models", "cache", false),
    ] {
        let graphs = if graphs == "off" { graphs.to_owned() } else { within(graphs) };
        let text = sound.replace("\"/cache\"", &format!("{:?}\ncache_dir = {graphs:?}", within(models)));
        let (_, problems) = of(&text, &[]);
        assert_eq!(problems.contains("must not share a folder"), is_refused, "{models} {graphs}: {problems}");
        assert_eq!(problems.is_empty(), !is_refused, "{problems}");
    }
}
