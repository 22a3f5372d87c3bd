//! The rows.

use super::key::Kind::{Boolean, Integer, IntegerOrAuto, List, Text};
use super::key::{Key, for_tests, key, secret};

/// Names each row, and lists all of them in their order.
macro_rules! keys {
    ($($name:ident = $key:expr;)*) => {
        $(pub const $name: Key = $key;)*

        /// The table. Defaults carry their reason in `help`.
        pub const KEYS: &[Key] = &[$($name),*];
    };
}

keys! {
    STORAGE_KIND = key("storage", "kind", Text, "folder", "`folder` or `azure`");
    STORAGE_FOLDER = key("storage", "folder", Text, "", "root whose sub-folders are the containers (kind folder)");
    STORAGE_ACCOUNT_URL = key(
        "storage",
        "account_url",
        Text,
        "",
        "https://<account>.blob.core.windows.net (kind azure, signed in by identity)",
    );
    STORAGE_CONNECTION_STRING = secret("storage", "connection_string", "for Azurite and development (kind azure)");
    STORAGE_SAS_URL = secret("storage", "sas_url", "account URL with a shared access signature (kind azure)");
    STORAGE_RETRY_SECONDS = key(
        "storage",
        "retry_seconds",
        Integer,
        "10",
        "budget of in-process retries; the rest goes through a delay queue",
    );
    STORAGE_SPOOL_DIR = key(
        "storage",
        "spool_dir",
        Text,
        "",
        "folder on a local disk for blobs over [limits] memory_bytes; default: TMPDIR, else /var/tmp, else /tmp",
    );
    STORAGE_CLIENT_ID = key("storage", "client_id", Text, "", "client id of a user-assigned managed identity");
    SOURCES_CONTAINERS = key("sources", "containers", List, "incoming", "the only containers that announcements may name");
    SOURCES_ENDPOINTS = key(
        "sources",
        "endpoints",
        List,
        "",
        "further addresses under which events name the account: https:// with a custom domain or a private alias; the one of Data Lake (`dfs`) is known",
    );
    RESULTS_CONTAINER = key("results", "container", Text, "results", "where result documents go; never among the sources");
    RESULTS_PUBLISH = key(
        "results",
        "publish",
        Boolean,
        "true",
        "publish a `nightread.result` CloudEvent for each stored result",
    );
    MODELS_DIR = key(
        "models",
        "dir",
        Text,
        "",
        "folder of model folders; default: ../share/nightread/models beside the binary, else ./models",
    );
    MODELS_REGISTRY = key(
        "models",
        "registry",
        Text,
        "",
        "container of [storage] that models come from instead of a folder, `CONTAINER` or `CONTAINER/PREFIX`; a flag --models goes before it",
    );
    MODELS_PINNED = key(
        "models",
        "pinned",
        List,
        "",
        "the models of the registry, `NAME@sha256:DIGEST` each, as `nightread models push` prints it; no other version is read with",
    );
    MODELS_REGISTRY_CACHE = key(
        "models",
        "registry_cache",
        Text,
        "",
        "folder that models of the registry are fetched into; of versions that are not pinned 1 GiB stays; default: models in CACHE_DIRECTORY (systemd's), else nightread/models in XDG_CACHE_HOME or ~/.cache",
    );
    MODELS_PRECISION = key(
        "models",
        "precision",
        Text,
        "",
        "`fp32`, `int8`, or `bf16` on OpenVINO and a processor with AMX; `nightread run` needs it named, so that a fleet gives one kind of number; elsewhere also `auto`, the faster of `fp32` and `int8`",
    );
    MODELS_PROVIDER = key(
        "models",
        "provider",
        Text,
        "cpu",
        "`cpu` (ONNX Runtime) or `openvino`; elsewhere than in a fleet also `auto`: for each model the fastest here whose answers agree",
    );
    MODELS_CACHE_DIR = key(
        "models",
        "cache_dir",
        Text,
        "",
        "folder that keeps optimised graphs between runs, 1 GiB at most; default: $XDG_CACHE_HOME/nightread, else ~/.cache/nightread; `off`: none; another than `registry_cache`",
    );
    MODELS_RUNTIME = key(
        "models",
        "runtime",
        Text,
        "",
        "ONNX Runtime's shared library, or a folder that holds it; default: ../lib beside the binary, else where `make runtime` puts it",
    );
    MODELS_RUNTIME_TELEMETRY = key(
        "models",
        "runtime_telemetry",
        Boolean,
        "false",
        "let ONNX Runtime report its use to Microsoft; off, whatever ORT_DISABLE_TELEMETRY says",
    );
    ENGINE_SESSIONS = key(
        "engine",
        "sessions",
        IntegerOrAuto,
        "auto",
        "inference threads, each with a session of its own; auto: measured at start-up",
    );
    ENGINE_INTRA_THREADS = key("engine", "intra_threads", IntegerOrAuto, "auto", "threads inside one session; auto: measured");
    ENGINE_DECODE_THREADS = key(
        "engine",
        "decode_threads",
        IntegerOrAuto,
        "auto",
        "threads that decode and preprocess; auto: measured",
    );
    ENGINE_BATCH_ITEMS = key("engine", "batch_items", Integer, "8", "largest batch; components of one scan come in eights");
    LIMITS_BLOB_BYTES = key("limits", "blob_bytes", Integer, "17179869184", "largest blob that is downloaded");
    LIMITS_IMAGE_BYTES = key(
        "limits",
        "image_bytes",
        Integer,
        "1073741824",
        "largest blob of an image: those are held in memory",
    );
    LIMITS_MEMORY_BYTES = key(
        "limits",
        "memory_bytes",
        Integer,
        "134217728",
        "a larger blob is kept in a file while it is read: where it lies in a folder, else under [storage] spool_dir",
    );
    LIMITS_SPOOL_BYTES = key(
        "limits",
        "spool_bytes",
        Integer,
        "34359738368",
        "bytes of all blobs together that are kept in files",
    );
    LIMITS_PIXELS = key("limits", "pixels", Integer, "100000000", "largest image, from its header");
    LIMITS_INFLATED_BYTES = key(
        "limits",
        "inflated_bytes",
        Integer,
        "17179869184",
        "largest inflated size of a scan; of a compressed image 4 GiB at most",
    );
    LIMITS_VOXELS = key("limits", "voxels", Integer, "4000000000", "largest scan, from its header");
    LIMITS_MODEL_BYTES = key(
        "limits",
        "model_bytes",
        Integer,
        "4294967296",
        "bytes of all files together of a model that is fetched from a registry",
    );
    LIMITS_JOBS = key("limits", "jobs", IntegerOrAuto, "auto", "jobs in flight; also the prefetch. auto: four a core");
    LIMITS_VOLUME_BYTES = key(
        "limits",
        "volume_bytes",
        Integer,
        "4294967296",
        "bytes of memory that CT volumes may take together while they are read, beside their files: known from their headers before anything is decoded",
    );
    LIMITS_IN_FLIGHT_BYTES = key(
        "limits",
        "in_flight_bytes",
        Integer,
        "536870912",
        "bytes of blobs in flight, taken before the download",
    );
    LIMITS_ATTEMPTS = key("limits", "attempts", Integer, "6", "real failures before a job is dead-lettered");
    LIMITS_OUTAGE_FAILURES = key("limits", "outage_failures", Integer, "5", "transient failures in a row that mean an outage");
    LIMITS_PROBE_SECONDS = key("limits", "probe_seconds", Integer, "5", "between probes while storage is away");
    LIMITS_REFUSED_SECONDS = key(
        "limits",
        "refused_seconds",
        Integer,
        "1800",
        "how long jobs of a container that refuses wait for it before they are dead-lettered",
    );
    IMAGES_PNG16_MAX = key(
        "images",
        "png16_max",
        Integer,
        "65535",
        "true maximum of 16-bit PNG and TIFF samples, where it is not 65535",
    );
    IMAGES_WRITE_HEATMAPS = key(
        "images",
        "write_heatmaps",
        Boolean,
        "false",
        "also store what speaks for findings, painted over the image (which may have names burnt in)",
    );
    IMAGES_HEATMAP_LABELS = key(
        "images",
        "heatmap_labels",
        List,
        "positives",
        "which findings get a heatmap: `positives`, `all`, or labels",
    );
    IMAGES_WRITE_HEATMAP_ARRAYS = key(
        "images",
        "write_heatmap_arrays",
        Boolean,
        "false",
        "also store the class-activation map behind each heatmap as a NumPy array",
    );
    IMAGES_WRITE_EMBEDDINGS = key(
        "images",
        "write_embeddings",
        Boolean,
        "false",
        "also store the embedding of each image as a NumPy array, of models whose manifest names one",
    );
    VOLUMES_INTERPOLATE_MISSING = key(
        "volumes",
        "interpolate_missing",
        Boolean,
        "false",
        "make up for single missing slices of a CT series from their neighbours, with a warning, instead of refusing it",
    );
    VOLUMES_WRITE_LABEL_MAP = key(
        "volumes",
        "write_label_map",
        Boolean,
        "true",
        "also store the label of each voxel as NIfTI, on the grid of the series",
    );
    VOLUMES_WRITE_PREVIEW = key(
        "volumes",
        "write_preview",
        Boolean,
        "true",
        "also store a picture of three planes with the outlines of the segments",
    );
    SCANS_RESAMPLE = key("scans", "resample", Boolean, "false", "resample scans onto the maps' grid instead of refusing them");
    SCANS_WRITE_MAPS = key("scans", "write_maps", Boolean, "false", "also store component z-maps as 4-D NIfTI");
    SCANS_WRITE_T_MAPS = key("scans", "write_t_maps", Boolean, "false", "also store component t-maps as 4-D NIfTI");
    SCANS_WRITE_BETAS = key("scans", "write_betas", Boolean, "false", "also store the regression coefficients of stage 2 as 4-D NIfTI");
    SCANS_WRITE_TIME_COURSES = key("scans", "write_time_courses", Boolean, "false", "also store component time courses as TSV");
    SCANS_WRITE_NETWORK_MATRICES = key(
        "scans",
        "write_network_matrices",
        Boolean,
        "false",
        "also store correlations, partial correlations and Fisher's z of the time courses as TSV",
    );
    SCANS_WRITE_MOTION = key(
        "scans",
        "write_motion",
        Boolean,
        "false",
        "also store DVARS as TSV, and framewise displacement where BIDS confounds lie beside a scan (`nightread process`)",
    );
    SCANS_DROP_VOLUMES = key("scans", "drop_volumes", Integer, "0", "volumes at the beginning of a scan that are left out");
    SCANS_CONFOUNDS = key(
        "scans",
        "confounds",
        List,
        "",
        "columns of the BIDS confounds beside a scan to regress out of it, `*` for any characters (`nightread process`)",
    );
    SCANS_MAX_DISPLACEMENT_MM = key(
        "scans",
        "max_displacement_mm",
        Text,
        "",
        "leave volumes of greater framewise displacement out, by the same table (`nightread process`)",
    );
    DICOM_REPORT_CLASS = key(
        "dicom",
        "report_class",
        Text,
        "comprehensive",
        "SOP class of structured reports: `comprehensive`, or `comprehensive-3d` where the archive asks for it",
    );
    DICOM_SEGMENTATION = key(
        "dicom",
        "segmentation",
        Text,
        "binary",
        "how the organs of a CT series are kept: `binary`, which every archive takes, or `label-map`, a thirtieth of the size, where the archive knows it",
    );
    DELIVER_NAME = key("deliver", "name", Text, "archive", "what this archive is called in queues, records and metrics");
    DELIVER_ARCHIVE = key(
        "deliver",
        "archive",
        Text,
        "",
        "where DICOM results go: https://HOST/PATH (the root of DICOMweb), dicom://TITLE@HOST:PORT or dicom+tls://TITLE@HOST:PORT",
    );
    DELIVER_AUTHORIZATION = secret("deliver", "authorization", "the header Authorization for DICOMweb, for example `Basic ...` or `Bearer ...`");
    DELIVER_CALLING_TITLE = key("deliver", "calling_title", Text, "NIGHTREAD", "our own application entity title");
    DELIVER_CA_FILE = key("deliver", "ca_file", Text, "", "certificate authority of the archive, PEM");
    DELIVER_SECONDS = key("deliver", "seconds", Integer, "60", "time for sending the objects of one result");
    DELIVER_READ_BACK = key(
        "deliver",
        "read_back",
        Boolean,
        "false",
        "look for each object that the archive says it stored, by QIDO-RS",
    );
    DELIVER_COMMITMENT_SECONDS = key(
        "deliver",
        "commitment_seconds",
        Integer,
        "0",
        "time in which an archive that is reached by dicom:// commits itself to what it stored (storage commitment); 0: it is not asked",
    );
    DELIVER_COMMITMENT_LISTEN = key(
        "deliver",
        "commitment_listen",
        Text,
        "",
        "address:port where archives bring reports of storage commitments by associations of their own; they are not encrypted",
    );
    DELIVER_OBJECTS = key("deliver", "objects", List, "sr, sc, seg", "which objects are sent: reports, pictures, segmentations");
    DELIVER_JOBS = key("deliver", "jobs", Integer, "4", "results that `nightread deliver` sends at a time");
    BROKER_URL = secret("broker", "url", "amqps://user:password@host:5671/vhost");
    BROKER_HOSTS = key(
        "broker",
        "hosts",
        List,
        "",
        "further brokers of the cluster, host or host:port: tried in turn with the host of url, with its user, password and virtual host",
    );
    BROKER_CA_FILE = key("broker", "ca_file", Text, "", "certificate authority of the broker, PEM");
    BROKER_CONSUMER_TIMEOUT_SECONDS = key(
        "broker",
        "consumer_timeout_seconds",
        Integer,
        "1800",
        "the broker's `consumer_timeout`; what it must be told and does not take is recorded before half of it",
    );
    BROKER_VOLUMES_CONSUMER_TIMEOUT_SECONDS = key(
        "broker",
        "volumes_consumer_timeout_seconds",
        Integer,
        "",
        "the `consumer-timeout` that a policy gives the queues of volumes and of the quarantine (RabbitMQ 3.12 and later), for example 14400; unset: consumer_timeout_seconds. A volume that would take more than half of it is a dead letter",
    );
    BROKER_INGEST_WEIGHT = key("broker", "ingest_weight", Integer, "6", "share of the permits that arriving images may take");
    BROKER_BULK_WEIGHT = key("broker", "bulk_weight", Integer, "3", "share of the permits that relabelling may take");
    BROKER_VOLUMES_WEIGHT = key("broker", "volumes_weight", Integer, "1", "share of the permits that volumes may take");
    RELAY_QUEUE_URL = key(
        "relay",
        "queue_url",
        Text,
        "",
        "https://<account>.queue.core.windows.net/<queue>, Event Grid's queue (signed in by identity)",
    );
    RELAY_SAS_URL = secret("relay", "sas_url", "the queue's URL with a shared access signature");
    RELAY_CONNECTION_STRING = secret("relay", "connection_string", "of the queue's account, for Azurite and development");
    RELAY_QUEUE = key("relay", "queue", Text, "blob-created", "name of the queue (with connection_string)");
    RELAY_HIDDEN_SECONDS = key(
        "relay",
        "hidden_seconds",
        Integer,
        "120",
        "how long a message that is taken is hidden from other relays",
    );
    RELAY_MOST_TAKES = key("relay", "most_takes", Integer, "50", "a message that is taken more often is put aside as poison");
    ASSEMBLE_QUEUE_URL = key(
        "assemble",
        "queue_url",
        Text,
        "",
        "https://<account>.queue.core.windows.net/<queue>, a queue of its own for Event Grid's events of instances (signed in by identity)",
    );
    ASSEMBLE_SAS_URL = secret("assemble", "sas_url", "that queue's URL with a shared access signature");
    ASSEMBLE_CONNECTION_STRING = secret("assemble", "connection_string", "of that queue's account, for Azurite and development");
    ASSEMBLE_QUEUE = key("assemble", "queue", Text, "instance-created", "name of that queue (with connection_string)");
    ASSEMBLE_HIDDEN_SECONDS = key(
        "assemble",
        "hidden_seconds",
        Integer,
        "120",
        "how long a message that is taken is hidden from other replicas, and an announcement that is begun is left to its beginner",
    );
    ASSEMBLE_MOST_TAKES = key("assemble", "most_takes", Integer, "50", "a message that is taken more often is put aside as poison");
    ASSEMBLE_QUIET_SECONDS = key(
        "assemble",
        "quiet_seconds",
        Integer,
        "60",
        "a series to which nothing was added for so long is announced; one that is complete by its own headers is announced at once",
    );
    WEBHOOK_TOKEN = secret("webhook", "token", "who posts events shows it; without one `nightread webhook` does not start");
    WEBHOOK_LISTEN = key("webhook", "listen", Text, "127.0.0.1:8090", "address of the webhook; a proxy before it speaks TLS");
    WEBHOOK_ORIGINS = key("webhook", "origins", List, "eventgrid.azure.net", "who may ask to send events; `*` for anybody");
    WEBHOOK_PER_MINUTE = key("webhook", "per_minute", Integer, "0", "requests a minute that a sender is allowed; 0: any number");
    HTTP_LISTEN = key(
        "http",
        "listen",
        Text,
        "127.0.0.1:8080",
        "address of /healthz, /ready and /metrics; this machine alone unless another address is given",
    );
    METRICS_WRITE_URL = key(
        "metrics",
        "write_url",
        Text,
        "",
        "receiver of Prometheus remote write, to which all that /metrics tells is written too, and what `nightread backlog` counts",
    );
    METRICS_WRITE_AUDIENCE = key(
        "metrics",
        "write_audience",
        Text,
        "",
        "audience of a token that is shown there, of the identity `[storage] client_id`; https://monitor.azure.com for an Azure Monitor workspace",
    );
    METRICS_WRITE_SECONDS = key("metrics", "write_seconds", Integer, "60", "between two writes");
    WORKER_DRAIN_SECONDS = key(
        "worker",
        "drain_seconds",
        Integer,
        "240",
        "time to finish what is in flight; keep it under the unit's TimeoutStopSec",
    );
    WORKER_REPORT_SECONDS = key(
        "worker",
        "report_seconds",
        Integer,
        "30",
        "between two reports of this worker's work, from which `nightread backlog` reckons",
    );
    WORKER_SCHEDULED_EVENTS = key(
        "worker",
        "scheduled_events",
        Boolean,
        "false",
        "on Azure: drain when this machine is about to be evicted, ended, restarted or moved, and approve it then",
    );
    WORKER_IMDS_ENDPOINT = for_tests(key("worker", "imds_endpoint", Text, "http://169.254.169.254", "Azure's instance metadata service"));
    BACKLOG_MANAGEMENT_URL = secret(
        "backlog",
        "management_url",
        "http[s]://user:password@host:15672 of RabbitMQ's management plug-in",
    );
    BACKLOG_INGEST_MS = key("backlog", "ingest_ms", Integer, "20", "a worker's milliseconds for an image, until workers tell");
    BACKLOG_BULK_MS = key("backlog", "bulk_ms", Integer, "20", "a worker's milliseconds for a relabelling, until workers tell");
    BACKLOG_VOLUMES_MS = key(
        "backlog",
        "volumes_ms",
        Integer,
        "20000",
        "a worker's milliseconds for a volume, until workers tell",
    );
    BACKLOG_SCALE_OUT_SECONDS = key(
        "backlog",
        "scale_out_seconds",
        Integer,
        "600",
        "the threshold of the scale-out rule; work that waits without a worker counts as more",
    );
    BACKLOG_RESOURCE_ID = key("backlog", "resource_id", Text, "", "Azure resource id of the scale set that the metrics are about");
    BACKLOG_REGION = key("backlog", "region", Text, "", "Azure region of that scale set");
    BACKLOG_ENDPOINT = for_tests(key(
        "backlog",
        "endpoint",
        Text,
        "",
        "where metrics go instead of https://<region>.monitoring.azure.com; for tests",
    ));
    WORKER_FAILPOINT = for_tests(key("worker", "failpoint", Text, "", "crash tests only: after_fetch, after_infer or after_store"));
}
