"""What trainings of our small models share: the learning rate, the optimizers, and going on after a kill."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from qdfeedback import files
from qdfeedback.bounds import Bounds
from qdfeedback.text_files import parse_json, why
from qdfeedback.values import a_number, a_record, brief


def rate(step: int, steps: int, highest: float) -> float:
    """Returns the learning rate of a step: it rises for 5 % of the steps, then falls to a fiftieth."""
    begin = max(steps // 20, 1)
    if step < begin:
        return highest * (step + 1) / begin
    done = (step - begin) / max(steps - begin, 1)
    return highest * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


class Muon(torch.optim.Optimizer):
    """Momentum, its matrices made orthogonal (Jordan 2024) and scaled to the size of AdamW's steps (Liu 2025).

    What `torch.optim.Muon` does, and filters of convolutions besides, each as a matrix of one row per output; all
    matrices of a size are done at once, in float32: on a CPU that takes two fifths of the time.

    Args:
        parameters: of two dimensions or more.
        momentum: share of the old momentum that stays (Nesterov).
        weight_decay: times the learning rate.
    """

    def __init__(
        self, parameters: Sequence[torch.nn.Parameter], *, momentum: float = 0.95, weight_decay: float = 0.05
    ) -> None:
        super().__init__(parameters, {"lr": 1e-3, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override] # noqa: ARG002
        """Changes all parameters that have a gradient."""
        for group in self.param_groups:
            of_a_size: dict[tuple[int, ...], list[torch.nn.Parameter]] = {}
            for one in group["params"]:
                if one.grad is not None:
                    of_a_size.setdefault(tuple(one.shape), []).append(one)
            for parameters in of_a_size.values():
                self._change(parameters, group)

    def _change(self, parameters: Sequence[torch.nn.Parameter], group: Mapping[str, Any]) -> None:
        wanted = []
        for one in parameters:
            assert one.grad is not None
            state = self.state[one]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(one)
            momentum = state["momentum_buffer"]
            momentum.lerp_(one.grad, 1 - group["momentum"])
            wanted.append(one.grad.lerp(momentum, group["momentum"]).flatten(1))
        found = orthogonal(torch.stack(wanted))
        size = 0.2 * math.sqrt(max(found.shape[1:]))
        for one, step in zip(parameters, found, strict=True):
            one.mul_(1 - group["lr"] * group["weight_decay"])
            one.add_(step.reshape(one.shape), alpha=-group["lr"] * size)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Returns (n, r, c) matrices with the same singular vectors and values near 1 (five Newton-Schulz steps)."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    for _ in range(5):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=-4.775, alpha=2.0315), x, beta=3.4445)
    return x.mT if tall else x


def make_optimizers(*networks: torch.nn.Module, filters: bool = False) -> list[torch.optim.Optimizer]:
    """Returns Muon for the matrices within networks, and AdamW for the rest.

    Args:
        networks: what learns.
        filters: Muon for filters of convolutions too, of 32 channels or more on both sides.
    """
    inner: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, parameter in (named for network in networks for named in network.named_parameters()):
        is_filter = filters and parameter.ndim == 4 and min(parameter.shape[:2]) >= 32
        (inner if (parameter.ndim == 2 and "embed" not in name) or is_filter else rest).append(parameter)
    matrices = [Muon(inner)] if inner else []
    return [*matrices, torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=0.05)]


def update(
    loss: torch.Tensor, networks: Sequence[torch.nn.Module], optimizers: Sequence[torch.optim.Optimizer], lr: float
) -> None:
    """Lowers a loss by one step of all optimizers."""
    for group in (group for one in optimizers for group in one.param_groups):
        group["lr"] = lr
    parameters = [parameter for network in networks for parameter in network.parameters()]
    for parameter in parameters:
        parameter.grad = None
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    for one in optimizers:
        one.step()


class Progress:
    """Weights and optimizers, on disk as one file of tensors.

    Args:
        folder: where.
        networks: name → network; their weights are kept.
        optimizers: their moments are kept.
        of: settings, by which one training is told from another.
    """

    def __init__(
        self,
        folder: Path,
        networks: Mapping[str, torch.nn.Module],
        optimizers: Sequence[torch.optim.Optimizer],
        of: dict[str, Any],
    ) -> None:
        self.folder, self.networks, self.optimizers, self.of = folder, networks, optimizers, of
        self.path = folder / "last.safetensors"

    def save(self, step: int) -> None:
        """Writes all, as one file that replaces the old one at the end."""
        tensors = {f"{which}.{name}": value for which, name, value in self._weights()}
        for number, optimizer in enumerate(self.optimizers):
            for row, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{number}.{row}.{name}": value for name, value in state.items()}
        whole = {name: value.detach().contiguous() for name, value in tensors.items()}
        files.write_atomic(self.path, save(whole, {"training": json.dumps({"step": step, "of": self.of})}))

    def load(self) -> int:
        """Returns the step to go on with.

        Raises:
            ValueError: What lies there is of another training, or damaged.
        """
        if not self.path.exists():
            return 0
        try:
            with safe_open(self.path, framework="pt") as file:
                told = parse_json((file.metadata() or {}).get("training", ""), "its note")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            found = a_record(told, "its note", known=("step", "of"), needed=("step", "of"))
            step = int(a_number(found["step"], "step", Bounds(0)))
            of = found["of"]
            if not isinstance(of, dict):
                raise ValueError(f"its settings must be an object, got {brief(of)}")
        except (SafetensorError, ValueError) as error:
            raise ValueError(f"{self.path} is damaged: {why(error)}: remove it to begin anew") from error
        if different := [name for name in self.of if of.get(name) != self.of[name]]:
            raise ValueError(f"{self.folder} is of a training with another {different[0]}: remove it to begin anew")
        try:
            self._restore(tensors)
        except (KeyError, ValueError, RuntimeError) as error:
            raise ValueError(f"{self.path} is damaged: {why(error)}: remove it to begin anew") from error
        return step

    def _restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for which, name, parameter in self._weights():
                parameter.copy_(tensors[f"{which}.{name}"])
        for number, optimizer in enumerate(self.optimizers):
            state: dict[int, dict[str, torch.Tensor]] = {}
            for name, value in tensors.items():
                if name.startswith(f"optimizer.{number}."):
                    row, key = name.split(".")[2:]
                    state.setdefault(int(row), {})[key] = value
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

    def _weights(self) -> list[tuple[str, str, torch.Tensor]]:
        return [
            (which, name, value)
            for which, network in self.networks.items()
            for name, value in network.named_parameters()
        ]
