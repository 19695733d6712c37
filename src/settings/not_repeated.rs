//! Values of flags that may hold a password: when one is refused, the message does not repeat it.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};

/// Parses by a function whose message, too, leaves out what must not be shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotRepeated<T>(pub(crate) fn(&str) -> Result<T, String>);

impl<T: Clone + Send + Sync + 'static> TypedValueParser for NotRepeated<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        let parsed = value.to_str().ok_or_else(|| "expected UTF-8".to_owned()).and_then(self.0);
        parsed.map_err(|message| {
            let argument = argument.map_or_else(|| "a value".to_owned(), ToString::to_string);
            Error::raw(ErrorKind::ValueValidation, format!("{argument}: {message}\n")).with_cmd(command)
        })
    }
}
