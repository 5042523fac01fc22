"""The method's formulas as pure functions: no registry, no state, no I/O."""

IGNORE_INDEX = 255  # here, as reading labels needs no torch
