"""The dashboard in a real Chromium, before a running worker: seen, read aloud, walked through by keyboard.

With `SCREENSHOTS=docs/images` (and `-k "every_page and (desktop-light or phone-dark)"`) more days are streamed, and the
pictures of the docs are written.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from service.demo import settings_toml
from simulate.drift import Drift
from simulate.generate import generate
from tests.browser.chromium import launch
from tests.browser.visitor import PAGES, Visitor
from tests.browser.world import Web, World, until_filled
from tests.e2e.conftest import PAST_DAYS
from tests.e2e.installation import Installation, until

SCREENSHOTS = os.environ.get("SCREENSHOTS")
#: For pictures. The baseline of drift needs 28 days, labels take up to 45; in the last days people buy online what they bought in shops.
N_SHOWN_DAYS = 70
N_CHANGED_DAYS = 3
N_SHOWN_CARDS = 2_500
N_SHOWN_SECONDS = 120
N_DAYS = 2
SIZES = {"desktop": (1280, 900), "phone": (360, 740)}
N_MANY = 1000
MOST_ALERTS = 50

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = launch(playwright)
        yield found
        found.close()


@pytest.fixture(scope="module")
def world(browser, trained, broker, redis_server, tmp_path_factory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("dashboard")
    installation = Installation(
        folder, bootstrap=broker.bootstrap, redis_url=redis_server.url, prefix="dashboard.", registry=trained.registry
    )
    if SCREENSHOTS:
        drifts = (Drift("channel_shift", PAST_DAYS + N_SHOWN_DAYS - N_CHANGED_DAYS),)
        history = generate(n_days=PAST_DAYS + N_SHOWN_DAYS + 4, n_cards=N_SHOWN_CARDS, seed=5, drifts=drifts)
        found = World(installation, history, from_ms=trained.start_ms, n_days=N_SHOWN_DAYS, is_warm=True)
    else:
        found = World(installation, trained.history, from_ms=trained.start_ms, n_days=N_DAYS, is_warm=False)
    found.run()
    yield found
    found.close()


@pytest.fixture(scope="module")
def web(world) -> Iterator[Web]:
    found = world.web()
    until_filled(found)
    if SCREENSHOTS:
        until(lambda: len(found.get("live")["rate_history"]) >= N_SHOWN_SECONDS, "the dashboard stands still", 4.0 * N_SHOWN_SECONDS)
    yield found
    found.stop()


@pytest.fixture(scope="module", params=[(size, scheme) for size in SIZES for scheme in ("light", "dark")], ids="-".join)
def visitor(request, browser, web) -> Iterator[Visitor]:
    size, scheme = request.param
    found = Visitor(browser, web.url, width=SIZES[size][0], height=SIZES[size][1], scheme=scheme, scale=2 if size == "phone" else 1)
    found.name = f"{size}-{scheme}"
    yield found
    found.close()


@pytest.fixture
def guest(browser, web) -> Iterator[Visitor]:
    found = Visitor(browser, web.url)
    yield found
    found.close()


@pytest.fixture(scope="module")
def told_alert(world, web) -> str:
    return world.told_alert()


@pytest.mark.parametrize("page", PAGES)
def test_every_page_fits_is_accessible_and_asks_nobody_else(page, visitor, web, told_alert, tmp_path):
    visitor.complaints.clear()
    visitor.open(f"{page}/{told_alert}" if page == "transaction" else page)
    picture = Path(SCREENSHOTS) if SCREENSHOTS else tmp_path
    picture.mkdir(parents=True, exist_ok=True)
    if not SCREENSHOTS or visitor.name == "desktop-light" or (visitor.name, page) == ("phone-dark", "live"):
        visitor.picture(picture / f"{page}{'-phone-dark' if visitor.name == 'phone-dark' else ''}.webp")

    assert visitor.overflow_px() == 0
    assert visitor.violations() == []
    assert visitor.complaints == []
    assert [url for url in visitor.requests if not url.startswith(web.url)] == []


def test_the_first_screen_says_in_words_how_it_is_what_changed_and_where_the_last_alerts_are(guest, web):
    guest.open("live")

    def words(text: str) -> str:
        """Return a text without its figures: they change each second, perhaps between the two questions."""
        return re.sub(r"[\d.,]+", "#", text)

    def says_what_the_service_says() -> bool:
        status = web.get("status")
        first = re.split(r"[.;] |\.$", status["headline"])[0]
        shown = [words(line) for line in guest.page.locator(".status .notice").all_inner_texts()]
        said = [one["text"] for one in status["sentences"] if not status["headline"].startswith(one["text"])]
        return words(first) in words(guest.text(".status .headline")) and all(any(words(text) in line for line in shown) for text in said)

    until(says_what_the_service_says, "the page's words are not the service's")

    until(lambda: guest.page.locator("#alerts .alert").count() > 0, "no alert is shown")
    assert guest.page.locator("#alerts .alert").first.bounding_box()["y"] < SIZES["desktop"][1]
    assert guest.page.locator("#alerts .reasons li").first.inner_text()
    workers = guest.page.locator(".workers-panel tbody tr")
    until(lambda: workers.count() == len(web.get("live")["workers"]), "other workers are shown than there are")


def test_the_figures_follow_the_stream(guest):
    page = guest.open("live")
    newest = page.inner_text("#newest")
    page.wait_for_function("(before) => document.querySelector('#newest').innerText !== before", arg=newest)

    assert re.fullmatch(r"\d+(\.\d)?\u00a0/s", page.locator(".figures dd").first.inner_text())


def test_all_pages_can_be_walked_by_keyboard_alone(guest, web):
    page = guest.open("live")
    keys = page.keyboard
    keys.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    keys.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.reload()
    guest.settle()
    for name in PAGES[1:]:
        guest.tab_to(f"nav a[data-page={name}]")
        keys.press("Enter")
        page.wait_for_function("(name) => location.hash.startsWith('#/' + name)", arg=name)
        guest.settle()
        expect(page.locator("h1")).to_be_focused()
        expect(page.locator(f"nav a[data-page={name}]")).to_have_attribute("aria-current", "page")
        page.evaluate("document.querySelector('#skip').focus()")

    guest.open("drift")
    guest.tab_to("input[type=radio]")
    keys.press("ArrowRight")
    page.wait_for_function("location.hash.includes('window=7d')")
    guest.settle()
    guest.tab_to("#feature-search")
    keys.type("event_channel")
    expect(page.locator(".panel tbody tr")).to_have_count(1)
    guest.tab_to("a.name[href*=event_channel]")
    keys.press("Enter")
    expect(page.locator("h1")).to_have_text("event_channel")
    guest.settle()
    assert page.locator(".histogram tbody tr").count() >= 2

    transaction_id = web.get("live")["alerts"][0]["transaction_id"]
    guest.open("transaction")
    guest.tab_to("#transaction-id")
    keys.type(transaction_id)
    keys.press("Enter")
    expect(page.locator("#verdict-title")).to_have_text(transaction_id)
    assert "Fraud probability" in guest.text()
    guest.tab_to("#theme")
    keys.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert guest.complaints == []


def test_an_address_shows_the_same_view_to_a_colleague(guest):
    page = guest.open("drift?window=1h&q=merchant_count&order=psi")

    assert page.is_checked("input[value='1h']")
    assert page.input_value("#feature-search") == "merchant_count"
    assert {"merchant_count" in name for name in page.locator(".panel tbody th a").all_inner_texts()} == {True}


def test_the_threshold_explorer_says_what_another_threshold_would_have_meant(guest, web):
    answer = web.get("quality")
    row = {"threshold": 0.01, "alerts_per_day": 40.0, "precision": 0.25, "recall": 0.8, "caught_minor": 500_000, "missed_minor": 125_000}
    strict = {"threshold": 0.5, "alerts_per_day": 8.0, "precision": 0.9, "recall": 0.5, "caught_minor": 312_500, "missed_minor": 312_500}
    answer["threshold"] = row["threshold"]
    answer["report"] |= {"thresholds": [row, strict], "n_matured_days": 3}  # no label of these few days is all in yet
    guest.page.route("**/api/v1/quality", lambda route: route.fulfill(json=answer))
    page = guest.open("quality")

    assert guest.text(".explorer .figures").split("\n")[:3] == ["Alerts a day", "40", "as today"]
    page.focus("#threshold")
    page.keyboard.press("End")

    figures = guest.text(".explorer .figures")
    assert [
        text in figures for text in ("\N{MINUS SIGN}32 against today", "90.0 %", "3,125 EUR", "\N{MINUS SIGN}1,875 EUR against today")
    ] == [True] * 4
    assert page.get_attribute("#threshold", "aria-valuetext").startswith("0.5: 8 alerts a day")
    assert page.url.endswith("#/quality?threshold=0.5000")
    page.get_by_role("button", name="Back to today's").click()
    assert page.inner_text(".threshold-value") == "0.01"


def test_an_unknown_transaction_is_said_to_be_unknown_and_its_name_stays_text(guest):
    page = guest.open("transaction/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")

    assert "No transaction <img src=x onerror=alert(1)>." in guest.text()
    assert page.locator("main img").count() == 0


def test_a_thousand_features_are_a_short_table_that_grows_as_one_scrolls(guest, web):
    answer = web.get("drift?window=24h")
    answer["features"] = [answer["features"][i % len(answer["features"])] | {"feature": f"feature_{i}"} for i in range(N_MANY)]
    guest.page.route("**/api/v1/drift?window=24h", lambda route: route.fulfill(json=answer))
    page = guest.open("drift")
    rows = page.locator("section:has(#features-title) tbody tr")

    assert rows.count() <= MOST_ALERTS
    more = page.get_by_role("button", name="of 1,000 shown")
    more.click()
    for _ in range(3):
        before = rows.count()
        more.scroll_into_view_if_needed()
        expect(rows).not_to_have_count(before)
    page.fill("#feature-search", "feature_99")
    expect(rows).to_have_count(11)


def test_a_storm_of_alerts_keeps_the_list_short_and_waits_while_somebody_reads(guest, web):
    page = guest.open("live")
    alert = web.get("live")["alerts"][0]
    page.evaluate(
        """async (alert) => {
          const { alertList } = await import("./alerts.js");
          const list = alertList(document.createElement("p"));
          document.querySelector("main").replaceChildren(list.node);
          window.storm = (from, n) => { for (let i = from; i < from + n; i += 1) list.add({ ...alert, transaction_id: `storm-${i}` }); };
          list.fill([]);
          window.storm(0, 500);
        }""",
        alert,
    )
    items = page.locator("#alerts > li")
    expect(items).to_have_count(MOST_ALERTS)
    expect(items.first.locator("a")).to_have_attribute("href", "#/transaction/storm-499")
    items.first.locator("a").focus()
    page.evaluate("window.storm(500, 3)")
    expect(page.locator(".held")).to_contain_text("3 new alerts, held while you read")
    expect(items.first.locator("a")).to_have_attribute("href", "#/transaction/storm-499")
    page.locator(".held").click()
    expect(items.first.locator("a")).to_have_attribute("href", "#/transaction/storm-502")
    expect(items).to_have_count(MOST_ALERTS)


def test_the_page_says_when_the_service_is_away_and_goes_on_when_it_is_back(browser, world, tmp_path):
    folder = {"WEIR_MONITORING_DIRECTORY": str(tmp_path)}  # one folder, one `weir web`
    web = world.web(**folder)
    guest = Visitor(browser, web.url)
    page = guest.open("live")
    web.stop()
    expect(page.locator("#feed")).to_have_text("Reconnecting…")
    again = world.web(web.port, **folder)
    until(lambda: again.get("live")["workers"], "the dashboard sees no worker")
    expect(page.locator("#feed")).not_to_have_text("Reconnecting…")
    newest = page.inner_text("#newest")
    page.wait_for_function("(before) => document.querySelector('#newest').innerText !== before", arg=newest)
    guest.close()
    again.stop()


@pytest.fixture(scope="module")
def empty(browser, redis_server, broker, tmp_path_factory) -> Iterator[Visitor]:
    folder = tmp_path_factory.mktemp("empty")
    installation = Installation(
        folder, bootstrap=broker.bootstrap, redis_url=redis_server.url, prefix="empty.", registry=folder / "registry"
    )
    replace = msgspec.structs.replace
    settings = replace(
        installation.settings,
        archive=replace(installation.settings.archive, directory=str(folder / "archive")),
        monitoring=replace(installation.settings.monitoring, directory=str(folder / "monitoring")),
    )
    installation.config.write_text(settings_toml(settings), "utf-8")
    web = Web(installation.config, folder / "web.log")
    found = Visitor(browser, web.url)
    yield found
    found.close()
    web.stop()


@pytest.mark.parametrize(
    ("page", "missing", "what_fills_it"),
    [
        ("live", "No worker is running.", "weir worker"),
        ("live", "No alert in sight.", "weir demo"),
        ("drift", "No feature has been counted yet.", "weir worker"),
        ("quality", "There is no archive", "weir archive"),
        ("models", "The registry is empty.", "weir train"),
        ("transaction", "No alert in sight.", ""),
    ],
)
def test_an_empty_view_says_what_would_fill_it_and_how(page, missing, what_fills_it, empty):
    empty.complaints.clear()
    empty.open(page)

    assert missing in empty.text()
    assert what_fills_it in empty.text()
    assert empty.violations() == []
    assert empty.complaints == []


def test_without_a_baseline_nothing_is_judged_and_the_page_says_why(guest, web):
    guest.open("drift")
    until(lambda: web.get("drift")["sentence"] in guest.text(), "the page's words are not the service's")

    if not web.get("drift")["has_baseline"]:
        assert guest.page.locator("section:has(#features-title) tbody .badge.is-alarm").count() == 0
        assert "Not judged" in guest.text()
