"""The conformance kit: property-based checks of cache policies and their parts.

`check_policy(MyPolicy())` in a test, `worldkv check my_policy.py:MyPolicy` at the command line. Needs hypothesis.
The names below are imported on first use, so that rollouts alone start without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldkv._lazy import on_first_use

if TYPE_CHECKING:
    from worldkv.testing import strategies as strategies
    from worldkv.testing.check import CheckFailed as CheckFailed
    from worldkv.testing.kit import check_compression as check_compression
    from worldkv.testing.kit import check_eviction as check_eviction
    from worldkv.testing.kit import check_index as check_index
    from worldkv.testing.kit import check_policy as check_policy
    from worldkv.testing.kit import examine as examine
    from worldkv.testing.kit import parametrize_with_checks as parametrize_with_checks
    from worldkv.testing.kit import replay as replay
    from worldkv.testing.motion_script import Back as Back
    from worldkv.testing.motion_script import Coordinates as Coordinates
    from worldkv.testing.motion_script import MotionScript as MotionScript
    from worldkv.testing.motion_script import Move as Move
    from worldkv.testing.report import Finding as Finding
    from worldkv.testing.report import Report as Report
    from worldkv.testing.scenario import Scenario as Scenario
    from worldkv.testing.state_machine import CacheMachine as CacheMachine
    from worldkv.testing.state_machine import cache_machine as cache_machine
    from worldkv.testing.trial import Trial as Trial

_HOMES = {
    "Back": "worldkv.testing.motion_script",
    "CacheMachine": "worldkv.testing.state_machine",
    "CheckFailed": "worldkv.testing.check",
    "Coordinates": "worldkv.testing.motion_script",
    "Finding": "worldkv.testing.report",
    "MotionScript": "worldkv.testing.motion_script",
    "Move": "worldkv.testing.motion_script",
    "Report": "worldkv.testing.report",
    "Scenario": "worldkv.testing.scenario",
    "Trial": "worldkv.testing.trial",
    "cache_machine": "worldkv.testing.state_machine",
    "check_compression": "worldkv.testing.kit",
    "check_eviction": "worldkv.testing.kit",
    "check_index": "worldkv.testing.kit",
    "check_policy": "worldkv.testing.kit",
    "examine": "worldkv.testing.kit",
    "parametrize_with_checks": "worldkv.testing.kit",
    "replay": "worldkv.testing.kit",
    "strategies": "worldkv.testing.strategies",
}

__all__ = sorted(_HOMES)

__getattr__ = on_first_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
