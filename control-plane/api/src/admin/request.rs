//! A request, taken apart: what routes need of it, bounded and checked; and the answer that they give.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::Problem;

/// What a route sees.
#[derive(Debug)]
pub(super) struct AdminRequest {
    /// Values of the path's places, in order.
    pub(super) places: Vec<String>,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What a route answers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
    /// Revision for `ETag`, where there is one.
    pub(super) revision: Option<u64>,
}

impl Answer {
    pub(super) fn json(value: &Value) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "application/json",
            body: value.to_string().into(),
            revision: None,
        }
    }

    pub(super) fn text(text: String) -> Self {
        let content_type = "text/plain; charset=utf-8";
        Self { status: StatusCode::OK, content_type, body: text.into(), revision: None }
    }

    /// The value, with its member `revision` as `ETag` too.
    pub(super) fn revised(value: &Value) -> Self {
        Self { revision: value.get("revision").and_then(Value::as_u64), ..Self::json(value) }
    }
}

impl AdminRequest {
    pub(super) fn place(&self, index: usize) -> &str {
        self.places.get(index).map_or("", String::as_str)
    }

    fn header(&self, name: &http::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The value of a query parameter, as it was sent: for numbers, words and flags.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }

    /// The value of a query parameter that is a text: `+` is a space, `%40` is `@`.
    pub(super) fn text_parameter(&self, name: &str) -> Result<Option<String>, Problem> {
        let Some(value) = self.parameter(name) else { return Ok(None) };
        let value = value.replace('+', " ");
        let text = percent_encoding::percent_decode_str(&value).decode_utf8();
        let text = text.map_err(|_| Problem::bad_request(format!("{name}: expected percent-encoded UTF-8")))?;
        Ok(Some(text.into_owned()))
    }

    /// Whether a flag is given: `?name`, `?name=true` or `?name=1`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.parameter(name) {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(other) => Err(Problem::bad_request(format!("{name}: expected `true` or `false`, got `{other}`"))),
        }
    }

    pub(super) fn number(&self, name: &str, otherwise: u64) -> Result<u64, Problem> {
        let Some(text) = self.parameter(name) else { return Ok(otherwise) };
        text.parse().map_err(|_| Problem::bad_request(format!("{name}: expected a whole number, got `{text}`")))
    }

    /// Refuses query parameters that the route does not know: a misspelt `dry_run` must not apply.
    pub(super) fn only_parameters(&self, known: &[&str]) -> Result<(), Problem> {
        let names =
            self.query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or(pair));
        match names.into_iter().find(|name| !known.contains(name)) {
            None => Ok(()),
            Some(name) => {
                let known = if known.is_empty() { "none".to_owned() } else { format!("`{}`", known.join("`, `")) };
                Err(Problem::bad_request(format!("unknown query parameter `{name}`, expected {known}")))
            }
        }
    }

    pub(super) fn is_json(&self) -> bool {
        self.header(&header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"))
    }

    pub(super) fn is_ndjson(&self) -> bool {
        self.header(&header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/x-ndjson"))
    }

    /// Whether text is wanted rather than JSON.
    pub(super) fn wants_text(&self) -> bool {
        let accepted = self.header(&header::ACCEPT).unwrap_or("*/*");
        !accepted.contains("json")
    }

    pub(super) fn body_text(&self) -> Result<&str, Problem> {
        std::str::from_utf8(&self.body).map_err(|_| Problem::bad_request("expected a body in UTF-8"))
    }

    /// The body as JSON of this form.
    pub(super) fn body_json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body).map_err(|error| Problem::bad_request(format!("body: {error}")))
    }

    /// The revision that `If-Match` names; none for `*` or without it.
    pub(super) fn expected_revision(&self) -> Result<Option<u64>, Problem> {
        match self.header(&header::IF_MATCH).map(|text| text.trim().trim_matches('"')) {
            None | Some("*") => Ok(None),
            Some(text) => {
                let bad = || Problem::bad_request(format!("If-Match: expected a revision, got `{text}`"));
                text.parse().map(Some).map_err(|_| bad())
            }
        }
    }

    /// Refuses conditions on a revision where nothing has one: a condition that nobody looks at must not seem to hold.
    pub(super) fn no_revision(&self, instead: &str) -> Result<(), Problem> {
        let conditions = [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE];
        match conditions.into_iter().find(|name| self.headers.contains_key(name)) {
            None => Ok(()),
            Some(name) => Err(Problem::bad_request(format!("{name}: there is no revision here; {instead}"))),
        }
    }

    /// The value of `Idempotency-Key`: 1 to 128 printable ASCII characters.
    pub(super) fn idempotency_key(&self) -> Result<Option<String>, Problem> {
        let Some(value) = self.headers.get("idempotency-key") else { return Ok(None) };
        let key = value.to_str().unwrap_or_default().trim();
        if key.is_empty() || key.len() > 128 {
            return Err(Problem::bad_request("Idempotency-Key: expected 1 to 128 printable characters"));
        }
        Ok(Some(key.to_owned()))
    }

    /// Who acts, as the caller says: the header `X-Hanok-Author`, for the record.
    pub(super) fn author(&self) -> Result<String, Problem> {
        let Some(value) = self.headers.get("x-hanok-author") else { return Ok("admin".to_owned()) };
        let author = value.to_str().unwrap_or_default().trim();
        if author.is_empty() || author.len() > 128 {
            return Err(Problem::bad_request("X-Hanok-Author: expected 1 to 128 printable characters"));
        }
        Ok(author.to_owned())
    }
}
