from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from python_pubsub_server import wire
from python_pubsub_server.errors import Forbidden, Invalid, TooLarge
from python_pubsub_server.model import Claim, Draft
from python_pubsub_server.wire import Subscribe, publishes

MIB = 2**20
FIELDS = {"topic": "orders", "message_id": "m-1", "message": {"n": 1}, "producer": "ann"}


def body(**changes: Any) -> bytes:
    return json.dumps(FIELDS | changes).encode()


def around(message: bytes) -> bytes:
    """A publish whose message is that text."""
    return b'{"topic":"t","message_id":"m","producer":"p","message":' + message + b"}"


def parse(text: bytes) -> Draft:
    return wire.parse_draft(text, MIB)


def meaning(draft: Draft) -> Any:
    return json.loads(bytes(draft.message))


def refusal(text: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        parse(text)
    return caught.value.message


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**60), max_value=10**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=5)
    ),
    max_leaves=20,
)


# A publish


def test_a_publish_becomes_a_draft() -> None:
    draft = parse(body())
    assert (draft.topic, draft.message_id, draft.producer) == ("orders", "m-1", "ann")
    assert meaning(draft) == {"n": 1}
    assert -(2**63) <= draft.fingerprint < 2**63


def test_fields_that_nobody_knows_are_left_alone() -> None:
    assert parse(body(colour="red")).topic == "orders"


@pytest.mark.parametrize("message", [None, 0, "", {}, [], False, 0.0])
def test_an_empty_message_is_a_message(message: object) -> None:
    assert meaning(parse(body(message=message))) == message


@settings(max_examples=100, deadline=None)
@given(json_values, st.booleans())
def test_any_json_value_comes_back_equal(value: Any, is_escaped: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_escaped)
    stored = parse(around(text.encode())).message
    assert repr(json.loads(msgspec.json.encode(stored))) == repr(value)


@pytest.mark.parametrize(
    "number",
    [2**63, -(2**63) - 1, 2**64, -(2**64), 10**308, int("9" * 4_300)],
    ids=lambda n: f"{n:.3e}"[:12] if n < 10**300 else "huge",
)
def test_big_integers_come_back_equal(number: int) -> None:
    assert meaning(parse(around(str(number).encode()))) == number


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass"))
    | st.lists(
        st.sampled_from(
            [
                b"{",
                b"}",
                b"[",
                b"]",
                b":",
                b",",
                b'"',
                b"\\",
                b"\\u",
                b"d800",
                b"topic",
                b'"topic"',
                b'"message"',
                b'"message_id"',
                b'"producer"',
                b'"a"',
                b"1",
                b"-",
                b".",
                b"e9",
                b"null",
                b"true",
                b"NaN",
                b" ",
                b"\n",
                b"\x00",
                b"\xff",
                b"\xed\xa0\x80",
            ]
        ),
        max_size=30,
    ).map(b"".join)
)
def test_any_bytes_are_understood_or_refused(noise: bytes) -> None:
    texts = (noise, around(noise), b'{"consumer":"c","topics":' + noise + b"}")
    for text in texts:
        for parser in (parse, wire.parse_subscribe, wire.parse_unsubscribe, wire.parse_claim):
            try:
                parser(text)
            except Invalid as error:
                assert error.message
        for is_ndjson in (True, False):
            try:
                wire.parse_batch(text, 50, ndjson=is_ndjson)
            except (Invalid, TooLarge) as error:
                assert error.message


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_publish_with_one_byte_changed_is_understood_or_refused(data: st.DataObject) -> None:
    good = around(b'{"a":[1,2.5e3,"\\u00e9\\ud83d\\ude00","\xc3\xa9"],"b":{"c":null}}')
    place = data.draw(st.integers(0, len(good) - 1))
    changed = data.draw(st.binary(max_size=2))
    try:
        draft = parse(good[:place] + changed + good[place + 1 :])
    except Invalid:
        return
    json.loads(bytes(draft.message))  # what is let through, Python reads too


@pytest.mark.parametrize("field", ["topic", "message_id", "message", "producer"])
def test_a_missing_field_is_named(field: str) -> None:
    fields = {name: value for name, value in FIELDS.items() if name != field}
    assert refusal(json.dumps(fields).encode()) == f"Missing required field: {field}"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"[]", "a list"),
        (b'"x"', "a string"),
        (b"1", "a number"),
        (b"-1", "a number"),
        (b"null", "null"),
        (b" true", "true or false"),
    ],
)
def test_a_publish_is_an_object(text: bytes, kind: str) -> None:
    assert refusal(text) == f"`publish` takes a JSON object, not {kind}"


@pytest.mark.parametrize("text", [b"{", b"{}x", b"{'a':1}", b"\xef\xbb\xbf{}", b"{}\x00"])
def test_what_is_no_json_is_said_to_be_malformed(text: bytes) -> None:
    assert refusal(text).startswith("Malformed JSON: ")


@pytest.mark.parametrize("text", [b"", b" ", b"\r\n"])
def test_an_empty_body_is_said_to_be_one(text: bytes) -> None:
    assert refusal(text) == "`publish` takes a JSON object, but nothing was sent"


# Names


@pytest.mark.parametrize("field", ["topic", "message_id", "producer"])
@pytest.mark.parametrize("letter", ["a", "é", "漢", "😀"])
def test_names_have_up_to_200_characters(field: str, letter: str) -> None:
    assert getattr(parse(body(**{field: letter * 200})), field) == letter * 200
    assert (
        refusal(body(**{field: letter * 201}))
        == f"`{field}` is 201 characters long; send 200 at most"
    )


@pytest.mark.parametrize("field", ["topic", "message_id", "producer"])
@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}, ["a"]])
def test_names_are_strings(field: str, value: object) -> None:
    assert refusal(body(**{field: value})).startswith(f"`{field}` must be a string, not ")


@pytest.mark.parametrize("field", ["topic", "message_id", "producer"])
def test_names_are_not_empty(field: str) -> None:
    assert refusal(body(**{field: ""})) == f"`{field}` must not be empty"


@pytest.mark.parametrize("field", ["topic", "message_id", "producer"])
@pytest.mark.parametrize("code", [0x00, 0x09, 0x0A, 0x1F, 0x7F, 0x80, 0x85, 0x9F])
def test_names_have_no_control_characters(field: str, code: int) -> None:
    assert "control characters" in refusal(body(**{field: f"a{chr(code)}"}))


@pytest.mark.parametrize(
    "letter", [" ", "\u00a0", "\u2028", "\u200d", "~", "/", "\\", '"', "\ue000"]
)
def test_names_may_have_any_other_character(letter: str) -> None:
    assert parse(body(topic=f"a{letter}")).topic == f"a{letter}"


@pytest.mark.parametrize("topic", ["*", "a*", "a*b", "*a"])
def test_nobody_publishes_on_a_pattern(topic: str) -> None:
    assert "must not contain `*`" in refusal(body(topic=topic))


def test_nobody_publishes_on_the_servers_own_topics() -> None:
    assert "the server's own" in refusal(body(topic="$stats"))
    assert parse(body(topic="a$")).topic == "a$"


# Sizes


def test_the_largest_message_is_taken_and_one_byte_more_is_not() -> None:
    room = MIB - len(around(b'""'))
    assert len(meaning(parse(around(b'"' + b"x" * room + b'"')))) == room
    with pytest.raises(TooLarge, match="PUBSUB_MAX_MESSAGE_BYTES"):
        parse(around(b'"' + b"x" * (room + 1) + b'"'))


@pytest.mark.parametrize(
    ("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")]
)
def test_deep_nesting_is_refused(opening: bytes, closing: bytes) -> None:
    for levels in (300, 10_000):
        text = around(opening * levels + b"1" + closing * levels)
        assert refusal(text) == "The JSON is nested deeper than 256 levels"
        assert refusal(opening * levels)


def test_many_brackets_that_are_not_nested_are_taken() -> None:
    assert len(meaning(parse(around(b"[" + b",".join([b"[]", b"{}"] * 5_000) + b"]")))) == 10_000
    assert meaning(parse(around(b'"' + b"[" * 1_000 + b'"'))) == "[" * 1_000


def test_255_levels_are_taken() -> None:
    draft = parse(around(b"[" * 255 + b"]" * 255))
    assert bytes(draft.message) == b"[" * 255 + b"]" * 255


# What JSON readers do not agree on


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"nan", b"01", b"+1", b".5"])
def test_what_only_some_call_a_number_is_malformed(number: bytes) -> None:
    assert refusal(around(number)).startswith("Malformed JSON: ")
    assert refusal(around(b"[" + number + b"]")).startswith("Malformed JSON: ")


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"1" * 4_301, b"-" + b"1" * 4_301])
def test_numbers_that_some_cannot_hold_are_refused(number: bytes) -> None:
    assert "4300 digits" in refusal(around(number))


@pytest.mark.parametrize(
    "message",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"b":2,"a":3}',
        b'[[{"x":{"a":1,"a":2}}]]',
        b'{"a":1,"\\u0061":2}',
        b'{"\\u0061":1,"\\u0061":2}',
        b'{"a\\"":1,"a\\"":2}',
        b'{"a\\"":1,"a\\u0022":2}',
        b'{"":1,"":2}',
        b'{"\xc3\xa9":1,"\\u00e9":2}',
        b'{"\xf0\x9f\x98\x80":1,"\\ud83d\\ude00":2}',
        b'{"a":"\\"","a":"\\\\"}',
        b'{"a":18446744073709551616,"a":1}',
        b'{"a":{"b":1},"a":{"b":1}}',
        b'{"a":["x"],"a":["x","y","z"]}',
    ],
)
def test_a_key_that_comes_twice_is_refused(message: bytes) -> None:
    assert "twice in one object" in refusal(around(message))


@pytest.mark.parametrize(
    "message",
    [
        b'[{"a":1},{"a":1}]',
        b'{"a":{"a":{"a":1}}}',
        b'{"a":1,"A":2,"\\u00e1":3}',
        b'{"a\\"":1,"a":2}',
        b'{"a":"a","b":"a\\"a"}',
        b'{"a":18446744073709551616,"b":18446744073709551616}',
    ],
)
def test_keys_that_are_not_the_same_are_taken(message: bytes) -> None:
    assert meaning(parse(around(message))) == json.loads(message)


def test_a_field_of_the_publish_that_comes_twice_is_refused() -> None:
    assert "'topic' twice" in refusal(body()[:-1] + b',"topic":"other"}')
    assert "'topic' twice" in refusal(body()[:-1] + b',"\\u0074opic":"other"}')


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text('ab"\\é[{', max_size=2), min_size=1, max_size=4),
    json_values,
    st.booleans(),
    st.booleans(),
)
def test_exactly_the_repeated_keys_are_refused(
    keys: list[str], value: Any, is_escaped: bool, is_nested: bool
) -> None:
    pairs = (json.dumps(key, ensure_ascii=is_escaped) + ":" + json.dumps(value) for key in keys)
    text = "{" + ",".join(pairs) + "}"
    text = f'[0,{{"k":{text}}}]' if is_nested else text
    if len(set(keys)) == len(keys):
        assert repr(meaning(parse(around(text.encode())))) == repr(json.loads(text))
    else:
        assert "twice in one object" in refusal(around(text.encode()))


@pytest.mark.parametrize(
    "text",
    [
        b'"\\ud800"',
        b'"\\udc00"',
        b'"\\ud800\\ud800"',
        b'"\\ud800x"',
        b'"\\udc00\\ud800"',
        b'{"\\ud800":1}',
        b'["\\uDBFF"]',
    ],
)
def test_a_lone_surrogate_is_refused(text: bytes) -> None:
    assert refusal(around(text)).startswith("Malformed JSON: ")


@pytest.mark.parametrize("text", [b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"', b'"\xc0\x80"'])
def test_what_is_not_utf_8_is_refused(text: bytes) -> None:
    assert refusal(around(text)) == "The text is not valid UTF-8"


# The fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":1,"b":2}', b'{ "b" : 2 , "a" : 1 }'),
        (b'"\xc3\xa9"', b'"\\u00e9"'),
        (b'"\xf0\x9f\x98\x80/"', b'"\\ud83d\\ude00\\/"'),
        (b'[{"x":[1,{"b":0,"a":0}]}]', b'[{"x":[1,{"a":0,"b":0}]}]\n'),
        (
            b'{"n":18446744073709551616,"a":"\xc3\xa9"}',
            b'{"a":"\\u00e9", "n":18446744073709551616}',
        ),
        (b"1e2", b"100.0"),
    ],
)
def test_equal_content_has_an_equal_fingerprint(one: bytes, other: bytes) -> None:
    assert parse(around(one)).fingerprint == parse(around(other)).fingerprint


def test_other_content_has_another_fingerprint() -> None:
    texts = [b"0", b"1", b"-1", b"1.0", b"true", b"false", b"null", b'""', b'"1"', b"[]", b"{}"]
    texts += [b"[1]", b"[1,2]", b"[2,1]", b'{"a":1}', b'{"a":2}', b'{"b":1}', b'{"a":[1]}']
    texts += [b"18446744073709551616", b"18446744073709551617", b'"a"', b'"A"']
    assert len({parse(around(text)).fingerprint for text in texts}) == len(texts)


def test_the_fingerprint_knows_the_producer_and_where_its_name_ends() -> None:
    assert wire.fingerprint("ann", b"1") != wire.fingerprint("bob", b"1")
    assert wire.fingerprint("a", b"11") != wire.fingerprint("a1", b"1")


@settings(max_examples=100, deadline=None)
@given(json_values)
def test_spelling_does_not_change_the_fingerprint(value: Any) -> None:
    def turned(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: turned(part[key]) for key in reversed(part)}
        return [turned(item) for item in part] if isinstance(part, list) else part

    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    ornate = json.dumps(turned(value), indent=2).encode()
    assert wire.fingerprint("p", plain) == wire.fingerprint("p", ornate)


# Batches


def items(count: int) -> list[bytes]:
    return [around(str(number).encode()) for number in range(count)]


def test_a_batch_is_an_array_or_a_message_a_line() -> None:
    array = wire.parse_batch(b"[" + b",".join(items(3)) + b"]", MIB, ndjson=False)
    lines = b"\r\n\n  \n" + b"\r\n".join(items(3)) + b"\r\n\r\n"
    assert [meaning(draft) for draft in array] == [0, 1, 2]
    assert wire.parse_batch(lines, MIB, ndjson=True) == array
    assert wire.parse_batch(items(1)[0], MIB, ndjson=True) == array[:1]


def test_a_batch_has_10_000_messages_at_most() -> None:
    assert len(wire.parse_batch(b"\n".join(items(10_000)), MIB, ndjson=True)) == 10_000
    for text, is_ndjson in (
        (b"\n".join(items(10_001)), True),
        (b"[0" + b",0" * 10_000 + b"]", False),
    ):
        with pytest.raises(TooLarge, match="10001 messages; send at most 10000"):
            wire.parse_batch(text, MIB, ndjson=is_ndjson)


@pytest.mark.parametrize(
    ("text", "is_ndjson"), [(b"[]", False), (b" [ ] ", False), (b"", True), (b"\r\n", True)]
)
def test_an_empty_batch_is_refused(text: bytes, is_ndjson: bool) -> None:
    with pytest.raises(Invalid, match="batch is empty"):
        wire.parse_batch(text, MIB, ndjson=is_ndjson)


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"null", b"1", b'"a"', b"[", b"[1,]", b"[1] 2", b"\xff"]
)
def test_a_batch_that_is_no_array_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid):
        wire.parse_batch(text, MIB, ndjson=False)


ODD_MESSAGES = [
    b'"a"',
    b'"\xc3\xa9"',
    b'"\\u00e9"',
    b'"\xff"',
    b'"[{"',
    b"7",
    b"1" * 30,
    b'{"b":"x","a":[1]}',
    b'{"a":1,"a":1}',
    b'{"producer":"q"}',
    b"[" * 255 + b"]" * 255,
    b"[" * 256 + b"]" * 256,
    b"[" + b",".join([b"{}"] * 300) + b"]",
]
ODD_FIELDS = [
    *({name: value} for name in ("topic", "message_id", "producer") for value in ("", "\x7f", 7)),
    {"topic": "$own"},
    {"topic": "a*"},
    {"topic": "chat:r"},
    {"topic": "chat:r", "producer": "system"},
    {"producer": "x" * 200},
    {"message_id": "x" * 201},
    {"more": 1},
    {},
]


@given(
    st.lists(
        st.tuples(st.sampled_from(ODD_MESSAGES), st.sampled_from(ODD_FIELDS)),
        min_size=1,
        max_size=4,
    )
)
def test_an_item_of_a_batch_is_understood_as_a_publish_is(items: list[tuple[bytes, Any]]) -> None:
    texts = []
    for number, (message, changes) in enumerate(items):
        fields = {"topic": "t", "message_id": f"m-{number}", "producer": "p"} | changes
        start = json.dumps(fields, ensure_ascii=False).encode()[:-1]
        texts.append(start + b',"message": ' + message + b"}")

    def outcome(understand: Any, *arguments: Any) -> Any:
        try:
            return understand(*arguments)
        except (Forbidden, Invalid) as error:
            return error.message.partition(": ")[2] if understand is batch else error.message

    def batch(text: bytes) -> list[Draft]:
        return wire.parse_batch(text, MIB, ndjson=False)

    each = [outcome(parse, text) for text in texts]
    refused = [one for one in each if isinstance(one, str)]
    found = outcome(batch, b" [" + b" , ".join(texts) + b"]\n")
    assert found == (refused[0] if refused else each)


@pytest.mark.parametrize("is_ndjson", [True, False])
def test_the_bad_item_of_a_batch_is_named(is_ndjson: bool) -> None:
    def refused(bad: bytes, limit: int = MIB) -> str:
        parts = [*items(2), bad, *items(1)]
        text = b"\n".join(parts) if is_ndjson else b"[" + b",".join(parts) + b"]"
        with pytest.raises((Invalid, TooLarge)) as caught:
            wire.parse_batch(text, limit, ndjson=is_ndjson)
        return f"{type(caught.value).__name__} {caught.value.message}"

    assert refused(b"7") == "Invalid Item 2: `publish` takes a JSON object, not a number"
    assert refused(b"{}") == "Invalid Item 2: Missing required field: topic"
    assert refused(around(b'{"a":1,"a":1}')).startswith("Invalid Item 2: The JSON has the key 'a'")
    assert refused(around(b'"' + b"x" * 100 + b'"'), 100).startswith("TooLarge Item 2: ")


@pytest.mark.parametrize("producer", ["system", " SYSTEM", "\uff53ystem"])
def test_nobody_speaks_as_the_server_in_a_room(producer: str) -> None:
    one = body(topic="chat:lobby", producer=producer)
    with pytest.raises(Forbidden, match="nobody but the server"):
        parse(one)
    for text, is_ndjson in ((b"[" + one + b"]", False), (one, True)):
        with pytest.raises(Forbidden, match=r"Item 0: .*nobody but the server"):
            wire.parse_batch(text, MIB, ndjson=is_ndjson)
    parse(body(topic="lobby", producer=producer))


# Subscribing


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b'"a"', Subscribe(None, ("a",), True)),
        (b' "a*" ', Subscribe(None, ("a*",), True)),
        (b'"\\u0061"', Subscribe(None, ("a",), True)),
        (b'{"channel":"a"}', Subscribe(None, ("a",), True)),
        (b'{"channel":"a","consumer":"c"}', Subscribe("c", ("a",), True)),
        (b'{"topics":["a","b","a"],"consumer":"c"}', Subscribe("c", ("a", "b"), False)),
        (b'{"topics":"a","consumer":"c"}', Subscribe("c", ("a",), False)),
        (b'{"topics":["*","$x","x:*"]}', Subscribe(None, ("*", "$x", "x:*"), False)),
        (b'{"topics":["a"],"epoch":"e"}', Subscribe(None, ("a",), False, None, "e")),
        (b'{"topics":["a"],"epoch":null,"after":null}', Subscribe(None, ("a",), False)),
        (b'{"topics":["a"],"after":0}', Subscribe(None, ("a",), False, 0)),
        (
            b'{"topics":["a"],"after":9223372036854775807}',
            Subscribe(None, ("a",), False, 2**63 - 1),
        ),
        (b'{"topics":["a"],"after":"beginning"}', Subscribe(None, ("a",), False, "beginning")),
        (b'{"topics":["a"],"after":"consumed"}', Subscribe(None, ("a",), False, "consumed")),
        (
            b'{"topics":["a"],"after":{"a":3,"b*":"consumed"}}',
            Subscribe(None, ("a",), False, {"a": 3, "b*": "consumed"}),
        ),
    ],
)
def test_the_forms_of_subscribe(text: bytes, wanted: Subscribe) -> None:
    assert wire.parse_subscribe(text) == wanted


@pytest.mark.parametrize(
    "text", [b"", b"null", b"1", b"true", b"[]", b'["a"]', b'"a" "b"', b'"a"]', b'"\\ud800"']
)
def test_subscribe_takes_nothing_else(text: bytes) -> None:
    with pytest.raises(Invalid):
        wire.parse_subscribe(text)


@pytest.mark.parametrize("text", [b"{}", b'{"consumer":"c"}', b'{"topics":null}'])
def test_subscribe_names_topics(text: bytes) -> None:
    with pytest.raises(Invalid, match="Missing required field: topics"):
        wire.parse_subscribe(text)


@pytest.mark.parametrize(
    "topics", [[], [1], [None], 1, {}, True, [""], ["a*b"], ["**"], ["*a"], ["a\n"], ["a" * 201]]
)
def test_subscribe_refuses_what_is_no_topic_or_pattern(topics: object) -> None:
    with pytest.raises(Invalid):
        wire.parse_subscribe(json.dumps({"consumer": "c", "topics": topics}).encode())


def test_one_subscribe_names_up_to_1_000_topics() -> None:
    names = [f"t{number}" for number in range(1_001)]
    assert len(wire.parse_subscribe(json.dumps({"topics": names[1:]}).encode()).topics) == 1_000
    with pytest.raises(Invalid, match="1001 topics"):
        wire.parse_subscribe(json.dumps({"topics": names}).encode())


@pytest.mark.parametrize(
    "after",
    [
        "-1",
        "1.0",
        "1e2",
        "true",
        '"1"',
        '"end"',
        "[]",
        "9223372036854775808",
        "1" * 4300,
        "1e400",
        '{"a":-1}',
        '{"a":true}',
        '{"a":null}',
        '{"a":{}}',
        '{"a*b":1}',
        '{"":1}',
        '{"a":1,"a":1}',
    ],
)
def test_a_replay_begins_at_a_sequence_or_a_word(after: str) -> None:
    with pytest.raises(Invalid):
        wire.parse_subscribe(f'{{"topics":["a"],"after":{after}}}'.encode())


@pytest.mark.parametrize("field", ["consumer", "epoch"])
@pytest.mark.parametrize("value", ["", 1, True, [], "a\x00", "a" * 201])
def test_who_subscribes_has_a_name(field: str, value: object) -> None:
    with pytest.raises(Invalid, match=f"`{field}`"):
        wire.parse_subscribe(json.dumps({"topics": ["a"], field: value}).encode())


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        (None, None),
        (b"", None),
        (b"null", None),
        (b"{}", None),
        (b'{"topics":null}', None),
        (b'"a"', ("a",)),
        (b'{"channel":"a"}', ("a",)),
        (b'{"topics":["a","b*"]}', ("a", "b*")),
        (b'{"topics":"a"}', ("a",)),
    ],
)
def test_the_forms_of_unsubscribe(text: bytes | None, topics: tuple[str, ...] | None) -> None:
    assert wire.parse_unsubscribe(text) == topics


@pytest.mark.parametrize(
    "text", [b"1", b"[]", b'["a"]', b'{"topics":[]}', b'{"topics":[1]}', b"{", b'""']
)
def test_unsubscribe_refuses_what_could_mean_all_by_mistake(text: bytes) -> None:
    with pytest.raises(Invalid):
        wire.parse_unsubscribe(text)


# Consuming


def claim(**changes: Any) -> bytes:
    return json.dumps({"consumer": "c", "topic": "t", "message_id": "m"} | changes).encode()


def test_the_forms_of_consumed() -> None:
    assert wire.parse_claim(claim()) == Claim("c", "t", "m")
    assert wire.parse_claim(claim(sequence=None)) == Claim("c", "t", "m")
    assert wire.parse_claim(claim(sequence=7, message={"a": 1})) == Claim("c", "t", "m", 7)
    assert wire.parse_claim(claim(sequence=2**63 - 1)).sequence == 2**63 - 1
    assert wire.parse_claim(claim(topic="$own")).topic == "$own"


@pytest.mark.parametrize("field", ["consumer", "topic", "message_id"])
def test_a_claim_without_a_field_is_refused(field: str) -> None:
    fields = json.loads(claim())
    del fields[field]
    with pytest.raises(Invalid, match=f"^Missing required field: {field}$"):
        wire.parse_claim(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "sequence", ["0", "-1", "1.5", "1.0", "1e2", "true", '"1"', "[]", "{}", "9223372036854775808"]
)
def test_a_claim_speaks_of_a_sequence(sequence: str) -> None:
    with pytest.raises(Invalid, match="`sequence` must be a whole number"):
        wire.parse_claim(claim()[:-1] + f',"sequence":{sequence}}}'.encode())


@pytest.mark.parametrize("sequence", [b"1" * 4_300, b"1" * 5_000, b"1e400"])
def test_a_claim_with_a_monstrous_sequence_is_refused(sequence: bytes) -> None:
    with pytest.raises(Invalid):
        wire.parse_claim(claim()[:-1] + b',"sequence":' + sequence + b"}")


@pytest.mark.parametrize(
    "changes",
    [{"topic": "a*"}, {"consumer": ""}, {"message_id": 1}, {"topic": None}, {"consumer": "\x85"}],
)
def test_a_claim_has_good_names(changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        wire.parse_claim(claim(**changes))


# Reading a topic


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b'{"topic":"a"}', ("a", 0, 100)),
        (b'{"topic":"$own","after":7}', ("$own", 7, 100)),
        (b'{"topic":"a","after":0,"limit":1}', ("a", 0, 1)),
        (b'{"topic":"a","limit":1000}', ("a", 0, 1_000)),
        (b'{"topic":"a","limit":9223372036854775807}', ("a", 0, 1_000)),
        (b'{"after":9223372036854775807,"topic":"a b","x":1}', ("a b", 2**63 - 1, 100)),
    ],
)
def test_the_forms_of_history(text: bytes, wanted: tuple[str, int, int]) -> None:
    assert wire.parse_history(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b'"a"',
        b'{"topic":""}',
        b'{"topic":1}',
        b'{"topic":"a*"}',
        b'{"topic":"a","topic":"a"}',
        b'{"topic":"a","after":-1}',
        b'{"topic":"a","after":"1"}',
        b'{"topic":"a","after":1.0}',
        b'{"topic":"a","after":true}',
        b'{"topic":"a","after":9223372036854775808}',
        b'{"topic":"a","limit":0}',
        b'{"topic":"a","limit":-5}',
        b'{"topic":"a","limit":"10"}',
        b'{"topic":"a","limit":1e400}',
    ],
)
def test_history_takes_nothing_else(text: bytes) -> None:
    with pytest.raises(Invalid):
        wire.parse_history(text)


# The short way through a plain publish

odd_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
odd_names = odd_text | st.sampled_from(
    [
        *(
            "t",
            "$own",
            "a*",
            "*",
            "",
            "a\u200bb",
            "\x7f",
            "\x85",
            "\ufeff",
            "é",
            "e\u0301",
            "\u2028",
        ),
        *("a" * 200, "a" * 201, "😀" * 200),
    ]
)
raw_values = st.one_of(
    json_values.map(lambda value: json.dumps(value, ensure_ascii=False)),
    json_values.map(json.dumps),
    st.sampled_from(
        [
            "1e400", "-0", "-0.0", "1E5", "01", "1.", "NaN", "Infinity", "nul", "",
            '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"a":{"b":1,"b":1}}', '"\\ud800"',
            '"\\ud83d\\ude00"', '"a\tb"', '"\x7f"', '[1,]', '{"":""}', '{"\u2028":"\ufeff"}',
            "18446744073709551616", "1" * 4_300, "1" * 4_301, " [ ] ", "[[]]", '"}"', '{"a":"\\""}',
            "[" * 255 + "]" * 255, "[" * 256 + "]" * 256, "[" * 3_000 + "]" * 3_000,
            "[" + "{}," * 300 + "1]", '{"a":' * 254 + "1" + "}" * 254,
        ]
    ),
)  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """What looks like a publish: fields missing, repeated, added, in any order and spelling."""
    names = draw(st.permutations(["topic", "message_id", "message", "producer"]))
    names = names[: draw(st.sampled_from([4, 4, 4, 4, 3]))]
    names += draw(st.lists(st.sampled_from([*names, "x", "message", "topic", "Topic"]), max_size=1))
    spell = draw(st.sampled_from([json.dumps, lambda text: json.dumps(text, ensure_ascii=False)]))
    fields = []
    for name in names:
        key = spell(name) if draw(st.integers(0, 9)) else f'"\\u{ord(name[0]):04x}{name[1:]}"'
        is_name = name in ("topic", "message_id", "producer") and draw(st.integers(0, 9))
        value = spell(draw(odd_names)) if is_name else draw(raw_values)
        fields.append(draw(st.sampled_from(["", " ", "\n"])) + key + ":" + value)
    around = draw(
        st.sampled_from(["{%s}"] * 6 + [" {%s} ", "{%s", "[{%s}]", "{%s}x", "\ufeff{%s}"])
    )
    return (around % ",".join(fields)).encode()


@given(bodies())
@settings(max_examples=400, deadline=None)
def test_the_short_way_comes_to_the_same_as_the_long_one(text: bytes) -> None:
    plain = publishes._plain_draft(text)
    if plain is not None:
        assert plain == publishes._draft(wire.raw_fields(text, "publish"))


@given(json_values, st.booleans())
@settings(max_examples=100, deadline=None)
def test_plain_publishes_take_the_short_way(value: Any, is_indented: bool) -> None:
    text = json.dumps(FIELDS | {"message": value}, ensure_ascii=False, indent=is_indented or None)
    plain = publishes._plain_draft(text.encode())
    assert (plain is None) == ("\\" in text)
    assert publishes._draft(wire.raw_fields(text.encode(), "publish")) == (
        plain or parse(text.encode())
    )


@pytest.mark.parametrize(
    "text",
    [
        b'{"topic":"t","topic":"t","message_id":"m","producer":"p","message":1}',
        b'{"topic":"t","message_id":"m","producer":"p","message":1,"message":2}',
        b'{"topic":"t","message_id":"m","producer":"p","message":1,"message":"2"}',
        b'{"topic":"t","message_id":"m","producer":"p","message":{"a":1,"a":2}}',
        b'{"topic":"t","message_id":"m","producer":"p","message":{"a":"b","a":1}}',
        b'{"topic":"t","message_id":"m","producer":"p","message":1,"x":1,"x":2}',
        b'{"topic":"t","message_id":"m","producer":"p"}',
        b'{"topic":"t","message_id":"m","producer":"p","message":1,"x":1}',
        around(b"[" * 257 + b"]" * 257),
        around(b'"\\n"'),
        body(topic="$own"),
        body(topic="a*"),
        body(producer=""),
        body(message_id="a" * 201),
        body(producer="a\x7f"),
    ],
)
def test_what_is_not_plain_is_looked_at_closely(text: bytes) -> None:
    assert publishes._plain_draft(text) is None


@pytest.mark.parametrize("body", [b'{"topic":"t"}', b' "t"', b'{"topic":"t","type":"presence"}'])
def test_presence_names_a_topic(body: bytes) -> None:
    assert wire.parse_presence(body) == "t"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b'""', b'{"topic":1}', b'{"topic":"a*"}', b'"a*"', b'"a']
)
def test_presence_without_a_topic_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        wire.parse_presence(body)


# refresh


def test_a_refresh_is_a_token_or_an_object_with_one() -> None:
    token = "x" * 1_000
    assert wire.parse_refresh(json.dumps({"token": token, "more": 1}).encode()) == token
    assert wire.parse_refresh(json.dumps(token).encode()) == token


@pytest.mark.parametrize(
    "bad", [b"", b"{}", b"7", b"[]", b"null", b'{"token": 7}', b'{"token": null}', b'"x', b'"x" y']
)
def test_a_refresh_without_a_token_is_refused(bad: bytes) -> None:
    with pytest.raises(Invalid):
        wire.parse_refresh(bad)
