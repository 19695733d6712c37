//! Patterns of paths: `*` and `?` within one name, `**` for any folders between.

/// Whether a name fits a pattern of one name.
pub(super) fn name_fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut from) = (0, 0);
    // Where the last star stood, and how much of the name it had taken: only the last is ever taken back.
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(one) if *one == '?' || *one == name[from] => {
                at += 1;
                from += 1;
            }
            _ => match star.as_mut() {
                Some((place, taken)) => {
                    *taken += 1;
                    at = *place + 1;
                    from = *taken;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|one| *one == '*')
}

/// Whether the names of a path fit the parts of a pattern. Hidden names fit where they are written out, and no pattern.
pub(super) fn path_fits(pattern: &[String], names: &[String]) -> bool {
    let Some((first, behind)) = pattern.split_first() else { return names.is_empty() };
    if first == "**" {
        let hidden = names.iter().position(|name| is_hidden(name)).unwrap_or(names.len());
        // A file's own name is no folder that `**` could pass.
        return (0..=hidden.min(names.len().saturating_sub(1))).any(|passed| path_fits(behind, &names[passed..]));
    }
    let Some((name, rest)) = names.split_first() else { return false };
    let fits = if is_pattern(first) { !is_hidden(name) && name_fits(first, name) } else { first == name };
    fits && path_fits(behind, rest)
}

/// Names that writers of tables use for what is no table: `_SUCCESS`, `.crc`, files under way.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// Whether a text is a pattern rather than a path.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

#[cfg(test)]
mod tests {
    use super::{name_fits, path_fits};

    #[test]
    fn paths_fit_name_by_name() {
        let parts = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
        for (pattern, path, fits) in [
            ("**/*.parquet", "a.parquet", true),
            ("**/*.parquet", "day=1/x/a.parquet", true),
            ("**/*.parquet", "day=1/_x/a.parquet", false),
            ("**/_x/*.parquet", "day=1/_x/a.parquet", true),
            ("**/*.parquet", "day=1/.a.parquet", false),
            ("day=*/*.parquet", "day=1/a.parquet", true),
            ("day=*/*.parquet", "day=1/x/a.parquet", false),
            ("day=*/a.parquet", "day=1/a.parquet", true),
            ("*", "a.parquet", true),
            ("*", "a/b", false),
            ("a/**/b/*", "a/b/c", true),
            ("a/**/b/*", "a/x/y/b/c", true),
            ("a/**/b/*", "a/x/y/c", false),
        ] {
            assert_eq!(path_fits(&parts(pattern), &parts(path)), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn stars_take_any_number() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "a"),
            ("a*c", "abc"),
            ("a*c", "ac"),
            ("*.parquet", "x.parquet"),
            ("?x*", "axe"),
            ("*ab*ab", "abxaab"),
        ] {
            assert!(name_fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a", "b"), ("a*c", "abd"), ("?", ""), ("*.parquet", "x.parquet.tmp"), ("", "a")] {
            assert!(!name_fits(pattern, name), "{pattern} {name}");
        }
    }
}
