//! Weights that an ONNX file keeps in files beside it, which must lie in the model's own folder.
//!
//! The locations come from the model file and are not to be trusted: without this a model could have any file of
//! the machine read into its weights.

use std::path::Path;

use hanok_backend::ServingError;

/// Checks that every location, resolved with all its links, is a file within the model's folder; gives their size.
pub(super) fn check(
    model: &str,
    model_directory: &Path,
    version_directory: &Path,
    file_directory: &Path,
    locations: &[String],
) -> Result<u64, ServingError> {
    let mut bytes = 0;
    let roots: Vec<_> =
        [model_directory, version_directory].iter().filter_map(|root| std::fs::canonicalize(root).ok()).collect();
    for location in locations {
        let refused = |reason: &str| {
            ServingError::invalid(format!("model `{model}` keeps weights in a file that {reason}"))
                .with_operator_detail(format!("location in the model file: {location}"))
        };
        if Path::new(location).is_absolute() || location.contains('\0') {
            return Err(refused("is named by an absolute path"));
        }
        let file = std::fs::canonicalize(file_directory.join(location)).map_err(|_| refused("does not exist"))?;
        if !roots.iter().any(|root| file.starts_with(root)) {
            return Err(refused("lies outside of the model's folder"));
        }
        let metadata = std::fs::metadata(&file).map_err(|_| refused("cannot be read"))?;
        if !metadata.is_file() {
            return Err(refused("is no regular file"));
        }
        bytes += metadata.len();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn only_files_within_the_folder_are_read() {
        let base = std::env::temp_dir().join(format!("hanok-external-data-{}", std::process::id()));
        let version = base.join("model/1");
        std::fs::create_dir_all(&version).unwrap();
        std::fs::write(version.join("weights.bin"), [0; 10]).unwrap();
        std::fs::write(base.join("model/more.bin"), [0; 5]).unwrap();
        std::fs::write(base.join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(base.join("secret"), version.join("link.bin")).unwrap();
        std::os::unix::fs::symlink(base.join("model/more.bin"), version.join("inner.bin")).unwrap();
        let check = |location: &str| {
            check("m", &base.join("model"), &version, &version, &[location.to_owned()])
                .map_err(|error| error.message().to_owned())
        };
        assert_eq!(check("weights.bin"), Ok(10));
        assert_eq!(check("../more.bin"), Ok(5));
        assert_eq!(check("inner.bin"), Ok(5));
        let outside = "model `m` keeps weights in a file that lies outside of the model's folder";
        assert_eq!(check("../../secret"), Err(outside.to_owned()));
        assert_eq!(check("link.bin"), Err(outside.to_owned()));
        assert!(check("/etc/hostname").unwrap_err().ends_with("is named by an absolute path"));
        assert!(check("gone.bin").unwrap_err().ends_with("does not exist"));
        assert!(check("..").unwrap_err().ends_with("is no regular file"));
        std::fs::remove_dir_all(&base).unwrap();
    }
}
