//! A plot with bars, as SVG within a page: drawn by numbers, explained by words.

use std::fmt::Write as _;

use crate::paper::markup::escaped;

/// In units of the drawing.
const WIDTH: u64 = 720;
const HEIGHT: u64 = 180;
/// For the words below the bars.
const FOOT: u64 = 24;
/// The width of a date.
const LABEL: u64 = 72;

/// Values side by side: each group of bars has a label, each bar of it a series.
pub(super) struct Plot<'a> {
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// The names of the series.
    pub(super) series: &'a [&'a str],
    pub(super) groups: Vec<(String, Vec<u64>)>,
}

impl Plot<'_> {
    pub(super) fn svg(&self) -> Result<String, std::fmt::Error> {
        let Self { id, title, series, groups } = self;
        let most = groups.iter().flat_map(|(_, values)| values).copied().max().unwrap_or(0).max(1);
        let count = |length: usize| u64::try_from(length).unwrap_or(1).max(1);
        let room = WIDTH.checked_div(count(groups.len())).unwrap_or(WIDTH);
        let bar =
            (room.saturating_mul(8) / 10).checked_div(count(series.len())).unwrap_or(1).max(1);
        // As many labels as can be read.
        let every = count(groups.len()).div_ceil(8);
        let total = HEIGHT.saturating_add(FOOT);
        let mut out = String::new();
        write!(
            out,
            "<figure><figcaption>{}</figcaption>\n<svg viewBox=\"0 -16 {WIDTH} {total}\" role=\"img\" \
             aria-labelledby=\"{id}-t {id}-d\"><title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>\n",
            *escaped(title),
            *escaped(title),
            *escaped(&self.words())
        )?;
        let base = HEIGHT.saturating_sub(FOOT);
        writeln!(out, "<path class=\"axis\" d=\"M0 {base}h{WIDTH}\"/>")?;
        for ((label, values), nth) in groups.iter().zip(0_u64..) {
            let left = nth.saturating_mul(room);
            for (value, place) in values.iter().zip(0_u64..) {
                let height = u128::from(base).saturating_mul(u128::from(*value));
                let height = height.checked_div(u128::from(most)).unwrap_or(0);
                let height = u64::try_from(height).unwrap_or(base);
                let (x, y) =
                    (left.saturating_add(place.saturating_mul(bar)), base.saturating_sub(height));
                writeln!(
                    out,
                    "<rect class=\"s{place}\" x=\"{x}\" y=\"{y}\" width=\"{bar}\" height=\"{height}\"/>"
                )?;
                if groups.len() <= 12 && *value > 0 {
                    // That of the highest is above 0.
                    let y = i64::try_from(y).unwrap_or(0).saturating_sub(3);
                    let x = x.saturating_add(bar / 2);
                    writeln!(
                        out,
                        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{value}</text>"
                    )?;
                }
            }
            // The last one may not fit.
            if nth % every == 0 && left.saturating_add(LABEL) <= WIDTH {
                writeln!(
                    out,
                    "<text x=\"{left}\" y=\"{}\">{}</text>",
                    base.saturating_add(16),
                    *escaped(label)
                )?;
            }
        }
        writeln!(out, "</svg>")?;
        if series.len() > 1 {
            let key = |(name, nth): (&&str, u64)| {
                format!(
                    "<span class=\"key\"><svg viewBox=\"0 0 9 9\" aria-hidden=\"true\"><rect class=\"s{nth}\" width=\"9\" height=\"9\"/></svg> {}</span> ",
                    *escaped(name)
                )
            };
            writeln!(out, "<p>{}</p>", series.iter().zip(0_u64..).map(key).collect::<String>())?;
        }
        writeln!(out, "</figure>")?;
        Ok(out)
    }

    /// The same, for whoever does not see it.
    fn words(&self) -> String {
        let group = |(label, values): &(String, Vec<u64>)| {
            let named = self.series.iter().zip(values);
            let values: Vec<_> = named.map(|(name, value)| format!("{name} {value}")).collect();
            format!("{label}: {}", values.join(", "))
        };
        self.groups.iter().map(group).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_of_nothing_and_one_of_zeros_are_drawn_and_labels_are_text() {
        let plot = |groups| Plot { id: "p", title: "a < b", series: &["x", "<y>"], groups };
        let nothing = plot(Vec::new()).svg().unwrap();
        assert!(nothing.contains("a &lt; b") && nothing.matches("<rect").count() == 2, "{nothing}");
        let zeros = plot(vec![("<script>".to_owned(), vec![0, 0])]).svg().unwrap();
        assert!(zeros.contains("height=\"0\"") && zeros.contains("&lt;script&gt;"), "{zeros}");
        assert!(!zeros.contains("<script") && !zeros.contains("<y>"), "{zeros}");
    }

    #[test]
    fn the_highest_bar_fills_the_drawing_whatever_its_value_is_and_labels_have_room() {
        let groups: Vec<_> = (0..30).map(|day| (format!("2026-11-{day:02}"), vec![day])).collect();
        let svg = Plot { id: "p", title: "t", series: &["x"], groups }.svg().unwrap();
        assert!(svg.contains(&format!("y=\"0\" width=\"19\" height=\"{}\"", HEIGHT - FOOT)));
        assert_eq!(svg.matches("<text").count(), 7, "{svg}");
        assert!(svg.contains("<text x=\"576\" y=\"172\">2026-11-24</text>"), "{svg}");
        let groups = vec![("a".to_owned(), vec![u64::MAX, 1])];
        let svg = Plot { id: "p", title: "t", series: &["x", "y"], groups }.svg().unwrap();
        let most = format!("y=\"-3\" text-anchor=\"middle\">{}</text>", u64::MAX);
        assert!(svg.contains(&most), "{svg}");
    }
}
