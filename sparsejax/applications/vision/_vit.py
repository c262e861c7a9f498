"""The vision transformer."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._sizes import check_sizes
from ._vit_attention import ViTAttention


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """Sizes of a vision transformer.

    Attributes
    ----------
    image
        Height and width in pixels.
    patch
        Height and width of a patch; must divide the image.
    width
        Of the activations.
    depth
        How many blocks.
    heads
        How many in each; must divide the width.
    hidden
        Width within the feed-forward half of a block.
    classes
        How many; 0 for a model without classifier, which returns features.
    channels
        Of the image.
    layer_scale
        Whether what a block adds is scaled by learned factors, as in DINOv2.
    norm_eps
        Of the norms.

    Raises
    ------
    ValueError
        For sizes that are not positive or do not fit together.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from sparsejax.applications.vision import VIT_B16
    >>> replace(VIT_B16, classes=10).tokens
    577
    """

    image: int
    patch: int
    width: int
    depth: int
    heads: int
    hidden: int
    classes: int
    channels: int = 3
    layer_scale: bool = False
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        check_sizes(self, may_be_zero=("classes",))
        if self.image % self.patch:
            raise ValueError(f"`patch` must divide `image` = {self.image}; got {self.patch}.")
        if self.width % self.heads:
            raise ValueError(f"`heads` must divide `width` = {self.width}; got {self.heads}.")

    @property
    def tokens(self) -> int:
        """How many patches there are, and the class token."""
        return (self.image // self.patch) ** 2 + 1


# ViT-B/16 as fine-tuned on ImageNet at 384 pixels, and the ViT-S/14 of DINOv2.
VIT_B16 = ViTConfig(image=384, patch=16, width=768, depth=12, heads=12, hidden=3072, classes=1000)
VIT_S14 = ViTConfig(
    image=224, patch=14, width=384, depth=12, heads=6, hidden=1536, classes=0, layer_scale=True
)


class ViTBlock(eqx.Module):
    """x + s₁·attention(norm x), then x + s₂·fc2(gelu(fc1(norm x))); s₁ = s₂ = 1 without scales."""

    attention_norm: eqx.nn.LayerNorm
    attention: ViTAttention
    attention_scale: Float[Array, " width"] | None
    feed_forward_norm: eqx.nn.LayerNorm
    fc1: eqx.nn.Linear
    fc2: eqx.nn.Linear
    feed_forward_scale: Float[Array, " width"] | None

    def __init__(self, config: ViTConfig, key: PRNGKeyArray):
        keys = jax.random.split(key, 3)
        self.attention_norm = eqx.nn.LayerNorm(config.width, config.norm_eps)
        self.attention = ViTAttention(config.width, config.heads, keys[0])
        self.feed_forward_norm = eqx.nn.LayerNorm(config.width, config.norm_eps)
        self.fc1 = eqx.nn.Linear(config.width, config.hidden, key=keys[1])
        self.fc2 = eqx.nn.Linear(config.hidden, config.width, key=keys[2])
        scale = jnp.ones(config.width) if config.layer_scale else None
        self.attention_scale = self.feed_forward_scale = scale

    def __call__(self, x: Float[Array, "tokens width"]) -> Float[Array, "tokens width"]:
        return self.with_maps(x)[0]

    def with_maps(
        self, x: Float[Array, "tokens width"]
    ) -> tuple[Float[Array, "tokens width"], Float[Array, "heads tokens tokens"]]:
        """What the block passes on, and its attention maps."""
        mixed, maps = self.attention(jax.vmap(self.attention_norm)(x))
        x = x + _scaled(mixed, self.attention_scale)
        hidden = jax.nn.gelu(jax.vmap(self.fc1)(jax.vmap(self.feed_forward_norm)(x)), False)
        return x + _scaled(jax.vmap(self.fc2)(hidden), self.feed_forward_scale), maps


class ViT(eqx.Module):
    """A vision transformer with random weights; ``load_vit`` reads trained ones.

    Patches become tokens by one linear map, a class token is put before them, positions are added;
    blocks mix them, and the classifier sees the class token after a last norm.

    Parameters
    ----------
    config
        Its sizes.
    key
        Of the random weights.

    Raises
    ------
    ValueError
        When called with an image of another shape.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from sparsejax.applications import vision
    >>> config = vision.ViTConfig(
    ...     image=8, patch=4, width=16, depth=2, heads=4, hidden=32, classes=3, channels=1
    ... )
    >>> model = vision.ViT(config, jax.random.key(0))
    >>> model(jnp.zeros((1, 8, 8))).shape
    (3,)
    >>> logits, maps = model.with_maps(jnp.zeros((1, 8, 8)))
    >>> [one.shape for one in maps]
    [(4, 5, 5), (4, 5, 5)]

    Notes
    -----
    Dosovitskiy et al., An image is worth 16x16 words (ICLR 2021).
    """

    patch: eqx.nn.Conv2d
    class_token: Float[Array, "1 width"]
    positions: Float[Array, "tokens width"]
    blocks: list[ViTBlock]
    norm: eqx.nn.LayerNorm
    classifier: eqx.nn.Linear | None
    config: ViTConfig = eqx.field(static=True)

    def __init__(self, config: ViTConfig, key: PRNGKeyArray):
        first, second, third, last, *rest = jax.random.split(key, config.depth + 4)
        self.patch = eqx.nn.Conv2d(
            config.channels, config.width, config.patch, config.patch, key=first
        )
        self.class_token = 0.02 * jax.random.normal(second, (1, config.width))
        self.positions = 0.02 * jax.random.normal(third, (config.tokens, config.width))
        self.blocks = [ViTBlock(config, key) for key in rest]
        self.norm = eqx.nn.LayerNorm(config.width, config.norm_eps)
        classes = config.classes
        self.classifier = eqx.nn.Linear(config.width, classes, key=last) if classes else None
        self.config = config

    def embed(self, image: Float[Array, "channels height width"]) -> Float[Array, "tokens width"]:
        """What goes into the first block."""
        size = self.config.image
        if image.shape != (expected := (self.config.channels, size, size)):
            raise ValueError(f"`image` must have shape {expected}; got {image.shape}.")
        patches = self.patch(image).reshape(self.config.width, -1).T
        return jnp.concatenate([self.class_token, patches]) + self.positions

    def head(self, x: Float[Array, "tokens width"]) -> Float[Array, " classes"]:
        """Logits from what comes out of the last block; without classifier the class token."""
        token = self.norm(x[0])
        return token if self.classifier is None else self.classifier(token)

    def __call__(self, image: Float[Array, "channels height width"]) -> Float[Array, " classes"]:
        """Logits of one image; without classifier the class token after the last norm."""
        return self.with_maps(image)[0]

    def with_maps(
        self, image: Float[Array, "channels height width"]
    ) -> tuple[Float[Array, " classes"], list[Float[Array, "heads tokens tokens"]]]:
        """The same, and the attention maps of every block."""
        x, maps = self.embed(image), []
        for block in self.blocks:
            x, one = block.with_maps(x)
            maps.append(one)
        return self.head(x), maps


def _scaled(
    x: Float[Array, "tokens width"], scale: Float[Array, " width"] | None
) -> Float[Array, "tokens width"]:
    return x if scale is None else x * scale
