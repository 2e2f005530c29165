"""Each bug of the lab is real: its tool names it, the engine and the patient are healthy again after it."""

import numpy as np
import pytest

from minibert import InputError
from minibert.debug import audit_pairs, bisect, doctor
from minibert.lab.bugs import PLANT, curve, planted
from minibert.lab.patient import Patient
from minibert.nn.dropout import Dropout
from minibert.ops.registry import REGISTRY
from minibert.text.pairs import IS_RANDOM


def examined(number: int) -> dict[str, str]:
    """The doctor's problems with a bug, by check."""
    with planted(number) as sick:
        report = doctor(sick.model, sick.batch, gradients=sick.gradients)
        return {finding.name: finding.what for finding in report.problems}


@pytest.mark.parametrize(("number", "check", "says"), [
    (1, "pair labels", "labelled 0 (B follows A) alone have a loss of 0"),
    (2, "masked loss", "divided by all positions, padding too"),
    (5, "attention mask", "the model attends only to padding"),
    (10, "accumulation", "different numbers of labels"),
    (11, "evaluation mode", "dropout is still on in bert.encoder.layer.1.output.dropout"),
    (12, "layer norm", "the deviation is the unbiased one")])
def test_the_doctor_names_a_bug_of_the_model_or_of_its_training(number: int, check: str, says: str) -> None:
    assert says in examined(number)[check]


@pytest.mark.parametrize(("number", "kind", "says"), [
    (3, "pair", "repeats are not added up"), (4, "fork", "missing: "), (6, "pair", "add in bert.embeddings"),
    (7, "pair", "mean in cls.predictions.transform.LayerNorm"), (8, "cut", "word_embeddings.weight")])
def test_bisect_names_a_bug_of_the_engine(number: int, kind: str, says: str) -> None:
    with planted(number) as sick:
        found = bisect(sick.loss, sick.model)
    assert found.kind == kind
    assert says in str(found)


def test_6_only_the_position_table_is_cheated_and_only_where_a_batch_has_more_than_one_example() -> None:
    def tables(number: int, rows: int) -> list[np.ndarray]:
        with planted(number) as patient:
            patient.model(**{name: array[:rows] for name, array in patient.batch.items()}).loss.backward()
            parts = patient.model.bert.embeddings
            return [p.weight.grad for p in (parts.word_embeddings, parts.position_embeddings,
                                            parts.token_type_embeddings)]
    assert [np.allclose(a, b) for a, b in zip(tables(6, 9), tables(0, 9), strict=True)] == [True, False, True]
    assert all(np.allclose(a, b) for a, b in zip(tables(6, 1), tables(0, 1), strict=True))


def test_8_the_tied_table_alone_gets_a_part_of_its_gradient() -> None:
    with planted(8) as sick:
        sick.loss().backward()
        parts = sick.model.bert.embeddings
    assert parts.word_embeddings.weight.grad is not None
    assert parts.position_embeddings.weight.grad is None
    assert parts.token_type_embeddings.weight.grad is None


def test_9_pairs_labelled_random_are_the_true_ones() -> None:
    with planted(9) as sick:
        found = audit_pairs(sick.batches, sick.documents, sick.tokenizer)
        assert examined(9) == {}
    assert found.status == "problem"
    assert found.evidence["true next"] > 5
    assert not {"does not follow", "same document"} & set(found.evidence)
    with planted(0) as patient:
        changed = [(mine["next_sentence_label"] == IS_RANDOM)[(mine["input_ids"] != his["input_ids"]).any(axis=1)]
                   for mine, his in zip(sick.batches, patient.batches, strict=True)]
    assert np.concatenate(changed).all()


def test_11_one_dropout_of_seven_is_left_on() -> None:
    with planted(11) as sick:
        on = [m for m in sick.model.modules() if isinstance(m, Dropout) and m.key((2, 3)) is not None]
        assert len(on) == 1
        first = sick.loss().item()
        on[0].stream.seek(1)
        assert sick.loss().item() != first


@pytest.mark.parametrize("number", range(len(PLANT)))
def test_a_bug_is_gone_after_its_block_also_when_that_fails(number: int) -> None:
    before = dict(REGISTRY)
    with pytest.raises(ZeroDivisionError), planted(number):
        raise ZeroDivisionError
    assert before == REGISTRY
    patient = Patient.healthy()
    assert bisect(patient.loss, patient.model).ok
    with planted(number) as sick:
        assert sick.model.state_dict().keys() == patient.model.state_dict().keys()
        assert all((a == b).all() for a, b in zip(sick.model.state_dict().values(),
                                                  patient.model.state_dict().values(), strict=True))


def test_the_patient_in_good_health_is_the_same_each_time_and_nothing_is_wrong_with_it() -> None:
    assert examined(0) == {}
    with planted(0) as patient, planted(0) as other:
        assert audit_pairs(patient.batches, patient.documents, patient.tokenizer).status == "ok"
        assert patient.model is not other.model
        assert patient.loss().item() == other.loss().item()


@pytest.mark.parametrize("number", [3, 6, 8, 10, 11])
def test_the_loss_curve_does_not_show_it(number: int) -> None:
    assert np.mean(curve(number, 30)[-8:]) == pytest.approx(np.mean(curve(0, 30)[-8:]), abs=0.05)


def test_there_is_no_thirteenth() -> None:
    for number in (13, -1, "3"):
        with pytest.raises(InputError, match="the lab has 1 to 12, and 0 for none"), planted(number):
            pass
