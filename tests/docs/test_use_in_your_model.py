"""docs/use-in-your-model.md does what it says, word for word."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from torch import Tensor

from tests.adapters import family
from worldkv import CacheGeometry, Viewpoint, WorldCache, parse_policy

PAGE = (Path(__file__).parents[2] / "docs" / "use-in-your-model.md").read_text()
OWN_MODEL, *OTHERS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
MOST_LINES = 20
"""Of an adapter's example."""


def example(word: str) -> str:
    """The one example, after the first, that has a word."""
    found: list[str] = [source for source in OTHERS if word in source]
    assert len(found) == 1
    return found[0]


def test_the_page_s_model_walks_its_path(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(OWN_MODEL)
    done = subprocess.run(
        [sys.executable, "-W", "error", "model.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    last, fetched = done.stdout.splitlines()
    # Sink, six retrieved chunks of half their tokens, two recent ones and the chunk itself, 48 tokens each when whole.
    found = re.fullmatch(r"chunk 119 attended 336 tokens, chunks \[0, (.*), 117, 118\]", last)
    assert found, last
    assert len(found[1].split(", ")) == 6
    assert re.match(r"fetched [1-9][\d,]* bytes in all; \{'window': [1-9]", fetched), fetched


@pytest.mark.parametrize("source", OTHERS)
def test_an_adapter_s_example_runs(source: str) -> None:
    assert len(source.splitlines()) <= MOST_LINES
    exec(compile(source, "use-in-your-model.md", "exec"), {})  # noqa: S102 - the page's own code


def test_diffusers_example_attends_what_its_policy_says() -> None:
    names: dict[str, Any] = {}
    exec(example("WanTransformer3DModel"), names)  # noqa: S102 - the page's own code
    assert len(names["cache"].engine.table) == 6


def test_engines_get_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the engines take what the example hands them."""
    names: dict[str, Any] = {}
    exec(example("in_sglang"), names)  # noqa: S102 - the page's own code
    geometry = CacheGeometry(2, 1, 1, 4, 2, 2, branches=2)
    registry, name = dict[str, Any](), "lightx2v.common.kvcache.manager"
    manager = ModuleType(name)
    vars(manager)["register_self_attn_kv_cache"] = lambda scheme, pool, *, kwargs_builder: registry.update(
        {scheme: (pool, kwargs_builder)}
    )
    for depth in range(1, 4):
        package = name.rsplit(".", depth)[0]
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    monkeypatch.setitem(sys.modules, name, manager)
    stage, block = SimpleNamespace(), SimpleNamespace(self_attn=SimpleNamespace())

    def viewpoint_of(chunk: int) -> Viewpoint:
        return Viewpoint()

    with WorldCache(parse_policy("full-kv"), geometry) as cache:
        names["in_sglang"](stage, cache, viewpoint_of)
        assert [len(stage.causal_kv_cache), len(stage.causal_kv_cache_neg)] == [2, 2]
        names["in_lightx2v"](cache, viewpoint_of)
        pool, kwargs_builder = registry["worldkv"]
        assert kwargs_builder({}, {}, {}) == {"cache": cache, "viewpoint_of": viewpoint_of} and pool.__name__ == "Pool"
        names["in_flashdreams"](SimpleNamespace(blocks=[block, block]), cache, viewpoint_of)
        assert callable(block.self_attn.initialize_cache)


def test_the_transformers_example_prints_what_it_attended(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(example("LlamaConfig"), names)  # noqa: S102 - the page's own code
    assert names["text"].shape == (1, 1030)
    # 999 tokens of the prompt and 30 fed back; sink, three recent and four retrieved chunks.
    assert capsys.readouterr().out == "1029 tokens seen, 512 attended beside the chunk being filled\n"


class Prompted(family.Pipeline):
    """A pipeline of the family that takes what theirs take."""

    def inference(self, noise: list[Tensor], text_prompts: list[str]) -> Tensor:  # type: ignore[override]
        return super().inference(noise)


def test_the_self_forcing_example_attends_what_its_policy_says(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    names: dict[str, Any] = {}
    exec(example("self_forcing"), names)  # noqa: S102 - the page's own code
    noise, cameras = family.noise([3] * 4), torch.eye(4).repeat(4, 3, 1, 1)
    out = names["under_worldkv"](Prompted(family.Model()), noise, ["a street"], cameras)
    assert torch.equal(out, family.roll_out(family.Model(), noise, family.own_caches()))
    assert capsys.readouterr().out.splitlines()[-1] == "block 3 attended 192 tokens, chunks [0, 1, 2]"
    model = family.Model(family.Copying)
    geometry = CacheGeometry(2, family.HEADS, family.HEADS, family.CHANNELS, family.ROWS, family.COLUMNS, 3, itemsize=4)
    with names["in_longlive"](model, WorldCache(parse_policy("full-kv"), geometry), None):
        assert torch.equal(family.roll_out(model, noise, family.own_caches()), out)
