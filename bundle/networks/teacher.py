"""A frozen CLIP that looks at regions: the teacher of a distillation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from bundle.checkpoints import read_weights
from bundle.fingerprint import file_fingerprint, weights_fingerprint
from bundle.grid import boxes_in_grid, canvas_to_grid
from bundle.networks.clip import CLIPTowers, VisionFeatures
from bundle.networks.downscaler import Downscaler
from bundle.networks.local_normalisation import LocalNormalisation
from bundle.networks.pixel_statistics import pixel_tensors
from bundle.networks.roi_align import roi_align
from bundle.networks.text_bank import TextBank

View = Literal["crop", "roi_align"]


class RegionTeacher(nn.Module):
    """What a frozen CLIP sees in regions, and what it makes of their captions.

    - "crop": the region is cut out of the canvas, resized to the teacher's input whatever its proportions, and embedded
      as an image: r' = norm(v(crop)).
    - "roi_align": the teacher looks at the whole image once; its patch tokens inside the region, pooled, are treated as
      if they were the class token: r' = norm(projection(post_layernorm(ROI tokens))).

    A caption is read by the teacher's own text tower. Nothing trains here: no parameter takes a gradient, all parts
    stay in eval mode, and what is handed out hangs on no graph. A teacher belongs to the training step
    (`bundle.engines.TrainingStep`), not to the student: it is in no checkpoint, and evaluation does not need it.

    Source: the frozen CLIP on ROI crops is Region-Aware MedCLIP's; ROI alignment on the teacher's feature map is
    RegionCLIP's (Zhong et al., CVPR 2022).

    Args:
        clip: towers of its own, text tower included; of any embedding size, since only distributions are compared.
        tokenizer: the text tower's.
        texts: the student's, by their numbers.
        downscaler: what stands before the vision tower; None resizes to the tower's input, the one channel thrice.
        weights: a checkpoint of this house (such as plain CLIP's), of which `clip.*` and `downscaler.*` are read; None
            leaves `clip` as it is, such as pretrained.
        view: see above.
        local_normalisation: arguments of `LocalNormalisation`, those that `weights` were trained with; of the whole
            canvas, before a region is cut out. None leaves it out.
        cache: keep what it sees, by image and box, in memory: each region is then looked at once in a process, by
            itself, so that what it gives does not depend on the batch. Only where nothing random changes the images
            (`bundle.transforms.augment.is_off`).

    Raises:
        FileNotFoundError: there is no file at `weights`.
        ValueError: weights of other sizes; parts that do not fit; an untrained downscaler; an unknown view.
    """

    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    def __init__(
        self,
        clip: CLIPTowers,
        tokenizer: Any,
        texts: Sequence[str],
        downscaler: Downscaler | None = None,
        weights: str | Path | None = None,
        view: View = "crop",
        cache: bool = False,
        local_normalisation: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if view not in ("crop", "roi_align"):
            raise ValueError(f"RegionTeacher: view is '{view}'; give 'crop' or 'roi_align'.")
        if clip.text is None:
            raise ValueError("RegionTeacher: clip has no text tower; a teacher reads the captions itself.")
        if downscaler is not None and downscaler.out_size != clip.vision.image_size:
            raise ValueError(
                f"RegionTeacher: the downscaler gives {downscaler.out_size} px, but clip.image_size is "
                f"{clip.vision.image_size}; set them to the same number."
            )
        if downscaler is not None and weights is None:
            raise ValueError("RegionTeacher: a downscaler needs `weights`; it would teach untrained.")
        self.clip, self.downscaler, self.view = clip, downscaler, view
        self.local_normalisation = LocalNormalisation.of(local_normalisation)
        self.input_size = clip.vision.image_size if downscaler is None else downscaler.in_size
        self.fingerprint = weights_fingerprint(self.state_dict()) if weights is None else self._load(Path(weights))
        mean, std = pixel_tensors(clip.pixels, channels=3 if downscaler is None else 1)
        self.register_buffer("pixel_mean", mean, persistent=False)
        self.register_buffer("pixel_std", std, persistent=False)
        self.requires_grad_(False).train(False)
        self.texts = TextBank(texts, tokenizer, clip.text, clip.context_length)
        self._seen: dict[tuple[float, ...], torch.Tensor] | None = {} if cache else None

    def train(self, mode: bool = True) -> "RegionTeacher":
        """Nothing: a teacher stays in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Look at regions and read captions.

        Args:
            batch: of the student's training: `image` (B, 1, Hc, Wc) float, 0..1, the canvas; `regions` (B, R, 4) as
                [x0, y0, x1, y1] in canvas pixels, NaN rows being padding; `caption_id` (B, R) int64, -1 where there is
                none; for the cache, `index` (B,) int64.

        Returns:
            `teacher_region_embedding` and `teacher_caption_embedding`, float32 (B, R, Dt), unit length; 0 where there
            is none.

        Raises:
            ValueError: with "roi_align", a canvas of another size than the teacher's.
        """
        image, regions = batch["image"], batch["regions"]
        canvas = (image.shape[-2], image.shape[-1])
        if self.view == "roi_align" and self.downscaler is not None and canvas != (self.input_size, self.input_size):
            raise ValueError(
                f"The teacher looks at a canvas of {self.input_size} px, the student at {canvas[1]} px: with view "
                "'roi_align' both look at the same. Give a teacher of that size, or view 'crop', which resizes."
            )
        self.to(image.device)
        if self.local_normalisation is not None:
            image = self.local_normalisation(image)
        valid = boxes_in_grid(regions, canvas)
        seen = image.new_zeros(*valid.shape, self.clip.embedding_dim, dtype=torch.float32)
        if self._seen is None:
            seen[valid] = self._look(image, regions, valid)
        else:
            for b, r in valid.nonzero().tolist():
                key = (int(batch["index"][b]), *regions[b, r].tolist())
                if key not in self._seen:
                    one = slice(b, b + 1), slice(r, r + 1)
                    self._seen[key] = self._look(image[one[0]], regions[one], valid[one])[0].cpu()
                seen[b, r] = self._seen[key].to(seen.device)
        return {"teacher_region_embedding": seen, "teacher_caption_embedding": self.texts(batch["caption_id"])}

    def _look(self, image: torch.Tensor, regions: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Images (B, 1, Hc, Wc), regions (B, R, 4) and which of them to look at (B, R) -> (n, Dt)."""
        vision = self.clip.vision
        if self.view == "roi_align":
            boxes = canvas_to_grid(regions, (image.shape[-2], image.shape[-1]), vision.grid)
            tokens = roi_align(self._features(image).patch_tokens, boxes, vision.grid)[valid]  # (n, W)
            return F.normalize(vision.as_global(tokens).float(), dim=-1)
        seen = [image.new_zeros(0, self.clip.embedding_dim, dtype=torch.float32)]
        for places in valid.nonzero().split(len(image)):  # as many crops at once as the student has images
            if len(places):
                crops = torch.cat([self._crop(image[b], regions[b, r]) for b, r in places.tolist()])
                seen.append(F.normalize(self._features(crops).global_embedding.float(), dim=-1))
        return torch.cat(seen)

    def _features(self, image: torch.Tensor) -> VisionFeatures:
        """(n, 1, H, W) -> the vision tower's tokens."""
        if image.shape[-1] != self.input_size or image.shape[-2] != self.input_size:
            image = self._resized(image)
        pixels = (image - self.pixel_mean) / self.pixel_std
        return self.clip.vision(pixels.expand(-1, 3, -1, -1) if self.downscaler is None else self.downscaler(pixels))

    def _crop(self, image: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
        """Every pixel that a box touches, (1, Hc, Wc) and (4,) -> (1, 1, S, S), S the input's side."""
        height, width = image.shape[-2:]
        x0, y0 = (int(value) for value in box[:2].clamp(min=0).floor())
        x1, y1 = min(width, int(box[2].ceil())), min(height, int(box[3].ceil()))
        return self._resized(image[None, :, y0:y1, x0:x1])

    def _resized(self, image: torch.Tensor) -> torch.Tensor:
        size = (self.input_size, self.input_size)
        return F.interpolate(image.float(), size, mode="bilinear", antialias=True, align_corners=False)

    def _load(self, path: Path) -> str:
        """Read what belongs to the teacher; returns the start of the file's SHA-256."""
        if not path.is_file():
            raise FileNotFoundError(
                f"No teacher at {path}. Train one first, such as plain CLIP (configs/plain_clip.json), or set "
                "`teacher_weights` to a checkpoint."
            )
        stored = read_weights(path)
        own = self.state_dict()
        if missing := [name for name in own if name not in stored]:
            raise ValueError(f"{path} is no teacher: it lacks {missing[:3]} (of {len(missing)} weights).")
        if wrong := [name for name, value in own.items() if stored[name].shape != value.shape]:
            sizes = ", ".join(f"{name} {(*stored[name].shape,)}, here {(*own[name].shape,)}" for name in wrong[:3])
            raise ValueError(
                f"{path} is a teacher of other sizes than the configuration's (embedding, width or resolution): "
                f"{sizes} (of {len(wrong)} that differ)."
            )
        self.load_state_dict({name: stored[name] for name in own})
        return file_fingerprint(path)
