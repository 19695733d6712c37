//! From tract's words to an error that names the operator and the remedy.
//!
//! tract tells where it failed in a chain of contexts such as `Translating node #3 "ZipMap" Unimplemented(ZipMap)`;
//! the client reads which operator it was, the operator's log has the whole chain.

use hanok_backend::ServingError;
use tract_onnx::prelude::TractError;

/// How a model gets served that tract cannot compute.
pub(crate) const REMEDY: &str = "install ONNX Runtime with `scripts/setup` to serve it";

/// Where a graph came to grief.
#[derive(Debug, PartialEq, Eq)]
struct FailedNode<'a> {
    name: &'a str,
    operator: &'a str,
}

/// The innermost node that tract's text names: `node #12 "name" Operator`.
fn innermost_node(text: &str) -> Option<FailedNode<'_>> {
    parse_node(text.rsplit_once("node #")?.1)
}

/// The node of the main graph in which, or within which, it failed.
fn outermost_node(text: &str) -> Option<FailedNode<'_>> {
    parse_node(text.split_once("node #")?.1)
}

fn parse_node(text: &str) -> Option<FailedNode<'_>> {
    let (number, rest) = text.split_once(" \"")?;
    number.parse::<usize>().ok()?;
    let (name, rest) = rest.split_once("\" ")?;
    let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
    let operator = match &rest[..end] {
        "Unimplemented" => rest[end..].strip_prefix('(').and_then(|rest| rest.split(')').next()).unwrap_or(""),
        operator => operator,
    };
    Some(FailedNode { name, operator })
}

/// An error at a node of the main graph at which at least half of `errors` came to grief.
pub(crate) fn at_one_node(errors: &[TractError]) -> Option<&TractError> {
    let texts: Vec<String> = errors.iter().map(|error| format!("{error:#}")).collect();
    let nodes: Vec<_> = texts.iter().map(|text| outermost_node(text)).collect();
    let common = |node: &Option<FailedNode<'_>>| {
        node.is_some() && 2 * nodes.iter().filter(|other| *other == node).count() >= nodes.len()
    };
    nodes.iter().position(common).map(|position| &errors[position])
}

/// A graph that tract does not translate.
pub(crate) fn untranslatable(model: &str, error: &TractError) -> ServingError {
    let detail = format!("{error:#}");
    let message = match innermost_node(&detail) {
        Some(node) => format!(
            "model '{model}' cannot be computed by backend 'tract': operator `{}` (node `{}`) failed to translate; {REMEDY}",
            node.operator, node.name
        ),
        None => {
            format!("model '{model}' cannot be computed by backend 'tract': its graph failed to translate; {REMEDY}")
        }
    };
    ServingError::unsupported(message).with_operator_detail(detail)
}

/// A graph with operators that are not registered; `operators` is not empty.
pub(crate) fn missing_operators(model: &str, operators: &[&str]) -> ServingError {
    let names = operators.iter().map(|operator| format!("`{operator}`")).collect::<Vec<_>>().join(", ");
    let (noun, verb) = if operators.len() == 1 { ("operator", "is") } else { ("operators", "are") };
    let advice = if operators.contains(&"ZipMap") {
        format!("export the model without ZipMap (skl2onnx: `options={{'zipmap': False}}`), or {REMEDY}")
    } else {
        REMEDY.to_owned()
    };
    ServingError::unsupported(format!(
        "model '{model}': {noun} {names} {verb} not offered by backend 'tract'; {advice}"
    ))
}

/// An execution that failed.
pub(crate) fn execution(model: &str, error: &TractError) -> ServingError {
    ServingError::internal(format!("model '{model}' failed to compute")).with_operator_detail(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::{FailedNode, innermost_node, outermost_node};

    #[test]
    fn nodes_are_found_in_the_words_of_tract() {
        let text = "Translating node #560 \"Reshape@18\" Reshape ToTypedTranslator: no";
        assert_eq!(innermost_node(text), Some(FailedNode { name: "Reshape@18", operator: "Reshape" }));
        let text = "Failed analyse for node #5 \"If_0\" If: Failed analyse for node #0 \"node_pad\" Pad: x";
        assert_eq!(innermost_node(text), Some(FailedNode { name: "node_pad", operator: "Pad" }));
        assert_eq!(outermost_node(text), Some(FailedNode { name: "If_0", operator: "If" }));
        let text = "Translating node #3 \"ZipMap\" Unimplemented(ZipMap) ToTypedTranslator";
        assert_eq!(innermost_node(text), Some(FailedNode { name: "ZipMap", operator: "ZipMap" }));
        assert_eq!(innermost_node("something else"), None);
    }
}
