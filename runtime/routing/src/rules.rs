//! Ordered rules: a value of the request against a pattern.
//!
//! Not an expression language. An absent value matches nothing.

use regex::bytes::{Regex, RegexBuilder};

use crate::{FactValue, RequestFacts, RuleDeclaration, RulePattern, RuleSubject};

/// Largest compiled regular expression, in bytes: patterns come from operators, but a table may hold hundreds.
const LARGEST_REGEX_BYTES: usize = 1 << 20;

/// A pattern, ready to match.
#[derive(Debug)]
pub(crate) enum CompiledPattern {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Regex(Regex),
}

/// Compiles `pattern`, or says what is wrong with it.
pub(crate) fn compile_pattern(pattern: &RulePattern) -> Result<CompiledPattern, String> {
    Ok(match pattern {
        RulePattern::Exact(text) => CompiledPattern::Exact(text.as_bytes().into()),
        RulePattern::Prefix(text) => CompiledPattern::Prefix(text.as_bytes().into()),
        RulePattern::Regex(text) => {
            let built = RegexBuilder::new(text).unicode(false).size_limit(LARGEST_REGEX_BYTES).build();
            CompiledPattern::Regex(built.map_err(|error| match error {
                regex::Error::CompiledTooBig(limit) => {
                    format!("`{text}` compiles to more than `{limit}` bytes")
                }
                // The parser draws the pattern with marks under it; its last line says what is wrong.
                other => {
                    let text_of_error = other.to_string();
                    let reason =
                        text_of_error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                    format!("`{text}` is not a regular expression: {reason}")
                }
            })?)
        }
    })
}

impl CompiledPattern {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(expected) => value == &**expected,
            Self::Prefix(expected) => value.starts_with(expected),
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// A rule, ready to match.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    subject: RuleSubject,
    pattern: CompiledPattern,
    /// Index of the arm that it chooses.
    pub(crate) arm: usize,
}

impl CompiledRule {
    /// Compiles a validated rule that chooses `arm`.
    pub(crate) fn new(rule: &RuleDeclaration, arm: usize) -> Result<Self, String> {
        Ok(Self { subject: rule.when.for_lookup(), pattern: compile_pattern(&rule.matches)?, arm })
    }

    /// Whether the request fits.
    pub(crate) fn matches<F: RequestFacts + ?Sized>(&self, facts: &F) -> bool {
        self.subject.value(facts).is_some_and(|value| self.pattern.matches(value.as_bytes()))
    }
}

impl RuleSubject {
    /// The same with names as facts are asked for: those of headers in lower case.
    pub(crate) fn for_lookup(&self) -> Self {
        match self {
            Self::Header(name) => Self::Header(name.to_ascii_lowercase()),
            other => other.clone(),
        }
    }

    /// Its value in a request.
    pub(crate) fn value<'a, F: RequestFacts + ?Sized>(&self, facts: &'a F) -> Option<FactValue<'a>> {
        match self {
            Self::Header(name) => facts.header(name).map(FactValue::from),
            Self::Parameter(name) => facts.parameter(name),
            Self::Identity => facts.identity().map(FactValue::from),
        }
    }
}
