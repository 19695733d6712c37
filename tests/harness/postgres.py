"""A PostgreSQL server of the test's own, gone with the block. It refuses to run as root; there it runs as `nobody`."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path


class Postgres:
    """`with Postgres() as database:` runs inside the block; `database.address` is what `--state` takes."""

    @staticmethod
    def is_installed() -> bool:
        return all(shutil.which(name) for name in ("initdb", "postgres"))

    def __enter__(self) -> "Postgres":
        self._folder = tempfile.TemporaryDirectory(prefix="hanok-postgres-")
        # Who runs the server is not who made the folder.
        folder, identity = Path(self._folder.name), {}
        folder.chmod(0o755)
        data = folder / "data"
        data.mkdir()
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(data, nobody.pw_uid, nobody.pw_gid)
            identity = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"postgres://hanok@127.0.0.1:{port}/postgres"
        self._log = (folder / "postgres.log").open("w")
        where = {"stdout": self._log, "stderr": self._log, "cwd": "/", **identity}
        make = ["initdb", "-D", str(data), "-U", "hanok", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run([shutil.which(make[0]), *make[1:]], check=True, **where)
        settings = ["-c", f"port={port}", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        self._process = subprocess.Popen([shutil.which("postgres"), "-D", str(data), *settings], **where)
        return self

    def is_ready(self) -> bool:
        return "database system is ready to accept connections" in Path(self._log.name).read_text()

    def __exit__(self, *_):
        # A fast shutdown, which waits for no client.
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)
        self._log.close()
        self._folder.cleanup()
