"""A model on the device is used as one on the CPU is: blanks, vectors, commands."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from models.toys import toy_batch, toy_model
from train import tiny

from minibert import BertForPreTraining, backend
from minibert import embed as embedding
from minibert.backend import OutOfMemory, device_of
from minibert.cli import main
from minibert.embed import embed
from minibert.errors import InputError
from minibert.fill_mask import fill_mask
from minibert.text.tokenizer import Tokenizer

TEXTS = ["", *tiny.sentences()[:40], "bama", "[MASK] bama", "doki " * 3]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(tiny.sentences(), vocab_size=120)


@pytest.fixture
def models(device: ModuleType, tokenizer: Tokenizer) -> tuple[BertForPreTraining, BertForPreTraining]:
    """The same model on the CPU and on the device."""
    return (toy_model(vocab_size=tokenizer.vocab_size), toy_model(vocab_size=tokenizer.vocab_size).to("cuda"))


@pytest.fixture
def folder(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    toy_model(vocab_size=tokenizer.vocab_size).save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    return tmp_path


def test_blanks_are_filled(models: Any, tokenizer: Tokenizer) -> None:
    here, there = (fill_mask(model, tokenizer, "[MASK] bama [MASK]", top=9) for model in models)
    for mine, others in zip(here, there, strict=True):
        assert [guess.piece for guess in mine] == [guess.piece for guess in others]
        assert [guess.probability for guess in mine] == pytest.approx([guess.probability for guess in others], 1e-12)
        assert type(others[0].probability) is float


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
@pytest.mark.parametrize("batch_tokens", [None, 40])
def test_vectors_come_back_to_the_host(models: Any, tokenizer: Tokenizer, pooling: Any,
                                       batch_tokens: int | None) -> None:
    here, there = (embed(model.train(), tokenizer, TEXTS, pooling, 2, batch_tokens) for model in models)
    assert type(there) is np.ndarray
    np.testing.assert_allclose(there, here, rtol=1e-11, atol=1e-13)
    assert models[1].training and device_of(models[1].bert.pooler.dense.weight.data) == "cuda"


def test_a_gpu_gets_large_batches(models: Any, tokenizer: Tokenizer) -> None:
    counts: list[list[int]] = [[], []]
    for model, count in zip(models, counts, strict=True):
        embed(model, tokenizer, 20 * TEXTS, watch=lambda done, count=count: count.append(done.texts))
    assert len(counts[0]) > 10 and len(counts[1]) <= 2


def test_a_full_gpu_is_said_with_what_to_lower(models: Any, tokenizer: Tokenizer,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> Any:
        error = type("OutOfMemoryError", (MemoryError,), {"__module__": "cupy.cuda.memory"})
        raise error("Out of memory allocating 7,340,032 bytes (allocated so far: 1,048,576 bytes).")
    monkeypatch.setattr(embedding, "_vectors", fail)
    with pytest.raises(OutOfMemory,
                       match=r"7\.0 MiB were asked for, where this process holds 1\.0 MiB, .*: lower batch"):
        embed(models[1], tokenizer, TEXTS)


def test_evaluation_of_a_model_on_the_device_moves_nothing(models: Any) -> None:
    """What `prediction_logits` needs is computed where the model is."""
    outputs = [model(**toy_batch()) for model in models]
    assert device_of(outputs[1].prediction_logits.data) == "cuda"


@pytest.mark.parametrize("name", ["cpu", "cuda", "auto"])
def test_the_commands_compute_where_they_are_told(device: ModuleType, folder: Path, name: str,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    texts = folder / "texts.txt"
    texts.write_text("\n".join(TEXTS), encoding="utf-8")
    for number, arguments in enumerate((["fill-mask", folder, "bama [MASK]"],
                                        ["embed", folder, texts, "--out", folder / "vectors.npy"])):
        device.events.clear()
        assert main([*map(str, arguments), "--device", name]) == 0
        assert bool(device.events["launch"]) == (name != "cpu"), arguments
        if number:
            np.testing.assert_allclose(
                np.load(folder / "vectors.npy"),
                embed(BertForPreTraining.from_pretrained(folder), Tokenizer.load(folder), TEXTS), atol=1e-5)


def test_the_replay_command_computes_where_it_is_told(device: ModuleType, run: Path,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    for name, said in (("cuda", "verified: within rounding of the training loop on the cpu, not bit for bit:"),
                       ("cpu", "verified: the bits of the training loop here;")):
        assert main(["replay", str(run), "--step", "1", "--device", name]) == 0
        assert said in " ".join(capsys.readouterr().out.split())
    assert main(["replay", str(run), "--step", "1", "--set-lr", "0.5", "--device", "cuda"]) == 0
    assert "step 1 itself: verified: within rounding" in " ".join(capsys.readouterr().out.split())


def test_a_device_that_cannot_be_used_is_said_without_a_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch,
                                                                  capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> Any:
        raise InputError("no such luck")
    monkeypatch.setattr(backend, "cupy", refuse)
    assert main(["fill-mask", str(folder), "bama [MASK]", "--device", "cuda"]) == 1
    assert capsys.readouterr().err == "minibert: no such luck\n"
    assert main(["fill-mask", str(folder), "bama [MASK]"]) == 0
    with pytest.raises(SystemExit):
        main(["embed", str(folder), "--device", "gpu"])
    assert "invalid choice: 'gpu'" in capsys.readouterr().err
