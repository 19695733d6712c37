//! From a snapshot's files to resources, or to everything that is wrong with them: by file and line, with a remedy. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::located::{LocatedText, Position};
use super::snapshot::Snapshot;
use crate::declared::{Declared, DeclaredSet, Problem, ResourceKind, read_documents};

/// One thing that is wrong with what is declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeclaredProblem {
    /// The file, below the place; none where the problem is not in one.
    pub file: Option<String>,
    /// Line in it, from 1.
    pub line: Option<u64>,
    /// Column in it, from 1.
    pub column: Option<u64>,
    /// `KIND/NAME`, where they are known.
    pub resource: Option<String>,
    /// Where in the document, such as `spec.arms[1].weight`; empty for the whole.
    pub path: String,
    /// What: lower case, expected before found, values in backticks.
    pub message: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl fmt::Display for DeclaredProblem {
    /// `FILE:LINE:COLUMN: PATH: MESSAGE; REMEDY`, as editors and continuous integration read it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(formatter, "{file}:")?;
            for number in [self.line, self.column].into_iter().flatten() {
                write!(formatter, "{number}:")?;
            }
            formatter.write_str(" ")?;
        }
        if let Some(resource) = &self.resource {
            write!(formatter, "{resource}: ")?;
        }
        if !self.path.is_empty() {
            write!(formatter, "{}: ", self.path)?;
        }
        write!(formatter, "{}; {}", self.message, self.remedy)
    }
}

/// What a snapshot declares.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) resources: Vec<Declared>,
    /// Index of the file, and of the document in it, of each.
    places: Vec<(usize, usize)>,
}

/// Reads every file.
pub(crate) fn read_snapshot(snapshot: &Snapshot) -> Result<Reading, Vec<DeclaredProblem>> {
    if snapshot.files.is_empty() {
        let message = "expected at least one file `*.yaml`, `*.yml` or `*.json`, found none".to_owned();
        let remedy = "name the right folder; to declare nothing, keep a file without documents in it";
        let nowhere = (None, None, None);
        return Err(vec![problem(nowhere, None, String::new(), message, remedy)]);
    }
    let mut reading = Reading { resources: Vec::new(), places: Vec::new() };
    let mut first: BTreeMap<(ResourceKind, String), (usize, usize)> = BTreeMap::new();
    let mut problems = Vec::new();
    for (index, file) in snapshot.files.iter().enumerate() {
        match read_documents(&file.text, file.path.ends_with(".json")) {
            Ok(documents) => {
                for (document, declared) in documents {
                    let key = (declared.spec.kind(), declared.name.clone());
                    if let Some(before) = first.get(&key) {
                        let fault = Problem {
                            document: Some(document),
                            resource: Some(format!("{}/{}", key.0, key.1)),
                            path: "metadata.name".to_owned(),
                            message: format!("expected a name of its own, {} has it too", place_of(snapshot, *before)),
                        };
                        problems.push(located(snapshot, index, &fault));
                    }
                    first.entry(key).or_insert((index, document));
                    reading.resources.push(declared);
                    reading.places.push((index, document));
                }
            }
            Err(faults) => problems.extend(faults.iter().map(|fault| located(snapshot, index, fault))),
        }
    }
    if problems.is_empty() { Ok(reading) } else { Err(problems) }
}

/// Everything that is wrong with what a snapshot declares, taken for itself; what it holds when nothing is.
pub(crate) fn check_snapshot(snapshot: &Snapshot) -> Result<Reading, Vec<DeclaredProblem>> {
    let reading = read_snapshot(snapshot)?;
    let set = DeclaredSet::new(reading.resources.iter().cloned());
    let index = |kind, name: &str| {
        reading.resources.iter().position(|declared| declared.spec.kind() == kind && declared.name == name)
    };
    let problems = set.problems(index);
    if problems.is_empty() {
        return Ok(reading);
    }
    Err(problems.iter().map(|fault| reading.located(snapshot, fault)).collect())
}

impl Reading {
    /// A problem that was found by the index of a resource, told by file and line.
    pub(crate) fn located(&self, snapshot: &Snapshot, fault: &Problem) -> DeclaredProblem {
        match fault.document.and_then(|index| self.places.get(index)) {
            Some((file, document)) => located(snapshot, *file, &Problem { document: Some(*document), ..fault.clone() }),
            None => problem(
                (None, None, None),
                fault.resource.clone(),
                fault.path.clone(),
                fault.message.clone(),
                "it is in force and not declared here: declare it, or remove it with `hanok apply`",
            ),
        }
    }
}

/// A problem of one file, told by line.
fn located(snapshot: &Snapshot, file: usize, fault: &Problem) -> DeclaredProblem {
    let Some(source) = snapshot.files.get(file) else {
        return problem((None, None, None), fault.resource.clone(), fault.path.clone(), fault.message.clone(), REPORT);
    };
    let text = LocatedText::read(&source.text);
    let found = match fault.document {
        Some(document) => text.find(document, &fault.path),
        None if source.path.ends_with(".json") => json_fault(&source.text),
        None => text.broken(),
    };
    let (line, column) = found.map_or((None, None), |at| (Some(at.line), Some(at.column)));
    problem(
        (Some(source.path.clone()), line, column),
        fault.resource.clone(),
        fault.path.clone(),
        fault.message.clone(),
        remedy(fault),
    )
}

fn json_fault(text: &str) -> Option<Position> {
    let error = serde_json::from_str::<serde::de::IgnoredAny>(text).err()?;
    Some(Position { line: error.line() as u64, column: error.column() as u64 })
}

fn place_of(snapshot: &Snapshot, (file, document): (usize, usize)) -> String {
    let Some(source) = snapshot.files.get(file) else { return "another file".to_owned() };
    let line = LocatedText::read(&source.text).find(document, "metadata.name").map_or(1, |found| found.line);
    format!("`{}:{line}`", source.path)
}

const REPORT: &str = "report it";

/// What helps against a fault, by what it is about.
fn remedy(fault: &Problem) -> &'static str {
    let message = fault.message.as_str();
    let says = |text: &str| message.contains(text);
    if says("is not under way") || says("that is not over") {
        "abort that rollout, wait for its end, or take the change back"
    } else if says("unknown field") {
        "correct the name of the field, or remove it"
    } else if says("missing field") {
        "add the field"
    } else if says("a name of its own") {
        "keep one of the two, or rename it"
    } else if fault.path == "apiVersion" || fault.path == "kind" {
        "correct it; a file that is no declaration belongs into another folder"
    } else if fault.document.is_none() && says("at most") {
        "split the file"
    } else if fault.document.is_none() {
        "correct the text at this place"
    } else {
        "correct the value"
    }
}

fn problem(
    (file, line, column): (Option<String>, Option<u64>, Option<u64>),
    resource: Option<String>,
    path: String,
    message: String,
    remedy: &'static str,
) -> DeclaredProblem {
    DeclaredProblem { file, line, column, resource, path, message, remedy }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::super::snapshot::SourceFile;
    use super::*;

    const TRAFFIC: &str = "apiVersion: hanok.dev/v1\nkind: Traffic\nmetadata: {name: m}\nspec:\n  arms:\n    - {name: a, \
                           weight: 90}\n    - {name: b, weight: 10}\n";

    fn snapshot(files: &[(&str, &str)]) -> Snapshot {
        let file = |(path, text): &(&str, &str)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() };
        Snapshot::new(files.iter().map(file).collect(), None)
    }

    fn told(files: &[(&str, &str)]) -> Vec<String> {
        check_snapshot(&snapshot(files)).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_right_is_read_from_all_files() {
        let json = r#"{"apiVersion": "hanok.dev/v1", "kind": "Traffic", "metadata": {"name": "n"},
            "spec": {"arms": [{"name": "a", "weight": 100}]}}"#;
        let reading =
            check_snapshot(&snapshot(&[("a.yaml", TRAFFIC), ("b/c.json", json), ("z.yml", "# none\n")])).unwrap();
        let names: Vec<&str> = reading.resources.iter().map(|declared| declared.name.as_str()).collect();
        assert_eq!(names, ["m", "n"]);
    }

    #[test]
    fn every_problem_has_its_file_line_and_remedy() {
        let misspelt = TRAFFIC.replace("{name: b, weight: 10}", "{name: b, wieght: 10}");
        let light = TRAFFIC.replace("weight: 10}", "weight: 5}").replace("{name: m}", "{name: light}");
        let all = told(&[("a.yaml", TRAFFIC), ("broken.yaml", "a: 1\nb: [1\nc: 2\n"), ("misspelt.yaml", &misspelt)]);
        assert_eq!(all.len(), 2, "{all:#?}");
        assert!(all[0].starts_with("broken.yaml:3:") && all[0].contains("expected YAML"), "{}", all[0]);
        assert!(all[1].starts_with("misspelt.yaml:7:") && all[1].contains("unknown field `wieght`"), "{}", all[1]);
        assert!(all[1].ends_with("correct the name of the field, or remove it"), "{}", all[1]);
        let twice = told(&[("a.yaml", TRAFFIC), ("b.yaml", &format!("---\n{TRAFFIC}"))]);
        assert!(twice[0].starts_with("b.yaml:4:") && twice[0].contains("`a.yaml:3` has it too"), "{twice:?}");
        let sum = told(&[("a.yaml", &light)]);
        assert!(sum[0].starts_with("a.yaml:") && sum[0].contains("Traffic/light: spec.arms"), "{sum:?}");
        let none = told(&[]);
        assert!(none[0].starts_with("expected at least one file"), "{none:?}");
        let json = told(&[("x.json", "{\n \"kind\": }\n")]);
        assert!(json[0].starts_with("x.json:2:"), "{json:?}");
        let compose = told(&[("compose.yaml", "services:\n  db: {image: x}\n")]);
        assert!(compose.iter().all(|line| line.starts_with("compose.yaml:1:")), "{compose:#?}");
    }
}
