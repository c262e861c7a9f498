"""Language models restated in NumPy, one head and one place at a time, from a file's tensors."""

import math

import numpy as np


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def rms_norm(x, weight, eps):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * weight


def layer_norm(x, weight, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


def attention(query, key, value, heads, kv_heads, turn=lambda x, place: x):
    """Causal attention of (seq, heads·d) by loops; `turn` rotates one head's vector at a place."""
    seq, d = len(query), query.shape[1] // heads
    out = np.zeros_like(query)
    for h in range(heads):
        own, shared = slice(h * d, (h + 1) * d), h // (heads // kv_heads)
        theirs = slice(shared * d, (shared + 1) * d)
        keys = np.stack([turn(key[s, theirs], s) for s in range(seq)])
        for t in range(seq):
            scores = keys[: t + 1] @ turn(query[t, own], t) / math.sqrt(d)
            out[t, own] = softmax(scores) @ value[: t + 1, theirs]
    return out


def turn_neighbours(base):
    """Rotary position embedding of the pairs (x_0, x_1), (x_2, x_3), …"""

    def turn(x, place):
        out = np.empty_like(x)
        for i in range(len(x) // 2):
            angle = place * base ** (-2 * i / len(x))
            c, s = math.cos(angle), math.sin(angle)
            a, b = x[2 * i], x[2 * i + 1]
            out[2 * i], out[2 * i + 1] = a * c - b * s, a * s + b * c
        return out

    return turn


def turn_halves(base):
    """The same of the pairs (x_0, x_{d/2}), (x_1, x_{d/2+1}), …"""

    def turn(x, place):
        half = len(x) // 2
        order = np.arange(len(x)).reshape(2, half).T.ravel()  # 0, d/2, 1, d/2 + 1, …
        out = np.empty_like(x)
        out[order] = turn_neighbours(base)(x[order], place)
        return out

    return turn


def silu(x):
    return x / (1 + np.exp(-x))


def llama(t, names, tokens, depth, heads, kv_heads, eps, turn):
    """Logits from tensors `t`; `names` are of the embedding, the norms and maps of block {i}, …"""
    x = t[names["embedding"]][tokens]
    for i in range(depth):
        w = {key: t[name.format(i)] for key, name in names.items()}
        h = rms_norm(x, w["norm1"], eps)
        mixed = attention(h @ w["q"].T, h @ w["k"].T, h @ w["v"].T, heads, kv_heads, turn)
        x = x + mixed @ w["o"].T
        h = rms_norm(x, w["norm2"], eps)
        x = x + (silu(h @ w["gate"].T) * (h @ w["up"].T)) @ w["down"].T
    return rms_norm(x, t[names["norm"]], eps) @ t[names["head"]].T


def gpt2(t, tokens, depth, heads, eps=1e-5):
    """Logits of a GPT-2 from tensors named as Hugging Face does, without the common prefix."""
    x = t["wte.weight"][tokens] + t["wpe.weight"][: len(tokens)]
    for i in range(depth):
        prefix = f"h.{i}."
        w = {n.removeprefix(prefix): a for n, a in t.items() if n.startswith(prefix)}
        h = layer_norm(x, w["ln_1.weight"], w["ln_1.bias"], eps)
        fused = h @ w["attn.c_attn.weight"] + w["attn.c_attn.bias"]
        mixed = attention(*np.split(fused, 3, axis=1), heads, heads)
        x = x + mixed @ w["attn.c_proj.weight"] + w["attn.c_proj.bias"]
        h = layer_norm(x, w["ln_2.weight"], w["ln_2.bias"], eps)
        h = h @ w["mlp.c_fc.weight"] + w["mlp.c_fc.bias"]
        h = 0.5 * h * (1 + np.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
        x = x + h @ w["mlp.c_proj.weight"] + w["mlp.c_proj.bias"]
    return layer_norm(x, t["ln_f.weight"], t["ln_f.bias"], eps) @ t["wte.weight"].T


def opt(t, tokens, depth, heads):
    """Logits of an OPT from tensors named as Hugging Face does, without the common prefix."""
    x = t["embed_tokens.weight"][tokens] + t["embed_positions.weight"][2 : 2 + len(tokens)]
    for i in range(depth):
        w = {
            n.removeprefix(f"layers.{i}."): a for n, a in t.items() if n.startswith(f"layers.{i}.")
        }

        def linear(h, name, w=w):
            return h @ w[f"{name}.weight"].T + w[f"{name}.bias"]

        def norm(h, name, w=w):
            return layer_norm(h, w[f"{name}.weight"], w[f"{name}.bias"])

        h = norm(x, "self_attn_layer_norm")
        parts = (linear(h, f"self_attn.{part}_proj") for part in "qkv")
        x = x + linear(attention(*parts, heads, heads), "self_attn.out_proj")
        h = np.maximum(linear(norm(x, "final_layer_norm"), "fc1"), 0)
        x = x + linear(h, "fc2")
    x = layer_norm(x, t["final_layer_norm.weight"], t["final_layer_norm.bias"])
    return x @ t["embed_tokens.weight"].T
