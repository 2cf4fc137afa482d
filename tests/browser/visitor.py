"""Somebody who looks at the dashboard with a real browser, and keeps note of what the browser complains about."""

import base64
from pathlib import Path

from playwright.sync_api import Browser, Page

PAGES = ("live", "drift", "quality", "models", "transaction")
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
_SETTLED = """() => {
  const main = document.querySelector("main");
  const page = location.hash.split(/[/?]/)[1] || "live";
  return main.querySelector(`.page-${page} h1`) && !main.querySelector(".waiting") && !main.innerText.includes("Looking…")
    && document.querySelector("#feed").innerText !== "Connecting…"
    && ![...document.querySelectorAll(".plot:empty")].some((plot) => plot.clientWidth);
}"""
_AS_WEBP = """async (source) => {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/webp", 0.9);
}"""
_TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


class Visitor:
    """One browser context.

    Args:
        browser: Running Chromium.
        url: Of the dashboard.
        width: Of the window, in CSS pixels.
        height: Of the window.
        scheme: `light` or `dark`.
        scale: Pixels of the screen for one CSS pixel.
    """

    def __init__(
        self, browser: Browser, url: str, *, width: int = 1280, height: int = 900, scheme: str = "light", scale: int = 1
    ) -> None:  # fmt: skip
        self.url = url
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce", device_scale_factor=scale
        )
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type in {"error", "warning"} else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.context.on("request", lambda request: self.requests.append(request.url))

    def open(self, view: str) -> Page:
        """Go to `#/<view>` and wait until it has its answers."""
        self.page.goto(f"{self.url}/#/{view}")
        return self.settle()

    def settle(self) -> Page:
        self.page.wait_for_function(_SETTLED)
        self.page.evaluate(_TWO_FRAMES)
        return self.page

    def picture(self, path: Path) -> None:
        """Write what the window shows as WebP, which is half of a PNG."""
        shot = base64.b64encode(self.page.screenshot()).decode()
        artist = self.context.new_page()
        drawn = artist.evaluate(_AS_WEBP, f"data:image/png;base64,{shot}")
        artist.close()
        path.write_bytes(base64.b64decode(drawn.partition(",")[2]))

    def overflow_px(self) -> int:
        """Return how far the page reaches beyond the window's right edge."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def violations(self) -> list[str]:
        """Return axe's serious and critical findings: rule, and where."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text("utf-8"))
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((result) => result.violations)")
        return [
            f"{one['impact']} {one['id']}: {'; '.join(node['html'][:160] for node in one['nodes'][:3])}"
            for one in found
            if one["impact"] in {"serious", "critical"}
        ]

    def tab_to(self, selector: str, most: int = 60) -> None:
        """Press Tab until the focus is on `selector`."""
        for _ in range(most):
            if self.page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{selector} is not reached by {most} steps of the Tab key")

    def text(self, selector: str = "main") -> str:
        """Return what is seen, with ordinary spaces."""
        return self.page.inner_text(selector).replace("\u00a0", " ")

    def close(self) -> None:
        self.context.close()
