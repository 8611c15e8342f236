"""Clients that look at the server from outside: python-socketio's, and one that speaks by hand."""

from __future__ import annotations

import json
import queue
from typing import Any

import engineio
import requests
import socketio
import websocket

TIMEOUT = 60.0


class InlineEngine(engineio.Client):  # type: ignore[misc]
    """python-engineio starts a thread for each message, which loses their order; not this one."""

    def _trigger_event(self, event: str, *args: Any, **kwargs: Any) -> Any:
        return super()._trigger_event(event, *args, **{**kwargs, "run_async": False})


class InlineClient(socketio.Client):  # type: ignore[misc]
    def _engineio_client_class(self) -> type[InlineEngine]:
        return InlineEngine


def hang_up(sio: InlineClient) -> None:
    """Disconnect, and leave no thread and no socket behind."""
    engine = sio.eio
    tasks = [task for task in (engine.read_loop_task, engine.write_loop_task) if task]
    sio.disconnect()
    for task in tasks:
        task.join(TIMEOUT)
    # python-engineio leaves these to the garbage collector.
    engine.http.close()
    if engine.ws is not None:
        engine.ws.shutdown()


class Client:
    """A Socket.IO client that keeps what it gets until a test asks for it."""

    def __init__(
        self, url: str, transports: tuple[str, ...] = ("websocket",), auth: Any = None
    ) -> None:
        self.http = requests.Session()
        self.sio = InlineClient(reconnection=False, handle_sigint=False, http_session=self.http)
        self.events: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.sio.on("*", lambda event, *arguments: self.events.put((event, *arguments)))
        self.sio.connect(url, auth=auth, transports=list(transports), wait_timeout=TIMEOUT)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        hang_up(self.sio)

    def call(self, event: str, argument: Any = None) -> Any:
        """Send an event; its acknowledgement."""
        return self.sio.call(event, argument, timeout=TIMEOUT)

    def emit(self, event: str, argument: Any = None) -> None:
        self.sio.emit(event, argument)

    def next(self, event: str) -> Any:
        """The argument of the next event, which must be that one."""
        name, argument = self.events.get(timeout=TIMEOUT)
        assert name == event, f"{event} was to come, and {name} came: {argument}"
        return argument

    def messages(self, count: int) -> list[Any]:
        return [self.next("message") for _ in range(count)]

    def subscribe(self, *topics: str, consumer: str = "c", **more: Any) -> Any:
        """Subscribe; the acknowledgement, which says the same as the event."""
        answer = self.call("subscribe", {"consumer": consumer, "topics": list(topics), **more})
        assert answer["status"] == "ok", answer
        assert self.next("subscribed") == answer
        return answer

    def assert_alive_and_silent(self) -> None:
        """What is asked now is answered, and nothing came before that."""
        assert self.call("unsubscribe", {})["status"] == "ok"
        assert self.next("unsubscribed") == {"status": "ok", "topics": []}


class RawClient:
    """Engine.IO and Socket.IO packets by hand, for what no client library would send."""

    def __init__(self, url: str, namespace: str = "/") -> None:
        address = url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
        self.socket = websocket.create_connection(address, timeout=TIMEOUT)
        self.handshake = json.loads(self.next()[1:])
        self.send("40" if namespace == "/" else f"40{namespace},")
        self.answer = self.next()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.socket.shutdown()  # close() leaves the socket open when the server closed first

    def send(self, packet: str) -> None:
        self.socket.send(packet)

    def send_bytes(self, packet: bytes, opcode: int = websocket.ABNF.OPCODE_BINARY) -> None:
        self.socket.send(packet, opcode)

    def next(self) -> str:
        """The next packet that is not a ping."""
        while True:
            packet = self.socket.recv()
            assert isinstance(packet, str)
            if packet != "2":
                return packet
            self.socket.send("3")

    def error(self) -> Any:
        """The next packet, which must be the event `error`."""
        packet = self.next()
        assert packet.startswith('42["error",'), packet
        return json.loads(packet[2:])[1]

    def assert_alive(self) -> None:
        """An event is answered; what came before the answer is dropped."""
        self.send('42999["unsubscribe",{}]')
        while not self.next().startswith("43999["):
            pass
