//! Real repositories, and `git http-backend` behind a small CGI server on a free port.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A work folder with a bare repository `models.git` beside it.
pub(crate) struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = Self { folder };
        std::fs::create_dir(repository.work()).unwrap();
        repository.git(&["init", "--quiet", "--initial-branch=main", "."]);
        repository
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.root().join("work")
    }

    pub(crate) fn bare(&self) -> PathBuf {
        self.root().join("models.git")
    }

    /// Runs git in the work folder and gives its output.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(self.work())
            .args(["-c", "user.name=tests", "-c", "user.email=tests@example.com", "-c", "protocol.file.allow=always"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.work().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Commits everything, publishes it to the bare repository, and gives the commit.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all", "."]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        if !self.bare().exists() {
            self.git(&["clone", "--quiet", "--bare", ".", self.bare().to_str().unwrap()]);
            self.git(&["-C", self.bare().to_str().unwrap(), "config", "uploadpack.allowFilter", "true"]);
        }
        self.git(&["push", "--quiet", "--tags", self.bare().to_str().unwrap(), "HEAD"]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn file_reference(&self, fragment: &str) -> String {
        format!("git+file://{}#{fragment}", self.bare().display())
    }
}

/// `git http-backend` over the folder of a [`Repository`].
pub(crate) struct GitServer {
    pub(crate) address: SocketAddr,
    pub(crate) sent: Arc<Mutex<u64>>,
    accepting: JoinHandle<()>,
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl GitServer {
    /// Serves `root`; with `password`, only to `me:PASSWORD`.
    pub(crate) async fn start(root: &Path, authorization: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::default();
        let (root, counted) = (root.to_owned(), Arc::clone(&sent));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(one_request(stream, root.clone(), authorization, Arc::clone(&counted)));
            }
        });
        Self { address, sent, accepting }
    }
}

async fn one_request(mut stream: TcpStream, root: PathBuf, authorization: Option<&str>, sent: Arc<Mutex<u64>>) {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let mut buffer = [0; 8192];
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let header = |name: &str| {
        head.lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    if authorization.is_some() && header("authorization") != authorization {
        stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"models\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.ok();
        return;
    }
    let length: usize = header("content-length").map_or(0, |text| text.parse().unwrap());
    while bytes.len() < end + length {
        let mut buffer = [0; 8192];
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let mut words = head.lines().next().unwrap().split(' ');
    let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", length.to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding").unwrap_or_default())
        .env("GIT_PROTOCOL", header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let body = bytes.split_off(end);
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feeding = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &body));
        let output = child.wait_with_output().unwrap();
        feeding.join().unwrap().ok();
        output.stdout
    })
    .await
    .unwrap();
    let split = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let headers = String::from_utf8_lossy(&output[..split]).into_owned();
    let status = headers.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    *sent.lock().unwrap() += (output.len() - split) as u64;
    let mut answer =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n", output.len() - split).into_bytes();
    answer.extend_from_slice(&output);
    stream.write_all(&answer).await.ok();
}
