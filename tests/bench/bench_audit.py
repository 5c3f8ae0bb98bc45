#!/usr/bin/env python3
"""Speed and memory of `audit`, in one run on one machine, interleaved: A B C A B C ...

  transformers   plain model(input_ids), float32, sdpa, no statistics (a process of its own, loaded once, threads as given)
  forward        our forward pass without hooks, with the loss (bench_forward)
  audit          `ropescope audit` with all default probes

    python3 tests/bench/bench_audit.py MODEL.gguf --text data/samples/text.txt --build build --python VENV/bin/python \\
        [--context 2048 --sequences 4 --rounds 5 --threads 2] [--write]

Seconds of transformers are those of the forward passes alone; ours include reading and widening the weights, as the program does at
every run, and for audit also writing the run. Writes tests/bench/results/audit-COMMIT.json and .md with --write.
This process imports nothing heavy: the peak memory of a child counts what it was forked from.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("--text", type=pathlib.Path, default=ROOT / "data" / "samples" / "text.txt")
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    p.add_argument("--forward", type=pathlib.Path, help="bench_forward (default: in the build folder)")
    p.add_argument("--python", default=sys.executable, help="a Python with torch, transformers and gguf")
    p.add_argument("--context", type=int, default=2048)
    p.add_argument("--sequences", type=int, default=4)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of transformers")
    p.add_argument("--write", action="store_true")
    o = p.parse_args()
    o.forward = o.forward or o.build / "bench_forward"
    for program in (o.build / "ropescope", o.forward):
        if not program.exists():
            p.error(f"{program} is not there: cmake --build {o.build} --target ropescope rs_bench")
    return o


def child(command):
    """-> what the process took (wall and processor seconds, peak resident bytes), and its stdout."""
    begun = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}")
    return spent(begun, usage), out


def spent(begun, usage):
    return {"wall_seconds": time.perf_counter() - begun, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024}


def write_ids(o, path):
    _, out = child([o.build / "ropescope", "tokenize", o.model, o.text])
    ids = re.findall(r"\d+", out)
    need = o.context * o.sequences
    if len(ids) < need:
        sys.exit(f"{o.text}: {len(ids)} tokens, {need} wanted")
    path.write_text("".join(" ".join(ids[i * o.context : (i + 1) * o.context]) + "\n" for i in range(o.sequences)))


class Transformers:
    def __init__(self, o, ids):
        script = pathlib.Path(__file__).with_name("transformers_forward.py")
        self.process = subprocess.Popen([o.python, script, o.model, ids, str(o.threads), o.dtype], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=os.environ | {"TQDM_DISABLE": "1"})
        self.versions = json.loads(self.process.stdout.readline())

    def measure(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def forward(o, ids):
    took, out = child([o.forward, o.model, ids, o.threads])
    return json.loads(out) | took


def audit(o, ids, folder):
    run = folder / "run.h5"
    command = [o.build / "ropescope", "audit", o.model, "--ids", ids, "-o", run, "--force", "--device", "cpu", "--threads", o.threads]
    begun = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    words = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = spent(begun, usage)
    found = re.search(r"(\d+) tokens in ([\d.]+) s", words)
    if os.waitstatus_to_exitcode(status) != 0 or not found:
        sys.exit(f"audit failed: {words}")
    tokens, seconds = int(found[1]), float(found[2])
    return {"seconds": seconds, "tokens": tokens, "tokens_per_second": tokens / seconds, "run_bytes": run.stat().st_size} | took


def start_times(o):
    program = o.build / "ropescope"
    times = {"--help": [child([program, "--help"])[0]["wall_seconds"] for _ in range(21)], "check": [child([program, "check", o.model])[0]["wall_seconds"] for _ in range(7)]}
    return {name: statistics.median(values) for name, values in times.items()}


def output_of(*command):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def machine(o):
    cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    devices = output_of(o.build / "ropescope", "devices")
    return {"cpu": cpu[1] if cpu else platform.processor(), "cores": os.cpu_count(), "kernel": platform.release(), "threads": o.threads,
            "load_before": os.getloadavg()[0], "devices": devices, "program": output_of(o.build / "ropescope", "version").splitlines()[:1],
            "commit": output_of("git", "rev-parse", "--short", "HEAD"), "changed_files": len(output_of("git", "status", "--porcelain").splitlines()),
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def summary(measured):
    rates = {name: median(rows, "tokens_per_second") for name, rows in measured.items()}
    seconds = {name: median(rows, "seconds") for name, rows in measured.items()}
    # ratios are taken round by round, so that a slow moment of the machine hits both sides
    pairs = list(zip(measured["transformers"], measured["forward"], measured["audit"]))
    return {"tokens_per_second": rates, "seconds": seconds,
            "peak_bytes": {name: max(row["peak_bytes"] for row in rows) for name, rows in measured.items()},
            "audit_time_over_forward": statistics.median(a["seconds"] / f["seconds"] for _, f, a in pairs),
            "audit_speed_over_transformers": statistics.median(a["tokens_per_second"] / t["tokens_per_second"] for t, _, a in pairs),
            "forward_speed_over_transformers": statistics.median(f["tokens_per_second"] / t["tokens_per_second"] for t, f, _ in pairs)}


def markdown(result):
    m, s = result["machine"], result["summary"]
    lines = [f"# audit of {result['model']}, {result['sequences']} sequences of {result['context']} tokens", "",
             f"{m['date']}, commit {m['commit']} ({m['changed_files']} changed files), {m['cpu']}, {m['cores']} cores, {m['threads']} threads, "
             f"load before {m['load_before']:.2f}; torch {result['versions']['torch']}, transformers {result['versions']['transformers']} ({result['dtype']}). "
             f"Medians of {result['rounds']} interleaved rounds.", "", "| | tokens/s | seconds | processor seconds | all rounds, tokens/s | peak memory |", "|---|---|---|---|---|---|"]
    for name, rows in result["measured"].items():
        every = ", ".join(f"{row['tokens_per_second']:.0f}" for row in rows)
        lines.append(f"| {name} | {s['tokens_per_second'][name]:.0f} | {s['seconds'][name]:.1f} | {median(rows, 'cpu_seconds'):.1f} | {every} | {s['peak_bytes'][name] / 1e9:.2f} GB |")
    lines += ["", f"* audit takes {s['audit_time_over_forward']:.2f} x the time of our plain forward pass (bar 1.5, then 1.2)",
              f"* audit runs at {s['audit_speed_over_transformers']:.2f} x the tokens/s of transformers without statistics (bar 1.0, then 1.5)",
              f"* our plain forward pass runs at {s['forward_speed_over_transformers']:.2f} x transformers, {median(result['measured']['forward'], 'gflop_per_second'):.0f} GFLOP/s",
              f"* `--help` {result['start']['--help'] * 1e3:.0f} ms (bar 50), `check` {result['start']['check'] * 1e3:.0f} ms (bar 1000)", ""]
    return "\n".join(lines)


def measure(o, folder):
    ids = folder / "ids.txt"
    write_ids(o, ids)
    facts, start = machine(o), start_times(o)
    other = Transformers(o, ids)
    other.measure()  # the first pass allocates
    measured = {"transformers": [], "forward": [], "audit": []}
    for _ in range(o.rounds):
        measured["transformers"].append(other.measure())
        measured["forward"].append(forward(o, ids))
        measured["audit"].append(audit(o, ids, folder))
        print("  ".join(f"{name} {rows[-1]['tokens_per_second']:.0f}/s" for name, rows in measured.items()), file=sys.stderr, flush=True)
    other.close()
    return {"model": o.model.name, "context": o.context, "sequences": o.sequences, "rounds": o.rounds, "dtype": o.dtype, "machine": facts, "versions": other.versions,
            "start": start, "measured": measured, "summary": summary(measured)}


def main():
    o = arguments()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(o, pathlib.Path(folder))
    text = markdown(result)
    print(text)
    if o.write:
        out = ROOT / "tests" / "bench" / "results"
        out.mkdir(exist_ok=True)
        stem = out / f"audit-{result['machine']['commit']}"
        stem.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        stem.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
