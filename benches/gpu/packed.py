"""What `make_pack` packed: programs and libraries, and Python packages that a machine with PyTorch does not have."""

import lzma
import os
import shutil
import sys
import zipfile
from pathlib import Path

PACK = Path(__file__).resolve().parent / "pack"

# What a server with ONNX Runtime's CUDA provider is made of.
ENGINE = ("hanok", "libonnxruntime.so.1.31.1", "libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so")


def unpack(folder: Path, pack: Path = PACK) -> dict[str, Path]:
    """The programs and libraries of the pack, unpacked into `folder`; names that are missing were not packed."""
    found = {}
    for packed in sorted(pack.glob("*/*.xz")):
        target = folder / packed.stem
        if not target.exists():
            with lzma.open(packed) as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink)
            target.chmod(0o755)
        found[packed.stem] = target
    return found


def need(programs, *names):
    """Raises what says that the pack lacks something."""
    lacking = [name for name in names if name not in programs]
    if lacking:
        raise RuntimeError(f"make_pack did not pack {', '.join(lacking)}")


def add_packages(folder: Path, pack: Path = PACK) -> list[str]:
    """Makes the pack's Python packages importable, behind those that the machine has; gives their files' names."""
    wheels = sorted(pack.glob("*/*.whl"))
    place = folder / "packages"
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(place)
    if wheels and str(place) not in sys.path:
        sys.path.append(str(place))
    return [wheel.name for wheel in wheels]


def commit(pack: Path = PACK) -> str:
    """The commit of which the pack was made; empty where it does not say."""
    note = pack / "programs/commit"
    return note.read_text().strip() if note.exists() else ""


def library_folders():
    """Folders of CUDA's libraries within Python's packages, for the system's loader."""
    return [str(folder) for path in map(Path, sys.path) for folder in sorted(path.glob("nvidia/*/lib"))]


def environment():
    """The environment of our programs: CUDA's libraries are found, and ONNX Runtime tells nobody anything."""
    found = os.pathsep.join([*library_folders(), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])
    return {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "LD_LIBRARY_PATH": found}
