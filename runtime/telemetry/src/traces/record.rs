//! One trace as text, in the form of Triton's trace files: an object that says what was asked, then one for each moment.

use std::fmt::Write as _;
use std::sync::Arc;

use super::Activity;
use super::numbered_files::TraceStream;

/// A trace that has ended.
#[derive(Debug)]
pub(super) struct TraceRecord {
    /// Where it belongs.
    pub(super) stream: Arc<TraceStream>,
    /// Number of the trace in this process.
    pub(super) id: u64,
    /// Model that served.
    pub(super) model: Box<str>,
    /// Version that served.
    pub(super) version: u64,
    /// The client's id; empty for none.
    pub(super) request_id: Box<str>,
    /// By time.
    pub(super) moments: Vec<(Activity, u64)>,
}

impl TraceRecord {
    /// Adds the trace to `text`: elements of an array, separated by commas, on one line.
    pub(super) fn write(&self, text: &mut String) {
        let id = self.id;
        text.push_str("{\"id\":");
        number(text, id);
        text.push_str(",\"model_name\":");
        string(text, &self.model);
        text.push_str(",\"model_version\":");
        number(text, self.version);
        if !self.request_id.is_empty() {
            text.push_str(",\"request_id\":");
            string(text, &self.request_id);
        }
        text.push('}');
        for (activity, at) in &self.moments {
            text.push_str(",{\"id\":");
            number(text, id);
            text.push_str(",\"timestamps\":[{\"name\":\"");
            text.push_str(activity.name());
            text.push_str("\",\"ns\":");
            number(text, *at);
            text.push_str("}]}");
        }
    }
}

fn number(text: &mut String, number: u64) {
    text.push_str(itoa::Buffer::new().format(number));
}

fn string(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            // Writing to a string does not fail.
            control if control < ' ' => drop(write!(text, "\\u{:04x}", u32::from(control))),
            plain => text.push(plain),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_reads_as_tritons_does() {
        let record = TraceRecord {
            stream: Arc::new(TraceStream::plain()),
            id: 7,
            model: "simple".into(),
            version: 2,
            request_id: "a\"b\\c\n".into(),
            moments: vec![(Activity::RequestStart, 10), (Activity::RequestEnd, 30)],
        };
        let mut text = String::new();
        record.write(&mut text);
        let expected = concat!(
            r#"{"id":7,"model_name":"simple","model_version":2,"request_id":"a\"b\\c\u000a"},"#,
            r#"{"id":7,"timestamps":[{"name":"REQUEST_START","ns":10}]},"#,
            r#"{"id":7,"timestamps":[{"name":"REQUEST_END","ns":30}]}"#
        );
        assert_eq!(text, expected);
    }
}
