"""What the wheel and the sdist contain, and what constraints.txt pins. `make package` installs and uses the wheel."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gancodec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
MOST_BYTES = {".whl": 32_000_000, ".gz": 34_000_000}  # docs/packaging.md states both
UNSAFE = {".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".npy", ".npz", ".so", ".pyd", ".dll", ".dylib"}
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
SYSTEMS = ("linux", "darwin", "win32")


class Built(NamedTuple):
    """The two files of a release."""

    wheel: Path
    sdist: Path


def hatch(source: Path, target: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(target), *arguments]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("dist")
    hatch(ROOT, folder)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Built(wheel, sdist)


def files(folder: Path) -> set[str]:
    """Every file below `folder` but what Python leaves there, as names from it."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix() for path in found}


def metadata_of(wheel: zipfile.ZipFile) -> str:
    return f"gancodec-{gancodec.__version__}.dist-info"


def test_the_wheel_is_the_package_its_weights_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
        about = metadata_of(wheel)
    package = {f"gancodec/{name}" for name in files(ROOT / "gancodec")}
    weights = {f"gancodec/_weights/{name}" for name in files(ROOT / "weights")}
    about_files = {f"{about}/{n}" for n in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert names == package | weights | about_files
    assert {"gancodec/py.typed", "gancodec/__main__.py", "gancodec/_weights/manifest.json"} <= names
    assert not [name for name in names if Path(name).suffix in UNSAFE]


def test_weights_in_the_wheel_are_those_of_its_manifest(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        manifest = json.loads(wheel.read("gancodec/_weights/manifest.json"))
        inside = {name for name in wheel.namelist() if name.startswith("gancodec/_weights/")}
        named = {f"gancodec/_weights/{entry['file']}": entry["sha256"] for entry in manifest["models"].values()}
        assert manifest["default"] in manifest["models"]
        assert inside == {*named, "gancodec/_weights/manifest.json"}
        for name, sha256 in named.items():
            assert name.endswith(".safetensors")
            assert hashlib.sha256(wheel.read(name)).hexdigest() == sha256


def test_metadata_of_the_wheel(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        fields = message_from_bytes(wheel.read(f"{metadata_of(wheel)}/METADATA"))
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert fields["Version"] == gancodec.__version__
    assert fields["License-Expression"] == "Apache-2.0"
    assert fields["Requires-Python"] == declared["requires-python"]
    assert set(fields.get_all("Provides-Extra", [])) == set(declared["optional-dependencies"])
    always = [line for line in fields.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {Requirement(line).name for line in always} == {Requirement(line).name for line in declared["dependencies"]}


def test_the_sdist_builds_the_same_wheel(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    present = files(source)
    wanted = ("LICENSE", "README.md", "SECURITY.md", "CHANGELOG.md", "Makefile", "constraints.txt", ".ci/run")
    assert {*wanted, "docs/format.md", "tests/test_package.py", "tools/make_env.sh"} <= present
    hatch(source, tmp_path / "dist", "--target", "wheel")
    (again,) = (tmp_path / "dist").glob("*.whl")
    assert again.read_bytes() == built.wheel.read_bytes()


def test_sizes_are_within_what_is_stated(built: Built) -> None:
    stated = (ROOT / "docs" / "packaging.md").read_text(encoding="utf-8")
    for path in built:
        most = MOST_BYTES[path.suffix]
        assert path.stat().st_size <= most
        assert f"at most {most:,} bytes" in stated


def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def direct() -> list[Requirement]:
    """What pyproject.toml asks for by name, extras and groups included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    lists = [project["project"]["dependencies"], *extras.values(), groups["dev"], groups["fuzz"]]
    return [need for lines in lists for need in map(Requirement, lines) if need.name != "gancodec"]


def test_constraints_are_exact_versions_without_addresses() -> None:
    for pin in pins():
        assert re.fullmatch(r"==[0-9][0-9A-Za-z.]*", str(pin.specifier)), pin
        assert pin.url is None


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_pin_everything_once(python: str, system: str) -> None:
    place = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": system}
    here: dict[str, str] = {}
    for pin in pins():
        if pin.marker is None or pin.marker.evaluate(place):
            assert canonicalize_name(pin.name) not in here, pin
            here[canonicalize_name(pin.name)] = str(pin.specifier).removeprefix("==")
    for need in direct():
        if need.marker is None or need.marker.evaluate(place):
            assert need.specifier.contains(here[canonicalize_name(need.name)]), f"{need}: run `make lock`"
