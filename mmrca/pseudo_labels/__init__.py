"""From CAMs to pseudo-labels: cues, refinement, fusion, files, figures."""
