"""A gRPC client for load and nothing else: unary calls as HTTP/2 frames (RFC 9113), ready before the clock runs.

A call through `grpc.aio` costs the client as much processor as it costs the server, and both share the machine's cores:
measured with it, half of a figure is the client. Here a call is two stream ids written into prepared bytes and one
answer recognized by its trailers, about 15 us, so what is measured is the server. No library offers that: h2load sends
one body over and over, and every order needs a request_id of its own.

What makes it small: the header block is the same for every call and uses no compression state (RFC 7541, literals
without indexing), and the server is told to keep none either (SETTINGS_HEADER_TABLE_SIZE 0), so `grpc-status` stands in
the trailers as it is. A message must fit into one frame (16 KiB).
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Final

import grpc

FRAME_BYTES_MAX: Final = 16_384
WINDOW_MAX: Final = 2**31 - 1
WINDOW_FIRST: Final = 65_535
TICK_S: Final = 0.001
DRAIN_S: Final = 60.0
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GO_AWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_HEAD: Final = struct.Struct(">I B I")
"""Length (24 bits) and type, flags, stream."""
_STATUS: Final = b"grpc-status"
_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}
LOST: Final = "TRANSPORT"
"""Counted for a call that the transport ended: no status came."""

Done = Callable[[float, str], None]
"""Told when a call is answered: when it was due or sent (perf_counter), and "" or the name of its status."""


def _frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return _HEAD.pack(len(body) << 8 | kind, flags, stream) + body


def _literal(index: int, value: str) -> bytes:
    """A header whose name is in the static table, not indexed."""
    prefix = bytes([index]) if index < 15 else bytes([15, index - 15])
    return prefix + bytes([len(value)]) + value.encode()


def headers(authority: str, path: str) -> bytes:
    """The header block of a gRPC call: POST, http, path, authority, content-type, te."""
    te = bytes([0, 2]) + b"te" + bytes([8]) + b"trailers"
    return b"\x83\x86" + _literal(4, path) + _literal(1, authority) + _literal(31, "application/grpc") + te


Ready = tuple[bytearray, int]
"""A call as the frames to send, and where the stream id of the second stands; ids are filled in when it goes."""


def ready(authority: str, path: str, raw: bytes) -> Ready:
    """Raises ValueError for a message that does not fit into one frame."""
    opened = _frame(_HEADERS, _END_HEADERS, 0, headers(authority, path))
    message = b"\0" + len(raw).to_bytes(4, "big") + raw
    if len(message) > FRAME_BYTES_MAX:
        raise ValueError(f"a message of {len(raw)} bytes does not fit into one frame")
    return bytearray(opened + _frame(_DATA, _END_STREAM, 0, message)), len(opened) + 5


class Connection(asyncio.Protocol):
    """One HTTP/2 connection. Answers go to `done`; writes of one turn of the loop leave together."""

    def __init__(self, done: Done, lost: Callable[[], None]) -> None:
        self._done = done
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._in = bytearray()
        self._out: list[bytes | bytearray] = []
        self._waiting: deque[tuple[Ready, float]] = deque()
        self._window = WINDOW_FIRST
        self._next_stream = 1
        self.open: dict[int, float] = {}

    @property
    def busy(self) -> int:
        """Calls not answered yet."""
        return len(self.open) + len(self._waiting)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no asyncio.Transport, and is one in all it does
        # HEADER_TABLE_SIZE 0, ENABLE_PUSH 0, INITIAL_WINDOW_SIZE; then the window of the connection.
        settings = struct.pack(">HIHIHI", 1, 0, 2, 0, 4, WINDOW_MAX)
        grown = struct.pack(">I", WINDOW_MAX - WINDOW_FIRST)
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        transport.write(preface + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, grown))

    def connection_lost(self, exc: Exception | None) -> None:
        since = [*self.open.values(), *(since for _, since in self._waiting)]
        self.open.clear()
        self._waiting.clear()
        for at in since:
            self._done(at, LOST)
        self._lost()

    def call(self, call: Ready, since: float) -> None:
        """Sends a call at the next `flush`, or when the server's window has room for it. Raises RuntimeError on a
        connection that the server closed."""
        if self._transport is None or self._transport.is_closing():
            raise RuntimeError("the server closed a connection of the load")
        self._waiting.append((call, since))
        self._send()

    def _send(self) -> None:
        while self._waiting:
            (frame, second), since = self._waiting[0]
            size = len(frame) - second - 4
            if size > self._window:
                return
            self._waiting.popleft()
            self._window -= size
            stream = self._next_stream
            self._next_stream = stream + 2
            struct.pack_into(">I", frame, 5, stream)
            struct.pack_into(">I", frame, second, stream)
            self.open[stream] = since
            self._out.append(frame)

    def flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        got = self._in
        got += data
        at, size = 0, len(got)
        while size - at >= 9:
            word, flags, stream = _HEAD.unpack_from(got, at)
            end = at + 9 + (word >> 8)
            if end > size:
                break
            kind = word & 0xFF
            if kind == _HEADERS:
                if flags & _END_STREAM:
                    self._answered(stream, bytes(got[at + 9 : end]))
            elif kind != _DATA:
                self._control(kind, flags, stream, bytes(got[at + 9 : end]))
            at = end
        del got[:at]
        self.flush()

    def _answered(self, stream: int, trailers: bytes) -> None:
        at = trailers.find(_STATUS) + len(_STATUS)
        length = trailers[at] if at >= len(_STATUS) else 0
        code = int(trailers[at + 1 : at + 1 + length] or b"2")
        self._done(self.open.pop(stream), _NAMES[code] if code else "")

    def _control(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            self._out.append(_frame(_SETTINGS, _ACK, 0))
        elif kind == _PING and not flags & _ACK:
            self._out.append(_frame(_PING, _ACK, 0, body))
        elif kind == _RESET:
            self._done(self.open.pop(stream), LOST)
        elif kind == _GO_AWAY:
            self.close()
        elif kind == _WINDOW and stream == 0:
            self._window += int.from_bytes(body, "big")
            self._send()


class Load:
    """Calls over several connections; what became of them."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connections: list[Connection] = []
        self._after: Callable[[Connection], None] | None = None
        self._idle = asyncio.Event()
        self.took_ms: list[float] = []
        """Of calls that were answered OK."""
        self.refused: Counter[str] = Counter()

    async def connect(self, connections: int) -> None:
        host, _, port = self._address.rpartition(":")
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, made = await loop.create_connection(self._connection, host, int(port))
            self._connections.append(made)

    def _connection(self) -> Connection:
        def done(since: float, status: str) -> None:
            if status:
                self.refused[status] += 1
            else:
                self.took_ms.append((time.perf_counter() - since) * 1_000)
            if self._after is not None:
                self._after(made)
            elif not any(connection.busy for connection in self._connections):
                self._idle.set()

        made = Connection(done, self._idle.set)
        return made

    async def closed_loop(self, calls: Iterable[Ready], under_way: int, seconds: float) -> float:
        """`under_way` calls always open, for `seconds` or until they are used up; how long it took, in seconds."""
        left = iter(calls)
        began = time.perf_counter()
        until = began + seconds
        each = -(-under_way // len(self._connections))

        def more(connection: Connection) -> None:
            now = time.perf_counter()
            call = next(left, None) if now < until else None
            if call is not None:
                connection.call(call, now)
            elif not any(one.busy for one in self._connections):
                self._idle.set()

        self._after = more
        for connection in self._connections:
            for _ in range(each):
                more(connection)
            connection.flush()
        await asyncio.wait_for(self._idle.wait(), seconds + DRAIN_S)
        return time.perf_counter() - began

    async def open_loop(self, calls: list[tuple[float, Ready]]) -> float:
        """Sends each call when it is due (seconds from now, rising) whether or not answers come, and counts its latency
        from there; returns when all are answered. How long the sending took, in seconds."""
        began = time.perf_counter()
        sent = 0
        while sent < len(calls):
            elapsed_s = time.perf_counter() - began
            while sent < len(calls) and calls[sent][0] <= elapsed_s:
                due_s, call = calls[sent]
                self._connections[sent % len(self._connections)].call(call, began + due_s)
                sent += 1
            for connection in self._connections:
                connection.flush()
            await asyncio.sleep(TICK_S)
        sending_s = time.perf_counter() - began
        while any(connection.busy for connection in self._connections):
            self._idle.clear()
            await asyncio.wait_for(self._idle.wait(), DRAIN_S)
        return sending_s

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
