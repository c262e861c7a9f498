"""A stand-in for a task that is not at hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ._policy import Policy
from ._transitions import Transitions


class HeldOut(eqx.Module):
    """How far a policy's actions lie from those of other data: where there is no task to act on.

    The root of the mean squared distance, a coordinate; 0 is best. Of data from an expert it says
    how much like one the policy acts, which is not how much it would earn.

    Parameters
    ----------
    data
        One set, that the policies have not learned from.

    Examples
    --------
    >>> import jax
    >>> from sparsejax.applications import offline_rl as rl
    >>> data, other = (rl.collect(rl.Pendulum(), 200, jax.random.key(i)) for i in range(2))
    >>> evaluate = rl.HeldOut(other)
    >>> rl.train(rl.BC(), data, steps=20, width=8, evaluate=evaluate).scores().shape
    (1,)
    """

    data: Transitions

    def __check_init__(self) -> None:
        if self.data.rewards.ndim != 1:
            raise ValueError("`data` must be one set.")

    def __call__(self, policies: Policy, keys: PRNGKeyArray) -> Float[np.ndarray, " seeds"]:
        """One distance a policy."""
        del keys
        return np.asarray(_distances(policies, self.data))


@eqx.filter_jit
def _distances(policies: Policy, data: Transitions) -> Float[Array, " seeds"]:
    def of_one(policy: Policy) -> Array:
        return jnp.sqrt(jnp.mean((jax.vmap(policy)(data.observations) - data.actions) ** 2))

    return jax.vmap(of_one)(policies)
