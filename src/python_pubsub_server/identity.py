"""Who a request speaks for, and what that one may do."""

from __future__ import annotations

import msgspec

from .errors import Forbidden
from .model import covers


class Rights(msgspec.Struct, frozen=True):
    """Topics and patterns that may be published on and subscribed to; `admin` sees what all do."""

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    admin: bool = False


CLUSTER = "cluster:*"  # what the nodes say of themselves, which admins may see

ANONYMOUS = "anonymous"  # the user without authentication, unless it says another name

SERVER_NAME = "server"

EVERYTHING = Rights(("*", "$*"), ("*", "$*"), admin=True)
NOTHING = Rights()


def rights_of_users(subject: str) -> Rights:
    """What every user may do whose token does not say more.

    It may speak in every room, and say what became of a resource: there a message's producer is who
    said it. On the others of these topics the server's own services publish, once they have checked
    what a user wants to say.
    """
    return Rights(publish=("chat:*", "resource:updates:*"), subscribe=(*open_to(subject), "chat:*"))


def open_to(subject: str) -> tuple[str, ...]:
    """The topics that a user may subscribe to whatever its token says."""
    return (f"notifications:{subject}", "suggestions:votes", "resource:updates:*")


class Identity(msgspec.Struct, frozen=True):
    """Who a request speaks for. `subject` is the user of its token; None: nobody in particular.

    Without authentication everybody who is let in may do everything. `ends_at` is the Unix time
    at which a connection of this identity ends (None: it does not).
    """

    address: str
    subject: str | None = None
    rights: Rights = EVERYTHING
    ends_at: float | None = None
    token_id: str | None = None

    def may_publish(self, topic: str) -> bool:
        return any(covers(pattern, topic) for pattern in self.rights.publish)

    def may_subscribe(self, topic: str) -> bool:
        """Whether all that a topic or pattern stands for may be read."""
        return any(covers(pattern, topic) for pattern in self.rights.subscribe) or (
            self.rights.admin and covers(CLUSTER, topic)
        )

    def check_publish(self, topic: str) -> None:
        """Raises Forbidden."""
        if not self.may_publish(topic):
            raise Forbidden(f"This token does not allow to publish on {topic!r}")

    def check_subscribe(self, topic: str) -> None:
        """Raises Forbidden, also for reading a topic's history."""
        if not self.may_subscribe(topic):
            raise Forbidden(f"This token does not allow to subscribe to {topic!r}")

    def user(self, said: str | None = None) -> str:
        """Whom it speaks for, by name: the subject, or without authentication whom it says.

        Raises Forbidden for a name that is not the subject.
        """
        if self.subject is None:
            return ANONYMOUS if said is None else said
        if said not in (None, self.subject):
            raise Forbidden(f"With this token `user` must be {self.subject!r}, not {said!r}")
        return self.subject

    @property
    def producer(self) -> str:
        """Who publishes what a service makes for it: the subject, where one is known."""
        return SERVER_NAME if self.subject is None else self.subject

    def owns(self, name: str) -> bool:
        """Whether it may call itself so, as a consumer or producer."""
        return self.subject is None or name == self.subject or name.startswith(f"{self.subject}/")

    def check_name(self, name: str, field: str) -> None:
        """Raises Forbidden for a consumer's or producer's name that is not the subject's own."""
        if not self.owns(name):
            raise Forbidden(
                f"With this token `{field}` must be {self.subject!r} or begin with "
                f"'{self.subject}/', not {name!r}"
            )

    def check_admin(self) -> None:
        """Raises Forbidden."""
        if not self.rights.admin:
            raise Forbidden("This needs a token with the right `admin`")


# As which the server's own services publish and read, once they have checked their own rules.
SERVER = Identity(SERVER_NAME)
