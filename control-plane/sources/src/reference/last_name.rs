//! The name that a reference ends with: what a model is called where nobody names it. Pure.

use super::SourceReference;

impl SourceReference {
    /// The last name in the reference that is more than a version number, without the endings of files; `None` where there is
    /// none.
    #[must_use]
    pub fn last_name(&self) -> Option<String> {
        let path = match self {
            Self::Mlflow(model) => return Some(model.name.clone()),
            Self::Bucket(bucket) => format!("{}/{}", bucket.bucket, bucket.prefix),
            Self::Web(web) => web.file_name().as_str().to_owned(),
            Self::Git(git) => {
                let folder = git.folder().map(|folder| folder.as_str()).unwrap_or_default();
                format!("{}/{folder}", git.repository_url())
            }
        };
        path.rsplit('/').map(without_endings).find(|name| !name.is_empty() && !is_number(name)).map(str::to_owned)
    }
}

fn without_endings(name: &str) -> &str {
    const ENDINGS: [&str; 6] = [".tar.gz", ".tgz", ".tar", ".onnx", ".git", ".pbtxt"];
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

fn is_number(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn the_last_name_is_the_models() {
        for (text, name) in [
            ("mlflow://flight_delay@champion", Some("flight_delay")),
            ("s3://models/flight/1", Some("flight")),
            ("s3://models", Some("models")),
            ("gs://models/flight.onnx", Some("flight")),
            ("https://example.com/x/resnet.tar.gz", Some("resnet")),
            ("https://example.com/x/1", None),
            ("git+https://example.com/team/models.git#main:flight/2", Some("flight")),
            ("git+file:///srv/models.git", Some("models")),
        ] {
            assert_eq!(text.parse::<SourceReference>().unwrap().last_name().as_deref(), name, "{text}");
        }
    }
}
