//! The `config.pbtxt` of a watched model: which versions it must let serve, and whose it is. Pure.
//!
//! A candidate serves beside the version that it may replace, so the policy must allow both: the default of one version
//! would switch to the candidate at once. A configuration that the watch has written says so in its first line, names the
//! version that serves first, and is written anew when versions change; any other is the operator's and is only checked.

use hanok_model_config::{VersionPolicy, parse_pbtxt};
use hanok_repository::versions_to_serve;

/// The first line of what the watch has written.
const OURS: &str = "# Kept by the watch, which writes it anew; without this line it is yours.\n";
/// Beginning of the last line of it, where the version brought no policy of its own.
const POLICY: &str = "version_policy { specific { versions: [ ";
/// End of that line.
const POLICY_END: &str = " ] } }\n";

/// Whether the watch may write it anew.
pub(super) fn is_ours(text: &str) -> bool {
    text.starts_with(OURS.trim_end())
}

/// What the watch has written `text` from; `None` where it is the operator's.
pub(super) fn base_of(text: &str) -> Option<&str> {
    let base = text.strip_prefix(OURS)?;
    Some(base.rfind(POLICY).filter(|at| base[*at..].ends_with(POLICY_END)).map_or(base, |at| &base[..at]))
}

/// The versions that the watch has named in `text`, the one that serves first; none where it is not the watch that names them.
pub(super) fn named(text: &str) -> Vec<u64> {
    let after = text.strip_prefix(OURS).and_then(|base| base.rfind(POLICY).map(|at| &base[at + POLICY.len()..]));
    let list = after.and_then(|after| after.strip_suffix(POLICY_END)).unwrap_or_default();
    list.split(", ").filter_map(|number| number.parse().ok()).collect()
}

/// What has to be written so that `versions` may serve, the one that serves first; `None`: nothing. `there` is what is there,
/// `base` what is written anew from. With `only`, what the watch has written names no others.
///
/// # Errors
/// A text for the operator when `base` cannot be read, or a configuration keeps one of the versions from serving.
pub(super) fn wanted(
    there: Option<&str>,
    base: &str,
    versions: &[u64],
    present: &[u64],
    only: bool,
) -> Result<Option<String>, String> {
    let Some(text) = there else { return written(base, versions).map(Some) };
    let fits = check(text, versions, present);
    let anew = match base_of(text) {
        None => return fits.map(|()| None),
        Some(base) if !only && fits.is_ok() => {
            let mut order = named(text);
            if order.is_empty() {
                return Ok(None);
            }
            order.retain(|version| !versions.contains(version));
            written(base, &[versions, &order].concat())?
        }
        Some(_) => written(base, versions)?,
    };
    Ok((anew != text).then_some(anew))
}

/// A configuration that lets `versions` serve: `base` with a policy, if it has none of its own.
fn written(base: &str, versions: &[u64]) -> Result<String, String> {
    let mut text = OURS.to_owned();
    text.push_str(base);
    if !base.is_empty() && !base.ends_with('\n') {
        text.push('\n');
    }
    let has_policy = parse_pbtxt(base).map_err(|error| unreadable(&error))?.version_policy.is_some();
    if !has_policy {
        let list: Vec<String> = versions.iter().map(u64::to_string).collect();
        text.push_str(&format!("{POLICY}{}{POLICY_END}", list.join(", ")));
    }
    check(&text, versions, versions)?;
    Ok(text)
}

/// Checks that the configuration `text` lets `needed` serve when `present` are in the folder.
fn check(text: &str, needed: &[u64], present: &[u64]) -> Result<(), String> {
    let policy = VersionPolicy::declared(&parse_pbtxt(text).map_err(|error| unreadable(&error))?);
    let (serving, _) = versions_to_serve(&policy, &[present, needed].concat());
    match needed.iter().find(|version| !serving.contains(version)) {
        None => Ok(()),
        Some(version) => Err(format!(
            "the model's config.pbtxt keeps version `{version}` from serving beside the others; give it `version_policy {{ all \
             {{ }} }}`, or remove it, and the watch writes one"
        )),
    }
}

fn unreadable(error: &hanok_model_config::ConfigError) -> String {
    format!("the model's config.pbtxt cannot be read: {error}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn versions_serve_side_by_side() {
        let text = written("max_batch_size: 4", &[1, 2]).unwrap();
        assert!(
            is_ours(&text) && text.ends_with("max_batch_size: 4\nversion_policy { specific { versions: [ 1, 2 ] } }\n")
        );
        check(&text, &[1, 2], &[1, 2, 3]).unwrap();
        let own = written("version_policy { all { } }", &[1, 2]).unwrap();
        assert!(!own.contains("specific"), "{own}");
        assert!(is_ours(&written("", &[1]).unwrap()));
        for (text, fits) in [
            ("version_policy { all { } }", true),
            ("version_policy { latest { num_versions: 2 } }", true),
            ("version_policy { latest { num_versions: 1 } }", false),
            ("version_policy { specific { versions: [ 1 ] } }", false),
            ("", false),
            ("max_batch_size: {", false),
        ] {
            assert!(!is_ours(text));
            assert_eq!(check(text, &[1, 2], &[1, 2]).is_ok(), fits, "{text}");
            // Asked before the candidate lies there, too.
            assert_eq!(check(text, &[1, 2], &[1]).is_ok(), fits, "{text}");
        }
        assert!(
            check("version_policy { latest { num_versions: 2 } }", &[1, 3], &[1, 2, 3]).unwrap_err().contains("`1`")
        );
        assert!(written("version_policy { latest { num_versions: 1 } }", &[1, 2]).is_err());
    }

    #[test]
    fn what_was_written_is_read_back() {
        for base in ["", "max_batch_size: 4\n", "# version_policy { specific { versions: [ 9 ] } }\nname: \"a\"\n"] {
            let text = written(base, &[7, 2]).unwrap();
            assert_eq!((base_of(&text), named(&text)), (Some(base), vec![7, 2]), "{text}");
        }
        let own = written("version_policy { all { } }\n", &[1, 2]).unwrap();
        assert_eq!((base_of(&own), named(&own)), (Some("version_policy { all { } }\n"), vec![]));
        assert_eq!(
            (base_of("name: \"a\""), named("version_policy { specific { versions: [ 1 ] } }\n")),
            (None, vec![])
        );
    }

    #[test]
    fn only_what_has_to_change_is_written() {
        let both = written("name: \"a\"\n", &[1, 2]).unwrap();
        let wanted = |there, versions: &[u64], only| wanted(there, "name: \"b\"\n", versions, &[1, 2], only);
        assert_eq!(wanted(None, &[1], true).unwrap(), Some(written("name: \"b\"\n", &[1]).unwrap()));
        assert_eq!(wanted(Some(&both), &[1, 2], false), Ok(None));
        assert_eq!(wanted(Some(&both), &[1], false), Ok(None), "the other may go on");
        let promoted = wanted(Some(&both), &[2], false).unwrap().unwrap();
        assert_eq!((base_of(&promoted), named(&promoted)), (Some("name: \"a\"\n"), vec![2, 1]));
        assert_eq!(wanted(Some(&both), &[3], false).unwrap(), Some(written("name: \"b\"\n", &[3]).unwrap()));
        assert_eq!(wanted(Some(&both), &[1, 2], true).unwrap(), Some(written("name: \"b\"\n", &[1, 2]).unwrap()));
        assert_eq!(wanted(Some("version_policy { all { } }"), &[1, 2], true), Ok(None), "the operator's");
        assert!(wanted(Some("name: \"a\""), &[1, 2], true).is_err());
    }
}
