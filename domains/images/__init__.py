"""Pictures of coloured shapes, and of any text-to-image pipeline."""

from domains.images.images import CLIP, MODEL, Images

__all__ = ["CLIP", "MODEL", "Images"]
