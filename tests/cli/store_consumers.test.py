"""A made-up run file as people's own tools see it: h5py, xarray over netCDF4 and over h5netcdf, and the sqlite3 shell for the catalogue.
Needs no model. What each reader must find is written here from docs/store.md, not taken from the program."""
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["RS_SOURCE_DIR"], "tests", "support"))
import venv_test  # noqa: E402

venv_test.enter()

import h5netcdf  # noqa: E402
import h5py  # noqa: E402
import netCDF4  # noqa: E402
import numpy as np  # noqa: E402
import xarray as xr  # noqa: E402

SOURCE, BUILD = os.environ["RS_SOURCE_DIR"], os.environ["RS_BUILD_DIR"]
MAKE = os.path.join(BUILD, "tests", "make_fake_run")
AXES = {"layer": 30, "head": 9, "kv_head": 3, "pair": 32, "v_pair": 32, "sequence": 4, "position": 2048}


def documented():
    """Rows of the table in docs/store.md: name -> (axes, unit)."""
    rows = {}
    for line in open(os.path.join(SOURCE, "docs", "store.md"), encoding="utf-8"):
        cells = [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 4 or not cells[0].startswith("`/"):
            continue
        names = re.findall(r"`([^`]+)`", cells[0])
        group = names[0].rsplit("/", 1)[0]
        for name in names:
            path = name if name.startswith("/") else group + "/" + name
            rows[path.lstrip("/")] = ([a.strip() for a in cells[1].split(",")], cells[2])
    return rows


def check_h5py(path):
    rows = documented()
    assert len(rows) > 60, "docs/store.md was not understood"
    with h5py.File(path, "r") as f:
        assert f.attrs["schema_version"] == 1
        assert f.attrs["Conventions"].startswith("CF-")
        assert isinstance(f.attrs["model_name"], str)
        assert json.loads(f.attrs["layer_facts"])[29]["kv_heads"] == 3
        found = []
        f.visititems(lambda name, node: found.append(name) if isinstance(node, h5py.Dataset) else None)
        for name, (axes, unit) in rows.items():
            if name.split("/")[0] not in ("rope", "loss", *f.attrs["probes"].split()):  # raw sums, probes that did not run
                continue
            assert name in found, f"{name} is documented and not in the file"
            d = f[name]
            assert len(d.dims) == len(axes), name
            for i, axis in enumerate(axes):
                scales = d.dims[i].values()
                assert len(scales) == 1, f"{name}: axis {i} has {len(scales)} scales"
                where = scales[0].name.lstrip("/")
                # "(kv_)head" and "pair" in the table also stand for the axes of keys and of values
                assert where.split("_")[-1] == axis.replace("(kv_)", "").split("_")[-1], f"{name}: {where} for {axis}"
                assert d.shape[i] == len(scales[0])
                assert d.shape[i] == AXES.get(where, d.shape[i])
            if unit:
                assert d.attrs["units"] == unit, f"{name}: {d.attrs['units']}"
        for name in found:
            d = f[name]
            assert d.attrs["units"] and isinstance(d.attrs["long_name"], str), name
            if d.dtype.kind == "f":
                assert math.isnan(d.fillvalue), name
            assert d.compression == "gzip" and d.compression_opts == 1 and d.shuffle, name
        assert f["frequency_norm/q_mean"].attrs["count"] == 4 * 2047
        assert f["frequency_norm/q_mean"].dtype == np.float32 and f["rope/theta"].dtype == np.float64
        nll = f["loss/token_nll"][...]
        assert np.isnan(nll[:, 0]).all() and np.isfinite(nll[:, 1:]).all()
        assert abs(np.nanmean(nll) - f.attrs["mean_nll"]) < 1e-12 * abs(f.attrs["mean_nll"])
        # what depends on one another: float32 holds 24 bits, sums over 32 pairs lose a few of them
        assert np.allclose(f["frequency_norm/q_share"][...].sum(-1), 1, atol=1e-6)
        assert np.allclose(f["attention_pattern/distance_mass"][...].sum(-1), 1, atol=1e-6)
        return {name: f[name][...] for name in ("frequency_norm/q_mean", "attention_pattern/map", "moments/unrotate_cost", "layer")}


def check_dimensions(names, where):
    strange = [n for n in names if n.startswith("phony_dim") or n.startswith("dim_") or n.startswith("axis")]
    assert not strange, f"{where}: {strange}"


def check_xarray(path, engine, arrays):
    for group in ("rope", "loss", "frequency_norm", "moments", "attention_pattern", "state/frequency_norm"):
        with xr.open_dataset(path, engine=engine, group=group) as ds:
            assert len(ds.data_vars) > 0, (engine, group)
            check_dimensions(ds.sizes, f"{engine} {group}")
    with xr.open_dataset(path, engine=engine, group="frequency_norm") as ds:
        assert ds.q_mean.dims == ("layer", "head", "pair") and ds.q_mean.attrs["units"] == "1"
        assert ds.k_mean.dims == ("layer", "kv_head", "pair")
        assert ds.q_bucket_mean.dims == ("layer", "bucket", "head", "pair")
        np.testing.assert_array_equal(ds.q_mean.values, arrays["frequency_norm/q_mean"])
    with xr.open_dataset(path, engine=engine) as ds:
        assert list(ds["bucket"].values) == [1, 4, 16, 64, 256, 1024], engine
        assert ds["distance"].attrs["units"] == "tokens" and ds["distance"].values[-1] > 1000
        assert ds.attrs["schema_version"] == 1 and ds.attrs["family"] == "llama"
        check_dimensions(ds.sizes, engine)
    with xr.open_datatree(path, engine=engine) as tree:
        cell = tree["moments/unrotate_cost"].sel(layer=3, head=2, pair=5)
        assert cell.values == arrays["moments/unrotate_cost"][3, 2, 5], engine


def check_netcdf(path):
    with netCDF4.Dataset(path) as f:
        assert f.data_model == "NETCDF4" and not [d for d in f.dimensions if d.startswith("phony")]
        assert f["attention_pattern"]["map"].dimensions == ("layer", "head", "map_row", "map_column")
        assert f.getncattr("probes") == "frequency_norm moments attention_pattern"
    with h5netcdf.File(path, "r") as f:
        assert f["moments/distance_curve"].dimensions == ("layer", "head", "distance")


def check_hostile(path):
    with h5py.File(path, "r") as f:
        assert f.attrs["model_name"].startswith("</script><script>alert('x')</script> \"quoted\"")
        assert "名前" in f.attrs["model_name"] and f.attrs["model_path"].endswith("/\ufffd\ufffd.gguf")
    with xr.open_dataset(path, engine="netcdf4", group="rope") as ds:
        assert ds.theta.shape == (6, 16)


def check_append(path, folder):
    """A tool that changes a run drops the seal; what it wrote can be read by the next one, and by others as before."""
    changed = os.path.join(folder, "changed.h5")
    shutil.copy(path, changed)
    assert open(path, "rb").read()[-82:].startswith(b"ropescope seal 1 ")
    with h5py.File(changed, "r+") as f:
        f.attrs["note"] = "mine"
    assert b"ropescope seal 1 " not in open(changed, "rb").read()
    with xr.open_dataset(changed, engine="netcdf4", group="moments") as ds:
        assert ds.sizes["layer"] == 30
    with netCDF4.Dataset(changed, "a") as f:
        f.setncattr("another", "netCDF's")
    with h5py.File(changed, "r") as f:
        assert f.attrs["note"] == "mine" and f.attrs["another"] in ("netCDF's", b"netCDF's")


def ask(catalog, sql):
    done = subprocess.run(["sqlite3", "-readonly", "-bail", catalog, sql], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.rstrip("\n")


def check_catalog(catalog, path):
    if not shutil.which("sqlite3"):
        print("sqlite3 is not installed: the catalogue was not looked at")
        return
    tables = "models runs heads pairs artefacts".split()
    assert ask(catalog, "PRAGMA user_version") == "1" and ask(catalog, "PRAGMA application_id") == str(int.from_bytes(b"RSCP", "big"))
    for table in tables:
        assert ") STRICT" in ask(catalog, f"SELECT sql FROM sqlite_schema WHERE name = '{table}'"), table
    assert ask(catalog, "PRAGMA integrity_check") == "ok" and ask(catalog, "PRAGMA foreign_key_check") == ""
    keys = {t: ask(catalog, f"SELECT \"table\" FROM pragma_foreign_key_list('{t}')") for t in tables}
    assert keys == {"models": "", "runs": "models", "heads": "runs", "pairs": "runs", "artefacts": "runs"}, keys
    views = ask(catalog, "SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY name").split()
    assert views == ["v_ablation", "v_heads", "v_idle_pairs", "v_pairs", "v_positional_heads", "v_positional_pairs", "v_retrieval_heads", "v_runs",
                     "v_semantic_pairs", "v_verdicts"], views
    for view in views:
        # nobody has ablated this run, or given its pairs verdicts
        assert (int(ask(catalog, f"SELECT count(*) FROM {view}")) > 0) == (view in ("v_heads", "v_pairs", "v_runs")), view
    with open(os.path.join(SOURCE, "README.md"), encoding="utf-8") as readme:
        blocks = [block.split("```")[0] for block in readme.read().split("```sql\n")[1:]]
    statements = "\n".join(line for block in blocks for line in block.splitlines() if not line.startswith("--"))
    queries = [query for query in statements.split(";") if query.strip()]
    assert len(queries) >= 6 and all(any(view in q for q in queries) for view in views if view not in ("v_runs", "v_verdicts", "v_pairs")), queries
    for query in queries:
        ask(catalog, query)
    assert ask(catalog, "SELECT count(*) FROM pairs") == str(30 * 9 * 32) and ask(catalog, "SELECT path FROM runs") == path
    with h5py.File(path, "r") as f:
        theta = f["rope/theta"][3, 7]
        cost = f["moments/unrotate_cost"][3, 2, 7]
    wave, turns, found = ask(catalog, "SELECT wavelength, turns, unrotate_cost FROM v_pairs WHERE layer = 3 AND head = 2 AND pair = 7").split("|")
    # sqlite3 prints 15 digits; the cost is float32 in the run file
    assert abs(float(wave) * theta / (2 * math.pi) - 1) < 1e-12 and abs(float(turns) * 2 * math.pi / (theta * 2048) - 1) < 1e-12
    assert abs(float(found) - cost) <= 1e-7 * cost
    plan = ask(catalog, "EXPLAIN QUERY PLAN SELECT * FROM pairs WHERE run_id = 1 AND layer = 3")
    assert "PRIMARY KEY" in plan, plan  # the common question does not scan


def run(variant, folder, *more):
    path = os.path.join(os.path.realpath(folder), variant + ".h5")
    subprocess.run([MAKE, variant, path, *more], check=True)
    return path


def main():
    if not os.path.exists(MAKE):
        print("make_fake_run is not built")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        catalog = os.path.join(folder, "runs.sqlite")
        path = run("smollm2", folder, catalog)
        arrays = check_h5py(path)
        for engine in ("netcdf4", "h5netcdf"):
            check_xarray(path, engine, arrays)
        check_netcdf(path)
        check_hostile(run("hostile", folder))
        check_append(path, folder)
        check_catalog(catalog, path)
    print("ok")


main()
