//! Point-in-time joins beside pandas: all flights with the weather and the planes of their time, from the same files on disk.
//!
//! Ours is timed as a whole process, pandas without its start and imports. Both write their result, and every value is
//! compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::figure::{Figure, Target};
use crate::{Options, Problem};

/// The forms of the files, and how they are called in figures.
const FORMS: [(&str, &str); 2] = [("parquet", "Parquet"), ("csv", "CSV")];

/// The figures, measured or skipped.
pub(super) fn figures(options: &Options) -> Vec<Figure> {
    let folder = std::env::temp_dir().join(format!("hanok-join-{}", std::process::id()));
    let prepared = prepare(&folder);
    let figures = FORMS.iter().flat_map(|form| of_form(options, &folder, *form, prepared.as_ref())).collect();
    // What cannot be removed now is removed with the temporary files.
    drop(fs::remove_dir_all(&folder));
    figures
}

/// One round after another, pandas and ours in turn.
fn of_form(
    options: &Options,
    folder: &Path,
    (form, name): (&str, &str),
    prepared: Result<&(), &Problem>,
) -> Vec<Figure> {
    let differ = format!("join of all flights with weather and planes, {name}: values that differ from merge_asof");
    let ratio = format!("join, {name}: time of pandas merge_asof over ours");
    let measured = prepared.map_err(Clone::clone).and_then(|()| {
        let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let pandas = script(folder, "join", Some(form))?;
            let pandas = pandas["seconds"].as_f64().ok_or("pandas told no time")?;
            let begin = Instant::now();
            join(options, folder, form)?;
            let own = begin.elapsed().as_secs_f64();
            ratios.push(pandas / own);
            ours.push(own * 1000.0);
            theirs.push(pandas * 1000.0);
        }
        let compared = script(folder, "compare", Some(form))?;
        let count = |name: &str| compared[name].as_f64().ok_or_else(|| format!("the comparison told no `{name}`"));
        Ok((ratios, ours, theirs, [count("differ")?, count("compared")?, count("rows")?]))
    });
    match measured {
        Ok((ratios, ours, theirs, [differs, compared, rows])) => vec![
            Figure::of(differ, "", Target::AtMost(0.0), vec![differs]),
            Figure::of(ratio, "", Target::AtLeast(1.0), ratios),
            Figure::of(format!("join, {name}: ours, the whole process"), "ms", Target::Information, ours),
            Figure::of(format!("join, {name}: pandas, without its start"), "ms", Target::Information, theirs),
            Figure::of(format!("join, {name}: rows"), "", Target::Information, vec![rows]),
            Figure::of(format!("join, {name}: values compared"), "", Target::Information, vec![compared]),
        ],
        Err(problem) => {
            let problem: Problem = problem;
            vec![
                Figure::skipped(differ, "", Target::AtMost(0.0), &problem),
                Figure::skipped(ratio, "", Target::AtLeast(1.0), &problem),
            ]
        }
    }
}

fn prepare(folder: &Path) -> Result<(), Problem> {
    script(folder, "prepare", None)?;
    let declared =
        fs::read_to_string("benches/joins/features.yaml").map_err(|error| format!("declarations: {error}"))?;
    for (form, _) in FORMS {
        let file = folder.join(format!("{form}.yaml"));
        fs::write(&file, declared.replace("FORM", form))
            .map_err(|error| format!("cannot write declarations: {error}"))?;
    }
    Ok(())
}

fn join(options: &Options, folder: &Path, form: &str) -> Result<(), Problem> {
    let mut command = Command::new(&options.hanok);
    command.args(["features", "join", "--features", "weather:*,planes:*", "--file"]);
    command.arg(folder.join(format!("{form}.yaml")));
    command.arg("--entities").arg(folder.join(format!("flights.{form}")));
    command.arg("--out").arg(folder.join(format!("hanok.{form}")));
    told(command).map(drop)
}

/// What the script prints last, where it prints.
fn script(folder: &Path, action: &str, form: Option<&str>) -> Result<Value, Problem> {
    let python = PathBuf::from(".venv/bin/python");
    if !python.exists() {
        return Err("`.venv` is not there: `tests/run python` makes it".to_owned());
    }
    let mut command = Command::new(python);
    command.arg("benches/joins/flights.py").arg(action).arg(folder).args(form);
    let text = told(command)?;
    Ok(text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default())
}

fn told(mut command: Command) -> Result<String, Problem> {
    let output = command.output().map_err(|error| format!("{command:?} cannot be started: {error}"))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(told.lines().last().unwrap_or("it failed and said nothing").to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
