#!/usr/bin/env python3
"""The page of a comparison in a browser: drawn without a word on the console and without a request, in light and dark, wide and narrow,
with repeats and without, with names that try to break out, and with runs that cannot be compared."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
sys.dont_write_bytecode = True
import browser_page  # noqa: E402
from browser_page import FOLDER, PROGRAM, BrowserTest, run_of  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

HOSTILE = "</script><img src=x onerror=alert(1)> \"q\""
SEEDS = [("full", "smollm2@1"), ("full", "smollm2@2"), ("part", "partial@3"), ("part", "partial@4"), ("none", "nope@5"), ("none", "nope@6")]
SINGLE = [("full", "smollm2@1"), ("none", "nope@5")]
MIXED = [("full", "smollm2@1"), ("full", "smollm2@2"), ("tiny", "tiny")]  # tiny: sequences of another length
BROKEN = [(HOSTILE, "hostile"), ("x" * 300, "hostile@7")]
SETS = {"seeds": SEEDS, "single": SINGLE, "mixed": MIXED, "hostile": BROKEN}


def page_of(name):
    page = os.path.join(FOLDER, name + ".html")
    if not os.path.exists(page):
        runs = [f"{label}={run_of(variant)}" for label, variant in SETS[name]]
        subprocess.run([PROGRAM, "report", *runs, "-o", page, "--quiet"], check=True)
    return page


class ComparisonPage(BrowserTest):
    def open(self, name, width=1280, scheme="light"):
        self.show(page_of(name), width, scheme)

    def test_whole_in_every_set(self):
        for name in SETS:
            for width, scheme in ((1280, "light"), (1280, "dark"), (380, "light")):
                with self.subTest(name=name, width=width, scheme=scheme):
                    self.open(name, width, scheme)
                    self.check_whole()
                    self.check_no_sideways()
                    self.assertEqual(self.messages(), [])

    def test_hostile_names_run_nothing(self):
        self.open("hostile")
        self.assertEqual(self.js("document.querySelectorAll('img, iframe, h1 *').length"), 0)
        self.assertEqual(self.js("document.querySelectorAll('script').length"), 3)
        self.assertIn(HOSTILE, self.css("h1").text)

    def payload(self):
        return json.loads(self.js("document.getElementById('run').textContent"))

    def test_every_run_has_a_mark(self):
        self.open("seeds")
        self.assertEqual(len(self.all("#fig-loss circle")), len(SEEDS))
        self.assertEqual(len(self.all("#fig-loss circle.ring")), 3)  # second seeds
        self.assertEqual(len(self.all("#fig-kinds svg[role=img] g > text.title")), 3 + 1)  # variants and the axis
        heads = self.payload()["runs"][0]["heads"]["previous"]
        self.assertEqual(len(self.all("#fig-scores circle")), 4 * len(SEEDS) * len(heads))

    def test_marks_stand_at_their_values(self):
        """Positions of the dots are the losses of the payload: the same ratio of distances."""
        self.open("seeds")
        x = [float(c.get_attribute("cx")) for c in self.all("#fig-loss circle")]
        losses = [r for v in next(q for q in self.payload()["quantities"] if q["key"] == "loss")["values"] for r in v["runs"]]
        scale = (x[1] - x[0]) / (losses[1] - losses[0])
        for a, b in zip(x, losses):
            self.assertAlmostEqual(a - x[0], scale * (b - losses[0]), delta=0.5)

    def test_verdicts_stand_in_the_table(self):
        self.open("seeds")
        words = self.css("#numbers").text
        report = self.payload()
        told = [v["verdict"] for q in report["quantities"] for v in q["values"]]
        self.assertEqual(len(re.findall(r", differs\b", words)), told.count("differs"))
        self.assertEqual(len(re.findall(r", within\b", words)), told.count("within"))
        self.assertEqual(report["tests"], told.count("differs") + told.count("within"))

    def test_single_runs_are_not_judged(self):
        self.open("single")
        self.assertNotRegex(self.css("#numbers").text, r", differs|, within")
        self.assertIn("no difference between them can be told", self.css("#answer").text)
        self.assertEqual(self.all("#fig-loss line.err"), [])

    def test_what_is_not_compared_says_why(self):
        self.open("mixed")
        self.assertIn("its sequences have 64 tokens", self.css("#not-compared").text)
        self.assertIn("tiny (not compared)", self.css("#fig-kinds").text)
        self.assertEqual(len(self.all("#fig-loss circle")), 2)
        self.open("seeds")
        self.assertEqual(self.all("#not-compared"), [])

    def test_norm_panels_share_a_scale(self):
        self.open("seeds")
        tops = self.js("[...document.querySelectorAll('#fig-norms .panel svg[role=img]')].map(s => [...s.querySelectorAll('.axis')][0].textContent)")
        self.assertEqual(len(tops), 3)
        self.assertEqual(len(set(tops)), 1)
        self.assertTrue(self.all("#fig-norms rect.shaded"))

    def test_maps_switch(self):
        self.open("single")
        before = self.js("document.querySelector('#fig-maps .panel svg[role=img]').innerHTML")
        self.js("document.querySelector('input[value=q_map]').click()")
        self.assertNotEqual(before, self.js("document.querySelector('#fig-maps .panel svg[role=img]').innerHTML"))

    def test_curves_by_keyboard_and_numbers(self):
        self.open("seeds")
        svg = self.css("#fig-position svg[role=img]")
        svg.send_keys(Keys.ARROW_RIGHT)
        self.assertRegex(self.css("#fig-position output").text, r"position 1: full \d")
        for button in self.all(".show-numbers"):
            button.click()
        self.assertGreater(len(self.all(".numbers table tbody tr")), 50)

    def test_dark_and_light_differ(self):
        colours = []
        for scheme in ("light", "dark"):
            self.open("single", scheme=scheme)
            colours.append((self.js("getComputedStyle(document.body).backgroundColor"), self.css("#fig-maps .panel rect").get_attribute("fill")))
        self.assertNotEqual(colours[0][0], colours[1][0])
        self.assertNotEqual(colours[0][1], colours[1][1])

    def test_it_reads_without_scripts(self):
        with open(page_of("seeds"), encoding="utf-8") as f:
            page = f.read()
        words = page[: page.index('<script type="application/json"')]
        for part in ("What differs", "beyond", "RoPE tables for", "Everything measured", "How it was made"):
            self.assertIn(part, words)


if __name__ == "__main__":
    browser_page.main()
