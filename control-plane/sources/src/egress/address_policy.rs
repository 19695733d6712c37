//! The allow list: which places besides public ones may be connected to. Pure.
//!
//! Empty by default. An entry is a network (`10.1.0.0/16`), an address, a host name, or a folder of local repositories
//! (`file:///srv/models`). A place on the list may also be spoken to without encryption. A host name opens private and
//! loopback addresses that it resolves to, never link-local or metadata ones: those need an address or network.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::AddressClass;
use crate::artifact_path::shown;
use crate::{SourceError, SourceErrorCode};

/// One entry of the allow list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedPlace {
    /// Addresses whose first `prefix` bits are those of `address`.
    Network {
        /// Any address of the network.
        address: IpAddr,
        /// Bits that count: 0 to 32, or to 128.
        prefix: u8,
    },
    /// A host, by the name that references use; lower case.
    Host(String),
    /// A folder of this machine, for `git+file`.
    Folder(PathBuf),
}

impl FromStr for AllowedPlace {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let refused = || {
            SourceError::new(
                SourceErrorCode::InvalidSetting,
                format!("`{}` is no entry of the allow list", shown(text)),
                "write a host (minio.internal), an address (10.1.2.3), a network (10.1.0.0/16) or file:///FOLDER; no port",
            )
        };
        if let Some(folder) = text.strip_prefix("file://") {
            let folder = PathBuf::from(folder);
            return if folder.is_absolute() { Ok(Self::Folder(folder)) } else { Err(refused()) };
        }
        let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Network { address, prefix: longest_prefix(address) });
        }
        if let Some((address, prefix)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| refused())?;
            let prefix =
                prefix.parse::<u8>().ok().filter(|prefix| *prefix <= longest_prefix(address)).ok_or_else(refused)?;
            return Ok(Self::Network { address, prefix });
        }
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        let plain = |character: char| character.is_ascii_alphanumeric() || "-._".contains(character);
        // A name of digits and dots is an address that was written wrong.
        let named = name.chars().any(|character| character.is_ascii_alphabetic());
        if name.is_empty() || name.len() > 253 || !named || name.starts_with('-') || !name.chars().all(plain) {
            return Err(refused());
        }
        Ok(Self::Host(name))
    }
}

const fn longest_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Judges addresses by their class and the allow list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    allowed: Vec<AllowedPlace>,
}

impl AddressPolicy {
    /// A policy that allows public addresses and `allowed`.
    #[must_use]
    pub const fn new(allowed: Vec<AllowedPlace>) -> Self {
        Self { allowed }
    }

    /// Judges a connection to `address`, which `host` resolved to.
    ///
    /// # Errors
    /// [`SourceErrorCode::AddressRefused`], or [`SourceErrorCode::PlainTextRefused`] where only encryption is missing.
    pub fn check(&self, host: &str, address: IpAddr, encrypted: bool) -> Result<(), SourceError> {
        let class = AddressClass::of(address);
        let listed = self.allowed.iter().any(|place| match place {
            AllowedPlace::Network { address: network, prefix } => is_within(address, *network, *prefix),
            AllowedPlace::Host(name) => {
                let may_open =
                    !matches!(class, AddressClass::LinkLocal | AddressClass::Metadata | AddressClass::Reserved);
                may_open && name.eq_ignore_ascii_case(host.trim_end_matches('.'))
            }
            AllowedPlace::Folder(_) => false,
        });
        if listed || (class == AddressClass::Public && encrypted) {
            return Ok(());
        }
        let host = shown(host);
        if class == AddressClass::Public {
            return Err(SourceError::new(
                SourceErrorCode::PlainTextRefused,
                format!("`{host}` would be spoken to without encryption"),
                format!("use https; or allow the place with --allow-private {host}"),
            ));
        }
        Err(SourceError::new(
            SourceErrorCode::AddressRefused,
            format!("`{host}` is at a {class} address, which references may not reach"),
            match class {
                AddressClass::Loopback | AddressClass::Private => {
                    format!("if this place is meant, allow it: --allow-private {host}, or its network")
                }
                _ => "if this place is really meant, allow its address: --allow-private ADDRESS".to_owned(),
            },
        )
        .with_operator_detail(format_args!("{host} resolved to {address}")))
    }

    /// Judges a local repository at `path`, links followed.
    pub(crate) fn check_folder(&self, path: &Path) -> Result<PathBuf, SourceError> {
        let refused = || {
            SourceError::new(
                SourceErrorCode::AddressRefused,
                "the local repository is not in an allowed folder",
                "allow its folder: --allow-private file:///FOLDER",
            )
        };
        // A folder outside the list gets the same answer whether it exists or not.
        let real = path.canonicalize().map_err(|error| refused().with_operator_detail(error))?;
        let inside = self.allowed.iter().any(|place| match place {
            AllowedPlace::Folder(folder) => folder.canonicalize().is_ok_and(|folder| real.starts_with(folder)),
            _ => false,
        });
        if inside { Ok(real) } else { Err(refused()) }
    }
}

/// Compares bits; an IPv4 address written as a mapped IPv6 address counts as the IPv4 address.
fn is_within(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    match (address.to_canonical(), network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    fn policy(entries: &[&str]) -> AddressPolicy {
        AddressPolicy::new(entries.iter().map(|entry| entry.parse().unwrap()).collect())
    }

    fn code(policy: &AddressPolicy, host: &str, address: &str, encrypted: bool) -> Option<SourceErrorCode> {
        policy.check(host, address.parse().unwrap(), encrypted).err().map(|error| error.code())
    }

    #[test]
    fn nothing_private_is_reached_without_an_entry() {
        let none = policy(&[]);
        for address in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fe80::1", "0.0.0.0"] {
            assert_eq!(code(&none, "x.example", address, true), Some(SourceErrorCode::AddressRefused), "{address}");
        }
        assert_eq!(code(&none, "x.example", "8.8.8.8", true), None);
        assert_eq!(code(&none, "x.example", "8.8.8.8", false), Some(SourceErrorCode::PlainTextRefused));
    }

    #[test]
    fn entries_open_what_they_name() {
        let some = policy(&["10.1.0.0/16", "Minio.internal", "fd00:1::/32", "[::1]", "0.0.0.0/0"]);
        assert_eq!(code(&some, "a", "10.1.255.1", false), None);
        assert_eq!(code(&some, "minio.INTERNAL.", "172.16.0.1", false), None);
        assert_eq!(code(&some, "a", "::ffff:10.1.0.1", false), None);
        let some = policy(&["10.1.0.0/16", "minio.internal", "::1"]);
        assert_eq!(code(&some, "a", "10.2.0.1", true), Some(SourceErrorCode::AddressRefused));
        assert_eq!(
            code(&some, "minio.internal.evil.example", "172.16.0.1", true),
            Some(SourceErrorCode::AddressRefused)
        );
        assert_eq!(code(&some, "a", "::1", false), None);
        assert_eq!(code(&some, "a", "::2", true), Some(SourceErrorCode::AddressRefused));
    }

    #[test]
    fn a_name_never_opens_metadata_services() {
        let some = policy(&["inner.example"]);
        assert_eq!(code(&some, "inner.example", "127.0.0.1", true), None);
        for address in ["169.254.169.254", "169.254.0.1", "fe80::1", "fd00:ec2::254", "100.100.100.200"] {
            assert_eq!(code(&some, "inner.example", address, true), Some(SourceErrorCode::AddressRefused), "{address}");
        }
        assert_eq!(code(&policy(&["169.254.169.254"]), "x", "169.254.169.254", false), None);
    }

    #[test]
    fn entries_that_say_nothing_are_refused() {
        for text in [
            "",
            "*",
            "10.0.0.0/33",
            "10.0.0",
            "10.0.0.0/x",
            "::1/129",
            "a b",
            "host:80",
            "http://x",
            "file://x",
            "-x",
            "256.1.1.1",
        ] {
            assert!(text.parse::<AllowedPlace>().is_err(), "{text}");
        }
    }
}
