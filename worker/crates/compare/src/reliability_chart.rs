//! The reliability diagram of one label, as SVG.

use std::fmt::Write;

use super::judgement::{Reliability, ReliabilityBin};

/// Sides of the square in which the bins lie, and room for its axes.
const SIDE: f64 = 200.0;
const LEFT: f64 = 40.0;
const TOP: f64 = 12.0;
const BELOW: f64 = 38.0;

/// Observed share over mean probability of each side, with the intervals.
#[derive(Clone, Debug, PartialEq)]
pub struct ReliabilityChart {
    /// Already visible.
    pub label: String,
    pub reliability: Reliability,
}

impl ReliabilityChart {
    /// The image; `escaped` is the label as HTML. It is styled by classes alone.
    pub(crate) fn svg(&self, escaped: &str) -> String {
        let (width, height) = (LEFT + SIDE + 12.0, TOP + SIDE + BELOW);
        let mut svg = format!(
            "<svg role=\"img\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\
             <title>Reliability of {escaped}: observed share over mean probability</title>"
        );
        axes(&mut svg);
        for (name, bins) in [("a", &self.reliability.a), ("b", &self.reliability.b)] {
            points(&mut svg, name, bins);
        }
        svg.push_str("</svg>");
        svg
    }
}

fn at(x: f64, y: f64) -> (f64, f64) {
    (LEFT + SIDE * x, TOP + SIDE * (1.0 - y))
}

fn line(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (at(from.0, from.1), at(to.0, to.1));
    let _infallible =
        write!(svg, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
}

fn axes(svg: &mut String) {
    for (from, to) in [((0.0, 0.0), (1.0, 0.0)), ((0.0, 0.0), (0.0, 1.0))] {
        line(svg, "axis", from, to);
    }
    line(svg, "ideal", (0.0, 0.0), (1.0, 1.0));
    for tick in [0.0, 0.5, 1.0] {
        let ((x, y), (left, middle)) = (at(tick, 0.0), at(0.0, tick));
        let _infallible = write!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            y + 16.0,
            left - 6.0,
            middle + 4.0
        );
    }
    let (x, y) = at(0.5, 0.0);
    let _infallible = write!(
        svg,
        "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">mean probability</text>",
        y + 32.0
    );
}

fn points(svg: &mut String, class: &str, bins: &[ReliabilityBin]) {
    for bin in bins {
        let (Some(x), Some(y)) = (bin.mean_probability, bin.observed.value) else { continue };
        if let (Some(low), Some(high)) = (bin.observed.low, bin.observed.high) {
            line(svg, class, (x, low), (x, high));
        }
        let (x, y) = at(x, y);
        // Told apart without colour too.
        let _infallible = if class == "a" {
            write!(svg, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>")
        } else {
            let (left, above) = (x - 3.5, y - 3.5);
            write!(svg, "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{above:.1}\" width=\"7\" height=\"7\"/>")
        };
    }
}
