//! A figure with its target, and what was measured for it.
//!
//! The invariant: a figure that was not measured never counts as held, and says why it is missing.

use serde::Serialize;

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// Only told.
    Information,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// What is measured.
    pub(crate) name: String,
    /// Its unit; empty for a ratio.
    pub(crate) unit: &'static str,
    /// What it must be.
    pub(crate) target: Target,
    /// The medians' value, or why there is none.
    pub(crate) measured: Result<f64, String>,
    /// Every round's value.
    pub(crate) rounds: Vec<f64>,
    /// What the target assumes of the machine, where it is an absolute figure.
    pub(crate) reference: Option<Reference>,
}

/// An absolute target was stated for a machine on which the floor (the least that any server must do) costs so much.
///
/// On a slower machine, or in a slower minute, the figure is judged as it would be there: scaled by what the floor took
/// in the same round. On a faster one it is judged as it is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Reference {
    /// The floor on the machine that the target was stated for, in microseconds of CPU per request.
    pub(crate) floor_us: f64,
    /// The figure, round by round, scaled to that floor.
    pub(crate) scaled: Vec<f64>,
}

impl Reference {
    /// Scales `values` by the `floors` of the same rounds.
    pub(crate) fn new(floor_us: f64, values: &[f64], floors: &[f64]) -> Self {
        let scaled = values.iter().zip(floors).map(|(value, floor)| value * (floor_us / floor).min(1.0)).collect();
        Self { floor_us, scaled }
    }
}

impl Figure {
    /// A figure from its rounds, by their median.
    pub(crate) fn of(name: impl Into<String>, unit: &'static str, target: Target, rounds: Vec<f64>) -> Self {
        let measured = median(&rounds).ok_or_else(|| "no round gave a value".to_owned());
        Self { name: name.into(), unit, target, measured, rounds, reference: None }
    }

    /// A figure that could not be measured.
    pub(crate) fn skipped(name: impl Into<String>, unit: &'static str, target: Target, reason: &str) -> Self {
        Self { name: name.into(), unit, target, measured: Err(reason.to_owned()), rounds: Vec::new(), reference: None }
    }

    /// The same figure, judged at the floor that its target was stated for.
    pub(crate) fn at(self, reference: Reference) -> Self {
        Self { reference: Some(reference), ..self }
    }

    /// The value at the reference's floor, where there is a reference.
    fn scaled(&self) -> Option<(f64, f64)> {
        let reference = self.reference.as_ref()?;
        Some((reference.floor_us, median(&reference.scaled)?))
    }

    /// Whether the target is kept; `None` for information and for what was not measured.
    pub(crate) fn holds(&self) -> Option<bool> {
        let measured = *self.measured.as_ref().ok()?;
        let value = self.scaled().map_or(measured, |(_, scaled)| scaled);
        match self.target {
            Target::AtMost(limit) => Some(value <= limit),
            Target::AtLeast(limit) => Some(value >= limit),
            Target::Information => None,
        }
    }

    fn cells(&self) -> [String; 4] {
        let with_unit = |value: f64| format!("{} {}", digits(value), self.unit).trim_end().to_owned();
        let target = match self.target {
            Target::AtMost(limit) => format!("<= {}", with_unit(limit)),
            Target::AtLeast(limit) => format!(">= {}", with_unit(limit)),
            Target::Information => "-".to_owned(),
        };
        let (mut target, mut measured) =
            (target, self.measured.as_ref().map_or_else(|_| "skipped".to_owned(), |&value| with_unit(value)));
        if let (Some((floor, scaled)), Ok(_)) = (self.scaled(), &self.measured) {
            target.push_str(&format!(" at a floor of {floor} us"));
            measured.push_str(&format!(" ({} there)", with_unit(scaled)));
        }
        let verdict = match (self.holds(), &self.measured) {
            (Some(true), _) => "ok",
            (Some(false), _) => "MISSED",
            (None, Err(_)) => "skipped",
            (None, Ok(_)) => "-",
        };
        [self.name.clone(), target, measured, verdict.to_owned()]
    }
}

/// Three digits that matter.
pub(crate) fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The middle value, or the mean of the middle two; `None` of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The table, and below it why figures are missing.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut rows = vec![["figure", "target", "measured", "ok"].map(str::to_owned)];
    rows.extend(figures.iter().map(Figure::cells));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    let mut text = String::new();
    for row in &rows {
        let line: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(line.join(" | ").trim_end());
        text.push('\n');
    }
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for figure in figures {
        let Err(reason) = &figure.measured else { continue };
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, names)) => names.push(&figure.name),
            None => reasons.push((reason, vec![&figure.name])),
        }
    }
    for (reason, names) in reasons {
        let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
        text.push_str(&format!("skipped {}{more}: {reason}\n", names[0]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_verdicts() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        let held = Figure::of("a", "us", Target::AtMost(20.0), vec![19.0, 50.0, 18.0]);
        assert_eq!(held.holds(), Some(true));
        assert_eq!(Figure::of("b", "", Target::AtLeast(0.95), vec![0.94]).holds(), Some(false));
        let slow = Figure::of("d", "us", Target::AtMost(20.0), vec![30.0, 28.0]);
        assert_eq!(slow.holds(), Some(false));
        let slow = slow.clone().at(Reference::new(8.0, &slow.rounds, &[16.0, 14.0]));
        assert_eq!(slow.holds(), Some(true));
        assert!(table(&[slow]).contains("d      | <= 20.0 us at a floor of 8 us | 29.0 us (15.5 us there) | ok"));
        let fast = Figure::of("e", "us", Target::AtMost(20.0), vec![21.0]).at(Reference::new(8.0, &[21.0], &[6.0]));
        assert_eq!(fast.holds(), Some(false), "a fast machine excuses nothing");
        let skipped = Figure::skipped("c", "", Target::AtLeast(0.95), "no model");
        assert_eq!(skipped.holds(), None);
        let text = table(&[held, skipped]);
        assert!(text.contains("a      | <= 20.0 us | 19.0 us  | ok"), "{text}");
        assert!(text.ends_with("skipped c: no model\n"), "{text}");
    }
}
