"""Wrong answers to the exercises, and what each must be told; for each notebook a module named as in minibert.lab.

WRONG: exercise -> pairs of a wrong answer and words that must stand in the message, the real reason.
"""
