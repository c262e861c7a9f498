"""A small network that holds all that trips up sparsity: functions, frozen leaves, sharing."""

import equinox as eqx
import jax
import jax.numpy as jnp


class Awkward(eqx.Module):
    """Callables, a frozen number, an absent bias, a convolution, a table and a shared matrix."""

    conv: eqx.nn.Conv2d
    norm: eqx.nn.LayerNorm
    table: eqx.nn.Embedding
    mlp: eqx.nn.MLP
    tied: eqx.nn.Shared
    frozen: jax.Array
    scale: float
    activation: object

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.conv = eqx.nn.Conv2d(4, 8, 3, padding=1, key=keys[0])
        self.norm = eqx.nn.LayerNorm(8)
        self.table = eqx.nn.Embedding(6, 8, key=keys[1])
        self.mlp = eqx.nn.MLP(8, 8, 16, 1, activation=jax.nn.silu, key=keys[2])
        two = (eqx.nn.Linear(8, 8, use_bias=False, key=keys[3]), eqx.nn.Linear(8, 8, key=keys[3]))
        self.tied = eqx.nn.Shared(two, lambda t: t[1].weight, lambda t: t[0].weight)
        self.frozen = jnp.arange(3)
        self.scale = 0.5
        self.activation = jnp.tanh

    def __call__(self, x):
        first, second = self.tied()
        h = jnp.mean(self.conv(x), axis=(1, 2))
        h = self.norm(h) + self.table(self.frozen[1])
        h = self.mlp(self.activation(h)) * self.scale
        return first(h) + second(h)


def awkward():
    return Awkward(jax.random.key(0))


PRUNED = {
    "conv.weight",
    "mlp.layers.0.weight",
    "mlp.layers.1.weight",
    "tied.pytree.0.weight",
}
