//! The pictures of BENCHMARKS.md: lines on two logarithmic axes, as SVG that can be
//! read on a light page and on a dark one.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::figures::{Extent, grouped};

pub struct Chart {
    /// Name of the file below docs/bench, without its ending.
    pub file: &'static str,
    pub title: &'static str,
    pub x: &'static str,
    pub y: &'static str,
    /// How a value of y is written.
    pub unit: fn(f64) -> String,
    /// Where x has a number.
    pub ticks: Vec<f64>,
    pub lines: Vec<Line>,
}

#[derive(Clone)]
pub struct Line {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

const SIZE: (u32, u32) = (800, 440);
const FONT: &str = "system-ui, sans-serif";

/// A colour, and the one in its place on a dark page.
type Ink = (RGBColor, &'static str);
const TEXT: Ink = (RGBColor(0x1f, 0x23, 0x28), "#e6edf3");
const SOFT: Ink = (RGBColor(0x59, 0x63, 0x6e), "#9198a1");
const GRID: Ink = (RGBColor(0xd8, 0xde, 0xe4), "#30363d");
/// Told apart by the colour-blind too (Okabe and Ito), and by the marks.
const LINES: [Ink; 5] = [
    (RGBColor(0x00, 0x62, 0xa8), "#56b4e9"),
    (RGBColor(0xc0, 0x4e, 0x00), "#f0883e"),
    (RGBColor(0x00, 0x7d, 0x5b), "#2fc49b"),
    (RGBColor(0x6e, 0x77, 0x81), "#8b949e"),
    (RGBColor(0xa0, 0x4c, 0x84), "#db8fc1"),
];

/// Draws it; a full run writes it below docs/bench, a look below the target directory.
pub fn draw(extent: Extent, chart: &Chart) {
    let directory = match extent.writes() {
        true => Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bench"),
        false => Path::new(env!("CARGO_TARGET_TMPDIR")).to_owned(),
    };
    let path = directory.join(chart.file).with_extension("svg");
    let mut svg = String::new();
    render(chart, &mut svg).unwrap_or_else(|e| panic!("cannot draw {}: {e}", chart.title));
    std::fs::write(&path, for_both(&svg)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    println!("{}", path.display());
}

fn render(chart: &Chart, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let range = |axis: fn(&(f64, f64)) -> f64| {
        let values = || chart.lines.iter().flat_map(|line| &line.points).map(axis);
        (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max))
    };
    let (left, right) = range(|point| point.0);
    let (low, high) = range(|point| point.1);
    let (low, high, marks) = marks(low, high);
    let ticks = chart.ticks.iter().copied().filter(|tick| (left..=right).contains(tick)).collect();
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let text = |size, ink: &Ink| (FONT, size).into_font().color(&ink.0);
    area.draw(&Text::new(chart.title, (16, 12), text(22, &TEXT)))?;
    area.draw(&Text::new(chart.y, (16, 42), text(16, &SOFT)))?;
    let mut plot = ChartBuilder::on(&area)
        .margin_top(66)
        .margin_right(205)
        .margin_left(16)
        .margin_bottom(8)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(
            (left..right).log_scale().with_key_points(ticks),
            (low..high).log_scale().with_key_points(marks),
        )?;
    plot.configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.0)
        .axis_style(GRID.0)
        .x_desc(chart.x)
        .x_labels(16)
        .y_labels(16)
        .x_label_formatter(&|value| grouped(*value))
        .y_label_formatter(&|value| (chart.unit)(*value))
        .label_style(text(16, &SOFT))
        .axis_desc_style(text(16, &SOFT))
        .draw()?;
    // Names are at the ends of their lines, apart from each other.
    let mut names = Vec::new();
    for (line, ink) in chart.lines.iter().zip(&LINES) {
        let points = || line.points.iter().copied();
        plot.draw_series(LineSeries::new(points(), ink.0.stroke_width(3)))?;
        plot.draw_series(points().map(|point| Circle::new(point, 4, ink.0.filled())))?;
        if let Some(end) = line.points.last() {
            names.push((plot.backend_coord(end), line.name, ink));
        }
    }
    names.sort_by_key(|((_, y), ..)| *y);
    let mut free = i32::MIN;
    for ((x, y), name, ink) in names {
        let y = y.max(free);
        let style = text(17, ink).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(name, (x + 12, y), style))?;
        free = y + 18;
    }
    drop(plot);
    area.present()?;
    Ok(())
}

/// The nearest of 1, 2, 5, 10, 20 and so on below and above, and those to draw between.
fn marks(low: f64, high: f64) -> (f64, f64, Vec<f64>) {
    let all = || (-3..12).flat_map(|power| [1.0, 2.0, 5.0].map(|n| n * 10_f64.powi(power)));
    let low = all().filter(|mark| *mark <= low).fold(0.0, f64::max);
    let high = all().find(|mark| *mark >= high).unwrap_or(high);
    let within = all().filter(|mark| (low..=high).contains(mark));
    let decade = |mark: &f64| mark.log10().fract().abs() < 1e-9;
    let marks = match high / low > 1000.0 {
        true => within.filter(decade).collect(),
        false => within.collect(),
    };
    (low, high, marks)
}

/// A dark page replaces the inks.
fn for_both(svg: &str) -> String {
    let mut rules = String::new();
    for ((red, green, blue), dark) in
        [TEXT, SOFT, GRID].iter().chain(&LINES).map(|(RGBColor(r, g, b), dark)| ((r, g, b), dark))
    {
        for attribute in ["fill", "stroke"] {
            rules +=
                &format!("[{attribute}=\"#{red:02X}{green:02X}{blue:02X}\"]{{{attribute}:{dark}}}");
        }
    }
    let style = format!("<style>@media (prefers-color-scheme:dark){{{rules}}}</style>");
    let end = svg.find("xmlns").and_then(|at| svg[at..].find('>').map(|end| at + end + 1));
    let end = end.expect("the picture has a first element");
    format!("{}\n{style}{}", &svg[..end], &svg[end..])
}
