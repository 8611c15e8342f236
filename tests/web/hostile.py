"""Names that would run a script, were they taken for markup.

The pages' tests share a server, so each file has a name of its own: what one publishes on it,
another must not count.
"""


def hostile(name: str) -> str:
    return f"<img src=x onerror=globalThis.hacked=1><script>globalThis.hacked=2</script>{name}"
