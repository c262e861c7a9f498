"""Packed convolutions are the convolutions they are made of."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from sparsejax import nn
from sparsejax.applications import vision

KEY = jax.random.key(0)
SIDES = st.integers(0, 2)
PADDINGS = st.one_of(
    st.sampled_from(["SAME", "VALID", "SAME_LOWER"]),
    st.tuples(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES)),
)


@st.composite
def _convolutions(draw):
    return eqx.nn.Conv2d(
        draw(st.integers(1, 3)),
        draw(st.integers(1, 8)),
        (draw(st.integers(1, 3)), draw(st.integers(2, 5))),
        stride=(draw(st.integers(1, 2)), 1),
        dilation=(draw(st.integers(1, 2)), 1),
        padding=draw(PADDINGS),
        use_bias=draw(st.booleans()),
        dtype=jnp.float64,
        key=KEY,
    )


@eqx.filter_jit
def _both(conv, images):
    return jax.vmap(nn.PackedConv2d(conv))(images), jax.vmap(conv)(images)


@pytest.mark.usefixtures("float64")
@given(st.data())
def test_equals_the_convolution(data):
    conv = data.draw(_convolutions())
    size = data.draw(st.integers(5, 8)), data.draw(st.integers(4, 11))
    images = jax.random.normal(KEY, (2, conv.in_channels, *size), jnp.float64)
    found, expected = _both(conv, images)
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


def test_borders_and_an_image_smaller_than_the_kernel():
    conv = eqx.nn.Conv2d(2, 4, 3, padding=1, key=KEY)
    bordered = nn.BorderedConv.of(conv, jax.random.normal(KEY, (4, 1, 3, 3)))
    image = jax.random.normal(KEY, (2, 5, 7))
    np.testing.assert_allclose(nn.PackedConv2d(bordered)(image), bordered(image), atol=1e-5)
    unpadded = eqx.nn.Conv2d(2, 4, 3, key=KEY)
    for width in (1, 2):
        found = nn.PackedConv2d(unpadded)(image[..., :width])
        assert found.shape == unpadded(image[..., :width]).shape == (4, 3, 0)


def test_derivatives():
    conv, image = eqx.nn.Conv2d(3, 5, 3, padding=1, key=KEY), jax.random.normal(KEY, (3, 4, 7))
    slope = eqx.filter_grad(lambda layer, x: jnp.sum(layer(x) ** 3))
    found, expected = slope(nn.PackedConv2d(conv), image).conv, slope(conv, image)
    np.testing.assert_allclose(found.weight, expected.weight, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.bias, expected.bias, rtol=1e-3, atol=1e-4)


def _conv(*args, **kwargs):
    return eqx.nn.Conv2d(*args, **kwargs, key=KEY)


WIDE = [
    _conv(4, 9, 3),
    _conv(4, 8, 3, groups=2),
    _conv(4, 8, 1),
    _conv(4, 8, (3, 1)),
    _conv(4, 8, 3, stride=2),
    _conv(4, 8, 3, dilation=2),
    _conv(4, 8, 3, padding=1, padding_mode="REFLECT"),
    eqx.nn.Conv1d(4, 8, 3, key=KEY),
    eqx.nn.Linear(4, 8, key=KEY),
]


@pytest.mark.parametrize("layer", WIDE)
def test_others_stay_and_are_refused(layer):
    assert type(nn.pack_columns([layer])[0]) is type(layer)
    with pytest.raises(ValueError, match="`conv` must be a convolution of images into at most"):
        nn.PackedConv2d(layer)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"`x` must have shape \(channels, height, width\)"):
        nn.PackedConv2d(_conv(3, 8, 3))(jnp.ones((3, 5)))


def test_a_slim_network():
    """Packed once or twice it is the same function, with the same weights."""
    model, state = eqx.filter_jit(vision.cifar_resnet)(20, KEY, widths=(8, 16, 32))
    model = eqx.nn.inference_mode(model)
    packed = nn.pack_columns(model)
    kinds = [type(x) for x in jax.tree.leaves(packed, is_leaf=_is_packed)]
    assert kinds.count(nn.PackedConv2d) == 7  # the stem, and two in each of three blocks
    for a, b in zip(jax.tree.leaves(packed), jax.tree.leaves(model), strict=True):
        assert a is b
    again = nn.pack_columns(packed)
    assert jax.tree.structure(again) == jax.tree.structure(packed)
    image = jax.random.normal(KEY, (3, 9, 9))
    call = eqx.filter_jit(lambda model: model(image, state)[0])
    np.testing.assert_allclose(call(packed), call(model), rtol=1e-4, atol=1e-5)


def _is_packed(node):
    return isinstance(node, nn.PackedConv2d)
