"""Correctness and speed on a GPU: every kernel and every network against the processors, then the figures of `benches/run cuda`.

Runs on a machine that has a driver, the CUDA 13 libraries (those of PyTorch's packages will do) and Python with numpy, onnx,
grpcio and protobuf, and neither Rust nor a network. `make_pack` puts everything else into the folder `pack` beside this file.

Every figure of `figures.json` is printed and recorded, measured or not; what else is measured is information. The record is
written after every part, so that a run that is cut off leaves what it had. Where a command may not take long, measure parts
one by one: `--join` takes the other parts' figures from their records, of the same commit and device.

usage: measure.py --report FILE [--commit TEXT] [--seconds N] [--only kernels,answers,networks,torch] [--join FILE...]
Ends with 0 when every figure was measured and holds, 1 when one is missed or wrong, 2 for wrong arguments, 3 when something
could not be measured.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import packed
from packed import ENGINE, need
from serving import BareLoop, Server, bench, infer
from shared_memory import LentByTritonclient, LentTensors, rate

HERE = Path(__file__).resolve().parent
# The tolerance of answers is that of half precision, two orders of summation, up to fifty layers.
FIGURES = json.loads((HERE / "figures.json").read_text())


def figure(name, measured=None, skipped=None, unit="", **more):
    """A row; its unit and target are those of `figures.json`, and what does not stand there is only told."""
    known = next((one for one in FIGURES if name == one["figure"]), {"unit": unit, "target": None})
    return {"figure": name, "unit": known["unit"], "target": known["target"], "measured": measured, "skipped": skipped, **more}


def missing(part, rows, reason):
    """The figures of a part that `rows` lack."""
    given = {row["figure"] for row in rows}
    return [figure(one["figure"], skipped=reason) for one in FIGURES if one["part"] == part and one["figure"] not in given]


def holds(row):
    if row["measured"] is None or row["target"] is None:
        return None
    (sense, limit), = row["target"].items()
    return row["measured"] >= limit if sense == "at_least" else row["measured"] <= limit


def kernels(programs, environment, folder, commit, found):
    need(programs, "kernel_check")
    report = folder / "kernels.json"
    done = subprocess.run([programs["kernel_check"], "--commit", commit, "--output", report], env=environment, capture_output=True, text=True)
    print(done.stdout, done.stderr, sep="\n")
    if not report.exists():
        raise RuntimeError(f"kernel_check ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    rows = json.loads(report.read_text())
    right = [row["right"] for row in rows["kernels"]]
    shares = [1 / row["time_over_floor"] for row in rows["kernels"] if row["kernel"].startswith("image 64 x 224^2")]
    found += [
        figure("kernels that agree with their references", sum(right) / len(right), kernels=rows),
        figure("gather, cast and normalise of 64 x 3 x 224 x 224 over the copy bandwidth", min(shares) if shares else None, None if shares else "no such row"),
        sanitized(programs, environment),
    ]


def sanitized(programs, environment):
    """Every kernel once under `compute-sanitizer`: where one works on this machine, it must have nothing to complain of."""
    name = "complaints of compute-sanitizer about the kernels"
    tool = shutil.which("compute-sanitizer", path=f"{environment.get('PATH', '')}:/usr/local/cuda/bin")
    if tool is None:
        return figure(name, skipped="there is no compute-sanitizer")
    command = [tool, "--tool", "memcheck", "--launch-timeout", "120", programs["kernel_check"], "--rounds", "0"]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
    except subprocess.TimeoutExpired:
        return figure(name, skipped="compute-sanitizer was not done in 180 seconds")
    summary = re.search(r"ERROR SUMMARY: (\d+) error", done.stdout + done.stderr)
    if summary is None:
        return figure(name, skipped=f"compute-sanitizer does not work here: {(done.stdout + done.stderr).strip()[-300:]}")
    found = figure(name, float(summary[1]), output=(done.stdout + done.stderr)[-4000:])
    return found | {"target": {"at_most": 0.0}}


def answers(programs, environment, folder, rows):
    """The networks on the GPU against the same files on the processors, several batch sizes, fresh random inputs."""
    import networks
    import numpy

    need(programs, *ENGINE)
    repository = folder / "answers"
    networks.write(repository, "KIND_GPU")
    networks.write(repository, "KIND_CPU", "_cpu")
    networks.write(repository, "KIND_GPU", "_graph", with_graphs=True)
    random = numpy.random.default_rng(int(time.time()))
    with Server(programs, repository, environment) as server:
        for name in networks.NETWORKS:
            for suffix in ("", "_graph"):
                worst = 0.0
                for batch in (1, 3, 8):
                    array, kind = networks.rows(name, batch, random)
                    found, wanted = (infer(server.http, name + end, array, kind) for end in (suffix, "_cpu"))
                    worst = max(worst, difference(found, wanted), told_apart(wanted))
                rows.append(figure(f"{name}{suffix}: relative difference to the processors", worst))
        page = server.metrics_page()
        told = all(f"{name}{{" in page for name in ("nv_gpu_utilization", "nv_gpu_memory_used_bytes", "nv_gpu_power_usage"))
        rows.append(figure("metrics of the GPU are told", float(told)))
    kept_memory(programs, environment, folder, rows)


def told_apart(answers):
    """0 where every two rows of `answers` differ by ten times what is tolerated, or else infinity: a network that answers every
    input alike would hide every mistake."""
    pairs = [(answers[one], answers[other]) for one in range(len(answers)) for other in range(one)]
    return 0.0 if all(difference(*pair) > 0.2 for pair in pairs) else float("inf")


def kept_memory(programs, environment, folder, rows):
    """What a model leaves on the GPU when it is unloaded, the second time: what the first load makes for all stays."""
    import networks

    repository, name = folder / "kept", "resnet50"
    networks.write(repository, "KIND_GPU", with_graphs=True, names=[name])
    used = []
    with Server(programs, repository, environment, "--model-control-mode", "explicit") as server:
        for _ in range(3):
            for what in ("load", "unload"):
                server.post(f"/v2/repository/models/{name}/{what}")
                used.append(settled(server, "nv_gpu_memory_used_bytes"))
        promised = settled(server, "hanok_gpu_memory_promised_bytes", 0)
    grown, weights = (used[5] - used[1]) / (1 << 20), (used[4] - used[3]) / (1 << 20)
    rows.append(figure("MiB of the GPU that two more loads and unloads keep", grown, bytes_used=used, taken_by_a_load=weights))
    rows.append(figure("bytes of the GPU promised when nothing is loaded", promised))


def settled(server, name, wanted=None):
    """The value of a metric when it is `wanted`, or else the same three times in a row; after 20 seconds whatever it is."""
    seen, end = [], time.monotonic() + 20
    while time.monotonic() < end:
        seen.append(server.metric(name))
        if seen[-1] == wanted or (wanted is None and len(seen) > 2 and len(set(seen[-3:])) == 1):
            break
        time.sleep(0.5)
    if seen[-1] is None:
        raise RuntimeError(f"the metric {name} is not told")
    return seen[-1]


def tensors(model, batch):
    """An input for `model`, its data type, and a place for the output."""
    import networks
    import numpy

    array, kind = networks.rows(model, batch, numpy.random.default_rng(5))
    return array, kind, numpy.zeros((batch, 768 if model == "bert_base" else 1000), numpy.float16)


def difference(found, wanted):
    """The norm of the difference over the norm of what was wanted; infinite where it is no number."""
    import numpy

    found, wanted = found.astype(numpy.float64), wanted.astype(numpy.float64)
    relative = numpy.linalg.norm(found - wanted) / numpy.linalg.norm(wanted)
    return float(relative) if numpy.isfinite(relative) else float("inf")


def lent_memory(server, model, batch, bare_rate, seconds, rows):
    """A network with tensors that stay on the GPU: the answers, and the rate of four callers over the bare engine's."""
    array, kind, outputs = tensors(model, batch)
    wanted = infer(server.http, model, array, kind)
    name = f"{model}: relative difference of tritonclient's CUDA shared memory to the message"
    try:
        caller = LentByTritonclient(server.grpc, model, array, kind, outputs)
        try:
            rows.append(figure(name, difference(caller.answer(), wanted)))
        finally:
            caller.end()
    except Exception as error:  # what follows needs nothing of tritonclient
        reason = f"{type(error).__name__}: {error}"
        print(f"measure.py: {model} by raw handles alone: {reason}", file=sys.stderr)
        rows.append(figure(name, skipped=reason))
    callers = [LentTensors(server.http, model, f"c{index}", array, kind, outputs.copy()) for index in range(4)]
    try:
        rows.append(figure(f"{model}: relative difference of CUDA shared memory to the message", difference(callers[0].answer(), wanted)))
        found = batch * rate(callers, seconds)
        rows.append(figure(f"{model}: rows a second through CUDA shared memory over the bare engine", found / bare_rate, rows_per_second=found))
    finally:
        for caller in callers:
            caller.end()


def speed(programs, environment, folder, seconds, rows):
    import networks

    need(programs, *ENGINE, "hanok-benches")
    repository = folder / "speed"
    networks.write(repository, "KIND_GPU", with_graphs=True)
    length = f"{seconds}s"
    for name, (_, largest) in networks.NETWORKS.items():
        batches = [size for size in (1, 8, 16, 32, 64) if size <= largest]
        bare = {}
        for batch in batches if name != "perceptron" else [1]:
            loop = BareLoop(programs, environment, repository / name, batch)
            bare[batch] = loop.rate(seconds)
            loop.end()
        best = max(bare, key=lambda batch: bare[batch]["rows_per_second"])
        batch_seconds = bare[best]["seconds"] / bare[best]["executions"]
        with Server(programs, repository, environment) as server:
            if name == "perceptron":
                level, = bench(programs, environment, folder, f"grpc://{server.grpc}", name, "--concurrency", "1", "--duration", length)
                overhead = (level["latency_us"]["p50"] - batch_seconds * 1e6)
                rows.append(figure("small network, batch 1: server over the bare launch, p50", overhead, bare=bare, level=level))
                continue
            levels = bench(programs, environment, folder, f"grpc://{server.grpc}", name, "--batch", str(best), "--concurrency", "1,2", "--connections", "2", "--duration", length, processes=4)
            most = best * max(level["requests_per_second"] for level in levels)
            share = most / bare[best]["rows_per_second"]
            rows.append(figure(f"{name}: rows a second through the server over the bare engine, gRPC", share, batch=best, bare=bare, levels=levels))
            level, = bench(programs, environment, folder, f"grpc://{server.grpc}", name, "--batch", "1", "--rate", str(0.8 * most / 4), "--connections", "4", "--duration", length, processes=4)
            rows.append(figure(f"{name}: p99 at 80 % load over the bare time of a batch", level["latency_us"]["p99"] / (batch_seconds * 1e6), level=level))
            lent_memory(server, name, best, bare[best]["rows_per_second"], seconds, rows)


def torch_beside(environment, seconds, rows):
    """ResNet-50 and BERT-base by PyTorch, compiled with CUDA graphs, in the same run, each in a process and for a bounded time:
    where tuning does not end in it, as the compiler has it without."""
    for name, network in (("ResNet-50 by PyTorch, compiled, CUDA graphs, batch 64", "resnet50"), ("BERT-base by PyTorch, compiled, CUDA graphs, batch 32", "bert_base")):
        row = figure(name, skipped="it was not tried")
        for mode, limit in (("max-autotune-no-cudagraphs", 180), ("default", 90)):
            command = [sys.executable, HERE / "pytorch_networks.py", network, str(seconds), mode]
            try:
                done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit)
            except subprocess.TimeoutExpired:
                row = figure(name, skipped=f"{mode}: not done in {limit} seconds")
                continue
            if done.returncode == 0:
                row = figure(name, json.loads(done.stdout.splitlines()[-1])["rows_per_second"], mode=mode)
                break
            row = figure(name, skipped=f"{mode}: {done.stderr.strip()[-300:]}")
        rows.append(row)


def device():
    query = "name,uuid,driver_version,memory.total,compute_cap"
    try:
        done = subprocess.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True, text=True)
    except OSError as error:
        return {"absent": f"nvidia-smi cannot be started: {error.strerror}"}
    return {"absent": done.stdout.strip() or "nvidia-smi failed"} if done.returncode else dict(zip(query.split(","), done.stdout.splitlines()[0].split(", ")))


def joined(paths, skip, commit, found):
    """The figures of parts that are not in `skip`, out of records of the same commit and device."""
    part_of = {one["figure"]: one["part"] for one in FIGURES}
    rows = []
    for path in paths:
        record = json.loads(path.read_text())
        for name, here in (("commit", commit), ("device", found)):
            if record[name] != here:
                sys.exit(f"measure.py: {path} is of another {name}: {record[name]}, here {here}")
        rows += [row for row in record["figures"] if row.get("part", part_of.get(row["figure"])) not in skip]
    return rows


def write_record(path, commit, found, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"suite": "cuda", "commit": commit, "unix_time": int(time.time()), "device": found, "figures": rows}
    path.write_text(json.dumps(record, indent=2) + "\n")


def print_row(row):
    shown = f"skipped: {row['skipped']}" if row["measured"] is None else f"{row['measured']} {row['unit']}"
    target = " ".join(str(word) for one in (row["target"] or {}).items() for word in one).replace("_", " ") or "-"
    print(f"{row['figure']:<80} {target:<16} {shown} {'' if row['ok'] is None else 'ok' if row['ok'] else 'MISSED'}")


def measured(name, measure):
    """The rows of a part: what it measured before it failed, and why the rest is missing. One part must not cost the others."""
    rows, reason = [], "it was not measured"
    try:
        measure(rows)
    except NoGpu as error:
        reason = str(error)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    rows += missing(name, rows, reason)
    for row in rows:
        row |= {"part": name, "ok": holds(row)}
    return rows


class NoGpu(Exception):
    """There is nothing to measure on."""


def absent(reason):
    def measure(_rows):
        raise NoGpu(f"there is no GPU: {reason}")
    return measure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--commit", default="")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", default="kernels,answers,networks,torch")
    parser.add_argument("--join", type=Path, nargs="+", default=[])
    arguments = parser.parse_args()
    names = [name for name in arguments.only.split(",") if name]
    found = device()
    with tempfile.TemporaryDirectory(prefix="hanok-gpu-") as folder:
        folder, programs = Path(folder), {}
        commit = arguments.commit or packed.commit()
        if "absent" in found:
            print(f"measure.py: there is no GPU: {found['absent']}", file=sys.stderr)
        else:
            programs, packages = packed.unpack(folder), packed.add_packages(folder)
            print(f"measure.py: packed were {', '.join([*programs, *packages]) or 'nothing'}", file=sys.stderr)
        environment = packed.environment()
        parts = {
            "kernels": lambda rows: kernels(programs, environment, folder, commit, rows),
            "answers": lambda rows: answers(programs, environment, folder, rows),
            "networks": lambda rows: speed(programs, environment, folder, arguments.seconds, rows),
            "torch": lambda rows: torch_beside(environment, arguments.seconds, rows),
        }
        unknown = [name for name in names if name not in parts]
        if unknown:
            parser.error(f"there is no part `{unknown[0]}`; there are {', '.join(parts)}")
        rows = joined(arguments.join, names, commit, found)
        for name in names:
            print(f"== {name}", flush=True)
            rows += measured(name, absent(found["absent"]) if "absent" in found else parts[name])
            write_record(arguments.report, commit, found, rows)
    for row in rows:
        print_row(row)
    write_record(arguments.report, commit, found, rows)
    print(f"recorded in {arguments.report}")
    if any(row["ok"] is False for row in rows):
        return 1
    told = {row["figure"] for row in rows if row["measured"] is not None}
    wanted = [one for one in FIGURES if one["part"] in names or arguments.join]
    return 0 if all(one["figure"] in told for one in wanted) else 3


if __name__ == "__main__":
    sys.exit(main())
