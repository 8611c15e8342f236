from __future__ import annotations

from python_pubsub_server.elsewhere import Elsewhere, Listening


def listening(connection: str, topic: str, consumer: str = "", at: float = 1.0) -> Listening:
    return Listening(connection, consumer or connection, topic, at, bool(consumer))


def test_a_connection_counts_once_however_it_is_subscribed() -> None:
    elsewhere = Elsewhere()
    elsewhere.replace(
        {
            "one": [listening("c1", "a"), listening("c1", "a*"), listening("c2", "b")],
            "two": [listening("c3", "*"), listening("c4", "a", "ann")],
        }
    )
    assert (elsewhere.count("a"), elsewhere.count("b"), elsewhere.count("c")) == (3, 2, 1)
    assert elsewhere.count("$x") == 0
    assert elsewhere.names("a") == {"ann"}
    assert len(list(elsewhere.subscriptions())) == 5


def test_what_a_node_shows_replaces_what_it_showed() -> None:
    elsewhere = Elsewhere()
    one = [listening("c1", "a")]
    elsewhere.replace({"one": one, "two": [listening("c2", "a")]})
    elsewhere.replace({"one": one})
    assert elsewhere.count("a") == 1
    elsewhere.replace({"one": [listening("c1", "b"), listening("c9", "b*")]})
    assert (elsewhere.count("a"), elsewhere.count("b")) == (0, 2)
    elsewhere.replace({})
    assert elsewhere.count("b") == 0
