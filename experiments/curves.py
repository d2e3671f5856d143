"""QDHF on curves: smooth ones are good, and what makes them different is learned from answers.

Killed, a run goes on with --resume.
    python -m experiments.curves --run runs/curves                   # a simulation answers
    python -m experiments.curves --annotator study --run runs/people # people do: qdfeedback study serve runs/people
"""

from functools import partial

from domains.curves import Curves, Descriptors
from qdfeedback.problem import Problem, run_command

CURVES = Problem(
    Curves(), Descriptors(), quality="smoothness", truth=("roundness", "elongation"), unit="curve",
    text="Look at the curve at the top. Which of the two below is more like it?",
)  # fmt: skip
main = partial(run_command, CURVES, __doc__)

if __name__ == "__main__":
    main()
