"""For tests/report/*.test.py: pages of made-up runs in headless Chromium. Importing it ends the calling script with 77 (skipped)
where Chromium, its driver or selenium is missing."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

SKIP = 77
BUILD = os.environ.get("RS_BUILD_DIR", "build")
PROGRAM = os.environ.get("RS_PROGRAM", os.path.join(BUILD, "ropescope"))
FAKE = shutil.which("make_fake_run", path=os.pathsep.join([os.path.join(BUILD, "tests"), BUILD])) or ""
CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"


def skip(why):
    print("skipped:", why)
    sys.exit(SKIP)


import venv_test  # noqa: E402

venv_test.enter()
try:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
except ImportError:
    skip("selenium is not installed")
for needed in (CHROMIUM, DRIVER, PROGRAM, FAKE):
    if not os.access(needed, os.X_OK):
        skip((needed or "make_fake_run") + " is not there")

FOLDER = tempfile.mkdtemp(prefix="rs_page_")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--force-device-scale-factor=1"]


def run_of(variant):
    """Path of a made-up run file; variant: a shape of tests/support/fake_run.c, or shape@seed for other numbers and weights."""
    run = os.path.join(FOLDER, variant + ".h5")
    if not os.path.exists(run):
        subprocess.run([FAKE, variant, run], check=True)
    return run


def start():
    options = Options()
    options.binary_location = CHROMIUM
    for flag in FLAGS + ["--user-data-dir=" + os.path.join(FOLDER, "profile")]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(DRIVER))


class BrowserTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.driver = start()

    @classmethod
    def tearDownClass(cls):
        cls.driver.quit()

    def show(self, page, width=1280, scheme="light", fragment=""):
        """Opens the page file; console and requests begin anew."""
        d = self.driver
        d.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", dict(width=width, height=1000, deviceScaleFactor=1, mobile=False))
        d.execute_cdp_cmd("Emulation.setEmulatedMedia", dict(features=[dict(name="prefers-color-scheme", value=scheme)]))
        d.get("about:blank")
        self.messages(), self.requests()
        d.get("file://" + page + fragment)

    def messages(self):
        return [m["message"] for m in self.driver.get_log("browser")]

    def requests(self):
        """Addresses the browser asked for, data: addresses (the colour bar) apart."""
        asked = []
        for entry in self.driver.get_log("performance"):
            m = json.loads(entry["message"])["message"]
            if m["method"] == "Network.requestWillBeSent":
                asked.append(m["params"]["request"]["url"])
        return [a for a in asked if not a.startswith("data:")]

    def css(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def js(self, code, *arguments):
        return self.driver.execute_script("return " + code, *arguments)

    def keys(self, *keys):
        for k in keys:
            self.driver.switch_to.active_element.send_keys(k)

    def tearDown(self):
        self.assertEqual(self.messages(), [], "console")

    # --- what every page must hold ---

    def check_whole(self):
        asked = self.requests()
        self.assertEqual([a for a in asked if not a.startswith("file://")], [])
        self.assertLessEqual(len(asked), 1)
        self.assertEqual(self.js("performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length"), 0)
        for figure in self.all("figure[data-plot]"):
            name = figure.get_attribute("data-plot")
            self.assertTrue(figure.find_elements(By.CSS_SELECTOR, "svg, canvas"), name)
            self.assertTrue(figure.find_element(By.CSS_SELECTOR, "h3").text, name)
            self.assertIn("How to read", figure.find_element(By.CSS_SELECTOR, ":scope > figcaption").text)
            self.assertEqual(len(figure.find_elements(By.CSS_SELECTOR, ".show-numbers")), 1, name)
            self.assertEqual(len(figure.find_elements(By.CSS_SELECTOR, ".copy-csv")), 1, name)
        self.assertNotRegex(self.js("document.body.innerText"), r"\b(NaN|undefined|null|Infinity|\[object)\b")

    def check_no_sideways(self):
        self.assertLessEqual(self.js("document.documentElement.scrollWidth"), self.js("document.documentElement.clientWidth"))


def main():
    try:
        unittest.main(verbosity=1)
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
