"""The packages that worldkv needs, and the line that installs those that are missing; the standard library alone."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

NEEDED = {
    "array-api-compat": "array_api_compat",
    "joblib": "joblib",
    "matplotlib": "matplotlib",
    "networkx": "networkx",
    "numpy": "numpy",
    "pillow": "PIL",
    "rich": "rich",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "typer": "typer",
}
"""By the name under which each is installed, the one under which it is imported; as in pyproject.toml."""
FOR_TESTS = {"pytest": "pytest", "hypothesis": "hypothesis", "scikit-image": "skimage"}
"""What the device's own tests need beside."""


def missing(packages: Mapping[str, str]) -> list[str]:
    """Those of the packages that are not installed, without importing any."""
    return [name for name, module in packages.items() if find_spec(module) is None]


def install_line(names: list[str]) -> str:
    """The command that installs them."""
    return f"python3 -m pip install {' '.join(names)}"
