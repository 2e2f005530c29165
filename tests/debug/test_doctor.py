"""The doctor calls healthy models healthy, finds the bugs that other BERTs had, and leaves no trace."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models.toys import LENGTHS, take, toy_batch, toy_config, toy_model

from minibert import BertForPreTraining, InputError, Tensor
from minibert.debug.auditing import doctor
from minibert.models import PreTrainingOutput
from minibert.models.bert import BertPooler
from minibert.nn import Initializer
from minibert.ops.loss import IGNORE_INDEX
from minibert.ops.registry import REGISTRY
from minibert.train.lanes import cut_batch

from .historical_bugs import MODEL_BUGS, become, mean_of_means

NEED_MORE = {"accumulation", "masking", "negative pairs"}  # a routine, a tokenizer, documents


@pytest.mark.parametrize("changes", [
    {}, {"norm_position": "pre"}, {"hidden_act": "relu"}, {"position_embedding_type": "sinusoidal"},
    {"num_hidden_layers": 1}, {"tie_word_embeddings": False}, {"max_position_embeddings": 11},
    {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_model_has_no_problem(changes: dict[str, Any], seed: int) -> None:
    report = doctor(toy_model(seed, **changes), toy_batch(seed))
    assert report.ok, report
    assert {finding.name for finding in report if finding.status == "skipped"} <= NEED_MORE | {"gradient flow"}


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_untrained_model_has_no_problem(dtype: Any, recompute: bool) -> None:
    model = BertForPreTraining(toy_config(), seed=5, dtype=dtype)
    model.bert.encoder.recompute = recompute
    report = doctor(model, toy_batch())
    assert report.ok, report
    assert "it is the slope of the loss" in report["reachability"].what
    assert "as expected before training" in report["loss level"].what


@pytest.mark.parametrize("name", MODEL_BUGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_historical_bug_is_caught_and_named(name: str, dtype: Any) -> None:
    bug = MODEL_BUGS[name]
    model = toy_model()
    for p in model.parameters():
        p.data = p.data.astype(dtype)
    report = doctor(bug.plant(model), toy_batch())
    finding = report[bug.check]
    assert finding.status == "problem" and bug.says in finding.what, finding
    assert {problem.name for problem in report.problems} == {bug.check, *bug.others}
    text = str(report)
    assert "why it matters: " in text and finding.seen_in.split()[0] in text


class KeepsToFloat32(BertForPreTraining):
    """Has a constant of its own, which cannot be made float64 from outside."""

    def forward(self, *args: Any, **options: Any) -> PreTrainingOutput:
        output = super().forward(*args, **options)
        if output.loss is not None:
            output.loss = output.loss * Tensor(np.ones((), np.float32))
        return output


@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_computes_in_float32_only_is_examined_in_it(seed: int) -> None:
    model = become(BertForPreTraining(toy_config(), seed), KeepsToFloat32, BertForPreTraining)
    report = doctor(model, toy_batch(seed))
    assert report.ok and "slopes need a model that runs in float64" in report["reachability"].what, report


@pytest.mark.parametrize("name", ["embeddings cut from the graph", "repeated tokens lost", "tied by copying",
                                  "dropout left on in evaluation", "layer norm with the unbiased deviation"])
def test_in_float32_bugs_are_caught_too(name: str) -> None:
    bug = MODEL_BUGS[name]
    model = bug.plant(become(BertForPreTraining(toy_config()), KeepsToFloat32, BertForPreTraining))
    finding = doctor(model, toy_batch())[bug.check]
    assert finding.status == "problem" and bug.says in finding.what, finding


@pytest.mark.parametrize("lengths", [LENGTHS, (9, 8, 9, 7, 9, 8)])
@pytest.mark.parametrize("parts", [2, 3, 4, 6])
def test_a_mean_of_means_is_caught(parts: int, lengths: tuple[int, ...]) -> None:
    report = doctor(toy_model(), toy_batch(0, lengths), gradients=lambda *given: mean_of_means(*given, parts))
    finding = report["accumulation"]
    assert finding.status == "problem" and f"the mean of the means of {parts} parts" in finding.what
    assert "huggingface/transformers #34191" in finding.seen_in


def test_an_accumulation_that_is_right_passes_and_one_with_a_factor_is_told() -> None:
    def accumulate(model: Any, batch: dict[str, np.ndarray], factor: float = 1.0) -> None:
        counts = {"masked_count": int((batch["labels"] != IGNORE_INDEX).sum()), "pair_count": len(batch["labels"])}
        for _, part in cut_batch(batch, 3):
            (model(**part, **counts).loss * factor).backward()

    assert doctor(toy_model(), toy_batch(), gradients=accumulate)["accumulation"].status == "ok"
    finding = doctor(toy_model(), toy_batch(), gradients=lambda m, b: accumulate(m, b, 4.0))["accumulation"]
    assert finding.status == "problem" and "4 times too large" in finding.what


@pytest.mark.parametrize("plant", [lambda model: model, MODEL_BUGS["dropout left on in evaluation"].plant,
                                   MODEL_BUGS["tied by copying"].plant])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_model_is_left_as_it_was(plant: Callable[[Any], Any], dtype: Any) -> None:
    model, batch = plant(BertForPreTraining(toy_config(), dtype=dtype)), toy_batch()
    model.bert.pooler.training = False
    model.bert.encoder.recompute = True
    loss = model(**batch).loss  # a graph that is alive
    model.bert.dropout_stream.seek(12, 3)
    for p in list(model.parameters())[::2]:
        p.grad = np.full_like(p.data, 0.5)
    before = {name: (p.data, p.data.copy(), p.grad, p.version) for name, p in model.named_parameters()}
    modes = [(module.training, dict(vars(module))) for module in model.modules()]
    copies = {name: array.copy() for name, array in batch.items()}
    doctor(model, batch)
    for name, p in model.named_parameters():
        data, numbers, grad, version = before[name]
        assert p.data is data and np.array_equal(data, numbers) and p.grad is grad and p.version == version, name
        assert grad is None or (grad == 0.5).all()
    assert [(module.training, dict(vars(module))) for module in model.modules()] == modes
    assert (model.bert.dropout_stream.step, model.bert.dropout_stream.row) == (12, 3)
    assert all(np.array_equal(batch[name], copies[name]) for name in copies)
    loss.backward()


def test_the_model_is_left_as_it_was_when_it_cannot_be_run() -> None:
    model, batch = toy_model().train(), toy_batch()
    batch["input_ids"][0, 0] = 1000
    before = {name: array.copy() for name, array in model.state_dict().items()}
    with pytest.raises(InputError, match=r"input_ids\[0, 0\] is 1000"):
        doctor(model, batch)
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())
    assert model.training and all(p.grad is None for p in model.parameters())


def test_dropout_that_is_on_is_seen_in_the_losses_and_found_in_its_modules() -> None:
    finding = doctor(MODEL_BUGS["dropout left on in evaluation"].plant(toy_model()), toy_batch())["evaluation mode"]
    assert "two passes in evaluation mode give losses" in finding.what
    assert len(set(finding.evidence["losses"])) == 3 and len(finding.evidence["left_on"]) == 7


class NeverLearnsPairs(BertForPreTraining):
    """The next-sentence scores are cut from the encoder and from their own head."""

    def forward(self, *args: Any, **options: Any) -> PreTrainingOutput:
        output = super().forward(*args, **options)
        if output.next_sentence_loss is not None:
            output.next_sentence_loss = output.next_sentence_loss * 0.0 + output.next_sentence_loss.detach()
            output.loss = output.masked_lm_loss + output.next_sentence_loss
        return output


def test_of_two_losses_the_one_that_cannot_fall_is_named() -> None:
    finding = doctor(become(toy_model(), NeverLearnsPairs, BertForPreTraining), toy_batch())["overfitting"]
    first = toy_model()(**take(toy_batch(), slice(4))).next_sentence_loss.item()
    assert finding.status == "problem"
    assert finding.evidence["next_sentence_loss"][0] == pytest.approx(first, rel=1e-12), "begun from the first weights"
    assert "the next sentence loss does not fall, not even when trained alone" in finding.what


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_dead_units_are_found(activation: str) -> None:
    model = toy_model(hidden_act=activation)
    model.bert.encoder.layer[1].intermediate.dense.bias.data -= 100.0
    finding = doctor(model, toy_batch())["dead units"]
    assert finding.status == "problem" and "layer.1.intermediate are 0 for every token" in finding.what


def test_weights_that_kill_units_or_gradients_are_found() -> None:
    model = toy_model()
    model.bert.encoder.layer[1].attention.self.query.weight.data[:] = 0.0
    model.bert.encoder.layer[1].attention.self.query.bias.data[:] = 0.0
    assert doctor(model, toy_batch())["dead units"].evidence["entropy"]["bert.encoder.layer.1.attention.self"] == (
        pytest.approx(1.0, abs=1e-12)), "equal weights"
    for name in ("query", "key"):
        getattr(model.bert.encoder.layer[0].attention.self, name).weight.data *= 100.0
    finding = doctor(model, toy_batch())["dead units"]
    assert "every head of bert.encoder.layer.0.attention.self looks at a single position" in finding.what
    model = toy_model()
    model.bert.encoder.layer[1].attention.output.LayerNorm.weight.data *= 1e-5
    finding = doctor(model, toy_batch())["gradient flow"]
    assert finding.status == "problem" and "vanishes" in finding.what
    model = toy_model()
    model.bert.encoder.layer[1].output.LayerNorm.weight.data[:] = 0.0
    assert "[CLS] is the same for every example" in doctor(model, toy_batch())["dead units"].what


def test_unused_parameters_and_wrong_decay_are_named() -> None:
    model = toy_model()
    model.bert.spare = BertPooler(15, Initializer(0, 0.02, np.float64))
    model.name_parameters()
    model.bert.pooler.dense.bias.decay = True
    report = doctor(model, toy_batch())
    assert "bert.spare.dense.weight, bert.spare.dense.bias: no gradient, and the loss does not depend on it" in (
        report["reachability"].what)
    assert report["decay groups"].what == "weight decay pulls bert.pooler.dense.bias to 0"


def test_a_label_that_does_not_count_is_found() -> None:
    class ForgetsTheLast(BertForPreTraining):
        def forward(self, *args: Any, **options: Any) -> PreTrainingOutput:
            pairs = options.get("next_sentence_label")
            if pairs is not None and len(pairs) > 1:
                options["next_sentence_label"] = np.where(np.arange(len(pairs)) == len(pairs) - 1, IGNORE_INDEX, pairs)
            if options.get("labels") is not None:
                options["labels"] = options["labels"].copy()
                row, t = np.argwhere(options["labels"] != IGNORE_INDEX)[2]
                options["labels"][row, t] = 3
            return super().forward(*args, **options)

    class Stale(BertForPreTraining):
        """Goes on with the first labels in which both classes occur."""

        def forward(self, *args: Any, **options: Any) -> PreTrainingOutput:
            pairs = options.get("next_sentence_label")
            if pairs is not None and len(set(pairs.tolist())) == 2 and len(pairs) == len(LENGTHS):
                kept.append(pairs)
                options["next_sentence_label"] = kept[0]
            return super().forward(*args, **options)

    kept: list[np.ndarray] = []
    finding = doctor(become(toy_model(), Stale, BertForPreTraining), toy_batch())["pair labels"]
    assert finding.status == "problem" and "flipping the label of pair 0, 1, 2, 3 and 3 more" in finding.what
    report = doctor(become(toy_model(), ForgetsTheLast, BertForPreTraining), toy_batch())
    assert report["pair labels"].status == report["masked labels"].status == "problem"
    assert "(1, " in report["masked labels"].what


def test_a_wrong_backward_is_a_wrong_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    op = REGISTRY["linear_gelu"]
    monkeypatch.setitem(REGISTRY, op.name, replace(op, backward=lambda dy, *saved: op.backward(1.01 * dy, *saved)))
    finding = doctor(toy_model(), toy_batch())["reachability"]
    assert finding.status == "problem" and "is not the slope of the loss" in finding.what


@pytest.mark.parametrize(("change", "message"), [
    (lambda batch: batch.pop("labels"), "the batch has no labels"),
    (lambda batch: batch.pop("next_sentence_label"), "the batch has no next_sentence_label"),
    (lambda batch: batch["labels"].fill(IGNORE_INDEX), "has a label: nothing is to be predicted"),
    (lambda batch: batch.update(labels=batch["labels"][:, :5]), r"labels \(7, 5\)")])
def test_a_batch_that_cannot_be_examined_is_refused(change: Callable[[Any], Any], message: str) -> None:
    batch = toy_batch()
    change(batch)
    with pytest.raises(InputError, match=message):
        doctor(toy_model(), batch)
    with pytest.raises(InputError, match="pass tokenizer="):
        doctor(toy_model(), toy_batch(), documents=[])


def test_a_batch_of_one_example_one_of_single_tokens_and_one_without_masks_can_be_examined() -> None:
    assert doctor(toy_model(), toy_batch(0, (1, 1, 1)))["reachability"].status == "ok"
    report = doctor(toy_model(), toy_batch(0, (6,)))
    assert report.ok and report["cut of the batch"].status == "skipped", report
    batch = toy_batch(0, (9, 9, 9))
    del batch["attention_mask"], batch["token_type_ids"]
    assert doctor(toy_model(), batch).ok


def test_a_check_that_the_model_breaks_is_a_problem_and_the_others_go_on() -> None:
    class HatesSmallBatches(BertForPreTraining):
        def forward(self, input_ids: Any, *args: Any, **options: Any) -> PreTrainingOutput:
            if len(input_ids) < 4:
                raise RuntimeError("too few")
            return super().forward(input_ids, *args, **options)

    report = doctor(become(toy_model(), HatesSmallBatches, BertForPreTraining), toy_batch())
    assert [finding.name for finding in report.problems] == ["cut of the batch"]
    assert "stopped by RuntimeError: too few" in report["cut of the batch"].what
