//! What was loaded last of one model, and whether a look at its folder gives a reason to load it again. Pure.

use crate::layout::Fingerprint;
use crate::override_files::OverrideFolder;
use crate::reload::Occasion;

/// What was loaded last of one model.
#[derive(Debug, Default)]
pub(crate) struct LastLoad {
    /// The folder when a load was last tried, whatever came of it.
    tried: Option<Fingerprint>,
    /// The folder when all of it was last loaded: what serves is at least as old.
    loaded: Option<Fingerprint>,
    /// Keeps the files of a load request until the next load.
    override_folder: Option<OverrideFolder>,
}

impl LastLoad {
    /// Whether nothing needs to be loaded, for the folder is as it was. A look at the folders tries nothing twice; this
    /// process itself asks because it needs what is there, and tries again what failed.
    pub(crate) fn suffices(&self, occasion: Occasion, now: &Fingerprint) -> bool {
        match occasion {
            Occasion::Asked => false,
            Occasion::Polled => self.tried.as_ref() == Some(now),
            Occasion::Refreshed => self.tried.as_ref() == Some(now) && self.loaded.as_ref() == Some(now),
        }
    }

    /// The folder when all of it was last loaded.
    pub(crate) const fn loaded(&self) -> Option<&Fingerprint> {
        self.loaded.as_ref()
    }

    /// Notes a load of a folder; `success`: all of it, with what came with the request.
    pub(crate) fn note(&mut self, folder: &Fingerprint, success: Option<Option<OverrideFolder>>) {
        self.tried = Some(folder.clone());
        if let Some(override_folder) = success {
            self.loaded = Some(folder.clone());
            self.override_folder = override_folder;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::fs;

    use super::*;
    use crate::ModelRoots;

    #[test]
    fn what_failed_is_tried_again_by_those_who_need_it() {
        let root = tempfile::tempdir().unwrap();
        let now = |number: &str| {
            fs::create_dir_all(root.path().join("m").join(number)).unwrap();
            ModelRoots::new(vec![root.path().to_owned()], None).read("m").unwrap().fingerprint
        };
        let (one, two) = (now("1"), now("2"));
        let suffices = |last: &LastLoad, now: &Fingerprint| {
            [Occasion::Asked, Occasion::Polled, Occasion::Refreshed].map(|occasion| last.suffices(occasion, now))
        };
        let mut last = LastLoad::default();
        assert_eq!(suffices(&last, &one), [false, false, false]);
        last.note(&one, Some(None));
        assert_eq!(suffices(&last, &one), [false, true, true]);
        assert_eq!(suffices(&last, &two), [false, false, false]);
        last.note(&two, None);
        assert_eq!(suffices(&last, &two), [false, true, false]);
        assert_eq!(last.loaded(), Some(&one), "what serves is not what was tried");
        // Put back: the failure is forgotten only when it is loaded again.
        assert_eq!(suffices(&last, &one), [false, false, false]);
        last.note(&one, Some(None));
        assert_eq!(suffices(&last, &one), [false, true, true]);
    }
}
