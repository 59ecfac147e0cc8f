"""Random outputs and targets of a network with regions, for the losses' parity tests."""

import torch
import torch.nn.functional as F


def unit(*shape, generator):
    """Unit vectors, a leaf that takes a gradient."""
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1).requires_grad_()


def drawn(seed, b=4, r=3, m=5, d=6, captions=4):
    """Images with 0 to r regions, captions that repeat or are missing, and 0 to m negatives."""
    g = torch.Generator().manual_seed(seed)
    output = {
        "global_embedding": unit(b, d, generator=g),
        "text_embedding": unit(b, d, generator=g),
        "summary_embedding": unit(b, d, generator=g),
        "region_embedding": unit(b, r, d, generator=g),
        "caption_embedding": unit(b, r, d, generator=g),
        "negative_embedding": unit(b, r, m, d, generator=g),
        "teacher_region_embedding": unit(b, r, d + 1, generator=g),
        "teacher_caption_embedding": unit(b, r, d + 1, generator=g),
        "logit_scale": torch.tensor(4.0, dtype=torch.float64, requires_grad=True),
    }
    caption_id = torch.randint(-1, captions, (b, r), generator=g)
    negative_id = torch.randint(0, 2 * captions, (b, r, m), generator=g)
    negative_id[torch.rand(b, r, m, generator=g) < 0.4] = -1
    negative_id[0, 0] = -1
    target = {
        "region_valid": torch.arange(r) < torch.randint(0, r + 1, (b, 1), generator=g),
        "caption_id": caption_id,
        "negative_id": negative_id,
    }
    return output, target


def same_gradients(fast, slow, output, names):
    """Compare two losses and their gradients with respect to the named outputs; 0 where one does not depend on them."""
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-10)
    for name in names:
        gradients = [
            torch.autograd.grad(loss, output[name], retain_graph=True, allow_unused=True)[0] for loss in (fast, slow)
        ]
        gradients = [torch.zeros_like(output[name]) if g is None else g for g in gradients]
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)
