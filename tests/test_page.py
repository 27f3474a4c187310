"""The one-page report: what is in it, and that it works in a real browser."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gancodec.evaluate.report.page import Plot, Rate, Report, Sample, Shown, apart, render
from gancodec.evaluate.table import Column, Table

HOSTILE = "<script>alert(1)</script>.png"
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">'
    '<metadata><a href="https://matplotlib.org/"/></metadata>'
    '<g id="a"><use href="#a"/></g><g clip-path="url(#a)"/></svg>'
)


def uri(colour: tuple[int, int, int]) -> str:
    """A small picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (96, 64), colour).save(buffer, "WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


RED, GREEN, BLUE, WHITE = (uri(c) for c in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)))


def sample(name: str) -> Sample:
    """Two rates; the codec `lame` reaches only the second."""
    good = Shown("gic1", RED, 1000, 0.1, {"PSNR dB": 25.5, "LPIPS": None, "dB": math.inf}, GREEN, BLUE)
    lame = Shown("lame", None, 9000, 0.9, {}, note="out of reach: the nearest file has 0.9000 bpp")
    more = Shown("lame", BLUE, 4000, 0.4, {"PSNR dB": 30.25})
    return Sample(name, 96, 64, WHITE, GREEN, (Rate("0.1 bpp", (good, lame)), Rate("0.4 bpp", (good, more))))


def report(**changes: Any) -> Report:
    """A small report with a bit of everything."""
    columns = (
        Column("codec", "codec"),
        Column("bpp", "bpp", digits=3, better="lower"),
        Column("psnr", "PSNR", "dB", 1),
    )
    rows: tuple[dict[str, Any], ...] = (
        {"codec": "gic1", "bpp": 0.1, "psnr": 25.55},
        {"codec": "avif", "bpp": 0.25, "psnr": None},
        {"codec": "jpeg", "bpp": 0.02, "psnr": math.inf},
        {"codec": HOSTILE, "bpp": 3.0, "psnr": 9.0},
    )
    values: dict[str, Any] = {
        "title": "A test",
        "command": "gancodec eval 'a b.png' --out x",
        "made": "2026-01-01",
        "facts": (("torch", "2.0"), ("machine", HOSTILE)),
        "notes": ("a note",),
        "summary": Table(columns, rows),
        "speed": Table(columns[:2], rows[:1]),
        "bd_rate": Table(),
        "plots": (Plot("one", SVG), Plot("two", SVG)),
        "samples": (sample("01"), sample(HOSTILE)),
        "failures": Table(columns[:1], ({"codec": "broken"},)),
    }
    return Report(**(values | changes))


def test_nothing_is_fetched_and_nothing_escapes() -> None:
    page = render(report())
    outside = re.findall(r"https?://[^\"' )<]+", page)
    assert set(outside) == {"http://www.w3.org/2000/svg"}
    assert "<script>alert" not in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)
    assert page.count(RED) == 2 * 2, "each picture is in the page once for each place it is shown"


def test_sections_follow_the_data() -> None:
    page = render(report())
    assert "2026-01-01" in page
    assert 'id="results"' in page
    assert 'id="bd"' not in page
    bare = render(report(samples=(), plots=(), summary=Table(), failures=Table(), speed=Table()))
    assert all(f'id="{name}"' not in bare for name in ("results", "plots", "pictures", "failures", "speed"))


def test_cells_have_their_decimals_and_absent_ones_a_dash() -> None:
    page = render(report())
    assert '<td class="number" data-value="0.1">0.100</td>' in page
    assert '<td class="number absent">–</td>' in page
    assert 'title="dB"' in page
    assert page.count("<tr>") == 1 + 4 + 1 + 1 + 1 + 1 + 2


def test_samples_survive_as_json() -> None:
    page = render(report())
    text = page.split('id="samples">')[1].split("</script>")[0]
    assert [s["name"] for s in json.loads(text)] == ["01", HOSTILE]


def test_names_that_are_no_text_do_not_stop_it() -> None:
    assert "\\udc80" in render(report(title="a \udc80 b"))


def test_ids_of_plots_are_kept_apart() -> None:
    moved = apart(SVG, "p0-")
    assert 'id="p0-a"' in moved
    assert 'href="#p0-a"' in moved
    assert "url(#p0-a)" in moved
    assert 'id="p0-a"' in render(report())
    assert 'id="p1-a"' in render(report())


# --- in a real browser ------------------------------------------------------------------------------------------------

DRIVER, BROWSER = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The report, opened in headless Chromium from a file."""
    if not (DRIVER and BROWSER):
        pytest.skip("chromium and chromedriver are not installed")
    webdriver = pytest.importorskip("selenium.webdriver")
    service = pytest.importorskip("selenium.webdriver.chrome.service").Service(DRIVER)
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1400,1600",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, service)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(report()), encoding="utf-8")
    driver.get(path.as_uri())
    yield driver
    log = driver.get_log("browser")
    driver.quit()
    service.stop()
    assert log == [], "errors on the browser's console"


def column(page: Any, number: int) -> list[str]:
    """Shown cells of a column of the first table."""
    return page.execute_script(
        "return [...document.querySelectorAll('#summary tbody tr')].filter(r => !r.hidden)"
        f".map(r => r.children[{number}].textContent)"
    )


def find(page: Any, selector: str) -> Any:
    return page.find_element("css selector", selector)


def choose(page: Any, name: str, text: str) -> None:
    pytest.importorskip("selenium.webdriver.support.ui").Select(find(page, f"#{name}")).select_by_visible_text(text)


def test_table_sorts_by_number_and_absent_is_last(page: Any) -> None:
    head = find(page, "#summary th:nth-child(3)")
    head.click()
    assert column(page, 2) == ["9.0", "25.6", "∞", "–"]
    assert head.get_attribute("aria-sort") == "ascending"
    head.send_keys("\ue007")  # Enter
    assert column(page, 2) == ["∞", "25.6", "9.0", "–"]
    find(page, "#summary th:nth-child(1)").click()
    assert column(page, 0) == [HOSTILE, "avif", "gic1", "jpeg"]
    assert head.get_attribute("aria-sort") == "none"


def test_filter_hides_rows(page: Any) -> None:
    box = find(page, "#filter")
    box.send_keys("AVIF 0.25")
    assert column(page, 0) == ["avif"]
    box.clear()
    box.send_keys(" ")
    assert len(column(page, 0)) == 4


def clip(page: Any) -> float:
    """Where the left picture ends, in percent."""
    style = find(page, "#image-left").get_attribute("style")
    return 100 - float(re.search(r"inset\(0(?:px)? ([\d.]+)(?:%|px)", style)[1])  # type: ignore[index]


def test_slider_moves_by_mouse_and_keys(page: Any) -> None:
    actions = pytest.importorskip("selenium.webdriver").ActionChains
    frame = find(page, "#frame")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", frame)
    assert clip(page) == pytest.approx(50, abs=0.5)
    width = frame.size["width"]
    actions(page).move_to_element(frame).click_and_hold().move_by_offset(width // 4, 0).release().perform()
    assert clip(page) == pytest.approx(75, abs=1)
    assert float(find(page, "#slider").get_attribute("value")) == pytest.approx(75, abs=1)
    before = clip(page)
    find(page, "#slider").send_keys("\ue012" * 6)  # left arrow
    assert clip(page) == pytest.approx(before - 3, abs=0.6)


def pixel(page: Any, x: float) -> tuple[int, ...]:
    """Colour of the compared picture at a share of its width, as the screen has it."""
    image = Image.open(io.BytesIO(find(page, "#frame").screenshot_as_png)).convert("RGB")
    return tuple(int(v) for v in np.asarray(image)[image.height // 2, int(x * image.width)])


def test_selectors_change_what_is_seen(page: Any) -> None:
    choose(page, "picture", "01")
    choose(page, "rate", "0.4 bpp")
    choose(page, "left", "gic1")
    choose(page, "right", "lame")
    assert pixel(page, 0.1) == (255, 0, 0)
    assert pixel(page, 0.95) == (0, 0, 255)
    assert find(page, "#caption-left").text == "gic1 · 1000 bytes · 0.1000 bpp · PSNR dB 25.50 · dB ∞"
    assert "4000 bytes" in find(page, "#caption-right").text
    choose(page, "left", "original")
    assert pixel(page, 0.1) == (255, 255, 255)
    choose(page, "rate", "0.1 bpp")
    assert "out of reach: the nearest file has 0.9000 bpp" in find(page, "#absent-right").text
    choose(page, "picture", HOSTILE)
    choose(page, "left", "gic1")
    assert pixel(page, 0.1) == (255, 0, 0)


def test_maps_are_shown(page: Any) -> None:
    titles = [e.text for e in page.find_elements("css selector", "#maps figcaption")]
    assert titles == ["saliency", "gic1: importance", "gic1: coded bits per block"]


def test_zoom_and_narrow_screens(page: Any) -> None:
    choose(page, "zoom", "4×")
    assert find(page, "#frame").size["width"] == 4 * 96
    choose(page, "zoom", "fit")
    page.set_window_size(500, 900)
    assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    page.set_window_size(1400, 1600)
