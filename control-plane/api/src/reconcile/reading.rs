//! From a snapshot's files to resources, or to everything that is wrong with them: by file and line, with a remedy. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::located::{LocatedText, Position};
use super::snapshot::{Snapshot, SourceFile, Unfit};
use crate::controller::MOST_CHANGES;
use crate::declared::{Declared, DeclaredSet, Problem, ProblemKind, ResourceKind, UniqueJson, read_documents};

/// Most problems that are told at once.
const MOST_PROBLEMS: usize = 256;

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

impl From<&Unfit> for DeclaredProblem {
    fn from(unfit: &Unfit) -> Self {
        Self { file: unfit.file.clone(), ..nowhere(None, String::new(), unfit.message.clone(), unfit.remedy) }
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
    let files = snapshot.content.as_ref().map_err(|unfit| vec![DeclaredProblem::from(unfit)])?;
    if files.is_empty() {
        let message = "expected at least one file `*.yaml`, `*.yml` or `*.json`, found none".to_owned();
        let remedy = "name the right folder; to declare nothing, keep a file without documents in it";
        return Err(vec![nowhere(None, String::new(), message, remedy)]);
    }
    let mut reading = Reading { resources: Vec::new(), places: Vec::new() };
    let mut first: BTreeMap<(ResourceKind, String), (usize, usize)> = BTreeMap::new();
    let mut located = Located::new(snapshot);
    let mut problems = Vec::new();
    for (index, file) in files.iter().enumerate() {
        match read_documents(&file.text, file.path.ends_with(".json")) {
            Ok(documents) => {
                for (document, declared) in documents {
                    let key = (declared.spec.kind(), declared.name.clone());
                    if let Some(before) = first.get(&key) {
                        let fault = Problem {
                            document: Some(document),
                            resource: Some(format!("{}/{}", key.0, key.1)),
                            path: "metadata.name".to_owned(),
                            message: format!("expected a name of its own, {} has it too", located.place(*before)),
                            kind: ProblemKind::NameTaken,
                        };
                        problems.push((index, fault));
                    }
                    first.entry(key).or_insert((index, document));
                    reading.resources.push(declared);
                    reading.places.push((index, document));
                }
            }
            Err(faults) => problems.extend(faults.into_iter().map(|fault| (index, fault))),
        }
    }
    if problems.is_empty() {
        return Ok(reading);
    }
    Err(bounded(&problems, |(file, fault)| located.problem(*file, fault)))
}

/// Everything that is wrong with what a snapshot declares, taken for itself; what it holds when nothing is.
pub(crate) fn check_snapshot(snapshot: &Snapshot) -> Result<Reading, Vec<DeclaredProblem>> {
    let reading = read_snapshot(snapshot)?;
    let set = DeclaredSet::new(reading.resources.iter().cloned());
    let indices: BTreeMap<(ResourceKind, &str), usize> = reading
        .resources
        .iter()
        .enumerate()
        .map(|(index, declared)| ((declared.spec.kind(), declared.name.as_str()), index))
        .collect();
    let mut problems = set.problems(|kind, name| indices.get(&(kind, name)).copied());
    problems.extend(too_many(&reading.resources));
    if problems.is_empty() {
        return Ok(reading);
    }
    Err(reading.located(snapshot, &problems))
}

/// One place holds no more than may change at once: it can always be put in force whole, on an empty state too.
fn too_many(resources: &[Declared]) -> Option<Problem> {
    let first = resources.get(MOST_CHANGES)?;
    Some(Problem {
        document: Some(MOST_CHANGES),
        resource: Some(format!("{}/{}", first.spec.kind(), first.name)),
        path: String::new(),
        message: format!("expected at most `{MOST_CHANGES}` resources in one place, got `{}`", resources.len()),
        kind: ProblemKind::TooMany,
    })
}

impl Reading {
    /// Problems that were found by the index of a resource, told by file and line.
    pub(crate) fn located(&self, snapshot: &Snapshot, faults: &[Problem]) -> Vec<DeclaredProblem> {
        let mut located = Located::new(snapshot);
        bounded(faults, |fault| match fault.document.and_then(|index| self.places.get(index)) {
            Some((file, document)) => located.problem(*file, &Problem { document: Some(*document), ..fault.clone() }),
            None => nowhere(
                fault.resource.clone(),
                fault.path.clone(),
                fault.message.clone(),
                "it is in force and not declared here: declare it, or remove it with `hanok apply`",
            ),
        })
    }
}

/// The first problems, told; how many more there are is the last.
fn bounded<T>(faults: &[T], tell: impl FnMut(&T) -> DeclaredProblem) -> Vec<DeclaredProblem> {
    let mut told: Vec<DeclaredProblem> = faults.iter().take(MOST_PROBLEMS).map(tell).collect();
    if let Some(more) = faults.len().checked_sub(MOST_PROBLEMS).filter(|more| *more > 0) {
        let message = format!("`{more}` further problems are not told");
        told.push(nowhere(None, String::new(), message, "mend these first"));
    }
    told
}

/// Where the parts of a snapshot's files stand. Every file is read for it once, and only if something is asked of it.
struct Located<'s> {
    snapshot: &'s Snapshot,
    texts: BTreeMap<usize, LocatedText>,
}

impl<'s> Located<'s> {
    const fn new(snapshot: &'s Snapshot) -> Self {
        Self { snapshot, texts: BTreeMap::new() }
    }

    fn file(&mut self, file: usize) -> Option<(&'s SourceFile, &LocatedText)> {
        let source = self.snapshot.files().get(file)?;
        Some((source, self.texts.entry(file).or_insert_with(|| LocatedText::read(&source.text))))
    }

    /// A problem of one file, told by line.
    fn problem(&mut self, file: usize, fault: &Problem) -> DeclaredProblem {
        let (resource, path, message) = (fault.resource.clone(), fault.path.clone(), fault.message.clone());
        let Some((source, text)) = self.file(file) else { return nowhere(resource, path, message, REPORT) };
        let found = match fault.document {
            Some(document) => text.find(document, &fault.path),
            None if source.path.ends_with(".json") => json_fault(&source.text),
            None => text.broken(),
        };
        DeclaredProblem {
            file: Some(source.path.clone()),
            line: found.map(|at| at.line),
            column: found.map(|at| at.column),
            resource,
            path,
            message,
            remedy: remedy(fault.kind),
        }
    }

    /// A document's place, as `FILE:LINE`.
    fn place(&mut self, (file, document): (usize, usize)) -> String {
        let Some((source, text)) = self.file(file) else { return "another file".to_owned() };
        let line = text.find(document, "metadata.name").map_or(1, |found| found.line);
        format!("`{}:{line}`", source.path)
    }
}

fn json_fault(text: &str) -> Option<Position> {
    let error = serde_json::from_str::<UniqueJson>(text).err()?;
    Some(Position { line: error.line() as u64, column: error.column() as u64 })
}

const REPORT: &str = "report it";

/// What helps against a fault of this sort.
const fn remedy(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Value => "correct the value",
        ProblemKind::UnknownField => "correct the name of the field, or remove it",
        ProblemKind::MissingField => "add the field",
        ProblemKind::Foreign => "correct it; a file that is no declaration belongs into another folder",
        ProblemKind::NameTaken => "keep one of the two, or rename it",
        ProblemKind::Text => "correct the text at this place",
        ProblemKind::TooLarge => "split the file",
        ProblemKind::TooMany => "remove what is no longer needed, or give some of it a server of its own",
        ProblemKind::UnderWay => "abort that rollout, wait for its end, or take the change back",
    }
}

/// A problem that is in no file.
fn nowhere(resource: Option<String>, path: String, message: String, remedy: &'static str) -> DeclaredProblem {
    DeclaredProblem { file: None, line: None, column: None, resource, path, message, remedy }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    const TRAFFIC: &str = "apiVersion: hanok.dev/v1\nkind: Traffic\nmetadata: {name: m}\nspec:\n  arms:\n    - {name: a, \
                           weight: 90}\n    - {name: b, weight: 10}\n";

    fn snapshot(files: &[(&str, &str)]) -> Snapshot {
        let file = |(path, text): &(&str, &str)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() };
        Snapshot::new(Ok(files.iter().map(file).collect()), None)
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
    fn a_place_holds_no_more_than_can_be_put_in_force_at_once() {
        let traffics = |from: usize, to: usize| {
            let named = |index| TRAFFIC.replace("{name: m}", &format!("{{name: m{index}}}"));
            (from..to).map(named).collect::<Vec<_>>().join("---\n")
        };
        let (first, rest, more) = (traffics(0, 200), traffics(200, MOST_CHANGES), traffics(200, MOST_CHANGES + 1));
        assert_eq!(
            check_snapshot(&snapshot(&[("a.yaml", &first), ("b.yaml", &rest)])).unwrap().resources.len(),
            MOST_CHANGES
        );
        let told = told(&[("a.yaml", &first), ("b.yaml", &more)]);
        assert_eq!(told.len(), 1, "{told:#?}");
        // Where the first one stands that is too many: after 100 of 8 lines each, the mark between them included.
        assert!(told[0].starts_with("b.yaml:801:1: Traffic/m300: expected at most `300` resources"), "{told:?}");
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
        let twice = told(&[("x.json", "{\"kind\": \"Traffic\",\n \"spec\": {},\n \"spec\": {}}\n")]);
        assert!(twice[0].starts_with("x.json:3:") && twice[0].contains("`spec` twice"), "{twice:?}");
        // As in YAML.
        let twice = told(&[("x.yaml", "kind: Traffic\nspec: {}\nspec: {}\n")]);
        assert!(twice[0].starts_with("x.yaml:3:"), "{twice:?}");
        // However many there are, they are told at once: each file is read for its lines once.
        let arms: Vec<String> = (0..500).map(|arm| format!("{{name: a{arm}, wieght: 1}}")).collect();
        let arms = TRAFFIC.replace("{name: a, weight: 90}", &arms.join("\n    - "));
        let documents: Vec<String> =
            (0..20).map(|index| arms.replace("{name: m}", &format!("{{name: m{index}}}"))).collect();
        let many = told(&[("many.yaml", &documents.join("---\n"))]);
        assert_eq!(many.len(), MOST_PROBLEMS + 1);
        assert!(
            many[MOST_PROBLEMS].contains("further problems are not told; mend these first"),
            "{}",
            many[MOST_PROBLEMS]
        );
        let compose = told(&[("compose.yaml", "services:\n  db: {image: x}\n")]);
        assert!(compose.iter().all(|line| line.starts_with("compose.yaml:1:")), "{compose:#?}");
    }
}
