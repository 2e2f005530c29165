"""The one exception that means: the input is wrong, and here is what to do."""


class InputError(ValueError):
    """Bad input from the user: the message is one sentence that says what, where and what to do."""
