"""identity.py: what an identity may do."""

import pytest

from python_pubsub_server.errors import Forbidden
from python_pubsub_server.identity import SERVER, Identity, Rights, rights_of_users

ANYBODY = Identity("127.0.0.1")
ANN = Identity("127.0.0.1", "ann", Rights(publish=("orders:*",), subscribe=("orders:*", "news")))


@pytest.mark.parametrize("topic", ["orders:1", "orders:", "orders:*", "orders:eu:*"])
def test_a_right_covers_what_its_pattern_stands_for(topic: str) -> None:
    ANN.check_subscribe(topic)


@pytest.mark.parametrize("topic", ["*", "order*", "orders", "news*", "$orders:1", "$*", "x"])
def test_a_wider_pattern_is_refused(topic: str) -> None:
    with pytest.raises(Forbidden, match="subscribe"):
        ANN.check_subscribe(topic)


def test_the_right_to_read_is_not_the_right_to_write() -> None:
    ANN.check_subscribe("news")
    ANN.check_publish("orders:1")
    with pytest.raises(Forbidden, match="publish"):
        ANN.check_publish("news")


def test_only_an_admin_sees_everything() -> None:
    ANYBODY.check_admin()
    with pytest.raises(Forbidden, match="admin"):
        ANN.check_admin()


@pytest.mark.parametrize("topic", ["x", "*", "x*", "$server", "$*"])
def test_without_authentication_everything_is_allowed(topic: str) -> None:
    ANYBODY.check_publish(topic)
    ANYBODY.check_subscribe(topic)


def test_everything_does_not_mean_the_servers_own_topics() -> None:
    with pytest.raises(Forbidden):
        Identity("127.0.0.1", "bob", Rights(subscribe=("*",))).check_subscribe("$*")


@pytest.mark.parametrize("name", ["ann", "ann/", "ann/phone", "ann/a/b"])
def test_a_user_owns_its_name_and_those_below(name: str) -> None:
    ANN.check_name(name, "consumer")


@pytest.mark.parametrize("name", ["bob", "an", "annabel", "ann:1", "Ann", "/ann", "bob/ann"])
def test_a_user_owns_no_other_name(name: str) -> None:
    with pytest.raises(Forbidden, match="`producer` must be 'ann'"):
        ANN.check_name(name, "producer")


def test_without_authentication_and_for_the_server_any_name_will_do() -> None:
    for identity in (ANYBODY, SERVER):
        identity.check_name("anybody", "consumer")
        identity.check_publish("notifications:bob")


def test_every_user_reads_its_own_notifications_talks_in_rooms_and_updates_resources() -> None:
    eve = Identity("127.0.0.1", "eve", rights_of_users("eve"))
    for topic in ("notifications:eve", "suggestions:votes", "resource:updates:*", "chat:*"):
        eve.check_subscribe(topic)
    eve.check_publish("chat:lobby")
    eve.check_publish("resource:updates:1")
    for topic in ("notifications:ann", "notifications:*", "notifications:evelyn", "orders"):
        assert not eve.may_subscribe(topic)
    for topic in ("notifications:eve", "suggestions:votes", "resource:updated"):
        assert not eve.may_publish(topic)


def test_who_has_a_token_is_its_subject_and_others_are_whom_they_say() -> None:
    eve = Identity("127.0.0.1", "eve")
    assert eve.user() == eve.user("eve") == "eve"
    with pytest.raises(Forbidden, match="must be 'eve'"):
        eve.user("ann")
    nobody = Identity("127.0.0.1")
    assert (nobody.user("ann"), nobody.user()) == ("ann", "anonymous")
