"""A TCP forwarder between a client and a server: what a test breaks when it breaks the network."""

import socket
import threading
from contextlib import suppress

HOST = "127.0.0.1"
_CHUNK_BYTES = 1 << 16


class Forwarder:
    """Listens on one port and passes everything to another, until told otherwise. Real sockets, a thread per direction."""

    def __init__(self, port: int) -> None:
        """Forward to `port` of loopback."""
        self._target = port
        self._is_silent = False
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        self.restore(port)

    @property
    def url(self) -> str:
        """Address for clients of Redis."""
        return f"redis://{HOST}:{self.port}/0"

    def restore(self, port: int | None = None) -> None:
        """Accept connections and forward them, to another port if one is given; what was connected is cut."""
        self.refuse()
        self._is_silent = False
        self._target = self._target if port is None else port
        listener = socket.create_server((HOST, self.port), reuse_port=False)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def silence(self) -> None:
        """Accept and forward nothing: what is sent from now on is lost, nobody is told."""
        self._is_silent = True

    def refuse(self) -> None:
        """Cut all connections and accept no more."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
            listener.close()
        with self._lock:
            found, self._open = self._open, set()
        for each in found:
            _cut(each)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed
                return
            try:
                server = socket.create_connection((HOST, self._target), 2.0)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while received := source.recv(_CHUNK_BYTES):
                if not self._is_silent:
                    sink.sendall(received)
        for each in (source, sink):
            _cut(each)
        with self._lock:
            self._open -= {source, sink}


def _cut(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
