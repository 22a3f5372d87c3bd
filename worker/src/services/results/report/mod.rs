//! `nightread results report`: documents, and what lies beside them, into a page that opens anywhere.

mod files;
mod images;
mod studies;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use nightread_domain::result::ArtefactKind;
use nightread_domain::{BlobRef, ETag, ResultDocument};
use nightread_fmri::connectivity::{NetworkMatrix, connectivity};
use nightread_report::scans::{Courses, Drawing, Files, Matrices, Scan};
use nightread_report::{Compared, Gathered, Other, Pages, Report, Study};

use self::files::{Shelf, blob_of};
use self::studies::Studies;
use super::documents::{Documents, Entry};
use super::filter::Filter;
use crate::app::WrongUse;
use crate::cli::results::ReportArgs;
use crate::settings::Settings;

/// Studies that fit into one file; a scan counts as half of its components.
const ONE_FILE: usize = 500;
/// Documents that cannot be read are named, up to so many.
const NAMED: usize = 20;
/// Of a file beside a document: z maps of a hundred components on 2 mm are 200 MB.
const MOST_BYTES: u64 = 1 << 30;

/// What a report is asked for, beside its documents.
#[derive(Debug)]
struct Wanted<'a> {
    pub out: &'a Path,
    pub title: String,
    pub studies: Option<Studies>,
    /// In words, and what was found.
    pub compared: Option<(String, Compared)>,
}

/// What became of a report.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// Documents that are not in it, and why.
    pub unread: Vec<String>,
    /// What else could not be read.
    pub problems: Vec<String>,
}

/// Writes the report that `args` ask for.
///
/// # Errors
/// [`WrongUse`], also where there are no documents; what storage and the file system say.
pub(crate) async fn run(args: &ReportArgs) -> Result<Made> {
    let documents = Documents::open(&args.source, &args.common, Filter::from(&args.filter))?;
    let studies = args.images.as_ref().map(|place| Studies::open(place, &args.common)).transpose()?;
    let mut draft = Draft::new(args.max_rows, args.out.as_path());
    let mut entries = documents.entries();
    while let Some(entry) = entries.try_next().await? {
        draft.add(&documents, &entry);
    }
    if draft.gathered.in_all() == 0 && draft.made.unread.is_empty() {
        return Err(WrongUse(format!("no result documents are in {}", args.source.display())).into());
    }
    draft.gathered.finish();
    let compared = match &args.against {
        None => None,
        Some(source) => {
            let other = against(source, args, &mut draft.made.problems).await?;
            let versions = args.against_version.iter().chain(&args.against_precision);
            let words = versions.fold(source.display().to_string(), |words, part| format!("{words} {part}"));
            Some((words, draft.gathered.compare(&other)))
        }
    };
    let title = args.title.clone().unwrap_or_else(|| format!("Results of {}", args.source.display()));
    let wanted = Wanted { out: &args.out, title, studies, compared };
    draft.write(&documents, wanted).await
}

/// The report on one run of `nightread process`: on these documents below `results`, of studies below `root`.
pub(crate) async fn of_run(
    page: &Path,
    results: &Path,
    root: &Path,
    settings: &Settings,
    documents: impl Iterator<Item = (&BlobRef, &Arc<ResultDocument>)>,
) -> Result<Made> {
    let store = Documents::of_folder(results);
    let mut draft = Draft::new(usize::MAX, page);
    for (path, document) in documents {
        let document = Ok(Box::new(document.as_ref().clone()));
        draft.add(&store, &Entry { path: path.clone(), etag: ETag(String::new()), document });
    }
    draft.gathered.finish();
    let has_images = !draft.gathered.radiographs.is_empty();
    let studies = has_images.then(|| Studies::in_folder(root, settings)).transpose()?;
    let title = format!("Results of {}", results.display());
    draft.write(&store, Wanted { out: page, title, studies, compared: None }).await
}

/// The results to hold these against; what of them cannot be read goes to `problems`.
async fn against(source: &Path, args: &ReportArgs, problems: &mut Vec<String>) -> Result<Other> {
    let filter = Filter {
        versions: args.against_version.iter().cloned().collect(),
        precision: args.against_precision.clone(),
        models: args.filter.model.clone(),
        prefix: args.filter.prefix.clone(),
        ..Filter::default()
    };
    let documents = Documents::open(source, &args.common, filter)?;
    let mut entries = documents.entries();
    let mut other = Other::default();
    while let Some(entry) = entries.try_next().await? {
        match entry.document {
            Ok(document) => other.add(&document).map_err(|twice| {
                WrongUse(format!("--against: {twice} (--model, --against-version, --against-precision)"))
            })?,
            Err(why) => problems.push(format!("--against: {}: {why}", entry.path.name())),
        }
    }
    Ok(other)
}

/// A report on its way: what was gathered, and what could not be.
#[derive(Debug)]
struct Draft {
    pub gathered: Gathered,
    made: Made,
    /// Where links begin.
    folder: Option<std::path::PathBuf>,
}

impl Draft {
    pub fn new(max_rows: usize, out: &Path) -> Self {
        let folder =
            out.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
        let folder = folder.and_then(|folder| folder.canonicalize().ok());
        Self { gathered: Gathered::new(max_rows), made: Made::default(), folder }
    }

    pub fn add(&mut self, documents: &Documents, entry: &Entry) {
        match &entry.document {
            Ok(document) => {
                let link = documents.file_of(&entry.path).zip(self.folder.as_deref());
                let link = link.and_then(|(file, folder)| files::link(folder, &file));
                let place = |artefact: &_| Some(documents.beside(entry, artefact)?.to_string());
                self.gathered.add(document, link, place);
            }
            Err(why) => self.made.unread.push(format!("{}: {why}", entry.path.name())),
        }
    }

    /// Draws everything and writes it.
    pub async fn write(mut self, documents: &Documents, wanted: Wanted<'_>) -> Result<Made> {
        let mut notes = self.notes(documents, &wanted);
        let shelf = Arc::new(Shelf::open(wanted.out, self.weight() > ONE_FILE)?);
        let shown = images::draw(&mut self.gathered, documents, wanted.studies, &shelf).await?;
        notes.extend(shown.notes());
        let pages = Pages::new()?;
        let scans = self.scans(documents, &shelf, &pages, &wanted.title).await?;
        let compared = wanted.compared.as_ref().map(|(words, found)| (words.as_str(), *found));
        let report = Report {
            title: &wanted.title,
            gathered: &self.gathered,
            compared,
            scans: &scans,
            notes: &notes,
            files_beside: shelf.is_beside(),
        };
        shelf.write_page(pages.index(&report)?.as_bytes())?;
        Ok(self.made)
    }

    fn weight(&self) -> usize {
        let scans = self.gathered.scans.iter().filter_map(|study| study.whole.as_deref());
        let components: usize = scans.map(|document| document.components().len()).sum();
        self.gathered.radiographs.len() + self.gathered.volumes.len() + components / 2
    }

    fn notes(&self, documents: &Documents, wanted: &Wanted<'_>) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.made.unread.is_empty() {
            let named = self.made.unread.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
            notes
                .push(format!("Documents that are not in this report: {} ({named})", self.made.unread.len()));
        }
        let counts = documents.counts();
        if counts.filtered > 0 {
            notes
                .push(format!("Documents that the conditions of this report left out: {}.", counts.filtered));
        }
        if counts.gone > 0 {
            notes.push(format!("Documents that were gone when their turn came: {}.", counts.gone));
        }
        if wanted.studies.is_none() && self.gathered.radiographs_in_all > 0 {
            notes.push(
                "The radiographs themselves are not in this report: it was made without --images.".to_owned(),
            );
        }
        notes
    }

    /// Draws each scan: into the one page, or into a page of its own.
    async fn scans(
        &mut self,
        documents: &Documents,
        shelf: &Arc<Shelf>,
        pages: &Pages,
        title: &str,
    ) -> Result<Vec<Scan>> {
        let drawing = Arc::new(Drawing::new()?);
        let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let read = self.gathered.scans.iter().enumerate().filter(|(_, study)| study.whole.is_some());
        let asked: Vec<_> = read.map(|(nth, study)| (nth, study.clone())).collect();
        let drawn = stream::iter(asked).map(|(nth, study)| {
            let drawing = Arc::clone(&drawing);
            async move {
                let (files, problem) = files_of(documents, &study).await?;
                let beside = shelf.is_beside();
                let scan = tokio::task::spawn_blocking(move || {
                    let document = study.whole.as_deref()?;
                    let link = study.document.as_deref();
                    let link = link.map(|link| {
                        if beside {
                            format!("./../{}", link.trim_start_matches("./"))
                        } else {
                            link.to_owned()
                        }
                    });
                    Some(drawing.scan(nth + 1, document, link, &files))
                });
                anyhow::Ok((nth, scan.await.context("drawing a scan panicked")?, problem))
            }
        });
        let mut drawn = drawn.buffered(at_once);
        let mut inside = Vec::new();
        while let Some((nth, scan, problem)) = drawn.try_next().await? {
            self.made.problems.extend(problem);
            let Some(scan) = scan else { continue };
            let page = if shelf.is_beside() {
                let text = pages.scan(title, &shelf.way_back(), &scan)?;
                shelf.put(&format!("scan-{:05}.html", scan.number), "text/html", text.as_bytes())?
            } else {
                let page = format!("#scan-{}", scan.number);
                inside.push(scan);
                page
            };
            self.gathered.scans[nth].page = Some(page);
        }
        Ok(inside)
    }
}

/// The files beside the document of a scan, and why its time courses cannot be read. One that is gone is not there.
async fn files_of(documents: &Documents, study: &Study) -> Result<(Files, Option<String>)> {
    let (mut files, mut problem) = (Files::default(), None);
    for beside in &study.beside {
        let Some(blob) = blob_of(&beside.place) else { continue };
        if beside.kind == ArtefactKind::ZMaps {
            files.z_maps = documents.read(&blob, MOST_BYTES).await?.map(|bytes| bytes.to_vec());
        } else if beside.kind == ArtefactKind::TimeCourses {
            let Some(bytes) = documents.read(&blob, MOST_BYTES).await? else { continue };
            match Courses::parse(&bytes) {
                Ok(courses) => {
                    files.matrices = Some(matrices(&courses));
                    files.time_courses = Some(courses);
                }
                Err(error) => problem = Some(format!("{blob}: {}", error.in_full())),
            }
        }
    }
    Ok((files, problem))
}

fn matrices(courses: &Courses) -> Matrices {
    let found = connectivity(&courses.values, courses.count);
    Matrices {
        correlation: plain(&found.correlation),
        partial: found.shrinkage.map(|_| plain(&found.partial)),
        estimator: "from the precision matrix, covariance shrunk by Ledoit and Wolf (2004)",
    }
}

/// Rows first; what is undefined is NaN.
fn plain(matrix: &NetworkMatrix) -> Vec<f64> {
    matrix.rows().flatten().map(|value| value.unwrap_or(f64::NAN)).collect()
}
