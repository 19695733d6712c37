//! Tests of the regions of system shared memory: keys, the files that are opened, what is off.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::os::unix::fs::symlink;

use proptest::prelude::{any, prop_assert, proptest};

use super::*;

proptest! {
    #[test]
    fn no_key_leads_out_of_the_folder(key in any::<String>()) {
        if let Some(path) = object_path(Path::new("/o"), &key) {
            prop_assert!(path.parent() == Some(Path::new("/o")) && path.file_name().is_some(), "{}", path.display());
        }
    }

    #[test]
    fn no_key_of_dots_and_slashes_leads_out_of_the_folder(key in "[./\0a]{0,6}") {
        if let Some(path) = object_path(Path::new("/o"), &key) {
            prop_assert!(path.parent() == Some(Path::new("/o")) && path.file_name().is_some(), "{}", path.display());
        }
    }
}

#[test]
fn keys_are_names_with_a_slash_or_without() {
    let path = |key: &str| object_path(Path::new("/o"), key).map(|path| path.display().to_string());
    assert_eq!(path("/a").as_deref(), Some("/o/a"));
    assert_eq!(path("a").as_deref(), Some("/o/a"));
    assert_eq!(path(&"k".repeat(255)), Some(format!("/o/{}", "k".repeat(255))));
    for none in ["", "/", "//a", "a/b", "..", "/..", ".", "a\0", &"k".repeat(256)] {
        assert_eq!(path(none), None, "{none:?}");
    }
}

#[test]
fn only_plain_files_are_opened_and_no_links() {
    let folder = std::env::temp_dir().join(format!("hanok-regions-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("inside")).unwrap();
    std::fs::write(folder.join("plain"), [1, 2, 3]).unwrap();
    symlink(folder.join("plain"), folder.join("link")).unwrap();
    let opened = |name: &str| open_object(&folder.join(name)).is_ok();
    assert!(opened("plain"));
    assert!(!opened("link") && !opened("inside") && !opened("away"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_is_off_is_refused_and_names_the_flag() {
    let regions = SystemRegions::new(false);
    let request = SystemRegionRequest { key: "/a".to_owned(), offset: 0, byte_size: 1 };
    let error = regions.register("a", &request, |_| false).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unsupported);
    assert!(error.message().contains("--allow-client-shm"), "{error}");
    assert_eq!(regions.unregister(None).unwrap_err().code(), ErrorCode::Unsupported);
    assert_eq!(regions.status(None).unwrap(), []);
}
