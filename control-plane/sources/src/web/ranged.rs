//! A GET that continues where an earlier one stopped (RFC 9110, sections 13.1.5 and 14).

use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_RANGE, ETAG, IF_RANGE, RANGE};

use super::status::refused_status;
use crate::artifact_path::shown;
use crate::download::{Body, RemoteStream};
use crate::egress::{Answer, Asked, WebClient};
use crate::{SourceError, SourceErrorCode};

/// Opens `asked` from `offset` of the bytes that `mark` names: with a range where there is something to continue.
pub(crate) async fn open_ranged(
    client: &WebClient,
    mut asked: Asked,
    what: &str,
    offset: u64,
    mark: Option<&str>,
) -> Result<RemoteStream, SourceError> {
    let with_credentials = asked.headers.contains_key(http::header::AUTHORIZATION);
    let whole = asked.clone();
    if offset > 0
        && let Ok(range) = HeaderValue::try_from(format!("bytes={offset}-"))
    {
        asked.headers.insert(RANGE, range);
        if let Some(tag) = mark.filter(|mark| is_strong_tag(mark)).and_then(|mark| HeaderValue::try_from(mark).ok()) {
            asked.headers.insert(IF_RANGE, tag);
        }
    }
    let mut answer = client.follow(asked).await?;
    if answer.status().as_u16() == 416 {
        // Nothing after the offset: either that was all, or the file is another one by now.
        if unsatisfied_total(&answer) == Some(offset) {
            return Ok(RemoteStream {
                starts_at: offset,
                total: Some(offset),
                mark: strong_tag(&answer),
                body: Body::Empty,
            });
        }
        answer = client.follow(whole).await?;
    }
    if let Some(error) = refused_status(answer.status(), answer.host(), what, with_credentials) {
        return Err(error);
    }
    if answer.header(CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(unexpected(&answer, "compressed bytes that were not asked for"));
    }
    let (starts_at, total) = match answer.status().as_u16() {
        206 => content_range(&answer).ok_or_else(|| unexpected(&answer, "a part without saying which"))?,
        200 => (0, answer.content_length()),
        _ => return Err(unexpected(&answer, "neither the file nor a part of it")),
    };
    if !answer.end_is_marked() {
        return Err(SourceError::new(
            SourceErrorCode::UnexpectedAnswer,
            format!("`{}` does not tell where {what} ends", shown(answer.host())),
            "have the server send a content-length: without one, a cut file cannot be told from a whole one",
        ));
    }
    Ok(RemoteStream { starts_at, total, mark: strong_tag(&answer), body: Body::Answer(Box::new(answer)) })
}

fn is_strong_tag(mark: &str) -> bool {
    mark.len() > 2 && mark.starts_with('"') && mark.ends_with('"')
}

/// The entity tag, if equal tags promise equal bytes.
pub(crate) fn strong_tag(answer: &Answer) -> Option<String> {
    answer.header(ETAG).filter(|tag| is_strong_tag(tag)).map(str::to_owned)
}

/// First byte and total of `bytes FIRST-LAST/TOTAL`.
fn content_range(answer: &Answer) -> Option<(u64, Option<u64>)> {
    let (range, total) = answer.header(CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse::<u64>().ok()?) };
    // A part that stops before the end would look like a whole file that is too short; the total still tells.
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, total))
}

/// Total of `bytes */TOTAL`.
fn unsatisfied_total(answer: &Answer) -> Option<u64> {
    answer.header(CONTENT_RANGE)?.strip_prefix("bytes */")?.parse().ok()
}

fn unexpected(answer: &Answer, what: &str) -> SourceError {
    SourceError::new(
        SourceErrorCode::UnexpectedAnswer,
        format!("`{}` sent {what} ({})", shown(answer.host()), answer.status()),
        "check that the address is that of the file itself, and what stands between",
    )
}
