"""Runs the wire scenarios against any server of the V2 protocol.

    python -m compat.run_scenarios --http HOST:PORT [--grpc HOST:PORT] [--only-portable] [FILE ...]

A scenario that needs a model which the server does not have, or gRPC without an address, is skipped and named. Exit
status 1 when one fails.
"""

import argparse
import sys
from pathlib import Path

import yaml

from compat.scenario_grpc import call, check_grpc
from compat.scenario_steps import Mismatch, check_http, send_http
from harness.http import request

FOLDER = Path(__file__).with_name("scenarios")


class NotApplicable(Exception):
    """The server at this address lacks what the scenario needs."""


def load(paths=None) -> list[dict]:
    """Every scenario of the files, with its file's defaults filled in."""
    scenarios = []
    for path in sorted(paths or FOLDER.glob("*.yaml")):
        document = yaml.safe_load(Path(path).read_text())
        for scenario in document["scenarios"]:
            scenario = {"file": Path(path).stem, "only": document.get("only"), "needs": document.get("needs", []), **scenario}
            assert scenario.get("cites"), f"{path}: {scenario['name']} cites no rule"
            scenarios.append(scenario)
    return scenarios


def run(scenario: dict, http: str, grpc: str | None):
    """Carries out all steps.

    Raises Mismatch where the server differs and NotApplicable where it lacks a model or an address.
    """
    for model in scenario["needs"]:
        if request(http, "GET", f"/v2/models/{model}/ready").status != 200:
            raise NotApplicable(f"no model {model}")
    for number, step in enumerate(scenario["steps"], 1):
        try:
            if "grpc" in step:
                if not grpc:
                    raise NotApplicable("no gRPC address")
                check_grpc(call(grpc, step["grpc"]), step.get("expect", {}))
            else:
                check_http(send_http(http, step["request"]), step.get("expect", {}))
        except Mismatch as mismatch:
            sent = step.get("grpc") or step["request"]
            raise Mismatch(f"step {number} ({str(sent)[:300]}): {mismatch}") from None
        except (OSError, EOFError) as error:
            raise Mismatch(f"step {number}: the connection failed: {error!r}") from None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--http", required=True, help="address of the HTTP port, HOST:PORT")
    parser.add_argument("--grpc", help="address of the gRPC port, HOST:PORT")
    parser.add_argument("--only-portable", action="store_true", help="leave out scenarios marked `only: hanok`")
    parser.add_argument("files", nargs="*", type=Path)
    arguments = parser.parse_args()
    passed = failed = skipped = 0
    for scenario in load(arguments.files):
        label = f"{scenario['file']}: {scenario['name']} ({', '.join(scenario['cites'])})"
        if scenario["only"] and arguments.only_portable:
            skipped += 1
            continue
        try:
            run(scenario, arguments.http, arguments.grpc)
            passed += 1
        except NotApplicable as reason:
            skipped += 1
            print(f"skipped  {label}: {reason}")
        except Mismatch as mismatch:
            failed += 1
            print(f"FAILED   {label}\n         {mismatch}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
