"""Stage: checking. Validation, statistics, and mrcfile's own rules."""
