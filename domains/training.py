"""What trainings of our small models share: the learning rate, the optimizers, and going on after a kill."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


def rate(step: int, steps: int, highest: float) -> float:
    """Returns the learning rate of a step: it rises for 5 % of the steps, then falls to a fiftieth."""
    begin = max(steps // 20, 1)
    if step < begin:
        return highest * (step + 1) / begin
    done = (step - begin) / max(steps - begin, 1)
    return highest * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def make_optimizers(*networks: torch.nn.Module) -> list[torch.optim.Optimizer]:
    """Returns Muon for the matrices within networks, and AdamW for the rest."""
    inner: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, parameter in (named for network in networks for named in network.named_parameters()):
        (inner if parameter.ndim == 2 and "embed" not in name else rest).append(parameter)
    matrices = [torch.optim.Muon(inner, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")] if inner else []
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
    """Weights and optimizers, on disk as tensors and JSON.

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

    def save(self, step: int) -> None:
        """Writes all, under a new name that replaces the old one at the end."""
        part = self.folder / "writing"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        tensors = {f"{which}.{name}": value for which, name, value in self._weights()}
        for number, optimizer in enumerate(self.optimizers):
            for row, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{number}.{row}.{name}": value for name, value in state.items()}
        save_file({name: value.detach().contiguous() for name, value in tensors.items()}, part / "state.safetensors")
        (part / "step.json").write_text(json.dumps({"step": step, "of": self.of}))
        shutil.rmtree(self.folder / "last", ignore_errors=True)
        part.rename(self.folder / "last")

    def load(self) -> int:
        """Returns the step to go on with.

        Raises:
            ValueError: What lies there is of another training.
        """
        last, written = self.folder / "last", self.folder / "writing"
        if not last.exists() and (written / "step.json").exists():  # killed before it had its name
            written.rename(last)
        if not (last / "step.json").exists():
            return 0
        found = json.loads((last / "step.json").read_text())
        if different := [name for name in self.of if found["of"].get(name) != self.of[name]]:
            raise ValueError(f"{self.folder} is of a training with another {different[0]}: remove it to begin anew")
        tensors = load_file(last / "state.safetensors")
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
        return int(found["step"])

    def _weights(self) -> list[tuple[str, str, torch.Tensor]]:
        return [
            (which, name, value)
            for which, network in self.networks.items()
            for name, value in network.named_parameters()
        ]
