//! Plots as SVG that stands within a page. plotters draws them: it is the most used library for that, and needs neither fonts
//! nor a browser for SVG (charming draws in a JavaScript engine, or in a script that the page would have to carry).

use plotters::prelude::*;

const SIZE: (u32, u32) = (560, 240);
const BLUE_INK: RGBColor = RGBColor(9, 105, 218);

/// A line through points, with the names of both axes.
pub(super) fn line(name: &str, along: &str, points: &[(f64, f64)]) -> String {
    let mut svg = String::new();
    drawn(&mut svg, name, along, points).expect("an SVG of finite numbers can be drawn into memory");
    let label =
        format!("<svg role=\"img\" aria-label=\"{} over {}\" ", super::campaign::escaped(name), along);
    svg.replacen("<svg ", &label, 1)
}

fn drawn(
    svg: &mut String,
    name: &str,
    along: &str,
    points: &[(f64, f64)],
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let most = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(1e-6, f64::max);
    let (right, top) = (most(|point| point.0), most(|point| point.1) * 1.05);
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(8)
        // The last label of the axis stands around its end.
        .margin_right(28)
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    let whole = |number: &f64| if right < 20.0 { format!("{number:.1}") } else { format!("{number:.0}") };
    chart
        .configure_mesh()
        .x_labels(6)
        .y_labels(5)
        .x_label_formatter(&whole)
        .y_label_formatter(&|number| format!("{number:.0}"))
        .x_desc(along)
        .y_desc(name)
        .light_line_style(TRANSPARENT)
        .draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), BLUE_INK.stroke_width(2)))?;
    root.present()?;
    drop(chart);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_its_line_and_its_names_and_loads_nothing() {
        let svg = line("runs & more", "s", &[(0.0, 0.0), (1.0, 300.0), (2.0, 250.0)]);
        assert!(svg.contains("<polyline") && svg.contains("aria-label=\"runs &amp; more over s\""), "{svg}");
        assert!(svg.contains(">300</text>") || svg.contains("300\n</text>"), "{svg}");
        assert!(!svg.contains("href") && !svg.contains("<image"), "{svg}");
        assert!(line("nothing", "s", &[(0.0, 0.0)]).contains("<svg"), "all at one place");
    }
}
