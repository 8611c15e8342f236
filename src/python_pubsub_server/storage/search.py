"""What a search means: every word of the query begins some word of the message.

Case and accents don't count. The same words go into the full-text index and are looked for in the
messages that the index doesn't have yet, so both give the same answer.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from ..model import Message

_LONGEST_WORD = 64
_MOST_QUERY_WORDS = 20

# A run of letters and digits; a CJK character and an emoji are words by themselves.
_CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+|[\u2600-\u27bf\U0001f300-\U0001faff]")

# Private-use characters begin the words that stand for a whole topic and a whole producer: no
# text can contain such a word.
_TOPIC_KEY = "\ue000"
_PRODUCER_KEY = "\ue001"


def words(text: str) -> list[str]:
    """The words of a text, in lower case and without accents."""
    if text.isascii():
        folded = text.lower()
    else:
        decomposed = unicodedata.normalize("NFKD", text.casefold())
        folded = "".join(c for c in decomposed if not unicodedata.combining(c))
    return [word[:_LONGEST_WORD] for word in _WORD.findall(folded)]


def indexed_words(message: Message) -> str:
    """Everything that a search finds a message by, separated by spaces."""
    text = str(message.message, "utf-8")
    if "\\" in text:
        text = " ".join(_texts(json.loads(text)))
    found = words(f"{message.message_id} {message.producer} {message.topic} {text}")
    found += [_key(_TOPIC_KEY, message.topic), _key(_PRODUCER_KEY, message.producer)]
    return " ".join(found)


def query_words(text: str) -> list[str]:
    """What a query asks for; empty when it holds nothing that could be found."""
    return list(dict.fromkeys(words(text)))[:_MOST_QUERY_WORDS]


def is_found(wanted: list[str], indexed: str) -> bool:
    """Whether a message, by its `indexed_words`, answers a query."""
    spaced = f" {indexed}"
    return all(f" {word}" in spaced for word in wanted)


def match_expression(wanted: list[str], topic: str | None, producer: str | None) -> str:
    """The query in the syntax of FTS5. Words hold no quotes, so nothing can escape from them."""
    terms = [f'"{word}" *' for word in wanted]
    terms += [f'"{key}"' for key in keys_of(topic, producer)]
    return " AND ".join(terms)


def keys_of(topic: str | None, producer: str | None) -> list[str]:
    """The words that stand for a whole topic and a whole producer, of those that are given."""
    keys = [] if topic is None else [_key(_TOPIC_KEY, topic)]
    return keys if producer is None else [*keys, _key(_PRODUCER_KEY, producer)]


def _key(kind: str, name: str) -> str:
    return kind + name.encode("utf-8", "surrogatepass").hex()


def _texts(value: Any) -> list[str]:
    """Every key, text and number of a JSON value, without recursion: nesting may be deep."""
    found: list[str] = []
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            found += one
            left += one.values()
        elif isinstance(one, list):
            left += one
        else:
            found.append(one if isinstance(one, str) else json.dumps(one))
    return found
