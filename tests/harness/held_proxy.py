"""Stands between a client and a server, and holds back answers that are longer than most: a download that does not go on."""

import socket
import threading


class HeldProxy:
    """`with HeldProxy(address) as proxy:`. An answer stops after `after` bytes until `release()`; shorter ones go through."""

    def __init__(self, address: str, after: int = 1 << 20):
        host, port = address.rsplit(":", 1)
        self._to, self._after = (host, int(port)), after
        self.held, self._released = threading.Event(), threading.Event()

    def __enter__(self) -> "HeldProxy":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.release()
        self._listener.close()

    def release(self):
        self._released.set()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._to)
            for source, target, limit in ((client, server, None), (server, client, self._after)):
                threading.Thread(target=self._copy, args=(source, target, limit), daemon=True).start()

    def _copy(self, source, target, limit):
        passed = 0
        try:
            while block := source.recv(1 << 16):
                passed += len(block)
                if limit is not None and passed > limit and not self._released.is_set():
                    self.held.set()
                    self._released.wait()
                target.sendall(block)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
