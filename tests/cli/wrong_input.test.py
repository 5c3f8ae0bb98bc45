"""Wrong input, full disks and Ctrl-C: the right exit code, one clear message, nothing half-written, nothing of the user's touched.

Standard library only. Every case runs `ropescope` in a fresh folder on a damaged copy of a small model and compares the folder
before and after."""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ.get("RS_SOURCE_DIR", "."))
PROGRAM = os.environ.get("RS_PROGRAM", "build/ropescope")
MODEL = SOURCE / "tests/golden/families/llama_gqa"
USAGE, UNSUPPORTED, BAD = 2, 3, 4


def run(*args, cwd, **kw):
    return subprocess.run([PROGRAM, *map(str, args)], cwd=cwd, capture_output=True, text=True, errors="replace", **kw)


def split_safetensors(path):
    raw = path.read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8 : 8 + n]), raw[8 + n :]


def join_safetensors(path, header, body):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


class WrongInput(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ropescope-test-"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.model = self.folder / "model"
        shutil.copytree(MODEL, self.model, copy_function=shutil.copyfile)
        self.ids = self.folder / "ids.txt"
        vocabulary = json.loads((self.model / "config.json").read_text())["vocab_size"]
        self.vocabulary = vocabulary
        self.ids.write_text("\n".join(" ".join(str((7 * i + 3 * s) % vocabulary) for i in range(32)) for s in range(2)) + "\n")

    def files(self):
        return sorted((str(p.relative_to(self.folder)), p.stat().st_size) for p in self.folder.rglob("*") if p.is_file())

    def refused(self, code, *words, args=None, says_file=None):
        """The audit is refused with this code, one message that holds the words, and the folder is as it was."""
        before = self.files()
        r = run(*(args or ["audit", "model", "--ids", "ids.txt", "-o", "run.h5"]), cwd=self.folder)
        message = r.stderr.strip()
        self.assertEqual(r.returncode, code, message)
        for word in words:
            self.assertIn(str(word), message)
        errors = [line for line in message.splitlines() if line.startswith("ropescope audit:") or line.startswith("ropescope:")]
        self.assertTrue(errors, message)
        self.assertNotIn("Sanitizer", message)
        self.assertEqual(self.files(), before, "something was left behind or touched")

    def config(self, **changes):
        path = self.model / "config.json"
        c = json.loads(path.read_text())
        for key, value in changes.items():
            if value is None:
                c.pop(key, None)
            else:
                c[key] = value
        path.write_text(json.dumps(c))

    # --- it works at all: otherwise every refusal below would prove nothing ---
    def test_good_input_is_accepted(self):
        r = run("audit", "model", "--ids", "ids.txt", "-o", "run.h5", cwd=self.folder)
        self.assertEqual(r.returncode, 0, r.stderr)
        left = {name for name, _ in self.files()} - {name for name in ("ids.txt",)}
        self.assertIn("run.h5", left)
        self.assertIn("ropescope.sqlite", left)
        self.assertFalse([n for n in left if ".tmp." in n or n.endswith((".part", "-wal", "-shm", "-journal"))], left)

    # --- containers ---
    def test_truncated_weights(self):
        path = self.model / "model.safetensors"
        whole = path.read_bytes()
        for n in (0, 4, 8, 9, 100, len(whole) // 2, len(whole) - 1):
            with self.subTest(bytes=n):
                path.write_bytes(whole[:n])
                self.refused(BAD, "model.safetensors")

    def test_oversized_header(self):
        path = self.model / "model.safetensors"
        whole = path.read_bytes()
        for n in (1 << 62, 1 << 40, len(whole)):
            with self.subTest(header=n):
                path.write_bytes(struct.pack("<Q", n) + whole[8:])
                self.refused(BAD, "model.safetensors")

    def test_flipped_header_bits_never_crash(self):
        path = self.model / "model.safetensors"
        whole = bytearray(path.read_bytes())
        for at in range(8, 400, 7):
            whole[at] ^= 1 << at % 8
            path.write_bytes(whole)
            r = run("check", "model", cwd=self.folder)
            self.assertIn(r.returncode, (0, UNSUPPORTED, BAD), (at, r.stderr))
            whole[at] ^= 1 << at % 8

    def test_tensor_of_wrong_shape_and_missing_tensor_are_reported_together(self):
        path = self.model / "model.safetensors"
        header, body = split_safetensors(path)
        names = [n for n in header if n.endswith("q_proj.weight")]
        rows, cols = header[names[0]]["shape"]
        header[names[0]]["shape"] = [cols, rows] if rows != cols else [rows * 2, cols // 2]
        header["model.layers.0.strange.weight"] = header.pop("model.layers.0.input_layernorm.weight")
        join_safetensors(path, header, body)
        self.refused(BAD, names[0], "model.layers.0.input_layernorm.weight", "model.layers.0.strange.weight")

    def test_nan_and_infinity_in_weights(self):
        path = self.model / "model.safetensors"
        header, body = split_safetensors(path)
        for name, bits in (("model.layers.1.mlp.up_proj.weight", 0x7FC00000), ("model.norm.weight", 0x7F800000), ("model.layers.0.self_attn.k_proj.weight", 0xFF800000)):
            with self.subTest(tensor=name):
                self.assertEqual(header[name]["dtype"], "F32")
                damaged = bytearray(body)
                start = header[name]["data_offsets"][0]
                damaged[start + 16 : start + 20] = struct.pack("<I", bits)
                join_safetensors(path, header, bytes(damaged))
                self.refused(BAD, name, "NaN or infinite")

    def test_no_model(self):
        self.refused(1, "nowhere", args=["audit", "nowhere", "--ids", "ids.txt", "-o", "run.h5"])

    def test_lfs_pointer(self):
        (self.model / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
        self.refused(BAD, "LFS")

    def test_gguf_garbage(self):
        for raw in (b"GGUF", b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60), b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 63)):
            (self.folder / "m.gguf").write_bytes(raw)
            self.refused(BAD, "m.gguf", args=["audit", "m.gguf", "--ids", "ids.txt", "-o", "run.h5"])

    # --- configuration ---
    def test_unknown_family(self):
        self.config(model_type="mamba")
        self.refused(UNSUPPORTED, "mamba", "llama", "gpt_neox")

    def test_unknown_rope_type(self):
        self.config(rope_scaling={"rope_type": "spiral", "factor": 2.0})
        self.refused(UNSUPPORTED, "spiral")

    def test_config_that_is_not_json(self):
        (self.model / "config.json").write_text("{\"model_type\": \"llama\",")
        self.refused(BAD, "config.json", "line 1")

    def test_config_that_contradicts_its_tensors(self):
        self.config(num_hidden_layers=7)
        self.refused(BAD, "model.layers.2.self_attn.q_proj.weight", "more")

    def test_config_that_contradicts_itself(self):
        self.config(num_key_value_heads=3)
        self.refused(BAD, "num_key_value_heads")

    def test_absurd_sizes(self):
        for key, value in (("num_hidden_layers", 1 << 40), ("hidden_size", -8), ("vocab_size", 0), ("num_attention_heads", 1.5), ("hidden_size", "many")):
            with self.subTest(field=key, value=value):
                self.setUp()
                self.config(**{key: value})
                self.refused(BAD, key)

    # --- text and ids ---
    def test_ids_outside_the_vocabulary(self):
        self.ids.write_text("1 2 3 4\n1 2 %d 4\n" % self.vocabulary)
        self.refused(BAD, "ids.txt", "2", self.vocabulary)

    def test_ids_that_are_no_numbers(self):
        for text in ("1 2 x 4\n", "1 2 -1 4\n", "1 2 99999999999999999999 4\n", "", "\n", "1 2 3\n1 2\n"):
            with self.subTest(text=text):
                self.ids.write_text(text)
                self.refused(BAD, "ids.txt")

    def tokenizer(self):
        table = [*range(33, 127), *range(161, 173), *range(174, 256)]
        names, spare = {}, 0
        for b in range(256):
            if b in table:
                names[chr(b)] = b
            else:
                names[chr(256 + spare)] = b
                spare += 1
        vocabulary = {c: b % self.vocabulary for c, b in names.items()} if self.vocabulary >= 256 else {c: b for c, b in names.items()}
        (self.model / "tokenizer.json").write_text(json.dumps({
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "post_processor": None, "decoder": {"type": "ByteLevel"},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "vocab": vocabulary, "merges": []}}))

    def test_text_that_is_not_utf8(self):
        self.tokenizer()
        (self.folder / "text.txt").write_bytes(b"plain words and then \xff\xfe")
        self.refused(BAD, "text.txt", "21", args=["audit", "model", "text.txt", "-c", "8", "-o", "run.h5"])

    def test_text_shorter_than_a_window(self):
        self.tokenizer()
        (self.folder / "text.txt").write_text("short")
        self.refused(BAD, "text.txt", "5", args=["audit", "model", "text.txt", "-c", "64", "-o", "run.h5"])

    def test_unknown_tokenizer(self):
        self.tokenizer()
        path = self.model / "tokenizer.json"
        t = json.loads(path.read_text())
        t["model"]["type"] = "Oracle"
        path.write_text(json.dumps(t))
        (self.folder / "text.txt").write_text("words " * 50)
        self.refused(UNSUPPORTED, "Oracle", args=["audit", "model", "text.txt", "-c", "8", "-o", "run.h5"])

    def test_no_tokenizer(self):
        (self.folder / "text.txt").write_text("words " * 50)
        r = run("audit", "model", "text.txt", "-c", "8", "-o", "run.h5", cwd=self.folder)
        self.assertIn(r.returncode, (USAGE, UNSUPPORTED, BAD), r.stderr)
        self.assertIn("tokenizer", r.stderr)

    # --- usage and output ---
    def test_output_exists(self):
        (self.folder / "run.h5").write_text("mine")
        self.refused(USAGE, "run.h5", "--force")
        self.assertEqual((self.folder / "run.h5").read_text(), "mine")

    def test_force_replaces_only_when_done(self):
        (self.folder / "run.h5").write_text("mine")
        self.config(num_hidden_layers=7)
        r = run("audit", "model", "--ids", "ids.txt", "-o", "run.h5", "--force", cwd=self.folder)
        self.assertEqual(r.returncode, BAD)
        self.assertEqual((self.folder / "run.h5").read_text(), "mine")

    def test_output_folder_missing(self):
        self.refused(USAGE, "no/such", args=["audit", "model", "--ids", "ids.txt", "-o", "no/such/run.h5"])

    def test_output_is_a_folder(self):
        (self.folder / "out").mkdir()
        self.refused(USAGE, "out", args=["audit", "model", "--ids", "ids.txt", "-o", "out"])

    def test_catalogue_that_is_not_ours(self):
        (self.folder / "ropescope.sqlite").write_text("something else entirely, longer than a header would be")
        self.refused(BAD, "ropescope.sqlite")

    def test_usage(self):
        for args in (["audit"], ["audit", "model"], ["audit", "model", "--ids", "ids.txt"], ["audit", "model", "x", "--ids", "ids.txt", "-o", "r.h5"],
                     ["audit", "model", "--ids", "ids.txt", "-o", "r.h5", "--frobnicate"], ["audit", "model", "--ids", "ids.txt", "-o", "r.h5", "--context", "many"],
                     ["audit", "model", "--ids", "ids.txt", "-o", "r.h5", "--probe", "nonsense"], ["frobnicate"], [],
                     ["dump", "model", "--ids", "ids.txt", "-o", "a.h5"], ["dump", "model", "--ids", "ids.txt", "-o", "a.h5", "--site", "nothing.*"], ["report"]):
            with self.subTest(args=args):
                before = self.files()
                r = run(*args, cwd=self.folder)
                self.assertEqual(r.returncode, USAGE, r.stderr)
                self.assertTrue(r.stderr.strip())
                self.assertEqual(self.files(), before)

    def test_device_that_is_not_there(self):
        self.refused(UNSUPPORTED, "cuda", args=["audit", "model", "--ids", "ids.txt", "-o", "run.h5", "--device", "cuda"])

    def test_report_on_what_is_no_run(self):
        (self.folder / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
        for name in ("x.h5", "ids.txt"):
            before = self.files()
            r = run("report", name, cwd=self.folder)
            self.assertEqual(r.returncode, BAD, r.stderr)
            self.assertIn(name, r.stderr)
            self.assertEqual(self.files(), before)

    # --- the world ---
    def test_full_disk(self):
        disk = self.folder / "disk"
        disk.mkdir()
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
            self.skipTest("needs the right to mount a small tmpfs")
        try:
            r = run("audit", "model", "--ids", "ids.txt", "-o", "disk/run.h5", "--catalog", "c.sqlite", cwd=self.folder)
            self.assertEqual(r.returncode, 1, r.stderr)
            self.assertIn("run.h5", r.stderr)
            self.assertEqual(list(disk.iterdir()), [])
            r = run("tokenize", "model", "ids.txt", cwd=self.folder, stdin=subprocess.DEVNULL)
        finally:
            subprocess.run(["umount", disk], check=True)

    def test_standard_output_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            r = subprocess.run([PROGRAM, "check", str(self.model)], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(r.returncode, 1, r.stderr)

    def test_ctrl_c_in_mid_run(self):
        vocabulary = self.vocabulary
        self.ids.write_text("\n".join(" ".join(str((5 * i + s) % vocabulary) for i in range(4096)) for s in range(16)) + "\n")
        before = self.files()
        p = subprocess.Popen([PROGRAM, "audit", "model", "--ids", "ids.txt", "-o", "run.h5"], cwd=self.folder, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while not list(self.folder.glob("*.tmp.*")) and p.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertIsNone(p.poll(), "the run ended before it could be stopped: make it longer")
        p.send_signal(signal.SIGINT)
        _, message = p.communicate(timeout=120)
        self.assertEqual(p.returncode, 130, message)
        self.assertIn("cancelled", message)
        self.assertEqual(self.files(), before)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"])
