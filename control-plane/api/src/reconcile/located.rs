//! Where in a text a document's field stands, so that a problem can be told by line. Pure.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};

/// Line and column, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A value that knows where it stands.
#[derive(Clone, Debug)]
enum Tree {
    Scalar,
    List(Vec<Spanned<Tree>>),
    Members(Vec<(Spanned<String>, Spanned<Tree>)>),
}

/// The documents of a text, each with where its parts stand. JSON is read as the YAML that it is.
#[derive(Clone, Debug, Default)]
pub(super) struct LocatedText {
    documents: Vec<Spanned<Tree>>,
    /// Where the text stops being YAML.
    broken: Option<Position>,
}

impl LocatedText {
    pub(super) fn read(text: &str) -> Self {
        match serde_saphyr::from_multiple::<Spanned<Tree>>(text) {
            Ok(documents) => {
                let listed = |document: Spanned<Tree>| match document.value {
                    Tree::List(documents) => documents,
                    _ => vec![document],
                };
                Self { documents: documents.into_iter().flat_map(listed).collect(), broken: None }
            }
            Err(error) => Self { documents: Vec::new(), broken: error.location().map(position) },
        }
    }

    /// Where the text stops being YAML.
    pub(super) fn broken(&self) -> Option<Position> {
        self.broken
    }

    /// Where `path`, such as `spec.arms[1].weight`, stands in document `index`; of what is missing, where it belongs.
    pub(super) fn find(&self, index: usize, path: &str) -> Option<Position> {
        let document = self.documents.get(index)?;
        let mut found = document.referenced;
        let (mut tree, mut rest) = (&document.value, path);
        while !rest.is_empty() {
            let step = match tree {
                Tree::Scalar => None,
                Tree::List(elements) => element(elements, rest),
                Tree::Members(members) => member(members, rest),
            };
            let Some((at, inside, left)) = step else { break };
            (found, tree, rest) = (at, inside, left);
        }
        Some(position(found))
    }
}

/// Takes `[N]` off the path.
fn element<'a, 'p>(elements: &'a [Spanned<Tree>], path: &'p str) -> Option<(Location, &'a Tree, &'p str)> {
    let (number, rest) = path.strip_prefix('[')?.split_once(']')?;
    let element = elements.get(number.parse::<usize>().ok()?)?;
    Some((element.referenced, &element.value, rest.strip_prefix('.').unwrap_or(rest)))
}

/// Takes a member's name off the path: the longest that fits, because names may hold dots.
fn member<'a, 'p>(
    members: &'a [(Spanned<String>, Spanned<Tree>)],
    path: &'p str,
) -> Option<(Location, &'a Tree, &'p str)> {
    let fits = |name: &str| {
        let rest = path.strip_prefix(name)?;
        if rest.is_empty() || rest.starts_with('[') { Some(rest) } else { rest.strip_prefix('.') }
    };
    let fitting = members.iter().filter_map(|(name, value)| Some((name, value, fits(&name.value)?)));
    let (name, value, rest) = fitting.max_by_key(|(name, ..)| name.value.len())?;
    Some((name.referenced, &value.value, rest))
}

fn position(location: Location) -> Position {
    Position { line: location.line(), column: location.column() }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            members.push(entry);
        }
        Ok(Tree::Members(members))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    const TEXT: &str = "# a comment\nkind: Traffic\nspec:\n  arms:\n    - {name: a, weight: 1}\n    - name: b\n      weight: 2\n  \
                        a.b: {c: 1}\n---\n# nothing\n---\n- kind: X\n- kind: Y\n  spec: 5\n";

    #[test]
    fn fields_are_found_by_line() {
        let text = LocatedText::read(TEXT);
        let line = |document, path: &str| text.find(document, path).map(|position| position.line);
        assert_eq!(line(0, ""), Some(2));
        assert_eq!(line(0, "kind"), Some(2));
        assert_eq!(line(0, "spec.arms[0].weight"), Some(5));
        assert_eq!(line(0, "spec.arms[1].weight"), Some(7));
        assert_eq!(line(0, "spec.a.b.c"), Some(8));
        // What is missing is told where it belongs.
        assert_eq!(line(0, "spec.arms[1].version"), Some(6));
        assert_eq!(line(0, "spec.arms[7].weight"), Some(4));
        assert_eq!(text.broken(), None);
        let found = serde_saphyr::from_multiple::<serde_json::Value>(TEXT).unwrap();
        // The empty document counts as the reader of declarations counts it.
        assert_eq!(found.len(), text.documents.len() - 1);
        let last = text.documents.len() - 1;
        assert_eq!((line(last - 1, "kind"), line(last, "spec")), (Some(12), Some(14)));
        assert_eq!(line(last + 1, ""), None);
    }

    #[test]
    fn json_has_lines_and_what_is_broken_says_where() {
        let json = LocatedText::read("[\n {\"kind\": 1,\n  \"spec\": {\"x\": [1,\n 2]}}\n]");
        assert_eq!(json.find(0, "spec.x[1]").map(|position| position.line), Some(4));
        assert_eq!(LocatedText::read("a: 1\nb: [1\nc: 2\n").broken().map(|position| position.line), Some(3));
    }
}
