"""A model of a training's memory, traffic and time on R GPUs, of formulas alone: python -m scripts.scaling_model"""

from typing import NamedTuple

import fire

from scripts.switches import with_switches
from scripts.text_table import text_table


class Network(NamedTuple):
    """What of a Patch-CLIP with a ViT-L/14 decides: its tower, its canvas, what trains."""

    name: str
    tokens: int
    hidden_side: int
    tower_trains: bool
    checkpointing: bool


WIDTH, BLOCKS, EMBEDDING, HIDDEN = 1024, 24, 768, 64
TOWER = BLOCKS * 12 * WIDTH**2  # parameters: attention 4 W^2, MLP 8 W^2 a block
HEADS = 2 * (4 * WIDTH**2 + 2 * WIDTH * 2048) + 2 * WIDTH * EMBEDDING
TEXT = 12 * 12 * 768**2 + 49_408 * 768
NETWORKS = [
    Network("900 -> 224, tower frozen", 257, 449, False, False),
    Network("900 -> 224, all of vision trains", 257, 449, True, False),
    Network("900 -> 448, tower frozen", 1025, 898, False, False),
    Network("900 -> 448, tower frozen, checkpointing", 1025, 898, False, True),
    Network("900 -> 448, all of vision trains, checkpointing", 1025, 898, True, True),
]


def memory(network: Network, batch: int, shares: int = 1) -> float:
    """GB of a GPU: weights and gradients in float32, Adam's two states in so many shares, activations in bf16.

    A block keeps about 34 bytes a token and channel (Korthikanti et al., "Reducing Activation Recomputation in Large
    Transformer Models", 2022, with an attention that keeps no matrix), with checkpointing its input's 4, and one
    block's 34 at a time. The downscaler's first convolution is kept before and after its batch norm.
    """
    trained = HEADS + TOWER * network.tower_trains
    blocks = BLOCKS * 4 + 34 if network.checkpointing else BLOCKS * 34
    activations = batch * (network.tokens * WIDTH * blocks + 2 * 2 * HIDDEN * network.hidden_side**2)
    return (4 * (TOWER + HEADS + TEXT) + (4 + 8 / shares) * trained + activations) / 1e9


def computed(network: Network) -> float:
    """TFLOP an image: 2 a parameter and token forward, as much for the gradient of what comes in, of weights, again."""
    forward = 2 * TOWER * network.tokens + 4 * BLOCKS * network.tokens**2 * WIDTH
    downscaler = 2 * 25 * HIDDEN * (network.hidden_side**2 + 3 * (network.hidden_side / 2) ** 2)
    passes = 2 + network.tower_trains + network.checkpointing
    return (passes * forward + 3 * downscaler) / 1e12


def sent(network: Network, ranks: int, batch: int, sharded: bool = False) -> tuple[float, float]:
    """MB that a rank sends a step: the gradients' all-reduce (ring), and stage 1's embeddings, there and back.

    Where the optimizer is sharded the weights too, which each rank has stepped its share of.
    """
    share = (ranks - 1) / ranks
    gradients = (2 + sharded) * share * 4 * (HEADS + TOWER * network.tower_trains)
    return gradients / 1e6, 2 * 2 * share * ranks * batch * EMBEDDING * 4 / 1e6


def main(
    batch: int = 64,
    ranks: tuple[int, ...] = (1, 8, 64),
    tflops: float = 400,
    link: float = 50,
    sharded: bool = False,
    markdown: bool = False,
) -> None:
    """Print the model.

    Args:
        batch: images of a GPU.
        ranks: numbers of GPUs.
        tflops: that a GPU does of this work in bf16; assumed.
        link: GB a second that a GPU sends; assumed. Nothing is taken to be sent while it computes.
        sharded: with `--shard_optimizer true`; the gradients' column is then gradients and weights.
        markdown: print a Markdown table.
    """
    table = [("network", "GPUs", "GB", "images/s", "gradients, MB", "embeddings, MB", "efficiency")]
    for network in NETWORKS:
        seconds = batch * computed(network) / tflops
        for number in ranks:
            gradients, embeddings = sent(network, number, batch, sharded)
            waiting = gradients / link / 1e3
            rate, share = number * batch / (seconds + waiting), seconds / (seconds + waiting)
            numbers = (
                f"{memory(network, batch, number if sharded else 1):.0f}",
                f"{rate:,.0f}",
                f"{gradients:.0f}",
                f"{embeddings:.1f}",
            )
            table.append((network.name, str(number), *numbers, f"{share:.2f}"))
    print(text_table(table, markdown))


if __name__ == "__main__":
    fire.Fire(with_switches(main))
