//! Servers that come as Python packages, each a process of the test's own: MLflow, and Moto's implementation of S3.
//!
//! The interpreter is `HANOK_SOURCES_PYTHON`, else that of `.venv-sources` in the repository; its packages are pinned in
//! `tests/requirements.txt` beside this folder. Without it the tests say that they were skipped.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest that a server may take to start: Python packages are slow on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

pub(crate) struct PythonServer {
    pub(crate) address: SocketAddr,
    process: Child,
    folder: tempfile::TempDir,
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        // The whole group: some of them start workers.
        let group = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
        self.process.wait().ok();
    }
}

/// The interpreter with the packages, or `None` after saying that a test is skipped.
pub(crate) fn python() -> Option<PathBuf> {
    let named = std::env::var_os("HANOK_SOURCES_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv-sources/bin/python"));
    if python.exists() {
        return Some(python);
    }
    eprintln!("skipped: no Python with MLflow and Moto (set HANOK_SOURCES_PYTHON, or make .venv-sources)");
    None
}

impl PythonServer {
    /// Starts `python ARGUMENTS`, in which `{port}` and `{folder}` are replaced, and waits until `path` is answered.
    pub(crate) fn start(python: &Path, arguments: &[&str], environment: &[(&str, String)], path: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let text = folder.path().to_str().unwrap().to_owned();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(python)
            .args(
                arguments
                    .iter()
                    .map(|argument| argument.replace("{port}", &port.to_string()).replace("{folder}", &text)),
            )
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("PATH", format!("{}:{}", python.parent().unwrap().display(), std::env::var("PATH").unwrap()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let mut server = Self { address, process, folder };
        let give_up = Instant::now() + PATIENCE;
        while !server.answers(path) {
            let ended = server.process.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < give_up, "the server did not come up:\n{}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn answers(&self, path: &str) -> bool {
        request(self.address, "GET", path, &[], b"").is_some_and(|(status, _)| status < 500)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Posts JSON and expects success.
    pub(crate) fn post(&self, method: &str, path: &str, json: &serde_json::Value) -> serde_json::Value {
        let (status, body) =
            request(self.address, method, path, &["content-type: application/json"], json.to_string().as_bytes())
                .unwrap();
        assert_eq!(status, 200, "{method} {path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap_or_default()
    }
}

/// One HTTP/1.0 request: status and body, or `None` when nobody answers.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let mut head = format!("{method} {path} HTTP/1.0\r\nhost: {address}\r\ncontent-length: {}\r\n", body.len());
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let status = std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()?;
    Some((status, answer.split_off(split)))
}
