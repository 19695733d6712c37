//! Servers of object storage: Moto's implementation of S3 (a test double, which checks signatures when it is told to), Versity's
//! S3 gateway over a folder, Azurite and fake-gcs-server, each where it is installed.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hanok_sources::{Credentials, SourceSettings, Sources};

use crate::python_server::{PythonServer, python, request};
use crate::settings;

/// What every S3 test starts from: names in the bucket `models`, with their bytes.
pub(crate) fn objects() -> Vec<(String, Vec<u8>)> {
    let mut objects = vec![
        ("flight/".to_owned(), Vec::new()),
        ("flight/1/".to_owned(), Vec::new()),
        ("flight/1/model.onnx".to_owned(), crate::web_server::model_bytes(3 << 20)),
        ("flight/config.pbtxt".to_owned(), b"backend: \"onnxruntime\"\n".to_vec()),
        ("flight/labels/a b ü+%.txt".to_owned(), b"one\n".to_vec()),
        ("flight/empty".to_owned(), Vec::new()),
        ("flight2/x".to_owned(), b"another folder".to_vec()),
        ("alone.onnx".to_owned(), b"a model by itself".to_vec()),
    ];
    // More than a page of a listing.
    objects.extend((0..1_100).map(|number| (format!("many/{number:04}"), number.to_string().into_bytes())));
    objects
}

/// Sources with `variables` only.
pub(crate) fn sources_with(variables: &[(&str, &str)]) -> Sources {
    let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let credentials = Credentials::read(lookup, None).unwrap();
    Sources::new(SourceSettings { credentials, ..settings(&["127.0.0.1"]) }).unwrap()
}

/// Moto's S3, with the bucket filled.
pub(crate) fn moto() -> Option<PythonServer> {
    let python = python()?;
    let server = PythonServer::start(&python, &["-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}"], &[], "/");
    put(server.address, "/models", b"");
    for (name, bytes) in objects() {
        put(server.address, &format!("/models/{}", encoded(&name)), &bytes);
    }
    Some(server)
}

/// The same, which checks every signature from here on; with the key and the secret of one who may do everything.
pub(crate) fn moto_with_signatures() -> Option<(PythonServer, String, String)> {
    let moto = moto()?;
    let scope = "authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0";
    let ask = |form: &str| {
        let headers = [scope, "content-type: application/x-www-form-urlencoded"];
        let (status, answer) = request(moto.address, "POST", "/", &headers, form.as_bytes()).unwrap();
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(status, 200, "{form}: {text}");
        text
    };
    ask("Action=CreateUser&UserName=hanok&Version=2010-05-08");
    let policy = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;
    let policy: String = policy.bytes().map(|byte| format!("%{byte:02X}")).collect();
    ask(&format!("Action=PutUserPolicy&UserName=hanok&PolicyName=all&PolicyDocument={policy}&Version=2010-05-08"));
    let key = ask("Action=CreateAccessKey&UserName=hanok&Version=2010-05-08");
    let found = |name: &str| {
        let (_, behind) = key.split_once(&format!("<{name}>")).unwrap();
        behind.split('<').next().unwrap().to_owned()
    };
    let (id, secret) = (found("AccessKeyId"), found("SecretAccessKey"));
    let (status, _) = request(moto.address, "POST", "/moto-api/reset-auth", &[scope], b"0").unwrap();
    assert_eq!(status, 200);
    Some((moto, id, secret))
}

pub(crate) fn put(address: SocketAddr, path: &str, body: &[u8]) {
    // Moto tells services apart by the host or the scope of a signature, which it does not check.
    let scope = "authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    let (status, answer) = request(address, "PUT", path, &[scope], body).unwrap();
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&answer));
}

pub(crate) fn encoded(name: &str) -> String {
    name.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"/.-_".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// A program that serves on a port of its own.
pub(crate) struct Program {
    pub(crate) address: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
    process: Child,
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
        self.process.wait().ok();
    }
}

impl Program {
    /// Starts the program that the variable `name` names, or says that the test is skipped.
    pub(crate) fn start(
        name: &str,
        prepare: impl FnOnce(&Path),
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Option<Self> {
        let Some(path) = std::env::var_os(name).map(PathBuf::from) else {
            eprintln!("skipped: {name} does not name a program");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = folder.path().to_str().unwrap();
        let process = Command::new(path)
            .args(
                arguments
                    .iter()
                    .map(|argument| argument.replace("{port}", &port.to_string()).replace("{folder}", text)),
            )
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut program = Self { address, folder, process };
        let give_up = Instant::now() + Duration::from_secs(60);
        while request(address, "GET", "/", &[], b"").is_none() {
            assert!(
                program.process.try_wait().unwrap().is_none() && Instant::now() < give_up,
                "{name} did not come up"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(program)
    }
}
