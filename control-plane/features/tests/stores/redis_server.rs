//! A Redis server of the test's own.

use std::process::{Command, Stdio};

use redis::ConnectionLike as _;

use crate::child::{Process, free_port, wait_for};

pub(crate) struct RedisServer {
    pub(crate) port: u16,
    pub(crate) process: Process,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts a server, or says why there is none.
    pub(crate) fn start(arguments: &[&str]) -> Option<Self> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("skipped: Redis is not installed (no `redis-server` in PATH)");
            return None;
        }
        let port = free_port();
        let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
        let process = boot(port, &arguments);
        Some(Self { port, process, arguments })
    }

    /// Ends the server as a crash would, and starts an empty one in its place.
    pub(crate) fn crash_and_boot(&mut self) {
        self.process.signal("KILL");
        self.process.child().wait().unwrap();
        self.process = boot(self.port, &self.arguments);
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Runs a command with a client that is not ours to test.
    pub(crate) fn command(&self, arguments: &[&[u8]]) -> redis::Value {
        let mut connection = redis::Client::open(self.url()).unwrap().get_connection().unwrap();
        let mut command = redis::Cmd::new();
        arguments.iter().for_each(|argument| {
            command.arg(*argument);
        });
        connection.req_command(&command).unwrap()
    }
}

fn boot(port: u16, arguments: &[String]) -> Process {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]).arg(port.to_string());
    let process = Process::spawn(command.args(arguments).stdout(Stdio::null()));
    wait_for(port);
    process
}
