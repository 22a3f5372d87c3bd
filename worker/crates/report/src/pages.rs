//! From what was gathered to pages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::{Environment, UndefinedBehavior, context};
use nightread_domain::result::{Component, NOTICE};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::gather::{Gathered, Study};
use crate::methods::Methods;
use crate::other::Compared;
use crate::overview::{Overview, moment};
use crate::radiographs::Table;
use crate::safe;
use crate::scans::{Scan, TEMPLATE_NOTICE};
use crate::volumes::Volume;

const STYLE: &str = include_str!("../assets/report.css");
const SCRIPT: &str = include_str!("../assets/report.js");
const LAYOUT: &str = include_str!("../templates/layout.html");
const INDEX: &str = include_str!("../templates/index.html");
const SCAN: &str = include_str!("../templates/scan.html");
const SCAN_PAGE: &str = include_str!("../templates/scan_page.html");

/// What a report is made of.
#[derive(Debug)]
pub struct Report<'a> {
    pub title: &'a str,
    pub gathered: &'a Gathered,
    /// What it was compared with, in words, and what that found.
    pub compared: Option<(&'a str, Compared)>,
    /// Scans whose pages are inside of the one page.
    pub scans: &'a [Scan],
    /// What the report cannot show, and why.
    pub notes: &'a [String],
    /// Where images lie: inside of the pages, or beside them too.
    pub files_beside: bool,
}

/// The templates, ready.
#[derive(Debug)]
pub struct Pages {
    templates: Environment<'static>,
}

/// A row of the group page.
#[derive(Debug, Serialize)]
struct ScanRow<'a> {
    name: &'a str,
    container: &'a str,
    model: String,
    read_at: String,
    document: Option<&'a str>,
    page: Option<&'a str>,
    failure: Option<(&'static str, &'a str)>,
    warnings: &'a [String],
    volumes: Option<u64>,
    tr: Option<String>,
    dof: Option<u64>,
    dice: Option<String>,
    networks: Option<usize>,
    components: Option<usize>,
    correlation: Option<String>,
}

impl Pages {
    /// # Errors
    /// Those of the templates: never, unless the program was built with others.
    pub fn new() -> Result<Self, minijinja::Error> {
        let mut templates = Environment::new();
        // A misspelt name is an error and not an empty place.
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, source) in [
            ("layout.html", LAYOUT),
            ("index.html", INDEX),
            ("scan.html", SCAN),
            ("scan_page.html", SCAN_PAGE),
        ] {
            templates.add_template(name, source)?;
        }
        Ok(Self { templates })
    }

    /// The page that a report begins with; of one file, the whole report.
    ///
    /// # Errors
    /// Those of the templates and of the serialisation.
    pub fn index(&self, report: &Report<'_>) -> Result<String, minijinja::Error> {
        let gathered = report.gathered;
        let table = safe::json(&Table::of(gathered, report.compared.is_some())).map_err(|error| {
            minijinja::Error::new(minijinja::ErrorKind::BadSerialization, "the table").with_source(error)
        })?;
        let scans: Vec<_> = gathered.scans.iter().map(|study| ScanRow::of(study, gathered)).collect();
        let volumes: Vec<_> = gathered.volumes.iter().map(|study| Volume::of(study, gathered)).collect();
        let compared = report.compared.map(|(against, found)| {
            context! {
                against,
                studies => found.studies,
                decisions => found.decisions,
                flips => found.flips,
                flipped => found.flipped,
                missing => found.missing,
            }
        });
        self.templates.get_template("index.html")?.render(context! {
            title => report.title,
            policy => policy(report.files_beside, true),
            style_text => STYLE,
            script_text => SCRIPT,
            notice => NOTICE,
            template_notice => (!report.scans.is_empty()).then_some(TEMPLATE_NOTICE),
            overview => Overview::of(gathered),
            methods => Methods::of(gathered),
            table_json => table,
            radiographs => gathered.radiographs_in_all,
            radiographs_shown => gathered.radiographs.len(),
            scans_in_all => gathered.scans_in_all,
            scans_shown => gathered.scans.len(),
            scan_rows => scans,
            volumes_in_all => gathered.volumes_in_all,
            volumes,
            scans => report.scans,
            compared,
            notes => report.notes,
        })
    }

    /// The page of one scan, in a file of its own; `back` is the relative link to the first page.
    ///
    /// # Errors
    /// Those of the templates.
    pub fn scan(&self, title: &str, back: &str, scan: &Scan) -> Result<String, minijinja::Error> {
        self.templates.get_template("scan_page.html")?.render(context! {
            title => format!("{} - {title}", scan.name),
            policy => policy(false, false),
            style_text => STYLE,
            script_text => "",
            notice => NOTICE,
            template_notice => TEMPLATE_NOTICE,
            back,
            scan,
        })
    }
}

/// Nothing but the page's own style, its own script, and images that are in it or, where files lie beside it, with it.
fn policy(files_beside: bool, script: bool) -> String {
    let script = if script { digest(SCRIPT) } else { "'none'".to_owned() };
    let images = if files_beside { "data: 'self'" } else { "data:" };
    format!(
        "default-src 'none'; script-src {script}; style-src {}; img-src {images}; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'",
        digest(STYLE)
    )
}

fn digest(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

impl<'a> ScanRow<'a> {
    fn of(study: &'a Study, gathered: &Gathered) -> Self {
        let document = study.whole.as_deref();
        let components = document.and_then(|document| document.payload.as_ref()?.components());
        let input = |field: &str| document?.input.get(field);
        let fact = |field: &str| document?.regression()?.get(field);
        let correlations: Vec<f64> = components
            .unwrap_or_default()
            .iter()
            .filter_map(|component| component.map.as_ref()?.group_correlation)
            .collect();
        let mean = correlations.iter().sum::<f64>() / correlations.len() as f64;
        Self {
            name: &study.name,
            container: &study.container,
            model: gathered.models[study.model].title(),
            read_at: moment(study.read_at.unix_timestamp()),
            document: study.document.as_deref(),
            page: study.page.as_deref(),
            failure: study.failure.as_ref().map(|(cause, said)| (cause.code.as_str(), said.as_str())),
            warnings: &study.warnings,
            volumes: [fact("volumes"), input("volumes")].into_iter().flatten().find_map(Value::as_u64),
            tr: [input("tr_seconds"), fact("tr_seconds")]
                .into_iter()
                .flatten()
                .find_map(Value::as_f64)
                .map(|tr| format!("{tr:.2}")),
            dof: fact("dof").and_then(Value::as_u64),
            dice: fact("overlap")
                .and_then(|overlap| overlap.get("dice")?.as_f64())
                .map(|dice| format!("{dice:.3}")),
            networks: components
                .map(|components| components.iter().filter(|component| is_network(component)).count()),
            components: components.map(<[_]>::len),
            correlation: (!correlations.is_empty()).then(|| format!("{mean:.3}")),
        }
    }
}

/// Whether a component is of a brain network, by the family of its label.
fn is_network(component: &Component) -> bool {
    component.label.is_some() && !["NOISE", "UNKNOWN", ""].contains(&component.family.as_str())
}
