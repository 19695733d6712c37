//! YAML as JSON, with the line on which each part of it stands.
//!
//! Parts are named by paths as problems name them: `spec.features[1].type`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};
use serde_saphyr::{Location, NonFiniteFloatPolicy, Spanned};

/// One document of a text.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) json: Json,
    lines: BTreeMap<String, u64>,
}

impl Document {
    /// The line of a part; where it is not there (a missing field), that of the nearest part around it.
    pub(super) fn line(&self, path: &str) -> Option<u64> {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

/// Reads every document of a text.
///
/// # Errors
/// The line, where it is known, and what is wrong with the form.
pub(super) fn read_documents(text: &str) -> Result<Vec<Document>, (Option<u64>, String)> {
    let options = serde_saphyr::options! { non_finite_float_policy: NonFiniteFloatPolicy::PassThrough };
    let nodes = serde_saphyr::from_multiple_with_options::<Spanned<Node>>(text, options).map_err(|error| {
        let line = error.location().map(|location| location.line());
        // The reader draws the place in the text; its first line says where and what.
        let drawn = error.to_string();
        (line, drawn.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned())
    })?;
    let source: Vec<&str> = text.lines().collect();
    Ok(nodes
        .into_iter()
        .map(|node| {
            let mut lines = BTreeMap::new();
            let json = take(node, String::new(), &source, &mut lines);
            // The first part of a document has a place of its own, before which there may be only comments.
            if let Some(first) = lines.values().copied().min() {
                lines.insert(String::new(), first);
            }
            Document { json, lines }
        })
        .collect())
}

enum Node {
    Scalar(Json),
    /// A float that JSON does not have.
    NotFinite(f64),
    List(Vec<Spanned<Node>>),
    Mapping(Vec<(String, Spanned<Node>)>),
}

fn take(node: Spanned<Node>, path: String, source: &[&str], lines: &mut BTreeMap<String, u64>) -> Json {
    let line = node.referenced.line();
    let json = match node.value {
        Node::Scalar(json) => json,
        // It goes on as the text that values are read from, and a number that is too large as it was written.
        Node::NotFinite(float) => too_large(source, node.defined).unwrap_or_else(|| word(float)).into(),
        Node::List(elements) => {
            let element = |(index, node)| take(node, format!("{path}[{index}]"), source, lines);
            Json::Array(elements.into_iter().enumerate().map(element).collect())
        }
        Node::Mapping(members) => {
            let mut map = Map::new();
            for (name, node) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                map.insert(name, take(node, path, source, lines));
            }
            Json::Object(map)
        }
    };
    if line > 0 {
        lines.insert(path, line);
    }
    json
}

/// The digits of a number that is infinite only because it is too large; none where infinity itself is written.
fn too_large<'t>(source: &[&'t str], place: Location) -> Option<&'t str> {
    let line = source.get(usize::try_from(place.line()).ok()?.checked_sub(1)?)?;
    let (start, _) = line.char_indices().nth(usize::try_from(place.column()).ok()?.checked_sub(1)?)?;
    let written = line[start..].split([' ', ',', ']', '}', '#']).next()?;
    written.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)).then_some(written)?;
    written.bytes().any(|byte| byte.is_ascii_digit()).then_some(written)
}

const fn word(float: f64) -> &'static str {
    if float.is_nan() {
        "nan"
    } else if float > 0.0 {
        "inf"
    } else {
        "-inf"
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("YAML")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Json::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(Json::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(Json::from(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        let number = serde_json::Number::from_f64(value);
        Ok(number.map_or(Node::NotFinite(value), |number| Node::Scalar(Json::Number(number))))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(Json::from(value)))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Json::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            elements.push(element);
        }
        Ok(Node::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Node::Mapping(members))
    }
}
