"""What the hub delivers, in the shape of the chat: made once for all members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from ..transport.connection import Broadcast
from ..transport.fanout import Form
from . import frames
from .frames import Stored
from .names import room_of


class Translation:
    """Of the broadcasts of the hub; `note` hears of the messages of each, once."""

    def __init__(self, note: Callable[[Sequence[Stored]], None]) -> None:
        self._note = note
        self._forms: dict[Form, Form] = {}  # as many as there are protocols
        self.translate = self._translate  # one object, by which broadcasts know it again

    def form(self, form: Form) -> Form:
        """The form that a broadcast of the hub has for members whose connections have a form."""
        made = self._forms.get(form)
        if made is None:

            def made(broadcast: Broadcast) -> bytes:
                return b"".join(each.form(form) for each in broadcast.form(self.translate))

            self._forms[form] = made
        return made

    def _translate(self, broadcast: Broadcast) -> Sequence[Broadcast]:
        """What is replayed becomes `history`, a page of it one event."""
        translated: list[Broadcast] = []
        for is_replayed, run in groupby(frames.stored(broadcast), key=lambda m: m.replayed):
            messages = list(run)
            self._note(messages)
            if is_replayed:
                for topic, part in groupby(messages, key=lambda m: m.topic):
                    page = [frames.said(message) for message in part]
                    translated.append(frames.history(room_of(topic), page))
            else:
                payloads = [frames.payload(frames.said(message)) for message in messages]
                translated.append(Broadcast("message", payloads))
        return translated
