"""A planar arm with ten joints."""

from domains.arm.arm import FEATURES, RANGES, Arm, ArmEncoder

__all__ = ["FEATURES", "RANGES", "Arm", "ArmEncoder"]
