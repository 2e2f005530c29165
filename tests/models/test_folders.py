"""Model folders: what is saved comes back, old names are understood, and damage is refused in one sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minibert import BertConfig, BertForPreTraining, BertModel, InputError
from minibert.interop.safetensors import write_arrays

from .test_bad_input import assert_one_sentence
from .toys import only_text, toy_batch, toy_config, toy_model

WEIGHTS = "model.safetensors"
SHAPES = {"bert": {}, "untied": {"tie_word_embeddings": False}, "pre-norm": {"norm_position": "pre"},
          "sinusoidal": {"position_embedding_type": "sinusoidal", "type_vocab_size": 1, "pad_token_id": 4}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    toy_model().save_pretrained(tmp_path)
    return tmp_path


def rewrite(folder: Path, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
    """Change the weights as another program would, which knows nothing of checksums."""
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)


def assert_loads_as(expected: BertForPreTraining, folder: Path) -> None:
    loaded = BertForPreTraining.from_pretrained(folder, np.float64)
    assert not loaded.training
    for (name, p), q in zip(expected.named_parameters(), loaded.parameters(), strict=True):
        np.testing.assert_array_equal(q.data, p.data, err_msg=name)


@pytest.mark.parametrize("settings", SHAPES.values(), ids=SHAPES.keys())
def test_what_is_saved_comes_back(tmp_path: Path, settings: dict[str, Any]) -> None:
    model = toy_model(seed=1, **settings)
    model.save_pretrained(tmp_path / "new" / "folder")
    assert_loads_as(model, tmp_path / "new" / "folder")
    assert BertConfig.from_pretrained(tmp_path / "new" / "folder") == model.config
    said = json.loads((tmp_path / "new" / "folder" / "config.json").read_text(encoding="utf-8"))["model_type"]
    assert said == ("bert" if settings.keys() <= {"tie_word_embeddings"} else "minibert")


def test_a_float32_model_comes_back_bit_by_bit(tmp_path: Path) -> None:
    model = BertForPreTraining(toy_config(), seed=9)
    model.save_pretrained(tmp_path)
    for p, q in zip(model.parameters(), BertForPreTraining.from_pretrained(tmp_path).parameters(), strict=True):
        assert p.data.tobytes() == q.data.tobytes() and q.dtype == np.float32


def test_the_same_model_always_gives_the_same_bytes(tmp_path: Path) -> None:
    """Twelve times, because the safetensors library writes its metadata in one of several orders, at random."""
    contents = set()
    for i in range(12):
        toy_model().save_pretrained(tmp_path / str(i))
        contents.add(tuple((tmp_path / str(i) / name).read_bytes() for name in (WEIGHTS, "config.json")))
    BertForPreTraining.from_pretrained(tmp_path / "0", np.float64).save_pretrained(tmp_path / "again")
    contents.add(tuple((tmp_path / "again" / name).read_bytes() for name in (WEIGHTS, "config.json")))
    assert len(contents) == 1


def test_others_may_read_the_weights_as_they_may_read_the_configuration(folder: Path) -> None:
    """The safetensors library alone would leave a file that only its owner can read."""
    assert (folder / WEIGHTS).stat().st_mode == (folder / "config.json").stat().st_mode


def test_saving_and_loading_leave_the_saved_model_alone(folder: Path) -> None:
    model = BertForPreTraining.from_pretrained(folder, np.float64)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    model.save_pretrained(folder)
    toy_model(seed=8).save_pretrained(folder)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_layer_norms_old_names_and_saved_buffers_are_understood(folder: Path) -> None:
    def old(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        renamed = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): a
                   for name, a in arrays.items()}
        return renamed | {"bert.embeddings.position_ids": np.arange(17)[None],
                          "cls.predictions.decoder.weight": arrays["bert.embeddings.word_embeddings.weight"],
                          "cls.predictions.decoder.bias": arrays["cls.predictions.bias"]}

    rewrite(folder, old)
    assert sum("gamma" in name for name in load_file(folder / WEIGHTS)) == 6
    assert_loads_as(toy_model(), folder)
    text = only_text(toy_batch())
    bare = BertModel.from_pretrained(folder, np.float64)
    np.testing.assert_array_equal(bare(**text).pooler_output.data, toy_model()(**text).pooler_output.data)


def test_an_untied_decoders_own_bias_is_saved_and_is_the_one_that_counts(tmp_path: Path) -> None:
    """transformers keeps two biases then, and adds only the decoder's; see also tests/parity."""
    model, name = toy_model(tie_word_embeddings=False), "cls.predictions.decoder.bias"
    model.save_pretrained(tmp_path)
    np.testing.assert_array_equal(load_file(tmp_path / WEIGHTS)[name], model.cls.predictions.bias.data)
    rewrite(tmp_path, lambda arrays: arrays | {name: 2.0 * arrays[name]})
    model.cls.predictions.bias.data *= 2.0
    assert_loads_as(model, tmp_path)


def test_a_tied_decoders_copies_do_not_count(folder: Path) -> None:
    rewrite(folder, lambda arrays: arrays | {"cls.predictions.decoder.bias": np.ones(37),
                                             "cls.predictions.decoder.weight": np.ones((37, 15))})
    assert_loads_as(toy_model(), folder)


@pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])
def test_encoders_with_or_without_prefix_and_with_any_heads(tmp_path: Path, tie: bool) -> None:
    full, text = toy_model(tie_word_embeddings=tie), only_text(toy_batch())
    full.save_pretrained(tmp_path)
    rewrite(tmp_path, lambda arrays: arrays | {"classifier.weight": np.ones((3, 15))})
    expected = full(**text).pooler_output.data
    bare = BertModel.from_pretrained(tmp_path, np.float64)
    np.testing.assert_array_equal(bare(**text).pooler_output.data, expected)
    bare.save_pretrained(tmp_path / "bare")
    assert not any(name.startswith(("bert.", "cls.")) for name in load_file(tmp_path / "bare" / WEIGHTS))
    again = BertModel.from_pretrained(tmp_path / "bare", np.float64)
    np.testing.assert_array_equal(again(**text).pooler_output.data, expected)


def edit(name: str, **fields: Any) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        path = folder / name
        values = {**json.loads(path.read_text(encoding="utf-8")), **fields}
        path.write_text(json.dumps(values), encoding="utf-8")
    return damage


def replace(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def only_a_pickle(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def without(word: str) -> Callable[[Path], object]:
    return lambda folder: rewrite(folder, lambda arrays: {n: a for n, a in arrays.items() if word not in n})


def with_nan(folder: Path) -> None:
    model = toy_model()
    model.bert.pooler.dense.bias.data[3] = np.nan
    model.save_pretrained(folder)


DAMAGES: list[tuple[str, Callable[[Path], object], str]] = [
    ("no configuration", lambda folder: (folder / "config.json").unlink(), "config.json does not exist: a model fol"),
    ("configuration cut short", replace("config.json", b'{"vocab_size": 3'), "cannot read ... config.json"),
    ("configuration in Latin-1", replace("config.json", b'{"a": "\xe9"}'), "cannot read ... config.json ... utf-8"),
    ("configuration a list", replace("config.json", b"[1, 2]"), "config.json should hold a JSON object, not a list"),
    ("another model", edit("config.json", model_type="gpt2"), "config.json describes a model of type 'gpt2'"),
    ("impossible", edit("config.json", num_attention_heads=7), "config.json: hidden_size 15 is not divisible"),
    ("unknown field", edit("config.json", hiden_size=7), "config.json ... 'hiden_size': did you mean 'hidden_size'?"),
    ("no weights", lambda folder: (folder / WEIGHTS).unlink(), "model.safetensors does not exist: a model folder"),
    ("only a pickle", only_a_pickle, "pytorch_model.bin, a pickle, which can run any code ... save_pretrained"),
    ("empty weights", replace(WEIGHTS, b""), "model.safetensors is damaged or not ... restore it from a copy"),
    ("text for weights", replace(WEIGHTS, b"not weights at all" * 9), "model.safetensors is damaged ... restore it"),
    ("weights of another shape", edit("config.json", vocab_size=38), "word_embeddings.weight has shape (37, 15), but "
     "this model needs (38, 15): the configuration belongs to another model"),
    ("a layer too many", edit("config.json", num_hidden_layers=1), "do not fit ... unknown bert.encoder.layer.1"),
    ("a layer too few", edit("config.json", num_hidden_layers=3), "do not fit ... missing bert.encoder.layer.2"),
    ("no pooler", without("pooler"), "do not fit this model: missing bert.pooler.dense.bias, bert.pooler.dense.weight"),
    ("NaN", with_nan, "the weight bert.pooler.dense.bias holds NaN or infinity: it was saved from a broken run"),
]


@pytest.mark.parametrize(("damage", "words"), [d[1:] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
def test_damaged_folders_are_refused(folder: Path, damage: Callable[[Path], object], words: str) -> None:
    damage(folder)
    with pytest.raises(ValueError) as error:
        BertForPreTraining.from_pretrained(folder)
    message = str(error.value).replace(str(folder), "")
    assert message != str(error.value), "the message does not say where"
    assert_one_sentence(InputError(message) if type(error.value) is InputError else error.value, words)


def test_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.config\.json does not exist: a model folder has one"):
        BertForPreTraining.from_pretrained(tmp_path / "nowhere")


def test_weights_cut_short_anywhere_are_refused(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    for length in (1, 7, 8, 9, 500, len(content) // 2, len(content) - 1):
        (folder / WEIGHTS).write_bytes(content[:length])
        with pytest.raises(InputError, match="is damaged or not a safetensors file"):
            BertForPreTraining.from_pretrained(folder)


def test_any_flipped_bit_of_the_numbers_is_noticed(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    for place in [start, len(content) - 1, *np.random.default_rng(2).integers(start, len(content), 40).tolist()]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        (folder / WEIGHTS).write_bytes(flipped)
        with pytest.raises(InputError, match="checksum does not match its numbers"):
            BertForPreTraining.from_pretrained(folder)


def test_arrays_of_every_kind_come_back_from_the_library_of_the_format(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    arrays = {"transposed é": rng.standard_normal((3, 5)).T, "none": np.zeros((0, 3), np.float32),
              "flags": np.array([True, False, True]), "number": np.array(2.5), "bytes": np.arange(3, dtype=np.uint8),
              "half": rng.standard_normal(3).astype(np.float16), "big-endian": np.arange(5, dtype=">i4")}
    write_arrays(tmp_path / "a.safetensors", arrays, {"about": 'a "quoted" text'})
    back = load_file(tmp_path / "a.safetensors")
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype.newbyteorder("=") and back[name].shape == array.shape
        np.testing.assert_array_equal(back[name], array)
