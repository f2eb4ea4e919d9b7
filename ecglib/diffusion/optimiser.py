r"""The optimiser: AdamW for everything, or Muon for the matrices inside the blocks and AdamW for the rest.

With Muon (`ecglib.diffusion.muon`) a small network learns more in the same number of steps: the table of trials says
how much.

Source: Loshchilov & Hutter, AdamW, 2019, in PyTorch's implementation.
"""

import torch
from torch import Tensor, nn

from ecglib.config import TrainingConfig
from ecglib.diffusion.muon import Muon


class Optimiser:
    """One or two of PyTorch's optimisers as one.

    Parameters
    ----------
    network : Module
        Its parameters below ``blocks.`` with two axes are Muon's, where it is asked for.
    config : TrainingConfig
    """

    def __init__(self, network: nn.Module, config: TrainingConfig) -> None:
        muon = config.optimiser == "muon"
        named = dict(network.named_parameters())
        inner = [p for name, p in named.items() if muon and name.startswith("blocks.") and p.ndim == 2]
        chosen = {id(p) for p in inner}
        rest = [p for p in named.values() if id(p) not in chosen]
        rate, decay = config.learning_rate, config.weight_decay
        self.parts: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, lr=rate, weight_decay=decay, fused=True)]
        if inner:
            self.parts.append(Muon(inner, lr=rate, weight_decay=decay))

    def step(self, rate: float) -> None:
        """Update the weights with the learning rate `rate`."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()

    def state(self) -> dict[str, Tensor]:
        """Return the moments: ``<part>.<parameter>.<name>`` → tensor."""
        return {f"{i}.{k}.{name}": value for i, part in enumerate(self.parts)
                for k, moments in part.state_dict()["state"].items() for name, value in moments.items()}  # fmt: skip

    def restore(self, state: dict[str, Tensor]) -> bool:
        """Put back what `state` returned; False if it is of other parameters or another optimiser."""
        for i, part in enumerate(self.parts):
            parameters = [p for group in part.param_groups for p in group["params"]]
            moments: dict[int, dict[str, Tensor]] = {}
            for key, value in state.items():
                place, k, name = key.split(".")
                if int(place) == i:
                    moments.setdefault(int(k), {})[name] = value
            names = {"momentum_buffer"} if isinstance(part, Muon) else {"step", "exp_avg", "exp_avg_sq"}
            fits = moments and all(k < len(parameters) and m.keys() == names and all(
                value.shape == parameters[k].shape for name, value in m.items() if name != "step")
                for k, m in moments.items())  # fmt: skip
            if not fits:
                return False
            part.load_state_dict({"state": moments, "param_groups": part.state_dict()["param_groups"]})
        return True
