"""A step debugger for calculus: one operation of a live graph at a time, forward and then backward.

    s = step(loss)             # before or after loss.backward(), of which it changes nothing
    s.next()                   # the next operation; s.back() goes back
    s.until("attention")       # or a part of the model, layer=1, nan=True, norm=10.0, phase="backward"
    s.check()                  # is the gradient here the slope?
    for event in step(loss):   # or the whole walk
        print(event)
"""

from minibert.debug.stepping.backward import Contribution
from minibert.debug.stepping.event import Event, Value
from minibert.debug.stepping.stepper import Stepper, step

__all__ = ["Contribution", "Event", "Stepper", "Value", "step"]
