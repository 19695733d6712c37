//! Where a repository is, judged: git and ssh connect to exactly the address that was judged.
//!
//! For http the address is pinned with `http.curloptResolve` (git 2.37), for ssh with `HostName` and `HostKeyAlias`;
//! neither follows redirects or proxies of its own.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use http::HeaderValue;

use crate::artifact_path::shown;
use crate::egress::{AddressPolicy, judged_addresses};
use crate::{Credentials, GitReference, GitTransport, SourceError, SourceErrorCode};

use super::command::failed;

/// A judged repository.
#[derive(Clone, Debug)]
pub(super) struct GitPlace {
    transport: GitTransport,
    url: String,
    host: String,
    port: Option<u16>,
    addresses: Vec<IpAddr>,
    authorization: Option<HeaderValue>,
    authorities: Option<PathBuf>,
    ssh_files: Vec<String>,
}

impl GitPlace {
    /// Judges where `reference` leads.
    pub(super) async fn judge(
        reference: &GitReference,
        policy: &AddressPolicy,
        credentials: &Credentials,
        authorities: Option<&Path>,
    ) -> Result<Self, SourceError> {
        let transport = reference.transport();
        let written = reference.repository_url();
        let mut place = Self {
            transport,
            url: written.clone(),
            host: String::new(),
            port: None,
            addresses: Vec::new(),
            authorization: None,
            authorities: authorities.map(Path::to_owned),
            ssh_files: Vec::new(),
        };
        if transport == GitTransport::File {
            let path = written.strip_prefix("file://").unwrap_or_default();
            let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
            let real = policy.check_folder(Path::new(&path))?;
            let real = real.to_str().ok_or_else(|| failed("the repository's path is not UTF-8"))?;
            place.url = format!("file://{real}");
            return Ok(place);
        }
        let parsed = url::Url::parse(&written).map_err(|_| failed("the repository's URL cannot be read"))?;
        parsed.host_str().unwrap_or_default().clone_into(&mut place.host);
        let usual = match transport {
            GitTransport::Https => 443,
            GitTransport::Ssh => 22,
            GitTransport::Http | GitTransport::File => 80,
        };
        place.port = parsed.port();
        let encrypted = transport != GitTransport::Http;
        let addresses = judged_addresses(policy, &place.host, parsed.port().unwrap_or(usual), encrypted).await?;
        place.addresses = addresses.iter().map(std::net::SocketAddr::ip).collect();
        // ssh gets one, and IPv4 is what more machines can reach.
        place.addresses.sort_by_key(IpAddr::is_ipv6);
        if transport == GitTransport::Ssh {
            place.ssh_files = ssh_files(credentials)?;
        } else {
            place.authorization = credentials.basic_for_host(&place.host);
        }
        Ok(place)
    }

    pub(super) const fn protocol(&self) -> &'static str {
        self.transport.protocol()
    }

    /// The URL for git's command line.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Git settings for this place.
    pub(super) fn settings(&self) -> Vec<(String, String)> {
        let mut settings: Vec<(String, String)> = [
            ("protocol.version", "2"),
            ("protocol.allow", "never"),
            ("core.hooksPath", "/dev/null"),
            ("credential.helper", ""),
            ("core.askPass", ""),
            ("http.followRedirects", "false"),
            ("http.proxy", ""),
            ("http.lowSpeedLimit", "1"),
            ("http.lowSpeedTime", "30"),
            ("gc.auto", "0"),
            ("fetch.recurseSubmodules", "false"),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
        settings.push((format!("protocol.{}.allow", self.protocol()), "always".to_owned()));
        if matches!(self.transport, GitTransport::Https | GitTransport::Http) {
            let usual = if self.transport == GitTransport::Https { 443 } else { 80 };
            let written =
                |address: &IpAddr| if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
            let addresses: Vec<String> = self.addresses.iter().map(written).collect();
            let (host, port) = (self.host.trim_matches(['[', ']']), self.port.unwrap_or(usual));
            settings.push(("http.curloptResolve".to_owned(), format!("{host}:{port}:{}", addresses.join(","))));
        }
        if let Some(value) = self.authorization.as_ref().and_then(|value| value.to_str().ok()) {
            settings.push((format!("http.{}.extraHeader", self.url), format!("Authorization: {value}")));
        }
        if let Some(file) = self.authorities.as_ref().and_then(|file| file.to_str()) {
            settings.push(("http.sslCAInfo".to_owned(), file.to_owned()));
        }
        settings
    }

    /// The ssh command line. Git hands it to a shell, and its only variable parts are an address that was printed by us
    /// and a host of letters, digits, dots and dashes.
    pub(super) fn ssh_command(&self) -> Option<String> {
        let address = self.addresses.first().filter(|_| self.transport == GitTransport::Ssh)?;
        let plain = |character: char| character.is_ascii_alphanumeric() || ".-_:".contains(character);
        let host = self.host.trim_matches(['[', ']']);
        // As `known_hosts` names a server: with its port where that is not the usual one.
        let alias = self.port.map_or_else(|| host.to_owned(), |port| format!("[{host}]:{port}"));
        host.chars().all(plain).then(|| {
            format!(
                "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o HostName={address} \
                 -o 'HostKeyAlias={alias}' -o CheckHostIP=no -o ProxyCommand=none -o ForwardAgent=no -o ConnectTimeout=30{}",
                self.ssh_files.concat()
            )
        })
    }

    /// The place took longer than `patience` to say what it has.
    pub(super) fn silent(&self, patience: std::time::Duration) -> SourceError {
        SourceError::new(
            SourceErrorCode::TimedOut,
            format!(
                "`{}` did not name its branches and tags within {} seconds",
                shown(&self.host),
                patience.as_secs_f32()
            ),
            "repeat the command; check the server and the network between",
        )
    }

    /// What git's words mean.
    pub(super) fn explained(&self, words: &str) -> SourceError {
        let place =
            if self.host.is_empty() { "the local repository".to_owned() } else { format!("`{}`", shown(&self.host)) };
        let has = |any: &[&str]| any.iter().any(|text| words.contains(text));
        let error = if has(&[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "returned error: 401",
            "returned error: 403",
        ]) {
            if self.authorization.is_some() {
                SourceError::new(
                    SourceErrorCode::CredentialsRefused,
                    format!("{place} refused the credentials"),
                    "check that the netrc entry is current and may read the repository",
                )
            } else {
                SourceError::new(
                    SourceErrorCode::CredentialsMissing,
                    format!("{place} wants credentials, or has no such repository"),
                    "check the repository's name; add a line for this host to the netrc file",
                )
            }
        } else if has(&["Permission denied (", "Host key verification failed"]) {
            SourceError::new(
                SourceErrorCode::CredentialsRefused,
                format!("{place} and ssh did not agree on a key"),
                "add the server's key to known_hosts, and a key that may read the repository to the agent",
            )
        } else if has(&["unable to update url base from redirection", "returned error: 30"]) {
            SourceError::new(
                SourceErrorCode::RedirectRefused,
                format!("{place} redirects, and git is told not to follow"),
                "use the repository's final address",
            )
        } else if has(&["SSL certificate problem", "certificate verify failed"]) {
            SourceError::new(
                SourceErrorCode::TlsRefused,
                format!("the certificate of {place} was refused"),
                "check the name and the date; if it is issued by an authority of your own, name its PEM file in the settings",
            )
        } else if has(&[
            "not our ref",
            "no such remote ref",
            "couldn't find remote ref",
            "Could not find object",
            "upload-pack: not our",
        ]) {
            SourceError::new(
                SourceErrorCode::NotFound,
                format!("{place} has no such commit, or does not give it by its id"),
                "check the commit; a server without protocol version 2 only gives branches and tags",
            )
        } else if has(&["not found", "does not exist", "does not appear to be a git repository", "returned error: 404"])
        {
            SourceError::new(SourceErrorCode::NotFound, format!("{place} has no such repository"), "check the address")
        } else if has(&[
            "Failed to connect",
            "Could not resolve",
            "Connection refused",
            "Connection reset",
            "timed out",
            "early EOF",
            "hung up",
            "returned error: 5",
            "RPC failed",
        ]) {
            SourceError::new(
                SourceErrorCode::Unreachable,
                format!("git's connection to {place} failed"),
                "repeat the command; check the server and the network between",
            )
        } else {
            failed("see the operator's log for its words")
        };
        error.with_operator_detail(shown_lines(words))
    }
}

/// Options for the key and the known hosts that are set. Their paths are plain, since git hands the line to a shell.
fn ssh_files(credentials: &Credentials) -> Result<Vec<String>, SourceError> {
    let mut options = Vec::new();
    for (name, option) in [
        ("HANOK_GIT_SSH_KEY", "IdentitiesOnly=yes -o IdentityFile"),
        ("HANOK_GIT_SSH_KNOWN_HOSTS", "UserKnownHostsFile"),
    ] {
        let Some(path) = credentials.value(name) else { continue };
        let plain = |character: char| character.is_ascii_alphanumeric() || "/._-".contains(character);
        if !path.starts_with('/') || !path.chars().all(plain) {
            return Err(SourceError::new(
                SourceErrorCode::InvalidSetting,
                format!("{name} is not the plain absolute path of a file"),
                "name a file whose path has only letters, digits, dots, dashes and slashes",
            ));
        }
        options.push(format!(" -o {option}={path}"));
    }
    Ok(options)
}

/// Git's words, without what acts on a terminal, cut.
fn shown_lines(words: &str) -> String {
    words.lines().take(20).map(shown).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;
    use crate::SourceReference;

    async fn place(text: &str, variables: &[(&str, &str)]) -> Result<GitPlace, SourceError> {
        let SourceReference::Git(reference) = text.parse().unwrap() else { panic!("{text}") };
        let policy = AddressPolicy::new(vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()]);
        let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        GitPlace::judge(&reference, &policy, &Credentials::read(lookup, None).unwrap(), None).await
    }

    #[tokio::test]
    async fn git_and_ssh_are_pinned_to_the_judged_address() {
        let https = place("git+https://127.0.0.1:8443/m.git#main", &[]).await.unwrap();
        let settings = https.settings();
        let value = |key: &str| settings.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str());
        assert_eq!(value("http.curloptResolve"), Some("127.0.0.1:8443:127.0.0.1"));
        assert_eq!((value("protocol.allow"), value("protocol.https.allow")), (Some("never"), Some("always")));
        assert_eq!((value("http.followRedirects"), value("credential.helper")), (Some("false"), Some("")));
        assert_eq!(https.ssh_command(), None);
        let ipv6 = place("git+https://[::1]/m.git#main", &[]).await.unwrap();
        assert!(ipv6.settings().iter().any(|(_, value)| value == "::1:443:[::1]"));
        let variables =
            [("HANOK_GIT_SSH_KEY", "/etc/hanok/key"), ("HANOK_GIT_SSH_KNOWN_HOSTS", "/etc/hanok/known_hosts")];
        let ssh = place("git+ssh://git@127.0.0.1:2222/m.git#main", &variables).await.unwrap();
        let command = ssh.ssh_command().unwrap();
        for part in [
            "-F /dev/null",
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "HostName=127.0.0.1 ",
            "'HostKeyAlias=[127.0.0.1]:2222'",
            "ProxyCommand=none",
            "IdentityFile=/etc/hanok/key",
            "UserKnownHostsFile=/etc/hanok/known_hosts",
        ] {
            assert!(command.contains(part), "{part} in {command}");
        }
        for path in ["key", "/a b", "/a;b", "/a'b", "/$(x)"] {
            let error = place("git+ssh://127.0.0.1/m.git#main", &[("HANOK_GIT_SSH_KEY", path)]).await.unwrap_err();
            assert_eq!(error.code(), SourceErrorCode::InvalidSetting, "{path}");
        }
    }
}
