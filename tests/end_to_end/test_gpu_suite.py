"""The suite that is carried to a machine with a GPU (`benches/gpu`), as far as a machine without one can show it: its arguments,
its clean failure, the layout of what is packed, and its code against real servers over a stand-in of the driver."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.machinery import SourceFileLoader

import pytest

from harness import binary
from harness.server import ROOT

SUITE = ROOT / "benches/gpu"
FIGURES = json.loads((SUITE / "figures.json").read_text())
without_gpu = pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a GPU")


def measure(*arguments):
    command = [sys.executable, SUITE / "measure.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def loaded(name):
    """A script of the suite as a module."""
    loader = SourceFileLoader(name, str(SUITE / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


@without_gpu
def test_without_a_gpu_every_figure_says_so(tmp_path):
    report = tmp_path / "all.json"
    done = measure("--report", report, "--commit", "abc")
    assert done.returncode == 3, done.stderr
    record = json.loads(report.read_text())
    assert [row["figure"] for row in record["figures"]] == [one["figure"] for one in FIGURES]
    for row in record["figures"]:
        assert row["measured"] is None and row["ok"] is None and row["skipped"].startswith("there is no GPU: nvidia-smi")
        assert re.search(rf"^{re.escape(row['figure'])} .*skipped: there is no GPU", done.stdout, re.M)
    assert record["commit"] == "abc" and "absent" in record["device"]


@without_gpu
def test_parts_are_measured_one_by_one_and_joined(tmp_path):
    first, second, third = (tmp_path / f"{name}.json" for name in ("first", "second", "third"))
    assert measure("--report", first, "--commit", "abc", "--only", "kernels,torch").returncode == 3
    done = measure("--report", second, "--commit", "abc", "--only", "answers,networks", "--join", first)
    assert done.returncode == 3, done.stderr
    rows = json.loads(second.read_text())["figures"]
    assert sorted(row["figure"] for row in rows) == sorted(one["figure"] for one in FIGURES)
    other = measure("--report", third, "--commit", "def", "--only", "answers", "--join", first)
    assert other.returncode == 1 and "is of another commit: abc, here def" in other.stderr
    # Joined figures are judged with the others: what was measured and is right does not make good for what is missing.
    record = json.loads(first.read_text())
    for row in record["figures"]:
        row |= {"measured": 1.0, "skipped": None, "ok": True}
    first.write_text(json.dumps(record))
    done = measure("--report", third, "--commit", "abc", "--only", "", "--join", first)
    assert done.returncode == 3 and "kernels that agree with their references" in done.stdout
    record["figures"][0] |= {"ok": False}
    first.write_text(json.dumps(record))
    assert measure("--report", third, "--commit", "abc", "--only", "", "--join", first).returncode == 1


def test_wrong_arguments_are_named(tmp_path):
    done = measure("--report", tmp_path / "x.json", "--only", "kernels,speed")
    assert done.returncode == 2 and "there is no part `speed`; there are kernels, answers, networks, torch" in done.stderr
    assert measure().returncode == 2
    command = [sys.executable, SUITE / "make_pack", "--only", "wheels", "--pack", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "there is no part `wheels`" in done.stderr and not any(tmp_path.iterdir())


def test_what_is_packed_is_there_when_it_is_unpacked(tmp_path, capsys):
    make_pack = loaded("make_pack")
    programs = {"hanok": b"\x7fELF" + bytes(range(256)) * 40, make_pack.PROVIDER: b"\x7fELF" + b"\0" * 200_000}
    files = {}
    for name, content in programs.items():
        files[name] = tmp_path / f"of_{name}"
        files[name].write_bytes(content)
    wheels = {}
    for name in ("hanok_suite_absent", "json"):
        wheels[f"{name}-1.0-py3-none-any.whl"] = tmp_path / f"{name}.whl"
        with zipfile.ZipFile(tmp_path / f"{name}.whl", "w") as archive:
            archive.writestr(f"{name}.py", "FOUND = 'in the pack'\n")
    parts = make_pack.write(files, wheels, tmp_path / "pack")
    assert sorted(path.name for path in parts["provider"].iterdir()) == [f"{make_pack.PROVIDER}.xz"]
    assert sorted(path.name for path in parts["programs"].iterdir()) == [
        "commit", "hanok.xz", "hanok_suite_absent-1.0-py3-none-any.whl", "json-1.0-py3-none-any.whl"]
    assert make_pack.told(parts, 1000) and "of 67,108,864 that a transfer carries: pack/programs" in capsys.readouterr().out
    assert not make_pack.told(parts, 1000, limit=1000)

    code = f"""
import json, sys
from pathlib import Path
sys.path.insert(0, {str(SUITE)!r})
import packed
pack, folder = Path({str(tmp_path / "pack")!r}), Path({str(tmp_path)!r})
found = packed.unpack(folder, pack)
wheels = packed.add_packages(folder, pack)
import hanok_suite_absent
print(json.dumps([{{name: [path.read_bytes().hex(), path.stat().st_mode & 0o777] for name, path in found.items()}},
                  wheels, hanok_suite_absent.FOUND, packed.commit(pack)]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    found, names, package, commit = json.loads(done.stdout)
    assert {name: bytes.fromhex(content) for name, (content, _) in found.items()} == programs
    assert {mode for _, mode in found.values()} == {0o755}
    assert (names, package) == (sorted(wheels), "in the pack"), "and the machine's own `json` goes first"
    assert re.fullmatch("[0-9a-f]{12}", commit)


def test_the_packages_are_those_of_the_tests():
    pinned = set((ROOT / "tests/requirements.txt").read_text().splitlines())
    packages = dict(one.split("==") for one in loaded("make_pack").PACKAGES)
    assert f"tritonclient[http,grpc]=={packages['tritonclient']}" in pinned
    for name in ("cuda-bindings", "cuda-pathfinder", "python-rapidjson"):
        assert f"{name}=={packages[name]}" in pinned


def test_every_script_can_be_compiled():
    scripts = [*SUITE.glob("*.py"), SUITE / "make_pack"]
    assert len(scripts) >= 8
    for script in scripts:
        compile(script.read_text(), str(script), "exec")


def imported(code, **environment):
    code = f"import sys; sys.path.insert(0, {str(SUITE)!r}); import shared_memory, numpy\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


def test_tritonclients_own_utilities_are_imported():
    done = imported("grpc, memory = shared_memory.tritonclient_memory(); print(memory.__name__, memory.create_shared_memory_region.__module__)")
    assert done.stdout.split() == ["tritonclient.utils.cuda_shared_memory"] * 2, done.stderr


@without_gpu
def test_tritonclients_own_utilities_say_that_there_is_no_driver():
    done = imported("zeros = numpy.zeros(4, 'float16'); shared_memory.LentByTritonclient('127.0.0.1:1', 'm', zeros, 'FP16', zeros)")
    assert done.returncode == 1 and "CudaSharedMemoryException: unable to create cuda shared memory handle" in done.stderr, done.stderr


def test_a_package_that_is_missing_is_a_reason():
    for name in ("cuda.bindings.runtime", "rapidjson", "grpc"):
        done = imported(f"sys.modules[{name!r}] = None\ntry:\n    shared_memory.tritonclient_memory()\nexcept RuntimeError as error:\n    print(error)")
        assert done.stdout.startswith("tritonclient's cuda_shared_memory cannot be imported: "), done.stderr
        assert name.split(".")[0] in done.stdout


def python_with(*packages):
    for python in (sys.executable, str(ROOT / ".venv-models/bin/python")):
        if os.path.exists(python) and subprocess.run([python, "-c", f"import {', '.join(packages)}"], capture_output=True).returncode == 0:
            return python
    return None


@pytest.mark.parametrize("name", ["resnet50", "bert_base", "perceptron"])
def test_answers_of_the_networks_depend_on_their_inputs(tmp_path, name):
    # Otherwise comparing a GPU's answers with the processors' would show nothing.
    python = python_with("onnx", "onnxruntime", "numpy")
    if python is None:
        pytest.skip("there is no onnx or onnxruntime")
    code = f"""
import sys
sys.path.insert(0, {str(SUITE)!r})
import measure, networks, numpy, onnxruntime
from pathlib import Path
networks.write(Path({str(tmp_path)!r}), "KIND_CPU", names=[{name!r}])
array, kind = networks.rows({name!r}, 3, numpy.random.default_rng(1))
session = onnxruntime.InferenceSession({str(tmp_path / name / "1/model.onnx")!r})
answer = session.run(None, {{"INPUT": array}})[0]
print(numpy.isfinite(answer).all(), 0.01 < numpy.abs(answer).max() < 1000, measure.told_apart(answer), measure.told_apart(answer[[0, 0]]),
      networks.graphs(networks.NETWORKS[{name!r}][1]).count("batch_size") in range(8, 17))
"""
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=120, env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"})
    assert done.stdout.split() == ["True", "True", "0.0", "inf", "True"], done.stderr


@without_gpu
def test_the_suite_measures_everything_over_a_stand_in(tmp_path):
    python, library = python_with("onnx", "numpy"), ROOT / ".hanok/lib/libonnxruntime.so.1.31.1"
    benches = binary().with_name("hanok-benches")
    for reason, there in [("onnx", python), ("ONNX Runtime", library.exists()), ("hanok-benches", benches.exists()), ("cc", shutil.which("cc"))]:
        if not there:
            pytest.skip(f"there is no {reason}")
    for source, name in (("driver.c", "libcuda.so.1"), ("nvml.c", "libnvidia-ml.so.1")):
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", tmp_path / name, ROOT / "runtime/devices/tests/stand_in" / source], check=True)
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="h") as folder:
        command = [python, ROOT / "tests/harness/gpu_suite_dry_run.py", folder, binary(), benches, library]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    rows = {row["figure"]: row for row in json.loads(done.stdout.splitlines()[-1])}
    expected = {one["figure"] for one in FIGURES if one["part"] in ("answers", "networks")}
    assert set(rows) == expected
    unmeasured = {name: row["skipped"] for name, row in rows.items() if row["measured"] is None}
    by_tritonclient = "resnet50: relative difference of tritonclient's CUDA shared memory to the message"
    assert set(unmeasured) == {name for name in expected if name.startswith("bert_base")} | {by_tritonclient}, done.stderr
    assert "cuda" in unmeasured[by_tritonclient] and "by raw handles alone" in done.stderr
    right = [name for name in rows if "difference" in name or "metrics" in name or "GPU" in name]
    assert all(rows[name]["ok"] for name in right if name not in unmeasured), [rows[name] for name in right]
