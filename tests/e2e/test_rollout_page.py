"""The Models page in a browser: a trial stands there with its evidence, and how it ended."""

import asyncio
from pathlib import Path

from playwright.async_api import Page, async_playwright

from service.web.server import serve
from tests.browser.chromium import chromium
from tests.unit.rollout_bank import GOOD_DAY, MATURITY_DAYS, TrialBank
from tests.unit.web_scenes import settings_of

_PATIENCE_MS = 60_000


async def _visited(bank: TrialBank, errors: list[str]) -> list[str]:
    """What the page says of a trial while it runs, and when it is over."""
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    settings = settings_of(bank.installation.folder, WEIR_MODEL_SIGNING_KEY=bank.installation.key.decode())
    serving = asyncio.create_task(serve(settings, stop, config=None, on_ready=ready.set_result))
    try:
        url = await asyncio.wait_for(ready, _PATIENCE_MS / 1000)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"])
            page = await browser.new_page()
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: errors.append(str(error)))
            await page.goto(f"{url}#/models")
            running = await _panel(page, "On trial:")
            bank.play(GOOD_DAY, n_days=3)  # the steward of this dashboard reads it and acts
            over = await _panel(page, "promoted")
            await browser.close()
        return [running, over]
    finally:
        stop.set()
        await serving


async def _panel(page: Page, words: str) -> str:
    shown = page.locator("section.panel", has_text=words).first
    await shown.wait_for(timeout=_PATIENCE_MS)
    return await shown.inner_text()


def test_the_page_shows_a_running_trial_with_its_evidence_and_then_its_end(tmp_path: Path) -> None:
    bank = TrialBank(tmp_path)
    bank.registry.shadow(bank.challenger)
    bank.play(GOOD_DAY, n_days=MATURITY_DAYS + 2)
    bank.look(bank.steward())
    errors: list[str] = []

    running, over = asyncio.run(_visited(bank, errors))

    assert bank.challenger in running
    assert "shadow: decides nothing" in running
    assert "challenger 8 cards, champion 2 cards" in running
    assert "1 of at most 28" in running
    assert bank.challenger in over
    assert bank.registry.state().champion == bank.challenger
    assert bank.registry.history()[-1].who == "weir"
    assert errors == []
