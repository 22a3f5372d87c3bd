//! What a RabbitMQ node is told: its environment, its configuration, who may do what.

use std::path::Path;

/// Virtual hosts made at the start: making them later needs a slow command each.
pub(crate) const VIRTUAL_HOSTS: usize = 40;

/// Names what a TLS listener of the node shows, PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    pub certificate: String,
    pub key: String,
}

/// What any node is told: its data, settings, log and secret are in `folder`, and nothing is the machine's own.
/// `erlang` is said to its virtual machine.
pub(crate) fn node_environment(folder: &Path, name: &str, erlang: &str) -> Vec<(&'static str, String)> {
    let path = |name: &str| folder.join(name).to_str().expect("a UTF-8 path").to_owned();
    vec![
        ("HOME", path("")),
        ("RABBITMQ_NODENAME", name.to_owned()),
        ("RABBITMQ_MNESIA_BASE", path("data")),
        ("RABBITMQ_LOG_BASE", path("logs")),
        ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", path("none.config")),
        ("RABBITMQ_CONF_ENV_FILE", path("none.conf")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
        ("RABBITMQ_PID_FILE", path("pid")),
        ("RABBITMQ_LOGS", path("logs/node.log")),
        // Two cores are shared with the workers: schedulers must not spin while they wait.
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            format!("+sbwt none +sbwtdcpu none +sbwtdio none {erlang}").trim_end().to_owned(),
        ),
    ]
}

/// Limits that every node has, as lines of its configuration.
pub(crate) const NODE_LIMITS: &str = "\
log.file.level = info
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.absolute = 2GB
raft.wal_max_size_bytes = 64000000
";

/// Writes the configuration of a node into its folder; `more` is added as it is.
pub(crate) fn configure(
    folder: &Path,
    port: u16,
    tls: Option<(&Tls, u16)>,
    management_ports: Option<(u16, u16)>,
    more: &str,
) {
    let definitions = folder.join("definitions.json");
    let hosts: Vec<_> =
        (0..VIRTUAL_HOSTS).map(|host| serde_json::json!({"name": format!("t{host}")})).collect();
    let allowed = |user: &str, host: usize| serde_json::json!({"user": user, "vhost": format!("t{host}"), "configure": ".*", "write": ".*", "read": ".*"});
    let permissions: Vec<_> = (0..VIRTUAL_HOSTS)
        .flat_map(|host| [allowed("guest", host), allowed(&format!("worker-t{host}"), host)])
        .collect();
    // Importing definitions takes the place of making the default user. Each virtual host has a worker's login too, whose
    // rights and limits a test may change.
    let mut users = vec![serde_json::json!({"name": "guest", "password": "guest", "tags": "administrator"})];
    users.extend((0..VIRTUAL_HOSTS).map(
        |host| serde_json::json!({"name": format!("worker-t{host}"), "password": "secret", "tags": ""}),
    ));
    let text = serde_json::json!({"users": users, "vhosts": hosts, "permissions": permissions}).to_string();
    std::fs::write(&definitions, text).expect("definitions");
    let mut conf = format!(
        "listeners.tcp.1 = 127.0.0.1:{port}\n\
         load_definitions = {}\n\
         {NODE_LIMITS}{more}\n",
        definitions.display()
    );
    let secured = tls.is_some();
    if let Some((tls, port)) = tls {
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
        std::fs::write(&certificate, &tls.certificate).expect("a certificate");
        std::fs::write(&key, &tls.key).expect("a key");
        let listener = format!(
            "listeners.ssl.1 = 127.0.0.1:{port}\n\
             ssl_options.certfile = {}\n\
             ssl_options.keyfile = {}\n\
             ssl_options.verify = verify_none\n\
             ssl_options.fail_if_no_peer_cert = false\n",
            certificate.display(),
            key.display()
        );
        conf.push_str(&listener);
    }
    if let Some((plain, tls_port)) = management_ports {
        let listener = format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {plain}\n");
        conf.push_str(&listener);
        if secured {
            let path = |name: &str| folder.join(name).display().to_string();
            let listener = format!(
                "management.ssl.ip = 127.0.0.1\n\
                 management.ssl.port = {tls_port}\n\
                 management.ssl.certfile = {}\n\
                 management.ssl.keyfile = {}\n",
                path("server.pem"),
                path("server.key")
            );
            conf.push_str(&listener);
        }
    }
    let plugins = if management_ports.is_some() { "[rabbitmq_management].\n" } else { "[].\n" };
    std::fs::write(folder.join("rabbitmq.conf"), conf).expect("a configuration");
    std::fs::write(folder.join("enabled_plugins"), plugins).expect("a plugin list");
}
