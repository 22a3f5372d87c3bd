//! From a scan's document and the files beside it to what its page shows.

use std::collections::BTreeMap;
use std::fmt::Write;

use minijinja::HtmlEscape;
use nightread_domain::JobError;
use nightread_domain::result::{Component, ResultDocument};
use nightread_volume::{BytesSource, Limits, VolumeStream};
use serde::Serialize;
use serde_json::{Map, Value};

use super::brain::{Brain, Placement};
use super::courses::{Courses, share_below, spectrum};
use super::paint::{self, Image, Range};
use crate::charts;
use crate::gather::meaning;
use crate::overview::{moment, share};
use crate::safe;

/// |z| under which no voxel is coloured. For the eye: nothing is concluded from it.
const FLOOR_Z: f64 = 3.1;
/// Where a colour bar ends at least, so that noise does not fill it.
const LEAST_TOP_Z: f64 = 6.0;
/// Fluctuations at rest are slower.
const LOW_FREQUENCY_HZ: f64 = 0.1;
/// Pairs that are listed under the matrix.
const PAIRS: usize = 10;
/// More labels than this along a matrix cannot be read.
const LABELLED: usize = 40;

/// The files beside a document, as far as they are stored.
#[derive(Debug, Default)]
pub struct Files {
    pub z_maps: Option<Vec<u8>>,
    pub time_courses: Option<Courses>,
    pub matrices: Option<Matrices>,
}

/// How the time courses of K components go together: K x K, rows first; what is undefined is NaN.
#[derive(Clone, Debug)]
pub struct Matrices {
    pub correlation: Vec<f64>,
    /// Absent where it cannot be estimated, or where it was not asked for.
    pub partial: Option<Vec<f64>>,
    /// How the partial correlations were estimated, in words.
    pub estimator: &'static str,
}

/// Draws scans; holds the template.
#[derive(Debug)]
pub struct Drawing {
    brain: Brain,
}

/// All that the page of one scan shows.
#[derive(Debug, Serialize)]
pub struct Scan {
    /// The place of this page in the report, from 1.
    pub number: usize,
    pub(crate) name: String,
    model: String,
    read_at: String,
    document: Option<String>,
    facts: Vec<(String, String)>,
    warnings: Vec<(String, String, Option<&'static str>)>,
    /// What the page cannot show, and why.
    missing: Vec<String>,
    floor: String,
    components: Vec<Shown>,
    networks: Option<Networks>,
    seconds: Option<String>,
    volumes: usize,
    censored: bool,
}

#[derive(Debug, Serialize)]
struct Shown {
    index: usize,
    label: Option<String>,
    family: String,
    probability: String,
    alternatives: Vec<(String, String)>,
    flags: Vec<String>,
    peak: Option<String>,
    z: Option<String>,
    at_chance: Option<bool>,
    group_correlation: Option<String>,
    brain: Option<Painted>,
    course_svg: Option<String>,
    spectrum_svg: Option<String>,
    low_share: Option<String>,
    nyquist: Option<String>,
}

#[derive(Debug, Serialize)]
struct Painted {
    slices_svg: String,
    glass_svg: String,
    top: String,
}

#[derive(Debug, Serialize)]
struct Networks {
    correlation_svg: String,
    partial_svg: Option<String>,
    estimator: &'static str,
    pairs: Vec<Pair>,
}

#[derive(Debug, Serialize)]
struct Pair {
    one: String,
    other: String,
    correlation: String,
    partial: Option<String>,
}

impl Drawing {
    /// # Errors
    /// Never, unless the program was built with another template.
    pub fn new() -> Result<Self, JobError> {
        Ok(Self { brain: Brain::new()? })
    }

    /// The page of one scan. Files that cannot be read are told on it, and the rest is drawn.
    pub fn scan(
        &self,
        number: usize,
        document: &ResultDocument,
        link: Option<String>,
        files: &Files,
    ) -> Scan {
        let (components, regression) = (document.components(), document.regression());
        let mut missing = Vec::new();
        let painted = match &files.z_maps {
            None => {
                missing.push("No maps are stored beside this result: [scans] write_maps was off.".to_owned());
                Vec::new()
            }
            Some(bytes) => self.paint(bytes, components).unwrap_or_else(|said| {
                missing.push(format!("The maps are not shown: {said}"));
                Vec::new()
            }),
        };
        let courses = files.time_courses.as_ref().filter(|courses| courses.count == components.len());
        if courses.is_none() {
            let why = if files.time_courses.is_some() {
                "The time courses are not shown: the file has another number of them than the document."
            } else {
                "No time courses are stored beside this result: [scans] write_time_courses was off."
            };
            missing.push(why.to_owned());
        }
        let tr = tr_seconds(document, regression);
        let mut painted = painted.into_iter();
        let shown = components
            .iter()
            .map(|component| {
                let brain = painted.next().flatten();
                let course = courses.map(|courses| courses.course(component.index));
                Shown::of(component, brain, course.as_deref(), tr)
            })
            .collect();
        let volumes = courses.map_or(0, |courses| courses.volumes);
        let networks = files
            .matrices
            .as_ref()
            .filter(|matrices| {
                components.len() > 1 && matrices.correlation.len() == components.len() * components.len()
            })
            .and_then(|matrices| Networks::of(matrices, components).ok());
        Scan {
            number,
            name: document.study.name.clone(),
            model: format!("{} {}", document.model.name, document.model.version_in_paths()),
            read_at: moment(document.read_at.unix_timestamp()),
            document: link,
            facts: facts(document, regression),
            warnings: document
                .warnings
                .iter()
                .map(|warning| (warning.code.clone(), warning.message.clone(), meaning(&warning.code)))
                .collect(),
            missing,
            floor: format!("{FLOOR_Z:.1}"),
            components: shown,
            networks,
            seconds: tr.map(|tr| format!("{:.0} s", tr * volumes as f64)),
            volumes,
            censored: number_of(regression, "volumes_censored").is_some_and(|count| count > 0.0),
        }
    }

    /// Slices and glass brain of each component, one volume in memory at a time.
    fn paint(&self, bytes: &[u8], components: &[Component]) -> Result<Vec<Option<Painted>>, String> {
        let source = BytesSource(bytes);
        let mut stream = VolumeStream::open(&source, &Limits::default()).map_err(|error| error.in_full())?;
        let header = stream.header().clone();
        if header.volumes != components.len() {
            return Err(format!(
                "the file has {} of them, the document {}",
                header.volumes,
                components.len()
            ));
        }
        let Some(placement) =
            Placement::of(&header.grid, header.orientation, &self.brain).map_err(|error| error.in_full())?
        else {
            return Err("their header does not say where they lie".to_owned());
        };
        let mut own = vec![0.0; header.grid.len()];
        let mut painted = Vec::with_capacity(components.len());
        for component in components {
            let Some(volume) = stream.next_volume().map_err(|error| error.in_full())? else { break };
            volume.values(&mut own);
            let Some(map) = &component.map else {
                painted.push(None);
                continue;
            };
            let strongest = own.iter().filter(|z| z.is_finite()).fold(0.0f64, |most, z| most.max(z.abs()));
            let range = Range { floor: FLOOR_Z, top: strongest.max(LEAST_TOP_Z) };
            let on_template = placement.apply(&own, &self.brain);
            let voxel = self.brain.voxel(map.peak_mni_mm);
            let slices =
                paint::slices(&self.brain, &on_template, voxel, range).map_err(|error| error.in_full())?;
            let glass =
                paint::glass_brain(&self.brain, &on_template, range).map_err(|error| error.in_full())?;
            let [x, y, z] = map.peak_mni_mm.map(|mm| format!("{mm:.0}"));
            let slices_svg = views_svg(
                &slices,
                [&format!("x {x}"), &format!("y {y}"), &format!("z {z}")],
                &format!("Component {}: slices through its peak at {x}, {y}, {z} mm", component.index),
            );
            let glass_svg = views_svg(
                &glass,
                ["from the side", "from the back", "from above"],
                &format!("Component {}: the strongest z along each line of sight", component.index),
            );
            painted.push(Some(Painted { slices_svg, glass_svg, top: format!("{:.1}", range.top) }));
        }
        stream.finish().map_err(|error| error.in_full())?;
        Ok(painted)
    }
}

/// An image of three views with a caption under each, and which side is left.
fn views_svg(image: &Image, captions: [&str; 3], label: &str) -> String {
    let (width, height) = (image.width, image.height + 12);
    let mut svg = format!(
        r#"<svg class="views" viewBox="0 0 {width} {height}" role="img" aria-label="{}"><image width="{width}" height="{}" href="{}"/>"#,
        HtmlEscape(label),
        image.height,
        safe::data_address("image/png", &image.png),
    );
    for (nth, (&(left, wide), caption)) in image.views.iter().zip(captions).enumerate() {
        let (middle, below) = (left + wide / 2, image.height + 9);
        let _infallible = write!(
            svg,
            r#"<text x="{middle}" y="{below}" text-anchor="middle">{}</text>"#,
            HtmlEscape(caption)
        );
        if nth > 0 {
            let _infallible = write!(svg, r#"<text x="{}" y="{below}">L</text>"#, left + 1);
            let _infallible =
                write!(svg, r#"<text x="{}" y="{below}" text-anchor="end">R</text>"#, left + wide - 1);
        }
    }
    svg + "</svg>"
}

impl Shown {
    fn of(component: &Component, brain: Option<Painted>, course: Option<&[f64]>, tr: Option<f64>) -> Self {
        let map = component.map.as_ref();
        let name = component.label.as_deref().unwrap_or("not covered");
        let power = course.map(spectrum).filter(|power| !power.is_empty());
        let volumes = course.map_or(0, <[f64]>::len);
        let nyquist = tr.map(|tr| 0.5 / tr);
        let low = power.as_ref().zip(tr);
        let mark = nyquist.map(|nyquist| LOW_FREQUENCY_HZ / nyquist).filter(|mark| *mark < 1.0);
        Self {
            index: component.index,
            label: component.label.clone(),
            family: component.family.clone(),
            probability: format!("{:.3}", component.probability),
            alternatives: component
                .top
                .iter()
                .skip(usize::from(component.label.is_some()))
                .map(|other| (other.label.clone(), format!("{:.3}", other.probability)))
                .collect(),
            flags: component.flags.clone(),
            peak: map.map(|map| map.peak_mni_mm.map(|mm| format!("{mm:.0}")).join(", ")),
            z: map.and_then(|map| map.peak_z).map(|z| format!("{z:.2}")),
            at_chance: map.and_then(|map| map.peak_at_chance),
            group_correlation: map.and_then(|map| map.group_correlation).map(|r| format!("{r:.3}")),
            brain,
            course_svg: course.map(|course| {
                charts::line(course, &format!("Time course of component {} ({name})", component.index))
            }),
            spectrum_svg: power.as_ref().map(|power| {
                charts::area(power, mark, &format!("Power spectrum of component {}", component.index))
            }),
            low_share: low.map(|(power, tr)| {
                format!("{:.0} %", share_below(power, volumes, tr, LOW_FREQUENCY_HZ) * 100.0)
            }),
            nyquist: nyquist.map(|hertz| format!("{hertz:.3} Hz")),
        }
    }
}

impl Networks {
    fn of(matrices: &Matrices, components: &[Component]) -> Result<Self, JobError> {
        // Networks of one family stand beside each other.
        let mut order: Vec<usize> = (0..components.len()).collect();
        order.sort_by(|&a, &b| {
            let [one, other] = [&components[a], &components[b]];
            (&one.family, &one.label, a).cmp(&(&other.family, &other.label, b))
        });
        let names: Vec<String> = components.iter().map(name).collect();
        let partial_svg = matrices
            .partial
            .as_ref()
            .map(|values| matrix_svg(values, &order, &names, "Partial correlation of time courses"));
        Ok(Self {
            correlation_svg: matrix_svg(
                &matrices.correlation,
                &order,
                &names,
                "Correlation of time courses",
            )?,
            partial_svg: partial_svg.transpose()?,
            estimator: matrices.estimator,
            pairs: pairs(matrices, &names),
        })
    }
}

fn name(component: &Component) -> String {
    format!("{} {}", component.index, component.label.as_deref().unwrap_or("not covered"))
}

fn pairs(matrices: &Matrices, names: &[String]) -> Vec<Pair> {
    let side = names.len();
    let mut all: Vec<(usize, usize, f64)> = (0..side)
        .flat_map(|i| (i + 1..side).map(move |j| (i, j)))
        .map(|(i, j)| (i, j, matrices.correlation[i * side + j]))
        .filter(|(_, _, r)| r.is_finite())
        .collect();
    all.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()).then_with(|| (a.0, a.1).cmp(&(b.0, b.1))));
    let strongest = all.into_iter().take(PAIRS).map(|(i, j, r)| Pair {
        one: names[i].clone(),
        other: names[j].clone(),
        correlation: format!("{r:.3}"),
        partial: matrices
            .partial
            .as_ref()
            .map(|partial| partial[i * side + j])
            .filter(|r| r.is_finite())
            .map(|r| format!("{r:.3}")),
    });
    strongest.collect()
}

fn matrix_svg(values: &[f64], order: &[usize], names: &[String], label: &str) -> Result<String, JobError> {
    let side = names.len();
    let ordered: Vec<f64> = order
        .iter()
        .flat_map(|&i| order.iter().map(move |&j| if i == j { f64::NAN } else { values[i * side + j] }))
        .collect();
    let image = paint::matrix(&ordered, side)?;
    let labelled = side <= LABELLED;
    // Ten units a square; names stand to the left, in the order of the rows.
    let (left, extent) = (if labelled { 150 } else { 0 }, side * 10);
    let mut svg = format!(
        r#"<svg class="matrix" viewBox="0 0 {} {extent}" role="img" aria-label="{}"><image x="{left}" width="{extent}" height="{extent}" href="{}"/>"#,
        left + extent,
        HtmlEscape(label),
        safe::data_address("image/png", &image.png),
    );
    if labelled {
        for (row, &at) in order.iter().enumerate() {
            let name: String = names[at].chars().take(28).collect();
            let _infallible = write!(
                svg,
                r#"<text x="{}" y="{}" text-anchor="end">{}</text>"#,
                left - 4,
                row * 10 + 8,
                HtmlEscape(&name)
            );
        }
    }
    Ok(svg + "</svg>")
}

type Regression = BTreeMap<String, Value>;

fn number_of(facts: Option<&Regression>, field: &str) -> Option<f64> {
    facts?.get(field)?.as_f64()
}

fn tr_seconds(document: &ResultDocument, regression: Option<&Regression>) -> Option<f64> {
    let said = document.input.get("tr_seconds").and_then(Value::as_f64);
    said.or_else(|| number_of(regression, "tr_seconds")).filter(|tr| tr.is_finite() && *tr > 0.0)
}

/// What shaped the reading, in words; what is not known is not told.
fn facts(document: &ResultDocument, regression: Option<&Regression>) -> Vec<(String, String)> {
    let input = &document.input;
    let volumes = whole(regression, "volumes");
    let censored = whole(regression, "volumes_censored").filter(|count| count != "0");
    let dims = input.get("grid_voxels").and_then(Value::as_array);
    let dice = regression.and_then(|facts| facts.get("overlap")?.get("dice")?.as_f64());
    let chance = number_of(regression, "chance_z");
    let confounds = regression.and_then(|facts| facts.get("confounds")?.as_array());
    let rule = regression.and_then(|facts| Some(facts.get("dof_rule")?.as_str()?.replace('_', " ")));
    let motion = regression.and_then(|facts| facts.get("motion")?.as_object());
    let told = [
        ("Volumes", volumes.or_else(|| input.get("volumes").map(Value::to_string))),
        ("Volumes used", whole(regression, "volumes_used")),
        ("Volumes censored", censored),
        ("Repetition time", tr_seconds(document, regression).map(|tr| format!("{tr} s"))),
        ("Grid", dims.map(|dims| dims.iter().map(Value::to_string).collect::<Vec<_>>().join(" x "))),
        ("Space", input.get("space").and_then(Value::as_str).map(str::to_owned)),
        ("Degrees of freedom", whole(regression, "dof")),
        ("Their rule", rule),
        ("Coverage of the mask", coverage(regression)),
        ("Overlap of tissue and mask (Dice)", dice.map(|dice| format!("{dice:.3}"))),
        ("Chance |z| of a peak", chance.map(|z| format!("{z:.2}"))),
        ("Framewise displacement", mean_and_most(motion, "displacement", " mm", ["_mean_mm", "_max_mm"])),
        ("Standardised DVARS", mean_and_most(motion, "standardised_dvars", "", ["_mean", "_max"])),
        ("DVARS is from", dvars_from(motion).map(str::to_owned)),
        ("Confounds", confounds.map(|names| names.len().to_string())),
        ("Worker", Some(document.worker.version.clone())),
    ];
    told.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn whole(facts: Option<&Regression>, field: &str) -> Option<String> {
    number_of(facts, field).map(|value| format!("{value:.0}"))
}

fn coverage(regression: Option<&Regression>) -> Option<String> {
    let used = number_of(regression, "voxels_used")? as u64;
    let mask = number_of(regression, "voxels_mask")? as u64;
    Some(format!("{used} of {mask} voxels ({})", share(used, mask).unwrap_or_default()))
}

fn dvars_from(motion: Option<&Map<String, Value>>) -> Option<&'static str> {
    match motion?.get("dvars_from")?.as_str()? {
        "column" => Some("the table of confounds"),
        "scan" => Some("the scan itself"),
        _ => None,
    }
}

fn mean_and_most(
    motion: Option<&Map<String, Value>>,
    of: &str,
    unit: &str,
    ends: [&str; 2],
) -> Option<String> {
    let [mean, most] = ends.map(|end| motion?.get(&format!("{of}{end}"))?.as_f64());
    Some(format!("mean {:.3}{unit}, at most {:.3}{unit}", mean?, most?))
}
