"""A client in a process of its own, which can be stopped: `silent_client.py URL CONSUMER TOPIC`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from torture.clients import Link

if __name__ == "__main__":
    url, consumer, topic = sys.argv[1:]
    with Link(url) as link:
        link.subscribe(consumer, [topic])
        print("subscribed", flush=True)
        while True:
            link.next()
