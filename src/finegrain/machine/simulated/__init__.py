"""The simulated machine: 1 to 1,024 CPUs in one OS thread, deterministic, with a cost model."""

from finegrain.machine.simulated.simulated import SimulatedMachine

__all__ = ["SimulatedMachine"]
