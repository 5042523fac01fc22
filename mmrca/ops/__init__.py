"""The method's formulas as pure functions: no registry, no state, no I/O."""
