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
MANY = [(f"{shape} {letter}", f"{shape}@{n}") for n, (shape, letter) in enumerate([(s, x) for s in ("smollm2", "partial", "nope") for x in "ab"], 11)]
SETS = {"many": MANY, "seeds": SEEDS, "single": SINGLE, "mixed": MIXED, "hostile": BROKEN}


def page_of(name):
    page = os.path.join(FOLDER, name + ".html")
    if not os.path.exists(page):
        runs = [f"{label}={run_of(variant)}" for label, variant in SETS[name]]
        subprocess.run([PROGRAM, "report", *runs, "-o", page, "--quiet"], check=True)
    return page


def turned(page):
    """The page, its second variant with the pairs in the opposite order: in made-up runs they all have the first's."""
    begin, end = '<script type="application/json" id="run">', "</script>"
    with open(page, encoding="utf-8") as f:
        head, rest = f.read().split(begin)
    data, tail = rest.split(end, 1)
    payload = json.loads(data)
    payload["variants"][1]["aligned"].reverse()
    with open(page + ".turned.html", "w", encoding="utf-8") as f:
        f.write(head + begin + json.dumps(payload) + end + tail)
    return page + ".turned.html"


def middles(path):
    """Of the round marks of a row, which are drawn as one path: each begins at its left end."""
    return [(float(x) + float(r), float(y)) for x, y, r in re.findall(r"M([-.\d]+),([-.\d]+)a([.\d]+),", path)]


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

    def marks(self, selector):
        return [m for path in self.all(selector) for m in middles(path.get_attribute("d"))]

    def test_every_run_has_a_mark(self):
        self.open("seeds")
        self.assertEqual(len(self.marks("#fig-loss .plot path.dot")), 3)
        self.assertEqual(len(self.marks("#fig-loss .plot path.ring")), len(SEEDS) - 3)  # second seeds
        self.assertEqual(len(self.all("#fig-kinds svg[role=img] g > text.title")), 3 + 1)  # variants and the axis
        heads = self.payload()["runs"][0]["heads"]["previous"]
        self.assertEqual(len(self.marks("#fig-scores path.dot, #fig-scores path.ring")), 4 * len(SEEDS) * len(heads))

    def test_marks_of_a_row_stay_in_it(self):
        """However many heads have one score; a row is 40 pixels high."""
        self.open("seeds")
        rows = self.js("[...document.querySelectorAll('#fig-scores svg[role=img] g[style]')].map(g => [...g.querySelectorAll('path')].map(p => p.getAttribute('d')).join(''))")
        self.assertEqual(len(rows), 4 * 3)
        for i, row in enumerate(rows):
            ys = [y for _, y in middles(row)]
            self.assertGreater(len(ys), 500)
            self.assertGreaterEqual(min(ys), 40 * (i % 3))
            self.assertLessEqual(max(ys), 40 * (i % 3 + 1))

    def test_marks_stand_at_their_values(self):
        """Positions of the dots are the losses of the payload: the same ratio of distances."""
        self.open("seeds")
        x = [x for x, _ in self.marks("#fig-loss .plot path.dot") + self.marks("#fig-loss .plot path.ring")]
        losses = [v["runs"][k] for k in (0, 1) for v in next(q for q in self.payload()["quantities"] if q["key"] == "loss")["values"]]
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
        self.assertEqual(self.css("#numbers").text.count("over the text, not tested"), 1)  # the loss alone has an interval

    def test_what_is_not_compared_says_why(self):
        self.open("mixed")
        self.assertIn("its sequences have 64 tokens", self.css("#not-compared").text)
        self.assertIn("tiny (not compared)", self.css("#fig-kinds").text)
        self.assertEqual(len(self.marks("#fig-loss .plot path.dot, #fig-loss .plot path.ring")), 2)
        self.assertIn("for tiny (2 layers instead of 30)", self.css("#fig-maps .left-out").text)
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
        painted = "[...document.querySelectorAll('#fig-maps .panel canvas')].map(c => c.toDataURL())"
        before = self.js(painted)
        self.js("document.querySelector('input[value=q_map]').click()")
        self.assertEqual([a == b for a, b in zip(before, self.js(painted))], [False] * 3)  # full, none, the difference

    def test_map_cells_are_their_numbers(self):
        """Arrow keys go to layer 1, pair 2; what is said there is the share of the payload times the pairs, and the difference of two such."""
        self.show(turned(page_of("single")))
        variants = self.payload()["variants"]
        self.assertEqual(variants[1]["aligned"][2], variants[1]["pairs"] - 3)
        at = [v["pairs"] * v["k_map"][v["pairs"] + (v["aligned"] or range(v["pairs"]))[2]] for v in variants]
        for panel, want in enumerate([at[0], at[1], at[1] - at[0]]):
            holder = self.all("#fig-maps .map")[panel]
            for key in (Keys.HOME, Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT):
                holder.send_keys(key)
            said = self.css("#fig-maps output").text
            self.assertIn("layer 1, pair 2", said)
            self.assertAlmostEqual(float(re.search(r"([-+]?[\d.]+) times uniform", said)[1]), want, delta=0.005 + 0.005 * abs(want))

    def test_no_difference_without_its_reason(self):
        self.open("seeds")
        self.assertEqual([h.text for h in self.all("#fig-maps .panel h4")], ["full", "part", "none", "none minus full"])
        self.assertIn("for part (other components make a pair)", self.css("#fig-maps .left-out").text)

    def test_rows_by_keyboard(self):
        self.open("seeds")
        for figure, words in (("fig-loss", r"^full: 2\.\d{3} ± 0\.\d{3} nats \(runs: "), ("fig-kinds", r"^full, run 1: \d+ previous token, "),
                              ("fig-scores", r"^full: mean 0\.\d+, median .* of 540 heads$")):
            self.css(f"#{figure} svg[role=img]").send_keys(Keys.ARROW_DOWN)
            self.assertRegex(self.css(f"#{figure} output").text, words)
        self.css("#fig-loss svg[role=img]").send_keys(Keys.END)
        self.assertRegex(self.css("#fig-loss output").text, "^none: ")

    def test_many_variants_have_a_panel_each(self):
        """Bands of more than three differences would hide one another; lines have other dashes where they have other colours."""
        self.open("many")
        self.assertEqual([h.text for h in self.all("#fig-loss-difference .panel h4")], [f"{v} minus smollm2 a" for v, _ in MANY[1:]])
        looks = self.js("[...document.querySelectorAll('#fig-position .plot path.series')].map(p => p.getAttribute('class') + ' ' + p.parentNode.getAttribute('style'))")
        self.assertEqual(len(set(looks)), len(MANY))
        self.assertEqual(len(set(look.split("--c")[0] for look in looks)), 4)
        self.open("seeds")
        self.assertEqual(self.all("#fig-loss-difference .panel"), [])

    def test_long_findings_are_folded(self):
        """Folded, not left out; the loss never is."""
        self.open("many")
        height = "document.querySelector('#answer .findings').offsetHeight"
        folded = self.js("[...document.querySelectorAll('#answer details:not([open])')].map(d => d.textContent)")
        self.assertTrue(any("% previous token" in words for words in folded))
        self.assertFalse(any("Loss: " in words for words in folded))
        before = self.js(height)
        for summary in self.all("#answer summary"):
            summary.click()
        self.assertGreater(self.js(height), before + 100)
        words = self.css("#answer .findings").text.replace("\u202f", ",")
        for finding in self.payload()["findings"]:
            self.assertIn(finding["text"], words)

    def test_row_names_stay_in_a_wide_table(self):
        self.open("many", width=380)
        box = self.css(".box:has(.quantities)")
        self.js("arguments[0].scrollTo(300, 0)", box)
        self.assertEqual(self.js("document.querySelector('.quantities tbody tr:nth-child(2) th').getBoundingClientRect().left"), self.js("arguments[0].getBoundingClientRect().left", box))

    def test_hashes_of_the_models(self):
        self.open("seeds")
        self.js("document.querySelectorAll('#made details').forEach(d => { d.open = true; })")
        self.assertEqual(len(set(re.findall(r"\b[0-9a-f]{64}\b", self.css("#made").text))), len(SEEDS))

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
            colours.append((self.js("getComputedStyle(document.body).backgroundColor"), self.js("document.querySelector('#fig-maps canvas').toDataURL()")))
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
