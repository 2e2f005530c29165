"""Tools for the person with a debugger: ask a gradient why.  Nothing on the training path imports them.

They work on a live graph: the loss of a forward pass, before or after its backward pass, and change nothing.

    from minibert.debug import step, why

    loss = model(**batch).loss
    loss.backward()
    for event in step(loss): ...                 forward and backward, one operation at a time
    why(model.cls.predictions.bias[7])           which terms add up to this gradient entry
    check(loss.node), bisect(loss, model)        is a gradient right, and which operation is wrong
    blame(loss)                                  where NaN or infinity began, and the cause
    doctor(model, batch)                         known faults of BERTs
    replay(folder, 412)                          a training step of a run again, bit for bit
    draw_graph(loss), gradient_flow(loss), attention_maps(model, batch), ledger(loss), microscope(optimizer, w[0, 0])
    card("layer_norm")                           an operation's formulas
"""

from importlib import import_module
from typing import Any

HOME = {
    "attention_maps": "pictures", "audit_pairs": "auditing", "bisect": "checking.bisect", "blame": "blaming.blame",
    "card": "formulas.card", "cards": "formulas.card", "check": "checking.check", "check_op": "checking.gradcheck",
    "compare": "replaying.compare", "doctor": "auditing", "draw_graph": "pictures", "gradcheck": "checking.gradcheck",
    "gradient_flow": "pictures", "ledger": "accounts.ledger", "microscope": "weight_update",
    "replay": "replaying.replay", "step": "stepping", "why": "provenance.why"}  # imported when they are asked for
__all__ = sorted(HOME)


def __getattr__(name: str) -> Any:
    if name not in HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
