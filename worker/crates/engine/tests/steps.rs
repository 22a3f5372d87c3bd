//! Lists of steps in manifests: what is read, and for each mistake one line that says what, where and how it is mended.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;

use common::{Graph, Models};
use nightread_engine::{Manifest, ManifestProblems, Preprocessing};

/// A network of one channel, 4 x 4.
const GRAPH: Graph = Graph::new("linear");

const RANGE: &str = "step = 'range'\nto = [0.0, 1.0]";
const TO_UINT8: &str = "step = 'to-uint8'\nlibrary = 'numpy'";
const RESIZE: &str = "step = 'resize'\nlibrary = 'pillow-bilinear'\nside = 'exact'\nheight = 4\nwidth = 4";
const CHANNELS: &str = "step = 'channels'\ncount = 1\nlayout = 'NCHW'";

/// The test's manifest with these steps, and the range of values that they give.
fn with(steps: &[&str], value_range: &str) -> Result<Manifest, ManifestProblems> {
    let models = Models::new();
    let folder = models.write(&GRAPH);
    let path = folder.join("manifest.toml");
    let text = fs::read_to_string(&path).unwrap();
    let list: Vec<_> = steps.iter().map(|step| format!("[[preprocessing]]\n{step}\n")).collect();
    let text = text
        .replace("[preprocessing]\nid = \"xrv-1\"\nsize = 4\n", &list.concat())
        .replace("value_range = [-1024.0, 1024.0]", &format!("value_range = {value_range}"));
    fs::write(&path, text).unwrap();
    Manifest::load(&folder)
}

fn problems(steps: &[&str]) -> Vec<String> {
    let found = with(steps, "[0.0, 1.0]").unwrap_err();
    found.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_list_of_steps_is_read() {
    let all = [
        "step = 'window'\nsource = 'header'\nto = [0.0, 1.0]",
        "step = 'invert'",
        "step = 'clahe'\nlibrary = 'skimage'\nclip_limit = 0.01",
        TO_UINT8,
        "step = 'clahe'\nlibrary = 'opencv'\nclip_limit = 2",
        "step = 'pad-square'\nvalue = 0",
        "step = 'crop-centre'\nlibrary = 'torchvision'",
        RESIZE,
        "step = 'percentile'\nlower = 1\nupper = 99\nto = [0.0, 1.0]\nclip = false",
        "step = 'zscore'",
        "step = 'minmax'\nto = [0.0, 1.0]",
        CHANNELS,
    ];
    let manifest = with(&all, "[0.0, 1.0]").unwrap();
    let Preprocessing::Steps(plan) = &manifest.preprocessing else { panic!("{manifest:?}") };
    assert_eq!((plan.steps().len(), plan.item_shape(), plan.range()), (12, [1, 4, 4], Some([0.0, 1.0])));
    assert_eq!(manifest.preprocessing.id(), "steps-1");
}

/// A result depends on each step and its fields; what the digest is of must stay what it is.
#[test]
fn steps_are_in_the_digest() {
    let digest = |steps: &[&str]| with(steps, "[0.0, 1.0]").unwrap().sha256();
    let plain = digest(&[RANGE, RESIZE, CHANNELS]);
    let other = RESIZE.replace("bilinear", "bicubic");
    let clipped = "step = 'range'\nfrom = [0.0, 1.0]\nto = [0.0, 1.0]\nclip = true";
    let others = [digest(&[RANGE, &other, clipped, CHANNELS]), digest(&[RANGE, RESIZE, clipped, CHANNELS])];
    assert!(others.iter().all(|other| *other != plain) && others[0] != others[1]);
    let Preprocessing::Steps(plan) = with(&[RANGE, RESIZE, CHANNELS], "[0.0, 1.0]").unwrap().preprocessing
    else {
        panic!("a list")
    };
    let text = serde_json::to_string(&plan).unwrap();
    let expected = r#"[{"step":"range","to":[0.0,1.0],"clip":false},{"step":"resize","library":"pillow-bilinear","side":"exact","height":4,"width":4},{"step":"channels","count":1,"layout":"NCHW"}]"#;
    assert_eq!(text, expected);
}

/// Each list has one mistake; the line names the field and the way out.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_mistake_is_one_line_with_its_place() {
    let resize = |more: &str| format!("step = 'resize'\nlibrary = 'monai'\n{more}");
    let first = |step: &'static str| vec![step, RESIZE, CHANNELS];
    let tail = |step: String| vec![RANGE.to_owned(), step, CHANNELS.to_owned()];
    let mut table: Vec<(Vec<String>, &str)> = Vec::new();
    for (step, line) in [
        ("to = [0.0, 1.0]", "preprocessing[0].step is missing"),
        ("step = 'blur'", "preprocessing[0].step must be one of range, window, minmax,"),
        ("step = 'range'", "preprocessing[0].to is missing"),
        ("step = 'range'\nto = 1", "preprocessing[0].to must be a list of 2 finite numbers, not 1"),
        (
            "step = 'range'\nto = [1, 0]",
            "preprocessing[0].to must be [lowest, highest], not [1, 0]; to turn light into dark use step = \"invert\"",
        ),
        (
            "step = 'range'\nto = [0, 1]\nfrom = [3]",
            "preprocessing[0].from must be a list of 2 finite numbers",
        ),
        ("step = 'range'\nto = [0, 1]\nclip = 1", "preprocessing[0].clip must be true or false, not 1"),
        ("step = 'range'\nto = [0, 1]\nscale = 2", "preprocessing[0].scale is not a known key"),
        ("step = 'window'\nto = [0, 1]", "preprocessing[0].source is missing"),
        (
            "step = 'window'\nsource = 'file'\nto = [0, 1]",
            "preprocessing[0].source must be one of header, given, not \"file\"",
        ),
        (
            "step = 'window'\nsource = 'given'\nwidth = 9\nfunction = 'linear'\nto = [0, 1]",
            "preprocessing[0].centre is missing",
        ),
        (
            "step = 'window'\nsource = 'given'\ncentre = 9\nfunction = 'linear'\nto = [0, 1]",
            "preprocessing[0].width is missing",
        ),
        (
            "step = 'window'\nsource = 'given'\ncentre = 9\nwidth = 0.5\nfunction = 'linear'\nto = [0, 1]",
            "preprocessing[0].width must be 1 or more for linear, not 0.5",
        ),
        (
            "step = 'window'\nsource = 'given'\ncentre = 9\nwidth = 9\nfunction = 'cubic'\nto = [0, 1]",
            "preprocessing[0].function must be one of linear, linear-exact, sigmoid",
        ),
        ("step = 'minmax'", "preprocessing[0].to is missing"),
        ("step = 'percentile'\nupper = 99\nto = [0, 1]\nclip = true", "preprocessing[0].lower is missing"),
        ("step = 'percentile'\nlower = 1\nto = [0, 1]\nclip = true", "preprocessing[0].upper is missing"),
        (
            "step = 'percentile'\nlower = 1\nupper = 0\nto = [0, 1]\nclip = true",
            "preprocessing[0].upper must lie in [0, 100] percent and above lower, not 0",
        ),
        ("step = 'percentile'\nlower = 1\nupper = 99\nto = [0, 1]", "preprocessing[0].clip is missing"),
        (
            "step = 'to-uint8'\nlibrary = 'numpy'",
            "preprocessing[0].step to-uint8 takes floats: put a step before it",
        ),
    ] {
        table.push((first(step).into_iter().map(str::to_owned).collect(), line));
    }
    for (step, line) in [
        (
            "step = 'to-uint8'\nlibrary = 'cupy'".to_owned(),
            "preprocessing[1].library must be one of numpy, opencv, skimage, torchvision, pillow",
        ),
        ("step = 'clahe'\nclip_limit = 2".to_owned(), "preprocessing[1].library is missing"),
        ("step = 'clahe'\nlibrary = 'opencv'".to_owned(), "preprocessing[1].clip_limit is missing"),
        (
            "step = 'clahe'\nlibrary = 'skimage'\nclip_limit = 2".to_owned(),
            "preprocessing[1].clip_limit must lie in [0, 1], not 2; scikit-image's own is 0.01",
        ),
        (
            "step = 'clahe'\nlibrary = 'skimage'\nclip_limit = 1\nbins = 0".to_owned(),
            "preprocessing[1].bins must be a whole number from 1",
        ),
        (
            "step = 'clahe'\nlibrary = 'skimage'\nclip_limit = 1\nkernel = [8]".to_owned(),
            "preprocessing[1].kernel must be a list of 2 whole numbers from 1",
        ),
        (
            "step = 'clahe'\nlibrary = 'skimage'\nclip_limit = 1\ntiles = [8, 8]".to_owned(),
            "preprocessing[1].tiles is not a known key",
        ),
        ("step = 'crop-centre'\nsize = [4, 4]".to_owned(), "preprocessing[1].library is missing"),
        (
            "step = 'crop-centre'\nlibrary = 'monai'\nsize = 4".to_owned(),
            "preprocessing[1].size must be a list of 2 whole numbers from 1, not 4",
        ),
        (
            "step = 'crop-centre'\nlibrary = 'monai'\nsize = [4, 4]".to_owned(),
            "preprocessing[1].size may be larger than the image: put a resize before it",
        ),
        ("step = 'pad-square'".to_owned(), "preprocessing[1].value is missing"),
        (
            "step = 'resize'\nside = 'exact'\nheight = 4\nwidth = 4".to_owned(),
            "preprocessing[1].library is missing",
        ),
        (resize("side = 'both'"), "preprocessing[1].side must be one of exact, short, long, not \"both\""),
        (resize("side = 'exact'\nheight = 4"), "preprocessing[1].width is missing"),
        (resize("side = 'exact'\nwidth = 4"), "preprocessing[1].height is missing"),
        (
            resize("side = 'exact'\nheight = 4\nwidth = 5000"),
            "preprocessing[1].width must be 1 to 4096 pixels, not 5000",
        ),
        (resize("side = 'short'\nrounding = 'down'"), "preprocessing[1].size is missing"),
        (resize("side = 'short'\nsize = 4"), "preprocessing[1].rounding is missing"),
        (
            resize("side = 'long'\nsize = 4\nrounding = 'up'"),
            "preprocessing[1].rounding must be one of down, nearest, not \"up\"",
        ),
        (
            resize("side = 'exact'\nheight = 4\nwidth = 4\nedge = 'reflect'"),
            "preprocessing[1].edge serves skimage alone: leave it out",
        ),
        (
            "step = 'resize'\nlibrary = 'skimage'\nside = 'exact'\nheight = 4\nwidth = 4".to_owned(),
            "preprocessing[1].edge is missing: reflect or constant",
        ),
    ] {
        table.push((tail(step), line));
    }
    for (last, line) in [
        ("step = 'channels'\nlayout = 'NCHW'", "preprocessing[2].count is missing"),
        ("step = 'channels'\ncount = 2\nlayout = 'NCHW'", "preprocessing[2].count must be 1 or 3, not 2"),
        ("step = 'channels'\ncount = 1", "preprocessing[2].layout is missing"),
        (
            "step = 'channels'\ncount = 1\nlayout = 'CHWN'",
            "preprocessing[2].layout must be one of NCHW, NHWC, not \"CHWN\"",
        ),
        (
            "step = 'channels'\ncount = 1\nlayout = 'NCHW'\nmean = 0.5",
            "preprocessing[2].mean must be a list of finite numbers, not 0.5",
        ),
        (
            "step = 'channels'\ncount = 1\nlayout = 'NCHW'\nmean = [0.5]",
            "preprocessing[2].std is missing beside mean: give both or neither",
        ),
        (
            "step = 'channels'\ncount = 3\nlayout = 'NCHW'\nmean = [0.5]\nstd = [1, 1, 1]",
            "preprocessing[2].mean must have 3 number(s), one a channel, not 1",
        ),
        (
            "step = 'channels'\ncount = 1\nlayout = 'NCHW'\nmean = [0.5]\nstd = [0]",
            "preprocessing[2].std must be above 0 in every channel",
        ),
        ("step = 'invert'", "preprocessing must end with a step that says what the network's channels are"),
        (
            "step = 'channels'\ncount = 3\nlayout = 'NCHW'",
            "input.item_shape is [1, 4, 4], but the steps of preprocessing give [3, 4, 4] (layout NCHW)",
        ),
        (
            "step = 'channels'\ncount = 1\nlayout = 'NHWC'",
            "input.item_shape is [1, 4, 4], but the steps of preprocessing give [4, 4, 1] (layout NHWC)",
        ),
        (
            "step = 'channels'\ncount = 1\nlayout = 'NCHW'\nmean = [0.5]\nstd = [0.5]",
            "input.value_range is [0, 1], but the steps of preprocessing give values in [-1.0000, 1.0000]",
        ),
    ] {
        table.push((vec![RANGE.to_owned(), RESIZE.to_owned(), last.to_owned()], line));
    }
    for (steps, line) in table {
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        let found = problems(&steps);
        assert!(found[0].starts_with(line), "{steps:?}: {found:?}, not {line:?}");
        // A step without a name leaves its other keys unread, and a square of unknown sides is told too.
        let more = found[1..]
            .iter()
            .filter(|more| !more.contains("not a known key") && !more.contains("fixed sides"));
        assert_eq!(more.count(), 0, "{found:?}");
        assert!(found.iter().all(|line| !line.contains('\n')), "{found:?}");
    }
}

/// Whoever copies a list from the page gets one that is sound; only the network's input is another.
#[test]
fn the_examples_of_the_page_are_sound() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/steps.md");
    let page = fs::read_to_string(page).unwrap();
    let lists: Vec<_> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(lists.len() >= 4);
    for list in lists {
        let steps: Vec<&str> = list.split("[[preprocessing]]\n").filter(|step| !step.is_empty()).collect();
        let found = problems(&steps);
        let others: Vec<_> = found.iter().filter(|line| !line.starts_with("input.")).collect();
        assert!(others.is_empty(), "{list}: {others:?}");
    }
}
