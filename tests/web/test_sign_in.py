"""Every page on a server that wants tokens: signing in, what a user sees, the end of a token."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest
from browser import Page
from pages import CONNECTION_TEST, page_paths
from panel import reopen

from keys import AUDIENCE, Issuer
from python_pubsub_server.storage.database import open_database
from server import RunningServer

pytestmark = pytest.mark.browser

OpenPage = Callable[[str], Page]
# The page that tests connections has a field of its own for a token.
PAGES = [path for path in page_paths() if path != CONNECTION_TEST]
FOR_EVERY_USER = ["/chat.html", "/demo.html"]
WATCHING = [path for path in PAGES if path not in FOR_EVERY_USER]
ISSUER = Issuer()
BOX = "document.querySelector('#sign-in')"
TOKENS: list[str] = []  # all that were used, to be looked for in the log
MAIN = "document.querySelector('main').textContent"
# What the demo shows its user: who that is, what is stored for it, the votes and the document.
DEMO = """['ada', 'ada', 'for ada', '3', 'demo-document', 'true', ''].join() === [
  document.querySelector('#own-name').textContent,
  document.querySelector('#notify-user').value,
  [...document.querySelectorAll('.bell-item [data-field=title]')].map((e) => e.textContent),
  document.querySelectorAll('#poll li').length,
  document.querySelector('#document-id').textContent,
  document.querySelector('#name').hidden,
  [...document.querySelectorAll('main [role=alert]')].map((e) => e.textContent).join(''),
].join()"""
# What a page shows to ada, an admin; the others show a topic.
SHOWN = {
    "/chat.html": f"{MAIN}.includes('general')",
    "/cluster.html": "document.querySelectorAll('#nodes tr').length === 1",
    "/demo.html": DEMO,
}
HEADING = "[...document.querySelectorAll('#sign-in-title')].map((e) => e.textContent)[0]"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {"jwt_public_key": ISSUER.public, "jwt_audience": AUDIENCE}
    with RunningServer(tmp_path_factory.mktemp("sign-in"), **settings) as server:
        server.http.headers["Authorization"] = f"Bearer {admin('root')}"
        for number in range(3):
            server.publish(
                "orders", {"order": number}, message_id=f"m{number}", producer="root/shop"
            ).raise_for_status()
        server.publish("chat:general", {"content": "hello"}, producer="root").raise_for_status()
        for subject in ("ada", "bob"):
            notification = {"user_id": subject, "title": f"for {subject}"}
            answer = server.http.post(
                server.url + "/api/notifications", json=notification, timeout=30
            )
            answer.raise_for_status()
        yield server


def admin(subject: str = "ada", seconds: float = 600) -> str:
    everything = {"publish": ["*"], "subscribe": ["*"], "admin": True}
    return kept(ISSUER.token(subject, pubsub=everything, exp=int(time.time() + seconds)))


def user(subject: str = "bob", seconds: float = 600) -> str:
    return kept(ISSUER.token(subject, exp=int(time.time() + seconds)))


def kept(token: str) -> str:
    TOKENS.append(token)
    return token


def wait_state(page: Page, state: str | None) -> None:
    """Wait until the sign-in says that; None: it is not shown."""
    shown = "true" if state is None else json.dumps(state)
    actual = f"{BOX}.hidden" if state is None else f"!{BOX}.hidden && {BOX}.dataset.state"
    page.wait_for(f"({actual}) === {shown}")


def wait_connected(page: Page) -> None:
    page.wait_for("document.querySelector('#connection').dataset.state === 'connected'")


def give(page: Page, token: str) -> None:
    page.fill("#sign-in-token", token)
    page.click("#sign-in-form button")


def signed_in(page: Page, token: str) -> Page:
    wait_state(page, "needed")
    give(page, token)
    wait_connected(page)
    wait_state(page, None)
    return page


def is_shown(page: Page, selector: str) -> bool:
    shown: bool = page.evaluate(f"document.querySelector('{selector}').checkVisibility()")
    return shown


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_who_one_is_and_shows_nothing_before(open_page: OpenPage, path: str) -> None:
    page = open_page(path)
    wait_state(page, "needed")
    assert page.text("#connection-text") == "Signed out"
    assert not is_shown(page, "main")
    assert not is_shown(page, "#account")
    assert not is_shown(page, "#sign-out")


@pytest.mark.parametrize("path", PAGES)
def test_with_the_keyboard_one_signs_in_to_a_page(
    open_page: OpenPage, server: RunningServer, path: str
) -> None:
    page = open_page(path)
    wait_state(page, "needed")
    assert page.evaluate("document.activeElement.id") == "sign-in-token"
    page.evaluate(f"document.activeElement.value = '{admin()}'")
    page.press("Tab")
    page.press("Enter")
    wait_connected(page)
    wait_state(page, None)
    page.wait_for(SHOWN.get(path, f"{MAIN}.includes('orders')"))
    assert is_shown(page, "main")
    assert page.text("#account") == "ada"
    assert not is_shown(page, "#not-admin")
    assert "access_token" not in page.evaluate("location.href")


@pytest.mark.parametrize("path", WATCHING)
def test_a_user_is_told_that_a_page_is_for_admins(open_page: OpenPage, path: str) -> None:
    page = signed_in(open_page(path), user())
    page.wait_for("!document.querySelector('#not-admin').hidden")
    assert "Signed in as bob" in page.text("#not-admin")
    assert "--sub bob --admin" in page.text("#not-admin code")
    assert not page.evaluate(
        "[...document.querySelectorAll('[data-admin]')].some((each) => each.checkVisibility())"
    )
    assert "forbidden" not in page.text("main")


def test_the_demo_shows_any_user_what_is_its_own(open_page: OpenPage) -> None:
    page = signed_in(open_page("/demo.html"), user("ada"))
    page.wait_for(DEMO)
    assert is_shown(page, "main")
    assert not is_shown(page, "#not-admin")


def test_a_user_that_becomes_an_admin_sees_the_page_at_once(open_page: OpenPage) -> None:
    page = signed_in(open_page("/activity-map.html"), user())
    page.wait_for("!document.querySelector('#not-admin').hidden")
    page.click("#account")
    give(page, admin("bob"))
    page.wait_for("document.querySelector('#activity').textContent.includes('orders')")
    assert not is_shown(page, "#not-admin")


def test_a_user_publishes_and_subscribes_where_it_may(open_page: OpenPage) -> None:
    rights = {"publish": ["bobs:*"], "subscribe": ["bobs:*"]}
    page = signed_in(open_page("/control-panel.html"), kept(ISSUER.token("bob", pubsub=rights)))
    assert page.evaluate("document.querySelector('#publish-producer').value") == "bob/control-panel"
    page.fill("#subscribe-topics", "bobs:*")
    page.click("#subscribe-send")
    page.wait_for("document.querySelector('.chip') !== null")
    page.fill("#publish-topic", "bobs:own")
    page.click("#publish-send")
    page.wait_for("document.querySelectorAll('#received .item').length === 1")
    page.fill("#publish-topic", "orders")
    page.click("#publish-send")
    page.wait_for("document.querySelector('#publish-result').textContent.includes('forbidden')")


def test_a_user_talks_in_the_chat_under_its_own_name(open_page: OpenPage) -> None:
    page = signed_in(open_page("/chat.html?user=somebody#general"), user("grace"))
    page.wait_for("document.querySelector('#own-name').textContent === 'grace'")
    assert not is_shown(page, "#name-change")
    page.wait_for("document.querySelector('#lines').textContent.includes('hello')")
    page.fill("#write-text", "good morning")
    page.click("#write button")
    page.wait_for(
        "[...document.querySelectorAll('#lines .said:not(.pending)')]"
        ".some((each) => each.textContent.includes('good morning'))"
    )


@pytest.mark.parametrize("path", PAGES)
def test_a_token_that_ends_is_asked_for_anew_and_nothing_is_lost(
    open_page: OpenPage, server: RunningServer, path: str
) -> None:
    page = open_page(path)
    signed = "document.querySelector('#account').textContent === 'ada'"
    wait_state(page, "needed")
    give(page, admin(seconds=3))
    page.wait_for(signed)
    page.evaluate("globalThis.isTheSame = true")
    wait_state(page, "expired")
    assert page.text("#connection-text") == "Signed out"
    assert is_shown(page, "main")
    give(page, admin())
    wait_connected(page)
    wait_state(page, None)
    assert page.evaluate("globalThis.isTheSame")


def test_what_came_while_one_was_signed_out_comes_after_signing_in(
    open_page: OpenPage, server: RunningServer
) -> None:
    page = open_page("/control-panel.html")
    wait_state(page, "needed")
    give(page, admin(seconds=4))
    wait_connected(page)
    page.fill("#subscribe-topics", "while-away")
    page.click("#subscribe-send")
    page.wait_for("document.querySelector('.chip') !== null")
    page.fill("#publish-message", '"half written"')
    wait_state(page, "expired")
    server.publish("while-away", "missed", producer="root").raise_for_status()
    give(page, admin())
    page.wait_for("document.querySelector('#received').textContent.includes('missed')")
    assert page.evaluate("document.querySelector('#publish-message').value") == '"half written"'


def test_a_new_token_before_the_end_goes_on_on_the_same_connection(
    open_page: OpenPage,
) -> None:
    page = open_page("/control-panel.html")
    wait_state(page, "needed")
    give(page, admin(seconds=60))
    wait_state(page, "ending")
    states = "new MutationObserver(() => (globalThis.moved = true))"
    page.evaluate(
        f"{states}.observe(document.querySelector('#connection'), {{ attributes: true }})"
    )
    give(page, admin(seconds=600))
    wait_state(page, None)
    page.click("#account")
    wait_state(page, "account")
    assert "ada" in page.text("#sign-in-title")
    assert page.evaluate("globalThis.moved === undefined")


def test_a_warning_can_be_put_away_and_one_can_close_with_escape(open_page: OpenPage) -> None:
    page = open_page("/circular-graph.html")
    wait_state(page, "needed")
    give(page, admin(seconds=60))
    wait_state(page, "ending")
    page.click("#sign-in-close")
    wait_state(page, None)
    page.click("#account")
    wait_state(page, "account")
    page.press("Escape")
    wait_state(page, None)
    assert page.evaluate("document.activeElement.id") == "account"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("secret", "three parts"),
        ("a.b.c", "three parts"),
        (ISSUER.bad_tokens()["expired"], "exp"),
        (ISSUER.bad_tokens()["another key"], "signature"),
    ],
)
def test_a_token_that_is_none_is_not_kept(open_page: OpenPage, token: str, reason: str) -> None:
    page = open_page("/control-panel.html")
    wait_state(page, "needed")
    give(page, token)
    page.wait_for(f"document.querySelector('#sign-in-problem').textContent.includes('{reason}')")
    assert page.evaluate("sessionStorage.getItem('pubsub-token')") is None
    assert page.evaluate("document.activeElement.id") in ("sign-in-token", "")
    assert is_shown(page, "#sign-in-how .command")  # what to do is open
    give(page, f"Bearer {admin()}")
    wait_connected(page)
    wait_state(page, None)


def test_a_token_that_was_copied_with_what_stood_around_it_is_taken(open_page: OpenPage) -> None:
    page = open_page("/control-panel.html")
    wait_state(page, "needed")
    token = admin()
    give(page, f'  Bearer "{token[:40]} {token[40:]}" ')
    wait_connected(page)
    wait_state(page, None)
    assert page.evaluate("sessionStorage.getItem('pubsub-token')") == token


def test_a_bad_token_does_not_end_a_session(open_page: OpenPage) -> None:
    page = signed_in(open_page("/control-panel.html"), admin())
    page.click("#account")
    other_key = Issuer().admin("ada")
    give(page, other_key)
    page.wait_for("document.querySelector('#sign-in-problem').textContent.includes('signature')")
    page.press("Escape")
    wait_connected(page)
    assert page.evaluate("sessionStorage.getItem('pubsub-token')") != other_key


def test_a_revoked_token_ends_the_session_and_says_why(
    open_page: OpenPage, server: RunningServer
) -> None:
    claims = {"publish": ["*"], "subscribe": ["*"], "admin": True}
    page = signed_in(
        open_page("/network-graph.html"), kept(ISSUER.token("eve", jti="j-1", pubsub=claims))
    )
    registry = open_database(server.database_url).registry()
    registry.revoke("j-1", time.time(), None)
    registry.close()
    wait_state(page, "refused")
    assert "revoked" in page.text("#sign-in-reason")
    give(page, admin("eve"))
    wait_connected(page)
    wait_state(page, None)


def test_signing_out_leaves_nothing_in_the_tab(open_page: OpenPage) -> None:
    page = signed_in(open_page("/control-panel.html"), admin())
    page.fill("#publish-message", '"a secret of ada"')
    page.click("#account")
    click = "document.querySelector('#sign-out').click()"
    reopen(page, click, ready=lambda page: wait_state(page, "needed"))
    assert page.evaluate("sessionStorage.length") == 0
    assert "secret of ada" not in page.evaluate("document.querySelector('#publish-message').value")


def test_another_user_starts_with_an_empty_page(open_page: OpenPage) -> None:
    page = signed_in(open_page("/control-panel.html"), admin("ada"))
    page.fill("#subscribe-topics", "adas")
    page.click("#subscribe-send")
    page.wait_for("document.querySelector('.chip') !== null")
    page.click("#account")
    page.fill("#sign-in-token", admin("eve"))
    reopen(page, "document.querySelector('#sign-in-form button').click()")
    assert page.text("#account") == "eve"
    assert page.evaluate("document.querySelector('.chip')") is None


def test_a_page_that_is_opened_anew_is_still_signed_in(open_page: OpenPage) -> None:
    page = signed_in(open_page("/activity-map.html"), admin())
    reopen(page, "location.reload()")
    wait_state(page, None)
    assert page.text("#account") == "ada"


def test_command_lines_say_where_the_token_goes_and_not_what_it_is(open_page: OpenPage) -> None:
    page = signed_in(open_page("/control-panel.html"), admin())
    page.wait_for("document.querySelector('#received-empty code').textContent.includes('$TOKEN')")
    line = page.text("#received-empty code")
    assert "Authorization: Bearer $TOKEN" in line
    assert '"producer":"ada/curl"' in line
    assert page.evaluate("sessionStorage.getItem('pubsub-token')") not in page.evaluate(
        "document.documentElement.outerHTML"
    )


@pytest.mark.parametrize("path", ["/control-panel.html", "/chat.html"])
def test_on_a_phone_and_in_french_it_fits(open_page: OpenPage, path: str) -> None:
    page = open_page(path)
    page.resize(360, 740)
    wait_state(page, "needed")
    page.evaluate("localStorage.setItem('pubsub-language', 'fr')")
    reopen(page, "location.reload()", ready=lambda page: wait_state(page, "needed"))
    assert page.text("#sign-in-title") == "Se connecter"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    give(page, user("a-user-with-a-rather-long-name"))
    wait_connected(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.click("#account")
    wait_state(page, "account")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.evaluate("localStorage.clear()")


def test_no_token_is_in_the_servers_log(open_page: OpenPage, server: RunningServer) -> None:
    signed_in(open_page("/control-panel.html"), admin("mallory"))
    server.until(lambda: server.log)
    assert len(TOKENS) > 1
    for token in TOKENS:
        for part in token.split(".")[1:]:
            assert part not in server.log
