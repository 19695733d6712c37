//! What went wrong with a source, as data: a stable code, what happened, and what to do about it.
//!
//! Texts name hosts and what the user wrote; they never hold a credential, and no path of this machine: that is
//! [`SourceError::operator_detail`].

use std::fmt;

use crate::artifact_path::shown_up_to;

/// Most characters of an operator's detail.
const MOST_DETAIL: usize = 2_048;

/// What failed. The text form ([`SourceErrorCode::as_str`]) is stable: programs go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceErrorCode {
    /// The reference cannot be read, or names something that is not allowed in one.
    InvalidReference,
    /// A setting cannot be used.
    InvalidSetting,
    /// The place wants credentials and none are set.
    CredentialsMissing,
    /// The place refused the credentials, or what they may do.
    CredentialsRefused,
    /// What the reference names does not exist.
    NotFound,
    /// The alias or stage exists nowhere or points at no version.
    AliasMissing,
    /// The destination is there already, with other content.
    AlreadyExists,
    /// The version is registered and not complete yet.
    NotReady,
    /// Another fetch is writing to the same destination.
    Busy,
    /// The address is private, loopback, link-local, metadata or reserved, and is not allowed.
    AddressRefused,
    /// Unencrypted traffic to a place that is not on the allow list.
    PlainTextRefused,
    /// A redirect that is not followed: too many, to another scheme, with credentials in it.
    RedirectRefused,
    /// The name does not resolve, or nobody answers there.
    Unreachable,
    /// The certificate was refused.
    TlsRefused,
    /// It took longer than allowed.
    TimedOut,
    /// Less came in a stretch of time than must.
    TooSlow,
    /// The place answered that it cannot serve now (5xx, 429).
    ServerError,
    /// The answer is not what the protocol promises: HTML for JSON, another range than asked for.
    UnexpectedAnswer,
    /// More bytes than allowed.
    TooLarge,
    /// More files than allowed, or a listing without end.
    TooManyFiles,
    /// A name that would leave the folder, or that no file system should see.
    UnsafePath,
    /// A link, device or submodule among the files.
    UnsafeEntry,
    /// Fewer or more bytes came than announced.
    LengthMismatch,
    /// The bytes are not those that the digest names.
    DigestMismatch,
    /// What the reference names changed while it was being fetched.
    SourceChanged,
    /// A Git LFS pointer stands where the file should be.
    LfsPointer,
    /// A form that is not read: an archive format, a model flavour, an artifact scheme.
    Unsupported,
    /// The `git` program is missing or too old.
    GitMissing,
    /// `git` failed.
    GitFailed,
    /// The model's files do not describe a model that can be served.
    InvalidModel,
    /// This machine's disk refused.
    Disk,
    /// This machine's disk has no room.
    DiskFull,
    /// The signature of a webhook is missing, wrong, or too old.
    SignatureRefused,
}

impl SourceErrorCode {
    /// The stable text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidReference => "invalid-reference",
            Self::InvalidSetting => "invalid-setting",
            Self::CredentialsMissing => "credentials-missing",
            Self::CredentialsRefused => "credentials-refused",
            Self::NotFound => "not-found",
            Self::AliasMissing => "alias-missing",
            Self::AlreadyExists => "already-exists",
            Self::NotReady => "not-ready",
            Self::Busy => "busy",
            Self::AddressRefused => "address-refused",
            Self::PlainTextRefused => "plain-text-refused",
            Self::RedirectRefused => "redirect-refused",
            Self::Unreachable => "unreachable",
            Self::TlsRefused => "tls-refused",
            Self::TimedOut => "timed-out",
            Self::TooSlow => "too-slow",
            Self::ServerError => "server-error",
            Self::UnexpectedAnswer => "unexpected-answer",
            Self::TooLarge => "too-large",
            Self::TooManyFiles => "too-many-files",
            Self::UnsafePath => "unsafe-path",
            Self::UnsafeEntry => "unsafe-entry",
            Self::LengthMismatch => "length-mismatch",
            Self::DigestMismatch => "digest-mismatch",
            Self::SourceChanged => "source-changed",
            Self::LfsPointer => "lfs-pointer",
            Self::Unsupported => "unsupported",
            Self::GitMissing => "git-missing",
            Self::GitFailed => "git-failed",
            Self::InvalidModel => "invalid-model",
            Self::Disk => "disk",
            Self::DiskFull => "disk-full",
            Self::SignatureRefused => "signature-refused",
        }
    }
}

/// Why a reference could not be read, resolved or fetched. Nothing became visible at the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    code: SourceErrorCode,
    message: String,
    action: String,
    operator_detail: Option<String>,
    transient: bool,
}

impl SourceError {
    /// An error with `code`: `message` says what happened, `action` what to do about it.
    pub(crate) fn new(code: SourceErrorCode, message: impl Into<String>, action: impl Into<String>) -> Self {
        let transient = matches!(
            code,
            SourceErrorCode::Unreachable
                | SourceErrorCode::NotReady
                | SourceErrorCode::TimedOut
                | SourceErrorCode::TooSlow
                | SourceErrorCode::ServerError
                | SourceErrorCode::LengthMismatch
        );
        Self { code, message: message.into(), action: action.into(), operator_detail: None, transient }
    }

    /// The same, with what only the operator should read: paths, the text of a library. Libraries quote what a stranger
    /// sent, so this is shown on one line, without what acts on a terminal, and cut.
    pub(crate) fn with_operator_detail(mut self, detail: impl fmt::Display) -> Self {
        self.operator_detail = Some(shown_up_to(MOST_DETAIL, &detail.to_string()));
        self
    }

    /// What failed.
    #[must_use]
    pub const fn code(&self) -> SourceErrorCode {
        self.code
    }

    /// What happened, for whoever asked: lower case, no full stop.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    #[must_use]
    pub fn action(&self) -> &str {
        &self.action
    }

    /// What the operator needs besides: never for clients.
    #[must_use]
    pub fn operator_detail(&self) -> Option<&str> {
        self.operator_detail.as_deref()
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        self.transient
    }

    /// A failure of this machine's disk at `what`.
    pub(crate) fn disk(what: &str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let failed = if matches!(error.kind(), StorageFull | QuotaExceeded) {
            let action = "free space on the disk that it is fetched to, then repeat the command";
            Self::new(SourceErrorCode::DiskFull, format!("the disk is full ({what})"), action)
        } else {
            let action = "check that the folder it is fetched to can be written to and is healthy";
            Self::new(SourceErrorCode::Disk, format!("the disk refused ({what})"), action)
        };
        failed.with_operator_detail(error)
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}; {}", self.code.as_str(), self.message, self.action)
    }
}

impl std::error::Error for SourceError {}
