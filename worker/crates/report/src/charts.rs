//! Charts as SVG. Only numbers and escaped text go in; colours are classes of the style sheet, so that they follow dark, light and print.

use std::fmt::Write;

use minijinja::HtmlEscape;

/// Bars of counts. Heights go by the square root, so that few studies beside many are seen; each bar's title has its count.
/// `titles` has one text for each bar; `mark` is a place from 0 to 1 along the axis.
pub fn bars(counts: &[u64], titles: &[String], mark: Option<f64>, label: &str) -> String {
    const WIDTH: f64 = 240.0;
    const HEIGHT: f64 = 64.0;
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let step = WIDTH / counts.len().max(1) as f64;
    let mut svg = open(WIDTH, HEIGHT, "bars", label);
    for (nth, (&count, title)) in counts.iter().zip(titles).enumerate() {
        let height = (count as f64 / most).sqrt() * (HEIGHT - 2.0);
        // A bar of one among a million is still there.
        let height = if count > 0 { height.max(1.0) } else { 0.0 };
        let _infallible = write!(
            svg,
            r#"<rect class="bar" x="{:.2}" y="{:.2}" width="{:.2}" height="{height:.2}"><title>{}</title></rect>"#,
            nth as f64 * step + 0.5,
            HEIGHT - height,
            (step - 1.0).max(0.5),
            HtmlEscape(title),
        );
    }
    if let Some(mark) = mark {
        let x = (mark.clamp(0.0, 1.0) * WIDTH).clamp(0.75, WIDTH - 0.75);
        let _infallible = write!(svg, r#"<line class="mark" x1="{x:.2}" x2="{x:.2}" y1="0" y2="{HEIGHT}"/>"#);
    }
    svg.push_str("</svg>");
    svg
}

/// One value after the other, with a line at zero where zero is within. Values that are not finite break the line.
pub fn line(values: &[f64], label: &str) -> String {
    const WIDTH: f64 = 600.0;
    const HEIGHT: f64 = 90.0;
    let finite = values.iter().copied().filter(|value| value.is_finite());
    let (low, high) =
        finite.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    let span = if high > low { high - low } else { 1.0 };
    let heights: Vec<f64> = values.iter().map(|value| 2.0 + (high - value) / span * (HEIGHT - 4.0)).collect();
    let mut svg = open(WIDTH, HEIGHT, "line", label);
    if low < 0.0 && high > 0.0 {
        let zero = 2.0 + high / span * (HEIGHT - 4.0);
        let _infallible =
            write!(svg, r#"<line class="zero" x1="0" x2="{WIDTH}" y1="{zero:.1}" y2="{zero:.1}"/>"#);
    }
    let step = WIDTH / (values.len().max(2) - 1) as f64;
    let mut path = String::new();
    let mut up = true;
    for (nth, height) in heights.iter().enumerate() {
        if !height.is_finite() {
            up = true;
            continue;
        }
        let _infallible = write!(path, "{}{:.1} {height:.1}", if up { 'M' } else { 'L' }, nth as f64 * step);
        up = false;
    }
    let _infallible = write!(svg, r#"<path class="course" d="{path}"/></svg>"#);
    svg
}

/// Shares of a whole over an axis from 0 on, filled; `mark` is a place from 0 to 1 along it.
pub fn area(values: &[f64], mark: Option<f64>, label: &str) -> String {
    const WIDTH: f64 = 300.0;
    const HEIGHT: f64 = 90.0;
    let most = values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    let scale = if most > 0.0 { (HEIGHT - 4.0) / most } else { 0.0 };
    let step = WIDTH / (values.len().max(2) - 1) as f64;
    let mut svg = open(WIDTH, HEIGHT, "area", label);
    if let Some(mark) = mark {
        let x = mark.clamp(0.0, 1.0) * WIDTH;
        let _infallible = write!(svg, r#"<line class="mark" x1="{x:.2}" x2="{x:.2}" y1="0" y2="{HEIGHT}"/>"#);
    }
    let mut path = format!("M0 {HEIGHT}");
    for (nth, value) in values.iter().enumerate() {
        let _infallible = write!(path, "L{:.1} {:.1}", nth as f64 * step, HEIGHT - value * scale);
    }
    let _infallible = write!(svg, r#"<path class="power" d="{path}L{WIDTH} {HEIGHT}Z"/></svg>"#);
    svg
}

/// Fills whatever room it gets; lines keep their width.
fn open(width: f64, height: f64, class: &str, label: &str) -> String {
    format!(
        r#"<svg class="chart {class}" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" aria-label="{}">"#,
        HtmlEscape(label)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_text_and_numbers_that_are_none_are_left_out() {
        let svg = bars(&[0, 4, 1], &["a".into(), "<b>".into(), "\"".into()], Some(0.5), "\"><script>");
        assert!(!svg.contains("<script>") && !svg.contains("<b>"));
        assert!(svg.contains(r#"height="62.00"><title>&lt;b&gt;"#), "{svg}");
        assert!(svg.contains(r#"height="31.00""#), "a quarter has half the height");
        assert!(!line(&[1.0, f64::NAN, -1.0], "x").contains("NaN"));
        for empty in [line(&[], "x"), area(&[], None, "x"), bars(&[], &[], None, "x"), line(&[3.0], "x")] {
            assert!(!empty.contains("NaN") && !empty.contains("inf") && !empty.contains("e308"), "{empty}");
        }
    }
}
