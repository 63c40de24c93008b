"""The named errors of worldkv: one small tree, every message one sentence with the cure."""


class WorldKVError(Exception):
    """Anything a user can cause; the command line prints its sentence and exits with code 2."""


class TrajectoryError(WorldKVError):
    """A camera path cannot be read, or does not mean what its format promises."""


class SpecError(WorldKVError):
    """A spec string, name or parameter is unknown or out of its range."""


class PolicyError(WorldKVError):
    """A policy answered something that breaks its contract (an id it may not name, a wrong keep)."""


class BudgetError(WorldKVError):
    """A plan or a stored chunk does not fit where it has to go."""


class SignalError(WorldKVError):
    """A policy needs, or reads, a signal that nobody supplies or that it did not declare."""


class OutputError(WorldKVError):
    """A result cannot be written where the user asked for it."""
