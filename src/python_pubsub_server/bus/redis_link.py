"""How this project talks to Redis: every wait has an end, and no password gets into a text."""

from __future__ import annotations

import random
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

TIMEOUT_SECONDS = 2.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0

FAILURES = (RedisError, OSError)


def connect(url: str, name: str, timeout: float = TIMEOUT_SECONDS) -> redis.Redis:
    """A client that connects when it is first used, and tries everything once."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=TIMEOUT_SECONDS,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        protocol=2,
        client_name=name,
    )


def reason_of(error: BaseException, url: str) -> str:
    """An error in one short line, without data and without the password of the URL."""
    # Of a pipeline, the error repeats the command with all its data.
    text = str(error).rpartition(" of pipeline caused error: ")[2]
    text = " ".join(text.split())[:200] or type(error).__name__
    password = urlsplit(url).password
    return text.replace(password, "***") if password else text


def pause_after(failures: int) -> float:
    """How long to wait before the next try; not the same for all nodes."""
    longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 10))
    # Nobody gains by guessing it.
    return longest * random.uniform(0.5, 1.0)  # nosec B311
