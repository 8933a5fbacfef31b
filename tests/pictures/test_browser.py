"""Pages in a real browser: they render, load nothing, run nothing, sort, and fit a phone."""

from __future__ import annotations

import numpy as np
import pytest
from browser import opened_browser
from files import sound
from mrcbytes import lay

import xarray_mrc
from xarray_mrc.checking.report_page import report_page
from xarray_mrc.pictures.overview import overview_page
from xarray_mrc.pictures.thumbnails import report_thumbnails

pytestmark = pytest.mark.browser

EVIL = "<script>window.pwned=1</script><img src=x onerror=pwned=1>"
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with opened_browser() as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Write the report page of files with errors, warnings, notes and nothing."""
    folder = tmp_path_factory.mktemp("page")
    files = {
        "b_error.mrc": sound(machst=b"\x11\x11\0\0", nversion=0),
        "a_warning.mrc": sound(nversion=0, labels=(EVIL.encode(), b"x" * 80)),
        "c_valid.mrc": sound(),
        "d_note.mrc": sound(rms=-1.0),
        "e_" + "long" * 50 + ".mrc": sound(nlabl=3),
        "f_skewed.mrc": lay("int8", cellb=(90.0, 90.0, 120.0), voxel=("1", "5", "2")).raw,
    }
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    (folder / "g_no.mrc").write_bytes(b"no MRC file")
    reports = [xarray_mrc.validate(path) for path in sorted(folder.iterdir())]
    path = folder / "report.html"
    path.write_text(report_page(reports, report_thumbnails(reports)), "utf-8")
    return path


def assert_quiet(browser, path):
    """Assert that the page asked for nothing but itself, and that nothing failed."""
    assert browser.requests() == [path.as_uri()]
    assert browser.errors() == []


def order_of(browser, selector):
    """Return the texts of elements from the top to the bottom of the screen."""
    return browser.run(
        """const found = [...document.querySelectorAll(arguments[0])];
        const top = element => element.getBoundingClientRect().top;
        return found.sort((a, b) => top(a) - top(b)).map(element => element.textContent);""",
        selector,
    )


def names(texts):
    return [text.rpartition("/")[2][0] for text in texts]


def test_the_report_renders_and_sorts(browser, page):
    browser.open(page)
    assert browser.driver.title == "Validation of 7 files"
    assert_quiet(browser, page)
    heads = "article p strong"
    paths = [text.partition(":")[0] for text in order_of(browser, heads)]
    assert set(names(paths)[:2]) == {"b", "g"}  # with errors
    assert names(paths)[-1] == "c"
    assert names(order_of(browser, ".overview a")) == names(paths)
    browser.click("label[for=by-name]")
    assert names([t.partition(":")[0] for t in order_of(browser, heads)]) == list("abcdefg")
    assert names(order_of(browser, ".overview a")) == list("abcdefg")
    checks = order_of(browser, "#file-0 li strong")
    assert checks == sorted(checks)
    browser.click("label[for=by-severity]")
    assert [t.partition(":")[0] for t in order_of(browser, heads)] == paths


def test_findings_are_left_out_by_severity(browser, page):
    def shown(severity):
        return browser.run(
            "return [...document.querySelectorAll('.files li.' + arguments[0])]"
            ".filter(element => element.offsetHeight > 0).length",
            severity,
        )

    browser.open(page)
    before = {severity: shown(severity) for severity in ("error", "warning", "info")}
    assert min(before.values()) > 0
    for severity in before:
        browser.click(f"label[for=show-{severity}]")
        assert shown(severity) == 0
        browser.click(f"label[for=show-{severity}]")
        assert shown(severity) == before[severity]


def test_links_of_the_overview_lead_to_their_file(browser, page):
    browser.open(page, height=300)
    browser.click(".overview li:nth-child(4) a")
    top = browser.run("return document.querySelector('#file-3').getBoundingClientRect().top")
    assert 0 <= top < 300


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_all_of_it(browser, page, dark):
    browser.open(page, **PHONE, dark=dark)
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.run("return innerWidth") == 390
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    outside = browser.run(
        """return [...document.querySelectorAll('main *')]
        .filter(e => e.getBoundingClientRect().right > 390.5 && e.offsetHeight > 0)
        .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert outside == []
    size = browser.run("return parseFloat(getComputedStyle(document.querySelector('li')).fontSize)")
    assert size >= 14
    assert_quiet(browser, page)


def luminance(colour):
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_light_and_dark(browser, page, dark):
    browser.open(page, dark=dark)
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    pairs = browser.run(
        """const ground = element => {
          for (let e = element; e; e = e.parentElement) {
            const colour = getComputedStyle(e).backgroundColor;
            if (colour !== 'rgba(0, 0, 0, 0)') return colour;
          }
          return 'rgb(255, 255, 255)';
        };
        const all = 'h1, p, label, li, td, code, caption, figcaption, span';
        return [...document.querySelectorAll(all)]
          .map(e => [getComputedStyle(e).color, ground(e), e.textContent.slice(0, 30)])"""
    )
    assert len(pairs) > 100
    for colour, ground, text in pairs:
        light, deep = sorted((luminance(colour), luminance(ground)), reverse=True)
        assert (light + 0.05) / (deep + 0.05) >= 4.5, (text, colour, ground)
    body = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (luminance(body) < 0.1) == dark


def test_pictures_are_drawn_in_the_shape_of_the_voxels(browser, page):
    browser.open(page)
    sizes = browser.run(
        "return [...document.images].map(e => [e.naturalWidth, e.width / e.height, e.alt])"
    )
    assert len(sizes) == 18
    assert all(width > 0 for width, _, _ in sizes)
    skewed = [(ratio, title) for _, ratio, title in sizes if "120°" in title]
    assert len(skewed) == 1
    assert skewed[0][0] == pytest.approx(5 * 1 / (3 * 5), rel=0.05)


def test_labels_and_names_are_inert(browser, page):
    browser.open(page)
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.run("return window.pwned === undefined")
    assert browser.run("return document.scripts.length") == 0
    texts = browser.run("return [...document.querySelectorAll('td')].map(e => e.textContent)")
    assert EVIL in texts
    assert_quiet(browser, page)


def test_a_page_with_a_script_would_be_noticed(browser, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text(
        "<!DOCTYPE html><script>window.pwned = 1; console.error('seen')</script>"
        "<img src='http://127.0.0.1:9/x.png'><p style='width: 3000px'>wide</p>"
    )
    browser.open(path, **PHONE)
    assert browser.run("return window.pwned") == 1
    assert "http://127.0.0.1:9/x.png" in browser.requests()
    assert any("seen" in text for text in browser.errors())
    assert browser.run("return document.documentElement.scrollWidth") > 390


@pytest.mark.parametrize("size", [{}, PHONE])
def test_the_page_of_a_file(browser, tmp_path, size):
    path = tmp_path / "a.mrc"
    numbers = np.random.default_rng(1).normal(size=(9, 20, 30)).astype("f4")
    path.write_bytes(sound(numbers, nversion=0, labels=(EVIL.encode(),)))
    saved = tmp_path / "a.html"
    saved.write_text(overview_page(path), "utf-8")
    browser.open(saved, **size)
    assert browser.driver.title == "a.mrc"
    width = browser.run("return document.images[0].getBoundingClientRect().width")
    assert 300 < width <= size.get("width", 1200)
    assert browser.run("return document.documentElement.scrollWidth") <= size.get("width", 1200)
    assert browser.run("return window.pwned === undefined")
    assert_quiet(browser, saved)
