"""The console in a real Chromium: it shows a swarm as it fills, runs only its own files, and is operated by mouse and keyboard.

With DFENGINE_SCREENS=DIR in the environment, the screenshots of `docs/console.md` are written there.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.actors import Actor
from tests.e2e.scene import MIB, Scene, until
from tests.e2e.test_console_api import TOKEN, ask, token
from tests.supernode.redis_server import RedisServer

HOSTS = 24
HOSTILE = "<img src=x onerror=alert(1)>"
REVERSING = f"\u202e127.0.0.9{'x' * 500}"
SCREENS = os.environ.get("DFENGINE_SCREENS", "")
PATIENCE = 60_000
"""Time-out in milliseconds of every step in Chromium."""

WATCH = """
globalThis.violations = [];
document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective + " " + event.blockedURI));
"""

INJECT = """() => [
  () => document.createElement("script").setAttribute("src", "data:text/javascript,0"),
  () => { document.body.innerHTML += "<b>x</b>"; },
].map((attempt) => { try { attempt(); return "done"; } catch (error) { return error.name; } })"""


@contextmanager
def chromium() -> Iterator[Any]:
    """A page of Debian's Chromium, which collects errors and dialogs in `complaints`."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    assert program, "this test needs Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page: Any = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="light")
        page.set_default_timeout(PATIENCE)
        page.complaints = []
        page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("dialog", lambda dialog: page.complaints.append(f"dialog: {dialog.message}"))
        page.add_init_script(WATCH)
        try:
            yield page
        finally:
            browser.close()


def screen(page: Any, name: str) -> None:
    if SCREENS:
        page.evaluate("scrollTo(0, 0)")
        time.sleep(1.5)
        page.screenshot(path=str(Path(SCREENS) / f"console-{name}.png"))


def filled(page: Any) -> int:
    """Pixels of the map outside of empty cells."""
    return int(page.evaluate("""() => {
      const canvas = document.querySelector(".map canvas");
      const data = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
      const empty = getComputedStyle(document.documentElement).getPropertyValue("--cell-empty").trim();
      const value = parseInt(empty.slice(1), 16);
      const pixel = (0xff000000 | ((value & 255) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
      return data.reduce((sum, each) => sum + (each !== pixel), 0);
    }"""))


def test_an_operator_watches_a_swarm_and_changes_copies_and_preheats(stage: Scene) -> None:
    node = stage.supernode("--console-token-file", token(stage), "--up-limit", "3")
    base = stage.origin()
    with open(stage.www / "model.safetensors", "wb") as file:
        file.truncate(96 * MIB)
    stage.file("small.bin", MIB)
    url = f"{base}/model.safetensors"
    names = {n: HOSTILE if n == 23 else f"gpu-{n:02}" for n in range(1, HOSTS + 1)}
    crowd = [Actor(node, url, n, location=f"eu/fra/rack-{n % 3}", hostName=name) for n, name in names.items()]
    extra = Actor(node, f"{base}/small.bin", 99, hostName=REVERSING, version='"><script>alert(2)</script>')
    try:
        with chromium() as page:
            page.goto(f"http://{node.node}/console")
            assert page.url == f"http://{node.node}/console/"
            page.get_by_text("live", exact=True).wait_for()
            lists(page)
            swarm(page, crowd)
            steering(page, node, crowd[0].task)
            small_screen(page)
            assert page.evaluate("globalThis.violations") == []
            assert page.complaints == []
            # The content security policy blocks injected scripts and markup.
            assert page.evaluate(INJECT) == ["TypeError", "TypeError"]
            until(lambda: len(page.evaluate("globalThis.violations")) >= 2, "violations")
    finally:
        for actor in (*crowd, extra):
            actor.close()


def lists(page: Any) -> None:
    """The lists of all tabs, operated by keyboard."""
    page.get_by_role("link", name="model.safetensors").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("small")
    page.get_by_text("1\u20131 of 1").wait_for()
    page.keyboard.press("Control+A")
    page.keyboard.press("Backspace")
    page.get_by_text("1\u20132 of 2").wait_for()
    page.keyboard.press("Escape")
    screen(page, "tasks")
    page.keyboard.press("2")
    page.get_by_text(HOSTILE).wait_for()
    page.get_by_text('"><script>alert(2)</script>').wait_for()
    named = page.locator("tbody tr", has_text="127.0.1.99").locator("td").first
    assert named.inner_text() == f"?127.0.0.9{'x' * 37}\u2026\n127.0.1.99"
    page.get_by_role("button", name="Location").click()
    page.locator('th[aria-sort="ascending"]').get_by_text("Location").wait_for()
    screen(page, "hosts")
    for key, name in (("3", "Origins"), ("4", "Preheats"), ("6", "Events"), ("5", "Cache")):
        page.keyboard.press(key)
        page.get_by_role("heading", name=name).wait_for()
        screen(page, name.lower())
    page.keyboard.press("?")
    page.get_by_role("heading", name="Keyboard").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_function("!document.querySelector('dialog').open")
    page.keyboard.press("1")
    page.get_by_role("heading", name="Tasks").wait_for()
    page.get_by_text("1\u20132 of 2").wait_for()
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.tagName") == "TR"
    if "model" not in page.evaluate("document.activeElement.textContent"):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Pieces over hosts").wait_for()


def swarm(page: Any, crowd: list[Actor]) -> None:
    """The map fills while it is displayed."""
    page.get_by_text(f"{HOSTS} hosts \u00d7 25 pieces").wait_for()
    copy = 25
    until(lambda: filled(page) == copy, "the supernode's copy on the map")
    for turn in range(8):
        for n, actor in enumerate(crowd):
            if n % 4 != 3 or turn % 4 == 0:
                actor.play()
    until(lambda: filled(page) > copy + 100, "pieces of hosts on the map")
    page.locator(".list li").get_by_text("under way").first.wait_for()
    page.locator(".map canvas").first.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    page.locator("#picked").get_by_text(HOSTILE).wait_for()
    assert page.get_by_text("of the pieces").count() == 1, "the slowest host is selected"
    page.keyboard.press("Home")
    for _ in range(7):
        page.keyboard.press("ArrowDown")
    screen(page, "swarm")
    light = page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
    page.keyboard.press("t")
    assert page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") != light
    screen(page, "dark")
    until(lambda: min([actor.play(4) for actor in crowd]) == copy, "the end of all downloads")
    until(lambda: filled(page) == copy * (HOSTS + 1), "a full map")
    page.get_by_text("All have finished.").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("1\u20132 of 2").wait_for()


def steering(page: Any, node: Any, task: str) -> None:
    """Pin, evict and preheat with the token; without it their buttons are absent."""
    page.keyboard.press("5")
    page.get_by_role("heading", name="Cache").wait_for()
    row = page.locator("tr", has_text="model.safetensors")
    row.wait_for()
    assert page.get_by_role("button", name="Evict").count() == 0
    unlock = page.locator("#unlock")
    unlock.click()
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("That is not the supernode's console token.").wait_for()
    assert unlock.text_content() == "Unlock"
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    page.locator("#unlock", has_text=re.compile("^Lock$")).wait_for()
    row.get_by_role("button", name="Pin").click()
    row.get_by_role("button", name="Unpin").wait_for()
    assert ask(node, f"/api/v2/cache/{task}")[1]["pinned"] is True
    page.locator("tr", has_text="small.bin").get_by_role("button", name="Evict").click()
    page.get_by_role("button", name="Remove").click()
    until(lambda: page.locator("tr", has_text="small.bin").count() == 0, "the copy removed from the list")
    page.keyboard.press("4")
    page.get_by_role("heading", name="Preheats").wait_for()
    page.get_by_role("button", name="New preheat").click()
    page.get_by_label("URL").fill("http://127.0.0.1:9/nothing")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="nothing", exact=True).click()
    page.get_by_role("heading", name="Preheat", exact=True).wait_for()
    page.locator("td", has_text="this supernode").wait_for()
    unlock.click()
    page.locator("#unlock", has_text="Unlock").wait_for()


def small_screen(page: Any) -> None:
    """No text is cut off and no page scrolls sideways at window widths down to 320 pixels."""
    page.get_by_role("button", name="Unlock").click()
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    page.locator("#unlock", has_text=re.compile("^Lock$")).wait_for()
    for width in (1280, 768, 375, 320):
        page.set_viewport_size({"width": width, "height": 760})
        for key, name in enumerate(("Tasks", "Hosts", "Origins", "Preheats", "Cache", "Events"), 1):
            page.keyboard.press(str(key))
            page.get_by_role("heading", name=name).wait_for()
            page.locator("tbody tr, .event").first.wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (width, name)
            assert page.evaluate(CUT) == [], (width, name)
    page.set_viewport_size({"width": 375, "height": 760})
    page.keyboard.press("1")
    page.get_by_role("link", name="model.safetensors").wait_for()
    page.evaluate("document.activeElement.blur()")
    screen(page, "small")
    page.get_by_role("link", name="model.safetensors").click()
    page.get_by_text("hosts \u00d7 25 pieces").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


CUT = """() => [...document.querySelectorAll("nav a, .top > *, .tile > *, button, .bar span, .badge, input")].filter((each) => {
  const box = each.getBoundingClientRect();
  if (each.tagName === "CANVAS") return false;
  const holder = (each.closest("td, th, .event, .tile, .head, nav, .top") ?? document.body).getBoundingClientRect();
  const lines = each.closest("td") && each.tagName === "BUTTON" ? box.height / parseFloat(getComputedStyle(each).lineHeight) : 0;
  return box.width > 0 && each.id !== "node" && (box.right > holder.right + 1 || each.scrollWidth > each.clientWidth + 1 || lines > 2 ||
    (!each.closest(".scroll") && box.right > innerWidth));
}).map((each) => each.outerHTML)"""
"""Elements whose text does not fit into them, or which extend beyond their container."""


def test_the_page_shows_the_age_of_its_figures_and_works_without_a_live_stream(stage: Scene) -> None:
    node = stage.supernode("--console-token-file", token(stage))
    base = stage.origin()
    stage.file("f.bin", MIB)
    task = stage.get(f"{base}/f.bin", "f.bin", nodes=(node,))["task_id"]

    def viewers() -> int:
        return int(ask(node, "/api/v2/overview")[1]["viewers"])

    with chromium() as page:
        page.goto(f"http://{node.node}/console/#/tasks/{'0' * 64}")
        page.get_by_text("neither a task in memory nor a copy").wait_for()
        assert page.locator(".map").is_hidden()
        page.goto(f"http://{node.node}/console/#/tasks")
        page.get_by_role("link", name="f.bin").wait_for()
        # A hidden page closes its stream.
        until(lambda: viewers() == 1, "the end of the previous page's stream")
        hide(page, True)
        until(lambda: viewers() == 0, "the end of the hidden page's stream")
        hide(page, False)
        page.get_by_text("live", exact=True).wait_for()
        # Other viewers take all places for viewers without the token.
        hide(page, True)
        until(lambda: viewers() == 0, "the end of the hidden page's stream")
        lines = [socket.create_connection(("127.0.0.1", node.port), source_address=(f"127.0.0.{n % 2 + 2}", 0)) for n in range(24)]
        for line in lines:
            line.sendall(b"GET /api/v2/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert line.recv(12) == b"HTTP/1.1 200"
        hide(page, False)
        page.get_by_text("No live stream for this page: 24 live streams are open, and 8 places are for viewers with the token").wait_for()
        stage.file("g.bin", MIB)
        stage.get(f"{base}/g.bin", "g.bin", nodes=(node,))
        page.get_by_role("link", name="g.bin").wait_for()
        page.locator("#unlock").click()
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.get_by_text("live", exact=True).wait_for()
        for line in lines:
            line.close()
        assert page.locator("body.old").count() == 0
        # A supernode that is stopped, then restarted without the task in its memory.
        node.process.send_signal(signal.SIGSTOP)
        page.get_by_text("The supernode sends nothing. The figures are of").wait_for()
        node.process.send_signal(signal.SIGCONT)
        page.locator("body:not(.old)").wait_for()
        stage.kill(node.process)
        page.get_by_text("The supernode does not answer").wait_for()
        page.get_by_text("The figures are of").wait_for()
        assert page.locator("body.old").count() == 1
        again = stage.supernode("--console-token-file", token(stage), home=node.home, port=node.port)
        page.locator("body:not(.old)").wait_for()
        page.keyboard.press("5")
        page.get_by_role("link", name="f.bin").click()
        page.get_by_text("No download uses this copy now.").wait_for()
        page.get_by_text(f"{base}/f.bin").wait_for()
        assert ask(again, f"/api/v2/tasks/{task}")[0] == 404
        assert [each for each in page.complaints if "Failed to load resource" not in each] == []


def test_the_cluster_page_exists_only_for_supernodes_in_a_cluster(stage: Scene, tmp_path: Path) -> None:
    alone = stage.supernode()
    url = f"{stage.origin()}/f"
    stage.file("f", MIB)
    key = tmp_path / "key"
    key.write_text("a key of the cluster")
    key.chmod(0o600)
    with RedisServer(tmp_path / "redis") as server, chromium() as page:
        node, other = [stage.supernode("--cluster", server.url, "--cluster-key-file", str(key)) for _ in range(2)]
        until(lambda: ask(node, "/api/v2/overview")[1]["cluster_members"] == 1, "the other supernode to be a member")
        stage.get(url, "one", host=2, nodes=(node,))

        def led() -> list[int]:
            return [each["leads"] for each in ask(node, "/api/v2/cluster")[1]["items"]]

        stage.get(url, "two", host=3, nodes=(other,))
        until(lambda: led() == [1, 0], "the tasks that each leads")
        tab = page.get_by_role("link", name="Cluster")
        for supernode, keys in ((alone, "1 \u2013 6"), (node, "1 \u2013 7")):
            page.goto(f"http://{supernode.node}/console/")
            page.get_by_text("live", exact=True).wait_for()
            page.get_by_role("heading", name="Tasks").wait_for()
            page.keyboard.press("?")
            page.get_by_text(keys, exact=True).wait_for()
            page.keyboard.press("Escape")
            page.wait_for_function("!document.querySelector('dialog').open")
            page.keyboard.press("7")
            assert page.evaluate("location.hash") == ("" if supernode is alone else "#/cluster")
            assert tab.count() == (supernode is node)
        page.get_by_text("Redis answers; 0 requests failed").wait_for()
        rows = page.locator("tbody tr")
        assert [rows.nth(n).locator("td").last.inner_text() for n in range(2)] == ["1 task", "0 tasks"]
        assert page.complaints == []


def hide(page: Any, hidden: bool) -> None:
    """Send the events that a browser sends to a page whose tab is left, or selected again."""
    page.evaluate("""(hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }""", hidden)
