//! A PostgreSQL cluster of the test's own: in a temporary folder, on a Unix socket, gone with the value.
//!
//! PostgreSQL refuses to run as root; there it runs as `postgres` or `nobody`.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest that a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    folder: TempDir,
    binaries: PathBuf,
    account: Option<&'static str>,
    server: Option<Child>,
}

impl Cluster {
    /// Starts a server, or says why there is none.
    pub(crate) fn start() -> Option<Self> {
        let Some(binaries) = binaries() else {
            eprintln!("skipped: PostgreSQL is not installed (no `initdb` in PATH or /usr/lib/postgresql)");
            return None;
        };
        let account = match account() {
            Ok(account) => account,
            Err(reason) => {
                eprintln!("skipped: PostgreSQL does not run as root, and {reason}");
                return None;
            }
        };
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let mut cluster = Self { folder, binaries, account, server: None };
        fs::create_dir(cluster.socket_folder()).unwrap();
        if let Some(account) = account {
            let given = Command::new("chown").args(["-R", account]).arg(cluster.folder.path()).status().unwrap();
            assert!(given.success());
        }
        let log = File::create(cluster.folder.path().join("initdb.log")).unwrap();
        let made = cluster
            .command("initdb")
            .args(["--username=hanok", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(cluster.data())
            .stdout(log)
            .status()
            .unwrap();
        assert!(made.success(), "{}", cluster.log("initdb.log"));
        cluster.boot();
        Some(cluster)
    }

    /// How to connect.
    pub(crate) fn connection(&self) -> String {
        format!("host={} user=hanok dbname=postgres", self.socket_folder().display())
    }

    /// Ends the server as a crash would: no checkpoint, no goodbye; the next start recovers from its log.
    pub(crate) fn crash(&mut self) {
        self.signal("QUIT");
    }

    /// Starts the server that was ended.
    pub(crate) fn boot(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.path().join("server.log")).unwrap();
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.socket_folder()).args(["-c", "listen_addresses="]);
        command.stdout(Stdio::null()).stderr(log);
        self.server = Some(command.spawn().unwrap());
        let give_up = Instant::now() + PATIENCE;
        loop {
            // Connecting tells whether it is up and has recovered.
            if postgres::Client::connect(&self.connection(), postgres::NoTls).is_ok() {
                return;
            }
            assert!(Instant::now() < give_up, "{}", self.log("server.log"));
        }
    }

    fn signal(&mut self, signal: &str) {
        if let Some(mut server) = self.server.take() {
            let sent = Command::new("kill").arg(format!("-{signal}")).arg(server.id().to_string()).status();
            if !sent.is_ok_and(|status| status.success()) {
                server.kill().ok();
            }
            server.wait().ok();
        }
    }

    fn command(&self, program: &str) -> Command {
        let program = self.binaries.join(program);
        match self.account {
            Some(account) => as_account(account, program.as_os_str()),
            None => Command::new(program),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn socket_folder(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.signal("INT");
    }
}

/// `setpriv` replaces itself by the program, so signals reach the server.
fn as_account(account: &str, program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={account}"), &format!("--regid={}", group(account)), "--clear-groups"]);
    command.arg(program).current_dir("/");
    command
}

fn group(account: &str) -> String {
    let answer = Command::new("id").args(["-g", account]).output().unwrap();
    String::from_utf8(answer.stdout).unwrap().trim().to_owned()
}

/// Whom to run as: nobody else, unless this is root.
fn account() -> Result<Option<&'static str>, &'static str> {
    let known =
        |account: &str| Command::new("id").args(["-u", account]).output().is_ok_and(|answer| answer.status.success());
    let own = Command::new("id").arg("-u").output().map_err(|_| "there is no `id`")?;
    if own.stdout.trim_ascii() != b"0" {
        return Ok(None);
    }
    if Command::new("setpriv").arg("--version").output().is_err() {
        return Err("there is no `setpriv`");
    }
    ["postgres", "nobody"].into_iter().find(|account| known(account)).map(Some).ok_or("there is no account for it")
}

fn binaries() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    folders.into_iter().find(|folder: &PathBuf| all_there(folder))
}

fn all_there(folder: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| folder.join(program).exists())
}
