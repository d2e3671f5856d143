"""One file, one experiment; `python -m experiments.NAME --help` says what each knob does."""
