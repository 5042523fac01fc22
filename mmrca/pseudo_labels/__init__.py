"""From CAMs to pseudo-labels: cues, refinements, fusion, files."""
