"""What the compiler made of the CUDA kernels: registers, stack, spills and shared memory of every kernel, held to the table
kernel_resources.tsv. No kernel may spill or use local memory, with any compiler; the numbers of the table are those of the
compiler named in its first line, and with that one no kernel may grow.

    python3 tests/cuda/kernel_resources.test.py --write    # writes the table anew
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(os.environ.get("RS_SOURCE_DIR", Path(__file__).resolve().parents[2]))
TABLE = ROOT / "tests/cuda/kernel_resources.tsv"
ARCHITECTURES = (80, 90)
# Of a multiprocessor: registers, threads, blocks, shared memory in bytes (CUDA C++ programming guide, compute capabilities).
LIMITS = {80: (65536, 2048, 32, 163840), 90: (65536, 2048, 32, 232448)}
COLUMNS = ("kernel", "architecture", "threads", "registers", "shared_bytes", "occupancy")


def compiler() -> str:
    words = subprocess.run(["nvcc", "--version"], check=True, capture_output=True, text=True).stdout
    return re.search(r"V([\d.]+)", words).group(1)


def launch_bounds() -> dict[str, int]:
    """Threads of a block of every kernel, from its __launch_bounds__; template arguments in front are filled in later."""
    bounds = {}
    for source in sorted((ROOT / "kernels/cuda").glob("*.cu")):
        for bound, name in re.findall(r"__global__ void __launch_bounds__\(([^)]*)\)\s*(\w+)\(", source.read_text()):
            bounds[name] = bound
    return bounds


def threads_of(kernel: str, bounds: dict[str, str], source: str) -> int:
    name = re.match(r"\w+", kernel).group(0)
    words = bounds[name].split(",")[0]  # behind it: blocks of a multiprocessor
    constants = dict(re.findall(r"(\w+) = (\d+)", " ".join(re.findall(r"enum \{([^}]*)\}", source))))
    argument = re.search(r"<\(?(?:int\))?(\d+)", kernel)
    constants["LANES"] = argument.group(1) if argument else constants.get("LANES", "1")
    product = 1
    for factor in words.split("*"):
        factor = factor.strip()
        product *= int(constants.get(factor, factor))
    return product


def occupancy(architecture: int, threads: int, registers: int, shared: int) -> float:
    """Share of a multiprocessor's threads that fit; registers are handed out to warps by the 256, dynamic shared memory is not
    counted."""
    all_registers, all_threads, all_blocks, all_shared = LIMITS[architecture]
    warps = (threads + 31) // 32
    per_warp = (registers * 32 + 255) // 256 * 256
    blocks = min(all_blocks, all_threads // (warps * 32), all_registers // per_warp // warps)
    if shared:
        blocks = min(blocks, all_shared // (shared + 1024))
    return blocks * warps * 32 / all_threads


def compile_all() -> list[dict]:
    bounds, rows = launch_bounds(), []
    with tempfile.TemporaryDirectory() as folder:
        for architecture in ARCHITECTURES:
            for source in sorted((ROOT / "kernels/cuda").glob("*.cu")):
                command = ["nvcc", "-std=c++17", "-O3", f"-arch=sm_{architecture}", "-cubin", "-Xptxas=-v", f"-I{ROOT}", str(source),
                           "-o", f"{folder}/out.cubin"]
                said = subprocess.run(command, capture_output=True, text=True)
                if said.returncode:
                    raise SystemExit(f"{' '.join(command)}\n{said.stderr}")
                rows += kernels_in(said.stderr, architecture, bounds, source.read_text())
    return sorted(rows, key=lambda r: (r["kernel"], r["architecture"]))


def kernels_in(said: str, architecture: int, bounds: dict[str, str], source: str) -> list[dict]:
    rows = []
    pattern = (r"entry function '(\S+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
               r".*?Used (\d+) registers([^\n]*)")
    for mangled, stack, stores, loads, registers, rest in re.findall(pattern, said, re.S):
        shared = re.search(r"(\d+) bytes smem", rest)
        name = subprocess.run(["c++filt", mangled], check=True, capture_output=True, text=True).stdout.strip()
        kernel = re.sub(r"\(anonymous namespace\)::|_GLOBAL__N_\w+::|^void ", "", name)
        kernel = re.sub(r"\([^()]*(\([^()]*\)[^()]*)*\)$", "", kernel)
        threads = threads_of(kernel, bounds, source)
        smem = int(shared.group(1)) if shared else 0
        rows.append({"kernel": kernel, "architecture": architecture, "threads": threads, "registers": int(registers),
                     "shared_bytes": smem, "occupancy": f"{occupancy(architecture, threads, int(registers), smem):.2f}",
                     "stack": int(stack), "spilled": int(stores) + int(loads)})
    return rows


def read_table() -> tuple[str, dict]:
    lines = TABLE.read_text().splitlines()
    rows = [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in lines[2:]]
    return lines[0].removeprefix("# nvcc "), {(r["kernel"], int(r["architecture"])): r for r in rows}


def write_table(rows: list[dict]) -> None:
    lines = [f"# nvcc {compiler()}", "\t".join(COLUMNS)]
    lines += ["\t".join(str(r[c]) for c in COLUMNS) for r in rows]
    TABLE.write_text("\n".join(lines) + "\n")


def main() -> int:
    if not shutil.which("nvcc"):
        print("skipped: nvcc was not found")
        return 77
    rows = compile_all()
    bad = [f"{r['kernel']} (sm_{r['architecture']}): {r['stack']} bytes of local memory, {r['spilled']} bytes spilled" for r in rows
           if r["stack"] or r["spilled"]]
    if "--write" in sys.argv[1:]:
        write_table(rows)
    version, table = read_table()
    for r in rows:
        known = table.get((r["kernel"], r["architecture"]))
        if known is None:
            bad.append(f"{r['kernel']} (sm_{r['architecture']}) is not in the table: --write")
        elif version == compiler() and (r["registers"] > int(known["registers"]) or r["shared_bytes"] > int(known["shared_bytes"])):
            bad.append(f"{r['kernel']} (sm_{r['architecture']}): {r['registers']} registers, {r['shared_bytes']} bytes shared; the table "
                       f"allows {known['registers']} and {known['shared_bytes']}")
    gone = set(table) - {(r["kernel"], r["architecture"]) for r in rows}
    bad += [f"{kernel} (sm_{architecture}) is in the table but not in the sources: --write" for kernel, architecture in sorted(gone)]
    print(f"{len(rows)} kernels compiled by nvcc {compiler()}; the table is of {version}")
    print("\n".join(bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
